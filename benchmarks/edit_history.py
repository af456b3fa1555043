"""edit-history: what a brush stroke costs late in the life of a label, against what it cost at the start.

The peer is the same store at version 10. Nothing in an edit may depend on how many came before it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.result import Result, percentile
from benchmarks.subject import ct_volume, ingest, timed, write_nifti
from specimg.access import Actor, Role
from specimg.labels import ontology as ontologies
from specimg.labels import segmentation as segmentations
from specimg.labels.brush import stroke
from specimg.labels.edit import Edit, Index, VoxelWrite
from specimg.labels.segmentation import Segmentation
from specimg.workflow.annotate import apply_edit, create_segmentation, record_edit
from specimg.workflow.desk import Desk, open_desk

AT = (10, 2_000, 20_000)
EDITS = 200
BATCH = 500
SHAPE: Index = (300, 512, 512)
SPACING = (1.0, 0.8, 0.8)


def run() -> Iterator[Result]:
    """Balls of radius 6 mm at random places of a 512 x 512 x 300 volume, audit entry and fsync included."""
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        ingest(home, write_nifti(ct_volume(), Path(folder) / "ct.nii"))
        with open_desk(home) as desk:
            actor, segmentation = _segmentation(desk)
            order = random.Random(3)
            took: dict[int, list[float]] = {}
            for version in AT:
                _grow(desk, actor, segmentation.id, version, order)
                desk.log.sequence()
                took[version] = [_edit(desk, actor, segmentation.id, order) for _ in range(EDITS)]
    first = percentile(took[AT[0]], 50)
    for version in AT:
        median = percentile(took[version], 50)
        yield Result(
            "edit-history",
            f"median of {EDITS} strokes from version {version:,} on (p95 {percentile(took[version], 95):.1f} ms)",
            median,
            first,
            f"the same at version {AT[0]}",
            "ms",
            "<= 1.2 x",
            median <= 1.2 * first,
        )


def _segmentation(desk: Desk) -> tuple[Actor, Segmentation]:
    with desk.database.reading() as connection:
        image, project = connection.exec_driver_sql("SELECT image_id, project_id FROM project_image").one()
        (ontology, *_) = ontologies.of_project(connection, project)
    actor = Actor("bench", "bench", {project: Role.ADMIN})
    made = create_segmentation(desk, actor, project_id=project, image_id=image, name="bench", ontology_id=ontology.id)
    return actor, made


def _grow(desk: Desk, actor: Actor, segmentation_id: str, version: int, order: random.Random) -> None:
    """More versions, many to a transaction, because only their number matters here."""
    head = 0
    while head < version:
        with desk.database.transaction() as connection:
            for _ in range(BATCH):
                found = segmentations.load(connection, segmentation_id)
                head = found.head
                if head >= version:
                    break
                record_edit(desk, connection, actor, found, _ball(head, order))
                head += 1


def _edit(desk: Desk, actor: Actor, segmentation_id: str, order: random.Random) -> float:
    with desk.database.reading() as connection:
        head = segmentations.load(connection, segmentation_id).head
    edit = _ball(head, order)
    return timed(lambda: apply_edit(desk, actor, segmentation_id, edit))


def _ball(base: int, order: random.Random) -> Edit:
    # Near one organ, so that chunks gather long histories of their own.
    z, y, x = order.uniform(100, 180), order.uniform(180, 300), order.uniform(180, 300)
    spans = stroke([(z, y, x)], 6.0, spacing=SPACING, shape=SHAPE, axis=None)
    write = VoxelWrite(order.randrange(1, 4), spans)
    return Edit(base, "brush", {"radius_mm": 6}, (write,), request_id=str(uuid.UUID(int=order.getrandbits(128))))
