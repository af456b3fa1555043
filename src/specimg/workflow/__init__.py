"""Use cases: every write goes through here, so permission, version and audit entry happen together."""
