"""Writes ``tests/golden/checkpoint.txt`` and ``proofs.json``: a small log whose bytes must never change.

Every number is fixed: the seed of the key, ids, times. Other implementations (the viewer's) are held against the same
files. Run it only when the format is meant to change: ``python tests/audit/make_golden.py``.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from specimg.access import Actor
from specimg.audit import entry as entries
from specimg.audit.checkpoint import Checkpoint, SigningKey, proof_text
from specimg.audit.merkle import Edge, consistency, inclusion, leaf_hash

FOLDER = Path(__file__).resolve().parents[1] / "golden"
KEY = SigningKey("specimg.local/golden", bytes(range(32)))
ACTOR = Actor("0b9c4a52-7a0e-4d53-9f0a-3f8f2ad0c001", "never written", session="sha256:" + "5e" * 32)
SIZE = 7
OLD = 3


def leaves() -> list[bytes]:
    """Seven views of an image, a second apart."""
    return [
        entries.entry(
            entries.EntryType.IMAGE_VIEW,
            ACTOR,
            f"2026-11-21T10:15:{number:02d}.000000Z",
            project="77aa2f0e-0000-4000-8000-000000000001",
            object=entries.EntryObject("image", f"{number:032x}"),
            random=lambda count, number=number: bytes([number]) * count,  # type: ignore[misc] # bound on purpose
        ).leaf()
        for number in range(SIZE)
    ]


def make() -> tuple[str, dict[str, Any]]:
    """The checkpoint and the proofs."""
    nodes: dict[tuple[int, int], bytes] = {}
    edge, checkpoints = Edge(0, []), {}
    for leaf in leaves():
        for node in edge.append(leaf_hash(leaf)):
            nodes[node.level, node.index] = node.hash
        checkpoints[edge.size] = Checkpoint.sign(KEY, edge.size, edge.root())

    def read(level: int, index: int) -> bytes:
        return nodes[level, index]

    proofs = {
        "vkey": str(KEY.verifier),
        "leaves": [leaf.decode() for leaf in leaves()],
        "leaf_hashes": [leaf_hash(leaf).hex() for leaf in leaves()],
        "roots": {str(size): checkpoint.root.hex() for size, checkpoint in checkpoints.items()},
        "proofs": [
            proof_text(index, inclusion(index, SIZE, read), checkpoints[SIZE], leaf)
            for index, leaf in enumerate(leaves())
        ],
        "consistency": [
            {
                "old": old,
                "new": SIZE,
                "hashes": [base64.b64encode(hash).decode() for hash in consistency(old, SIZE, read)],
            }
            for old in range(SIZE + 1)
        ],
        "old_checkpoint": checkpoints[OLD].note,
    }
    return checkpoints[SIZE].note, proofs


if __name__ == "__main__":
    note, made = make()
    (FOLDER / "checkpoint.txt").write_text(note)
    (FOLDER / "proofs.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
