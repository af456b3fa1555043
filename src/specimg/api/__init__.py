"""HTTP, thin: our own protocol."""
