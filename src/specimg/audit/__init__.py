"""What happened, provably: entries, a Merkle log, signed checkpoints, and a verifier of its own."""
