"""Phantoms and contracts for plug-in authors, and for ourselves."""
