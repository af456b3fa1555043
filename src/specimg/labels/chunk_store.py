"""Where label chunks lie: the rows that say which bytes a chunk has at a version, and the bytes.

Every question is answered through an index, so that its cost grows with what is asked and not with the length of the
history. Bytes are checked against their digest whenever they are read: a disk that lies is found here, not in a label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.dialects.sqlite import insert

from specimg.digest import Digest, digest
from specimg.errors import StoreError
from specimg.labels.chunks import ChunkGrid, decode, encode, key_of
from specimg.labels.edit import Index
from specimg.store import schema
from specimg.store.blobs import Blobs

FILE_BYTES = 64 * 1024
"""Chunks of this size and more lie in files: SQLite is faster than files below, and bloats above."""

_version, _blob = schema.chunk_version.c, schema.blob.c

_LATEST = (
    select(_version.version, _version.blob, _blob.bytes)
    .select_from(schema.chunk_version.outerjoin(schema.blob, _version.blob == _blob.digest))
    .where(
        _version.segmentation_id == bindparam("segmentation"),
        _version.chunk == bindparam("chunk"),
        _version.version <= bindparam("at"),
    )
    .order_by(_version.version.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True, eq=False)
class StoredChunk:
    """A chunk at a version: since when it is so (0: never written), its blob and its voxels."""

    since: int
    blob: Digest | None
    voxels: npt.NDArray[np.uint16]


class Chunks:
    """Chunks of one segmentation, read and written inside one transaction."""

    def __init__(self, connection: Connection, blobs: Blobs, segmentation_id: str, grid: ChunkGrid) -> None:
        self._connection = connection
        self._blobs = blobs
        self._id = segmentation_id
        self._grid = grid

    def at(self, index: Index, version: int) -> StoredChunk:
        """A chunk as of a version."""
        row = self._connection.execute(
            _LATEST, {"segmentation": self._id, "chunk": key_of(index), "at": version}
        ).first()
        if row is None:
            return StoredChunk(0, None, decode(None, self._grid.chunk))
        data = None if row.blob is None else checked(row.blob, self._bytes(row.blob, row.bytes))
        return StoredChunk(row.version, row.blob, decode(data, self._grid.chunk))

    def put(self, index: Index, version: int, voxels: npt.NDArray[np.uint16]) -> Digest | None:
        """Write a chunk of a new version; its blob, ``None`` if all is background."""
        data = encode(voxels)
        blob = None if data is None else self._put_bytes(data)
        self._connection.execute(
            schema.chunk_version.insert(),
            {"segmentation_id": self._id, "chunk": key_of(index), "version": version, "blob": blob},
        )
        return blob

    def _put_bytes(self, data: bytes) -> Digest:
        name = digest(data)
        if len(data) >= FILE_BYTES:
            self._blobs.put(data)
        self._connection.execute(
            insert(schema.blob).on_conflict_do_nothing(),
            {"digest": name, "size": len(data), "bytes": data if len(data) < FILE_BYTES else None},
        )
        return name

    def _bytes(self, name: str, data: bytes | None) -> bytes:
        return data if data is not None else self._blobs.read(Digest(name))


def checked(name: str, data: bytes) -> bytes:
    """The bytes, if they are those the digest names. Raises ``StoreError``."""
    if digest(data) != name:
        raise StoreError("a label chunk on disk is not the one that was written: run 'specimg audit verify'")
    return data


def blob_bytes(connection: Connection, blobs: Blobs, name: Digest) -> bytes:
    """The encoded chunk of this digest. Raises ``StoreError`` if it is missing or damaged."""
    row = connection.execute(select(_blob.bytes).where(_blob.digest == name)).first()
    if row is None:
        raise StoreError("a label chunk is missing: run 'specimg audit verify'")
    return checked(name, row.bytes if row.bytes is not None else blobs.read(name))


def owns_blob(connection: Connection, segmentation_id: str, name: Digest) -> bool:
    """Whether a chunk of this segmentation, at any version, has this blob. To be asked before a blob is served."""
    found = select(_version.version).where(_version.blob == name, _version.segmentation_id == segmentation_id).limit(1)
    return connection.execute(found).first() is not None


def chunk_blob(connection: Connection, segmentation_id: str, version: int, key: str) -> Digest | None:
    """The blob of one chunk at a version; ``None``: background."""
    row = connection.execute(_LATEST, {"segmentation": segmentation_id, "chunk": key, "at": version}).first()
    return None if row is None else row.blob


def chunk_index(connection: Connection, segmentation_id: str, version: int) -> dict[str, Digest]:
    """Key to blob of every chunk that has labels at a version, sorted by key."""
    return {key: blob for key, blob in _walk(connection, segmentation_id, version) if blob is not None}


def changed_chunks(connection: Connection, segmentation_id: str, after: int, until: int) -> list[str]:
    """Keys of the chunks written in ``after < version <= until``."""
    rows = connection.execute(
        select(_version.chunk)
        .distinct()
        .where(
            _version.segmentation_id == segmentation_id,
            _version.version > after,
            _version.version <= until,
        )
    )
    return sorted(row.chunk for row in rows)


def written_by(connection: Connection, segmentation_id: str, version: int) -> dict[str, Digest | None]:
    """What one edit wrote: key to blob, ``None`` where a chunk became background."""
    rows = connection.execute(
        select(_version.chunk, _version.blob).where(
            _version.segmentation_id == segmentation_id, _version.version == version
        )
    )
    return {row.chunk: row.blob for row in sorted(rows, key=lambda row: row.chunk)}


def _walk(connection: Connection, segmentation_id: str, version: int) -> Iterator[tuple[str, Digest | None]]:
    # A loose index scan: hop from chunk to chunk and take each one's newest row, instead of reading every version of
    # every chunk. Costs by the number of chunks that ever had labels.
    inside = _version.segmentation_id == segmentation_id
    first = select(func.min(_version.chunk).label("chunk")).where(inside)
    keys = first.cte("keys", recursive=True)
    after = select(func.min(_version.chunk)).where(inside, _version.chunk > keys.c.chunk).scalar_subquery()
    keys = keys.union_all(select(after).where(keys.c.chunk.is_not(None)))
    newest = (
        select(_version.blob)
        .where(inside, _version.chunk == keys.c.chunk, _version.version <= version)
        .order_by(_version.version.desc())
        .limit(1)
        .scalar_subquery()
    )
    for row in connection.execute(select(keys.c.chunk, newest.label("blob")).where(keys.c.chunk.is_not(None))):
        yield row.chunk, row.blob
