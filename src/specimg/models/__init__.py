"""A proposal from pixels and prompts. A model never writes a label."""
