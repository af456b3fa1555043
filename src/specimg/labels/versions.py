"""How a version comes to be: apply an edit, revert one, restore an old state.

An act names the version it was drawn on (its *base*) and is merged onto the head voxel by voxel (``labels.merge``): two
people meet only in the same voxel, or the same shape. Revert and restore are acts like any other; history only grows.

These functions must run inside ``Database.transaction()``, which holds the one write lock, together with the audit entry;
``workflow.annotate`` does both. If one raises, the transaction must be rolled back. Files of large chunks are on disk
before the transaction commits, so a crash leaves at worst a file that nobody names.

Cost: each touched chunk is found through an index, decoded, changed, encoded; nothing depends on the length of the history
or the size of the image. Memory: the runs of the edit and a few chunks at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, null, select, update

from specimg.access import Actor
from specimg.digest import JSON, Digest, digest_json
from specimg.errors import Conflict, InvalidInput, VersionConflict
from specimg.labels import shape_store
from specimg.labels.chunk_store import Chunks, StoredChunk, changed_chunks, written_by
from specimg.labels.chunks import ChunkedSpans, ChunkGrid, cut, key_of
from specimg.labels.edit import Box, Edit, Index, ShapePut, require_reason
from specimg.labels.merge import Assertion, Collisions, assert_change, assert_writes, bounds_of, carry, union
from specimg.labels.segmentation import Segmentation, first_digest, to_box
from specimg.labels.shapes import Shape
from specimg.store import schema
from specimg.store.blobs import Blobs


@dataclass(frozen=True, slots=True)
class Applied:
    """What an act did. ``chunks`` and ``shapes`` map what changed to its new digest, ``None`` for empty or gone.

    ``box`` encloses what changed, voxels and shapes. ``repeated`` marks the answer to a request that was already done.
    """

    segmentation_id: str
    version: int
    base: int
    digest: Digest
    previous_digest: Digest
    entry_id: str
    voxels: int
    box: Box | None
    chunks: Mapping[str, Digest | None]
    shapes: Mapping[str, Digest | None]
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class _Act:
    """What the edit row and the edit's digest say about an act, whatever it does to voxels."""

    base: int
    tool: str
    params: Mapping[str, JSON]
    reason: str | None
    request_id: str | None
    request_digest: Digest


@dataclass(frozen=True, slots=True, eq=False)
class _ChunkAct:
    index: Index
    base: StoredChunk
    head: StoredChunk
    assertion: Assertion


@dataclass(frozen=True, slots=True)
class _ShapeAct:
    shape_id: str
    base: Shape | None
    wanted: Shape | None


def apply(
    connection: Connection,
    blobs: Blobs,
    segmentation: Segmentation,
    edit: Edit,
    *,
    actor: Actor,
    time: str,
    entry_id: str,
) -> Applied:
    """Record an edit as the next version.

    Raises ``VersionConflict`` (and nothing is written) where the edit meets other edits, ``Conflict`` if its
    ``request_id`` was used for another request, ``InvalidInput`` if it leaves the grid or names a shape that is not
    there. The same request again answers as the first time. An edit that changes nothing still is a version: it was done.
    """
    act = _edit_act(edit, actor)
    if (done := repeat_of(connection, segmentation, act.request_id, act.request_digest)) is not None:
        return done
    _require_base(segmentation, edit.base)
    if not edit.voxels and not edit.shapes:
        raise InvalidInput("an edit needs voxels or shapes", field="voxels")
    chunks = Chunks(connection, blobs, segmentation.id, segmentation.chunks)
    return _commit(
        connection,
        segmentation,
        act,
        chunks,
        _edit_chunks(chunks, segmentation, edit),
        _edit_shapes(connection, segmentation, edit),
        actor=actor,
        time=time,
        entry_id=entry_id,
    )


def revert(
    connection: Connection,
    blobs: Blobs,
    segmentation: Segmentation,
    version: int,
    *,
    base: int,
    actor: Actor,
    time: str,
    entry_id: str,
    request_id: str | None = None,
) -> Applied:
    """Take back what one version changed, voxel by voxel, as a new version.

    Raises ``VersionConflict`` if any of it was changed again since. ``base`` is the version the person saw.
    """
    act = _inverse_act("revert", actor, base, version, None, request_id)
    if (done := repeat_of(connection, segmentation, act.request_id, act.request_digest)) is not None:
        return done
    _require_base(segmentation, base)
    if not 1 <= version <= base:
        raise InvalidInput(f"there is no version {version} to take back on version {base}", field="version")
    chunks = Chunks(connection, blobs, segmentation.id, segmentation.chunks)
    span = (version - 1, version)
    return _commit(
        connection,
        segmentation,
        act,
        chunks,
        _change_chunks(connection, chunks, segmentation, span, now=version, then=version - 1),
        _change_shapes(connection, segmentation, span, now=version, then=version - 1),
        actor=actor,
        time=time,
        entry_id=entry_id,
    )


def restore(
    connection: Connection,
    blobs: Blobs,
    segmentation: Segmentation,
    version: int,
    *,
    base: int,
    actor: Actor,
    time: str,
    entry_id: str,
    reason: str | None = None,
    request_id: str | None = None,
) -> Applied:
    """Make everything as it was at ``version``, as a new version; what came between stays in the history.

    ``base`` is the head the person saw: what others did after it is kept where it does not touch what changes here, and
    raises ``VersionConflict`` where it does.
    """
    act = _inverse_act("restore", actor, base, version, reason, request_id)
    if (done := repeat_of(connection, segmentation, act.request_id, act.request_digest)) is not None:
        return done
    _require_base(segmentation, base)
    if not 0 <= version <= base:
        raise InvalidInput(f"there is no version {version} before version {base}", field="version")
    chunks = Chunks(connection, blobs, segmentation.id, segmentation.chunks)
    span = (version, base)
    return _commit(
        connection,
        segmentation,
        act,
        chunks,
        _change_chunks(connection, chunks, segmentation, span, now=base, then=version),
        _change_shapes(connection, segmentation, span, now=base, then=version),
        actor=actor,
        time=time,
        entry_id=entry_id,
    )


def edit_digest(
    segmentation_id: str,
    version: int,
    *,
    base: int,
    previous: Digest,
    tool: str,
    params: Mapping[str, JSON],
    reason: str | None,
    chunks: Mapping[str, Digest | None],
    shapes: Mapping[str, Digest | None],
) -> Digest:
    """What an audit leaf commits to: the act, the one before it and the digest of every chunk and shape it wrote."""
    return digest_json(
        {
            "segmentation": segmentation_id,
            "version": version,
            "base": base,
            "previous": previous,
            "tool": tool,
            "params": dict(params),
            "reason": reason,
            "chunks": [list(pair) for pair in sorted(chunks.items())],
            "shapes": [list(pair) for pair in sorted(shapes.items())],
        }
    )


def repeat_of(
    connection: Connection, segmentation: Segmentation, request_id: str | None, request: Digest
) -> Applied | None:
    """What was answered to this very request before; ``None`` if it is new.

    Raises ``Conflict`` if the id was used for another request.
    """
    if request_id is None:
        return None
    row = connection.execute(
        select(schema.edit).where(
            schema.edit.c.segmentation_id == segmentation.id, schema.edit.c.request_id == request_id
        )
    ).first()
    if row is None:
        return None
    if row.request_digest != request:
        raise Conflict("this request_id was used for another request; use a new one for each act")
    previous = connection.execute(
        select(schema.edit.c.digest).where(
            schema.edit.c.segmentation_id == segmentation.id, schema.edit.c.version == row.version - 1
        )
    ).scalar()
    return Applied(
        segmentation_id=segmentation.id,
        version=row.version,
        base=row.base,
        digest=Digest(row.digest),
        previous_digest=Digest(previous) if previous is not None else first_digest(segmentation.id),
        entry_id=row.entry_id,
        voxels=row.voxels,
        box=to_box(row.box),
        chunks=written_by(connection, segmentation.id, row.version),
        shapes=shape_store.shapes_of_edit(connection, segmentation.id, row.version),
        repeated=True,
    )


def inverse_request(tool: str, actor: Actor, base: int, version: int) -> Digest:
    """What makes two reverts or restores the same request."""
    return digest_json({"actor": actor.id, "act": tool, "base": base, "version": version})


def _commit(
    connection: Connection,
    segmentation: Segmentation,
    act: _Act,
    chunks: Chunks,
    chunk_acts: Iterable[_ChunkAct],
    shape_acts: Iterable[_ShapeAct],
    *,
    actor: Actor,
    time: str,
    entry_id: str,
) -> Applied:
    _require_current(connection, segmentation)
    version = segmentation.head + 1
    shape_acts = list(shape_acts)
    colliding = _colliding_shapes(connection, segmentation, shape_acts)
    written, voxels, box = _write_chunks(segmentation, act.base, chunks, chunk_acts, colliding)
    put, box = _write_shapes(connection, segmentation, version, shape_acts, box)
    new = edit_digest(
        segmentation.id,
        version,
        base=act.base,
        previous=segmentation.head_digest,
        tool=act.tool,
        params=act.params,
        reason=act.reason,
        chunks=written,
        shapes=put,
    )
    connection.execute(
        schema.edit.insert(),
        {
            "segmentation_id": segmentation.id,
            "version": version,
            "base": act.base,
            "digest": new,
            "time": time,
            "actor_id": actor.id,
            "tool": act.tool,
            "params": dict(act.params),
            "reason": act.reason,
            "voxels": voxels,
            "box": null() if box is None else [list(box[0]), list(box[1])],
            "request_id": act.request_id,
            "request_digest": act.request_digest,
            "entry_id": entry_id,
        },
    )
    connection.execute(
        update(schema.segmentation)
        .where(schema.segmentation.c.id == segmentation.id)
        .values(head=version, head_digest=new)
    )
    return Applied(
        segmentation.id, version, act.base, new, segmentation.head_digest, entry_id, voxels, box, written, put
    )


def _write_chunks(
    segmentation: Segmentation,
    base: int,
    chunks: Chunks,
    acts: Iterable[_ChunkAct],
    colliding_shapes: tuple[str, ...],
) -> tuple[dict[str, Digest | None], int, Box | None]:
    """Carry every act to the head and write the chunks that change; raise if anything collides."""
    written: dict[str, Digest | None] = {}
    voxels, box, collisions = 0, None, Collisions()
    for act in acts:
        result, collides = carry(act.assertion, act.base.voxels, act.head.voxels)
        start = segmentation.chunks.box(act.index)[0]
        if collides is not None:
            collisions.add(start, collides)
        if collisions.voxels or colliding_shapes:
            continue  # Nothing will be written; go on, so that the answer names every place.
        changed = result != act.head.voxels
        count = int(np.count_nonzero(changed))
        if count:
            written[key_of(act.index)] = chunks.put(act.index, segmentation.head + 1, result)
            voxels += count
            box = _around(box, start, bounds_of(changed))
    if collisions.voxels or colliding_shapes:
        raise VersionConflict(
            base=base,
            current=segmentation.head,
            boxes=collisions.boxes,
            shapes=colliding_shapes,
            voxels=collisions.voxels,
        )
    return written, voxels, box


def _colliding_shapes(connection: Connection, segmentation: Segmentation, acts: Iterable[_ShapeAct]) -> tuple[str, ...]:
    found = []
    for act in acts:
        head = shape_store.shape_at(connection, segmentation.id, act.shape_id, segmentation.head)
        if head not in (act.base, act.wanted):
            found.append(act.shape_id)
    return tuple(sorted(found))


def _write_shapes(
    connection: Connection, segmentation: Segmentation, version: int, acts: Iterable[_ShapeAct], box: Box | None
) -> tuple[dict[str, Digest | None], Box | None]:
    put: dict[str, Digest | None] = {}
    for act in acts:
        head = shape_store.shape_at(connection, segmentation.id, act.shape_id, segmentation.head)
        if head == act.wanted:
            continue
        if act.wanted is None:
            shape_store.close_shape(connection, segmentation.id, version, act.shape_id)
            put[act.shape_id] = None
        else:
            put[act.shape_id] = shape_store.put_shape(connection, segmentation.id, version, act.wanted)
        for shape in (head, act.wanted):
            if shape is not None:
                box = _around_shape(box, shape, segmentation.grid.shape)
    return put, box


def _edit_chunks(chunks: Chunks, segmentation: Segmentation, edit: Edit) -> Iterator[_ChunkAct]:
    """What an edit asserts, chunk by chunk in C order."""
    cuts = [cut(write.spans, segmentation.chunks) for write in edit.voxels]
    for index, numbers in _by_chunk(segmentation.chunks, cuts):
        base, head = _base_and_head(chunks, index, edit.base, segmentation.head)
        writes = [(edit.voxels[number], cuts[number].mask(index)) for number in numbers]
        yield _ChunkAct(index, base, head, assert_writes(base.voxels, writes))


def _by_chunk(grid: ChunkGrid, cuts: Sequence[ChunkedSpans]) -> Iterator[tuple[Index, list[int]]]:
    """Each touched chunk with the numbers of the writes that touch it, both ascending."""
    if not cuts:
        return
    ids = np.concatenate([parts.ids for parts in cuts])
    numbers = np.repeat(np.arange(len(cuts)), [len(parts.ids) for parts in cuts])
    order = np.argsort(ids, kind="stable")
    touched, first = np.unique(ids[order], return_index=True)
    for index, group in zip(grid.unravel(touched), np.split(numbers[order], first[1:]), strict=False):
        yield index, group.tolist()


def _edit_shapes(connection: Connection, segmentation: Segmentation, edit: Edit) -> Iterator[_ShapeAct]:
    for act in edit.shapes:
        shape_id = act.shape.id if isinstance(act, ShapePut) else act.shape_id
        base = shape_store.shape_at(connection, segmentation.id, shape_id, edit.base)
        if isinstance(act, ShapePut):
            act.shape.require_near(segmentation.grid.shape)
            yield _ShapeAct(shape_id, base, act.shape)
        elif base is None:
            raise InvalidInput("there is no such shape to delete on that version", field="shapes")
        else:
            yield _ShapeAct(shape_id, base, None)


def _change_chunks(
    connection: Connection,
    chunks: Chunks,
    segmentation: Segmentation,
    span: tuple[int, int],
    *,
    now: int,
    then: int,
) -> Iterator[_ChunkAct]:
    """Assert that chunks written in ``span[0] < version <= span[1]`` go from how they were at ``now`` to ``then``."""
    for key in changed_chunks(connection, segmentation.id, *span):
        index = segmentation.chunks.parse(key)
        base, head = _base_and_head(chunks, index, now, segmentation.head)
        wanted = chunks.at(index, then)
        if wanted.blob != base.blob:
            yield _ChunkAct(index, base, head, assert_change(base.voxels, wanted.voxels))


def _change_shapes(
    connection: Connection, segmentation: Segmentation, span: tuple[int, int], *, now: int, then: int
) -> Iterator[_ShapeAct]:
    for shape_id in shape_store.changed_shapes(connection, segmentation.id, *span):
        base = shape_store.shape_at(connection, segmentation.id, shape_id, now)
        wanted = shape_store.shape_at(connection, segmentation.id, shape_id, then)
        if base != wanted:
            yield _ShapeAct(shape_id, base, wanted)


def _base_and_head(chunks: Chunks, index: Index, base: int, head: int) -> tuple[StoredChunk, StoredChunk]:
    """A chunk at both versions: the very same object if nobody wrote it in between."""
    latest = chunks.at(index, head)
    return (latest if latest.since <= base else chunks.at(index, base)), latest


def _edit_act(edit: Edit, actor: Actor) -> _Act:
    return _Act(edit.base, edit.tool, edit.params, edit.reason, edit.request_id, edit.request_digest(actor.id))


def _inverse_act(tool: str, actor: Actor, base: int, version: int, reason: str | None, request_id: str | None) -> _Act:
    require_reason(reason)
    return _Act(base, tool, {"version": version}, reason, request_id, inverse_request(tool, actor, base, version))


def _require_base(segmentation: Segmentation, base: int) -> None:
    if not 0 <= base <= segmentation.head:
        raise InvalidInput(
            f"base {base} is not a version of this segmentation: it has 0 to {segmentation.head}", field="base"
        )


def _require_current(connection: Connection, segmentation: Segmentation) -> None:
    row = schema.segmentation.c
    if connection.execute(select(row.head).where(row.id == segmentation.id)).scalar() != segmentation.head:
        raise Conflict("the segmentation was loaded before this transaction began; load it again")


def _around(box: Box | None, start: Index, inside: tuple[slice, slice, slice]) -> Box:
    low = tuple(a + s.start for a, s in zip(start, inside, strict=True))
    high = tuple(a + s.stop for a, s in zip(start, inside, strict=True))
    part = (low[0], low[1], low[2]), (high[0], high[1], high[2])
    return part if box is None else union(box, part)


def _around_shape(box: Box | None, shape: Shape, grid: Index) -> Box:
    """The voxels a shape touches, cut at the border of the grid."""
    low = [min(max(math.floor(v + 0.5), 0), n - 1) for v, n in zip(shape.box[0], grid, strict=True)]
    high = [min(max(math.floor(v + 0.5), 0), n - 1) + 1 for v, n in zip(shape.box[1], grid, strict=True)]
    part = (low[0], low[1], low[2]), (high[0], high[1], high[2])
    return part if box is None else union(box, part)
