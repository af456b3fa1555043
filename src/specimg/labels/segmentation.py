"""Segmentation: labels on one image, as append-only versions.

Version 0 is empty; each act adds one version, and nothing is ever changed or removed. Any version can be read as quickly
as the newest.

Every function takes an open connection: what it answers is one consistent state. Writing is in ``labels.versions``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Row, select

from specimg.access import Actor
from specimg.digest import JSON, Digest, digest_json
from specimg.errors import NotFound
from specimg.geometry.grid import Grid
from specimg.labels import shape_store
from specimg.labels.chunk_store import (
    Chunks,
    blob_bytes,
    changed_chunks,
    chunk_blob,
    chunk_index,
    owns_blob,
)
from specimg.labels.chunks import ChunkGrid, key_of
from specimg.labels.edit import Box
from specimg.labels.shapes import Shape
from specimg.labels.zarr import zarr_json
from specimg.store import schema
from specimg.store.blobs import Blobs

__all__ = [
    "Changes",
    "Recorded",
    "Segmentation",
    "blob_bytes",
    "changes",
    "chunk_blob",
    "chunk_index",
    "create",
    "first_digest",
    "history",
    "load",
    "of_image",
    "owns_blob",
    "read_box",
    "read_plane",
    "require_version",
    "shapes",
    "to_box",
    "zarr_json",
]

_MANY_CHUNKS = 64
"""From this many chunks on, one walk over the index beats asking for each."""

_SEGMENTATION = select(schema.segmentation, schema.image.c.series).join(
    schema.image, schema.image.c.id == schema.segmentation.c.image_id
)


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A segmentation as of the transaction it was loaded in. ``grid`` is its image's."""

    id: str
    project_id: str
    image_id: str
    ontology_id: str
    name: str
    head: int
    head_digest: Digest
    created_at: str
    created_by: str
    grid: Grid

    @property
    def chunks(self) -> ChunkGrid:
        """How its voxels are cut."""
        return ChunkGrid.of(self.grid.shape)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An edit as history tells it."""

    version: int
    base: int
    time: str
    actor_id: str
    tool: str
    params: Mapping[str, JSON]
    reason: str | None
    voxels: int
    box: Box | None
    digest: Digest
    entry_id: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two versions: chunks to fetch again, shapes to draw, shapes to remove."""

    version: int
    chunks: Mapping[str, Digest | None]
    shapes: tuple[Shape, ...]
    deleted_shapes: tuple[str, ...]


# --- making and finding ---------------------------------------------------------------------------------------------


def create(
    connection: Connection,
    *,
    segmentation_id: str,
    project_id: str,
    image_id: str,
    ontology_id: str,
    name: str,
    actor: Actor,
    time: str,
) -> Segmentation:
    """A new, empty segmentation at version 0."""
    connection.execute(
        schema.segmentation.insert(),
        {
            "id": segmentation_id,
            "project_id": project_id,
            "image_id": image_id,
            "ontology_id": ontology_id,
            "name": name,
            "head": 0,
            "head_digest": first_digest(segmentation_id),
            "created_at": time,
            "created_by": actor.id,
        },
    )
    return load(connection, segmentation_id)


def load(connection: Connection, segmentation_id: str) -> Segmentation:
    """Raises ``NotFound``."""
    row = connection.execute(_SEGMENTATION.where(schema.segmentation.c.id == segmentation_id)).first()
    if row is None:
        raise NotFound("there is nothing here by that name")  # as access.require says it to outsiders
    return _segmentation(row)


def of_image(connection: Connection, image_id: str, project_ids: Iterable[str]) -> list[Segmentation]:
    """Segmentations of an image in these projects, oldest first."""
    table = schema.segmentation.c
    query = _SEGMENTATION.where(table.image_id == image_id, table.project_id.in_(list(project_ids)))
    return [_segmentation(row) for row in connection.execute(query.order_by(table.created_at, table.id))]


def require_version(segmentation: Segmentation, version: int) -> int:
    """The version, if there is one. Raises ``NotFound``."""
    if not 0 <= version <= segmentation.head:
        raise NotFound(f"this segmentation has versions 0 to {segmentation.head}")
    return version


# --- reading --------------------------------------------------------------------------------------------------------


def read_box(
    connection: Connection,
    blobs: Blobs,
    segmentation: Segmentation,
    version: int,
    start: Sequence[int],
    stop: Sequence[int],
) -> npt.NDArray[np.uint16]:
    """Labels with ``start <= index < stop`` (z, y, x) at a version. Raises ``InvalidInput`` or ``NotFound``."""
    require_version(segmentation, version)
    segmentation.grid.crop((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    chunks = Chunks(connection, blobs, segmentation.id, segmentation.chunks)
    result = np.zeros([b - a for a, b in zip(start, stop, strict=True)], dtype=np.uint16)
    indices = segmentation.chunks.touching(start, stop)
    if len(indices) > _MANY_CHUNKS:
        written = chunk_index(connection, segmentation.id, version)
        indices = [index for index in indices if key_of(index) in written]
    for index in indices:
        low, high = segmentation.chunks.box(index)
        a = [max(p, q) for p, q in zip(low, start, strict=True)]
        b = [min(p, q) for p, q in zip(high, stop, strict=True)]
        inside = tuple(slice(p - o, q - o) for p, q, o in zip(a, b, low, strict=True))
        target = tuple(slice(p - o, q - o) for p, q, o in zip(a, b, start, strict=True))
        result[target] = chunks.at(index, version).voxels[inside]
    return result


def read_plane(
    connection: Connection,
    blobs: Blobs,
    segmentation: Segmentation,
    version: int,
    axis: Literal["z", "y", "x"],
    index: int,
) -> npt.NDArray[np.uint16]:
    """Labels of one plane: rows and columns are the remaining axes in order."""
    number = "zyx".index(axis)
    start, stop = [0, 0, 0], list(segmentation.grid.shape)
    start[number], stop[number] = index, index + 1
    box = read_box(connection, blobs, segmentation, version, start, stop)
    return box.squeeze(axis=number)


def shapes(
    connection: Connection,
    segmentation: Segmentation,
    version: int,
    box: tuple[Sequence[float], Sequence[float]] | None = None,
) -> list[Shape]:
    """Shapes of a version, by id; with ``box`` (low, high corner in continuous indices) those that meet it."""
    return shape_store.shapes_at(connection, segmentation.id, require_version(segmentation, version), box)


def history(
    connection: Connection, segmentation: Segmentation, *, before: int | None = None, limit: int = 100
) -> list[Recorded]:
    """Edits, newest first; ``before`` continues a page."""
    row = schema.edit.c
    query = select(schema.edit).where(row.segmentation_id == segmentation.id)
    if before is not None:
        query = query.where(row.version < before)
    return [
        Recorded(
            version=r.version,
            base=r.base,
            time=r.time,
            actor_id=r.actor_id,
            tool=r.tool,
            params=r.params,
            reason=r.reason,
            voxels=r.voxels,
            box=to_box(r.box),
            digest=Digest(r.digest),
            entry_id=r.entry_id,
        )
        for r in connection.execute(query.order_by(row.version.desc()).limit(limit))
    ]


def changes(connection: Connection, segmentation: Segmentation, since: int) -> Changes:
    """What differs at the head from version ``since``, so that a client can follow without reading everything."""
    require_version(segmentation, since)
    head = segmentation.head
    keys = changed_chunks(connection, segmentation.id, since, head)
    put, gone = [], []
    for shape_id in shape_store.changed_shapes(connection, segmentation.id, since, head):
        shape = shape_store.shape_at(connection, segmentation.id, shape_id, head)
        if shape is None:
            gone.append(shape_id)
        else:
            put.append(shape)
    blobs = {key: chunk_blob(connection, segmentation.id, head, key) for key in keys}
    return Changes(head, blobs, tuple(put), tuple(gone))


def first_digest(segmentation_id: str) -> Digest:
    """The digest of version 0: what the first edit's chain begins with."""
    return digest_json({"segmentation": segmentation_id})


def to_box(value: Any) -> Box | None:
    """A box from a row of ``edit``."""
    if value is None:
        return None
    (a, b, c), (d, e, f) = value
    return (a, b, c), (d, e, f)


def _segmentation(row: Row[Any]) -> Segmentation:
    return Segmentation(
        id=row.id,
        project_id=row.project_id,
        image_id=row.image_id,
        ontology_id=row.ontology_id,
        name=row.name,
        head=row.head,
        head_digest=Digest(row.head_digest),
        created_at=row.created_at,
        created_by=row.created_by,
        grid=Grid.from_json(row.series["grid"]),
    )
