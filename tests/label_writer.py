"""A process that labels until it is done or killed; it reports each edit only after it was acknowledged."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from label_world import actor
from specimg.errors import VersionConflict
from specimg.labels import segmentation as segmentations
from specimg.labels.edit import Edit, VoxelWrite, spans_by_label
from specimg.workflow.annotate import apply_edit
from specimg.workflow.desk import open_desk

SHAPE = (1, 300, 300)
CLASSES = 512
"""Nine random bits of sixteen do not compress below 64 KiB a chunk: such edits go through files."""


def patch(seed: int) -> npt.NDArray[np.uint16]:
    """What the edit of this seed paints: a box of one label, or one time in eight a chunk of noise."""
    random = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint16)
    if seed % 8 == 0:
        labels[0, :256, :256] = random.integers(1, CLASSES + 1, (256, 256))
        return labels
    y, x = random.integers(0, 270, 2)
    h, w = random.integers(2, 30, 2)
    labels[0, y : y + h, x : x + w] = random.integers(1, CLASSES + 1)
    return labels


def edit_of(seed: int, base: int) -> Edit:
    """The edit of this seed; ``params`` name the seed, so that history can be replayed."""
    voxels = tuple(VoxelWrite(label, spans) for label, spans in spans_by_label(patch(seed)).items())
    return Edit(base, "brush", {"seed": seed}, voxels, request_id=f"request-{seed}")


def write(home: str, segmentation_id: str, seeds: list[int], pipe: Connection) -> None:
    """Apply the edits of these seeds; on a conflict look again and repeat, as a person would."""
    with open_desk(Path(home)) as desk:
        who = actor(f"writer-{seeds[0]}")
        for seed in seeds:
            while True:
                with desk.database.reading() as connection:
                    head = segmentations.load(connection, segmentation_id).head
                try:
                    receipt = apply_edit(desk, who, segmentation_id, edit_of(seed, head))
                except VersionConflict:
                    continue
                break
            pipe.send((seed, receipt.version, receipt.digest, receipt.entry_id))
    pipe.close()
