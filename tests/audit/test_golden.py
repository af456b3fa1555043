"""Bytes that were published once stay readable, and the same history gives the same bytes."""

from __future__ import annotations

import hashlib
import json

from audit.make_golden import FOLDER, make
from specimg.audit.checkpoint import Checkpoint, VerifierKey
from specimg.audit.verify import verify_proof


def test_the_same_history_gives_the_same_bytes() -> None:
    """Ed25519 has no randomness (RFC 8032), so not even the signature may differ."""
    note, proofs = make()
    assert (FOLDER / "checkpoint.txt").read_text() == note
    assert json.loads((FOLDER / "proofs.json").read_text()) == proofs


def test_the_published_bytes_verify() -> None:
    proofs = json.loads((FOLDER / "proofs.json").read_text())
    key = VerifierKey.parse(proofs["vkey"])
    assert Checkpoint.parse((FOLDER / "checkpoint.txt").read_text(), key).root.hex() == proofs["roots"]["7"]
    assert Checkpoint.parse(proofs["old_checkpoint"], key).root.hex() == proofs["roots"]["3"]
    for leaf, hash, proof in zip(proofs["leaves"], proofs["leaf_hashes"], proofs["proofs"], strict=True):
        assert hashlib.sha256(b"\x00" + leaf.encode()).hexdigest() == hash
        assert verify_proof(proof, proofs["vkey"], leaf=leaf.encode()).exit_code == 0
