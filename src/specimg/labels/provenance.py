"""Which labels of a version a model had a hand in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from sqlalchemy import Connection, select

from specimg.digest import JSON
from specimg.labels.chunk_store import Chunks, written_by
from specimg.labels.segmentation import Segmentation
from specimg.store import schema
from specimg.store.blobs import Blobs

MODEL_PREFIX = "model:"
"""``tool`` of an edit that a model proposed; ``params`` then hold ``model`` and ``model_version``."""
REVERT, RESTORE, IMPORT = "revert", "restore", "import"

Model = tuple[str, str]
"""Id and version of a model card."""


def is_reserved(tool: str) -> bool:
    """Whether only the server itself may say that an edit was made this way: such a tool is a claim of provenance."""
    return tool in (REVERT, RESTORE, IMPORT) or tool.startswith(MODEL_PREFIX)


def models_by_label(
    connection: Connection, blobs: Blobs, segmentation: Segmentation, version: int
) -> dict[int, tuple[Model, ...]]:
    """Label to the models whose accepted proposals gave it to voxels, up to a version.

    Edits that were taken back by a revert or left behind by a restore do not count. Reads the chunks those edits wrote.
    """
    chunks = Chunks(connection, blobs, segmentation.id, segmentation.chunks)
    found: dict[int, set[Model]] = {}
    for at, params in _standing_model_edits(connection, segmentation.id, version):
        model = str(params.get("model")), str(params.get("model_version"))
        for key in written_by(connection, segmentation.id, at):
            index = segmentation.chunks.parse(key)
            before, after = chunks.at(index, at - 1).voxels, chunks.at(index, at).voxels
            for label in np.unique(after[before != after]).tolist():
                found.setdefault(label, set()).add(model)
    return {label: tuple(sorted(found[label])) for label in sorted(found) if label != 0}


def _standing_model_edits(
    connection: Connection, segmentation_id: str, version: int
) -> Iterator[tuple[int, Mapping[str, JSON]]]:
    row = schema.edit.c
    special = row.tool.in_((REVERT, RESTORE)) | row.tool.startswith(MODEL_PREFIX, autoescape=True)
    edits = connection.execute(
        select(row.version, row.base, row.tool, row.params)
        .where(row.segmentation_id == segmentation_id, row.version <= version, special)
        .order_by(row.version.desc())
    )
    # Newest first, so that a revert which was itself reverted has already been struck out when its turn comes.
    reverted: set[int] = set()
    restored: list[tuple[int, int]] = []
    for at, base, tool, params in edits:
        if at in reverted or any(after < at <= until for after, until in restored):
            continue
        if tool == REVERT:
            reverted.add(int(params["version"]))
        elif tool == RESTORE:
            restored.append((int(params["version"]), base))
        else:
            yield at, params
