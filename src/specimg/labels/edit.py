"""Edit: what a person or model asserts, as runs of voxels and shapes, on the version it was drawn on.

Voxels travel as runs along x. A run list is compact (a disc of radius 20 is 41 runs), exact, independent of any chunk
grid, and the form that brush, polygon, model and import all produce; the server never has to repeat a tool's geometry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from specimg.digest import JSON, Digest, digest_json
from specimg.errors import InvalidInput, TooLarge
from specimg.labels.shapes import Shape, require_json

Index = tuple[int, int, int]
Box = tuple[Index, Index]
"""``(start, stop)`` in (z, y, x), ``start <= index < stop``."""

MAX_RUNS = 16_000_000
"""Runs of one edit, such as an import of a hundred classes."""
MAX_SENT_RUNS = 4_000_000
"""Runs that are taken from a client at once: 64 MiB. A 512 x 512 x 100 organ has some 100,000."""
MAX_PARAMS_BYTES = 16 * 1024
MAX_REASON = 2_000
MAX_SHAPES = 10_000
MAX_LABEL = 65_535

_ROW_BYTES = 16
_PIECE_VOXELS = 1 << 22
"""Voxels turned into runs at a time: bounds scratch memory for a mask of any size."""


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """A set of voxels as runs along x.

    ``runs`` is int32 of shape (n, 4), rows ``z, y, x, length``: sorted by (z, y, x), disjoint, indices not negative,
    lengths at least 1. Raises ``InvalidInput`` otherwise. Whether they lie inside a grid is ``require_inside``'s matter.
    """

    runs: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        runs = np.array(self.runs, dtype=np.int32, order="C").reshape(-1, 4)
        if len(runs) > MAX_RUNS:
            raise TooLarge(f"an edit holds at most {MAX_RUNS} runs; send it in parts")
        if len(runs) and (int(runs[:, :3].min()) < 0 or int(runs[:, 3].min()) < 1):
            raise InvalidInput("a run needs indices of 0 or more and a length of 1 or more", field="spans")
        _require_sorted(runs)
        runs.setflags(write=False)
        object.__setattr__(self, "runs", runs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and bool(np.array_equal(self.runs, other.runs))

    def __hash__(self) -> int:
        return hash(self.runs.tobytes())

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def count(self) -> int:
        """Number of voxels."""
        return int(self.runs[:, 3].sum(dtype=np.int64))

    @property
    def box(self) -> Box | None:
        """The smallest box around the voxels; ``None`` if there are none."""
        if not len(self.runs):
            return None
        start = self.runs[:, :3].min(axis=0)
        stop = self.runs[:, :3].max(axis=0) + 1
        x = int((self.runs[:, 2].astype(np.int64) + self.runs[:, 3]).max())
        return (int(start[0]), int(start[1]), int(start[2])), (int(stop[0]), int(stop[1]), x)

    def require_inside(self, shape: Index) -> None:
        """Raise ``InvalidInput`` if a voxel lies outside a grid of this shape."""
        box = self.box
        if box is not None and any(b > n for b, n in zip(box[1], shape, strict=True)):
            raise InvalidInput(f"the voxels leave the grid of shape {shape}", field="spans")

    def to_bytes(self) -> bytes:
        """Little-endian int32, row by row."""
        return self.runs.astype("<i4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Spans:
        """From ``to_bytes``. Raises ``InvalidInput`` or ``TooLarge``; nothing is copied before the size is known."""
        if len(data) % _ROW_BYTES:
            raise InvalidInput("span bytes are rows of four little-endian 32-bit integers", field="spans")
        if len(data) > MAX_SENT_RUNS * _ROW_BYTES:
            raise TooLarge(f"an edit is sent with at most {MAX_SENT_RUNS} runs; send it in parts")
        return cls(np.frombuffer(data, dtype="<i4").reshape(-1, 4))

    @classmethod
    def from_mask(cls, mask: npt.NDArray[np.bool_], origin: Sequence[int] = (0, 0, 0)) -> Spans:
        """The true voxels of a (z, y, x) mask whose first sample is at index ``origin``."""
        return cls(_runs_of(np.asarray(mask, dtype=bool), origin))

    def to_mask(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[np.bool_]:
        """These voxels inside the box as a bool array of shape ``stop - start``."""
        size = tuple(int(b) - int(a) for a, b in zip(start, stop, strict=True))
        if len(size) != 3 or min(size) < 1:
            raise InvalidInput("the box is empty", field="box")
        z, y, x, length = (self.runs[:, i].astype(np.int64) for i in range(4))
        z, y, x0 = z - start[0], y - start[1], x - start[2]
        x1 = np.minimum(x0 + length, size[2])
        x0 = np.maximum(x0, 0)
        inside = (z >= 0) & (z < size[0]) & (y >= 0) & (y < size[1]) & (x1 > x0)
        row = ((z * size[1] + y) * size[2])[inside]
        flat = fill_runs(row + x0[inside], row + x1[inside], size[0] * size[1] * size[2])
        return flat.reshape(size)


def fill_runs(starts: npt.NDArray[np.integer], stops: npt.NDArray[np.integer], size: int) -> npt.NDArray[np.bool_]:
    """A flat bool array of ``size``, true in each ``start <= i < stop``. The runs are disjoint."""
    # Disjoint runs have distinct starts and distinct stops, so plain fancy assignment counts right.
    change = np.zeros(size + 1, dtype=np.int8)
    change[starts] += 1
    change[stops] -= 1
    np.cumsum(change, out=change)
    return change[:-1].view(np.bool_)


def spans_by_label(voxels: npt.NDArray[np.uint16], origin: Sequence[int] = (0, 0, 0)) -> dict[int, Spans]:
    """The voxels of each label of a (z, y, x) label array, background left out; one pass for all labels."""
    parts: dict[int, list[npt.NDArray[np.int32]]] = {}
    for z0, piece in _pieces(voxels):
        starts, lengths, values = _value_runs(piece)
        keep = values != 0
        starts, lengths, values = starts[keep], lengths[keep], values[keep]
        rows = _rows(starts, lengths, piece.shape, (origin[0] + z0, origin[1], origin[2]))
        order = np.argsort(values, kind="stable")
        rows, values = rows[order], values[order]
        labels, first = np.unique(values, return_index=True)
        bounds = np.append(first, len(rows))
        for label, a, b in zip(labels.tolist(), bounds[:-1], bounds[1:], strict=True):
            parts.setdefault(label, []).append(rows[a:b])
    return {label: Spans(np.concatenate(parts[label])) for label in sorted(parts)}


def _require_sorted(runs: npt.NDArray[np.int32]) -> None:
    if len(runs) < 2:
        if len(runs) and int(runs[0, 2]) + int(runs[0, 3]) > np.iinfo(np.int32).max:
            raise InvalidInput("a run leaves the range of 32-bit indices", field="spans")
        return
    stop = runs[:, 2].astype(np.int64) + runs[:, 3]
    if int(stop.max()) > np.iinfo(np.int32).max:
        raise InvalidInput("a run leaves the range of 32-bit indices", field="spans")
    z, y, x = runs[:, 0], runs[:, 1], runs[:, 2]
    same_z = z[1:] == z[:-1]
    later = (z[1:] > z[:-1]) | (same_z & (y[1:] > y[:-1]))
    if not (later | (same_z & (y[1:] == y[:-1]) & (x[1:] >= stop[:-1]))).all():
        raise InvalidInput("runs must be sorted by z, y, x and must not overlap", field="spans")


def _runs_of(mask: npt.NDArray[np.bool_], origin: Sequence[int]) -> npt.NDArray[np.int32]:
    if mask.ndim != 3:
        raise InvalidInput("a mask is an array of z, y, x", field="mask")
    found = [np.empty((0, 4), np.int32)]
    for z0, piece in _pieces(mask):
        starts, lengths, values = _value_runs(piece)
        found.append(_rows(starts[values], lengths[values], piece.shape, (origin[0] + z0, origin[1], origin[2])))
    return np.concatenate(found)


def _pieces(array: npt.NDArray[np.generic]) -> Iterable[tuple[int, npt.NDArray[np.generic]]]:
    planes = max(1, _PIECE_VOXELS // max(1, array.shape[1] * array.shape[2]))
    for z in range(0, array.shape[0], planes):
        yield z, np.ascontiguousarray(array[z : z + planes])


def _value_runs(
    array: npt.NDArray[np.generic],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.generic]]:
    """Maximal runs of one value along x in C order: flat starts, lengths, values."""
    flat = array.reshape(-1)
    new = np.empty(flat.shape, dtype=bool)
    new[:1] = True
    np.not_equal(flat[1:], flat[:-1], out=new[1:])
    new[:: array.shape[2]] = True
    starts = np.flatnonzero(new)
    lengths = np.diff(starts, append=flat.size)
    return starts, lengths, flat[starts]


def _rows(
    starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], shape: tuple[int, ...], origin: Sequence[int]
) -> npt.NDArray[np.int32]:
    rows = np.empty((len(starts), 4), dtype=np.int32)
    plane, rows[:, 2] = np.divmod(starts, shape[2])
    rows[:, 0], rows[:, 1] = np.divmod(plane, shape[1])
    rows[:, 3] = lengths
    rows[:, :3] += np.asarray(origin, dtype=np.int32)
    return rows


@dataclass(frozen=True, slots=True)
class VoxelWrite:
    """Give these voxels this label (0 erases), but only where the label drawn over is in ``over``; None: anywhere."""

    label: int
    spans: Spans
    over: frozenset[int] | None = None

    def __post_init__(self) -> None:
        if not _is_label(self.label):
            raise InvalidInput(f"a label is 0 to {MAX_LABEL}", field="label")
        if self.over is not None and not all(map(_is_label, self.over)):
            raise InvalidInput(f"labels to draw over are 0 to {MAX_LABEL}", field="over")


@dataclass(frozen=True, slots=True)
class ShapePut:
    """Add this shape, or replace the one with its id."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class ShapeDelete:
    """Take this shape away."""

    shape_id: str


@dataclass(frozen=True, slots=True)
class Edit:
    """One act of a person or model.

    ``base`` is the version it was drawn on. ``voxels`` are applied in order. ``tool`` and ``params`` say how it was made
    (provenance; they do not change what it does). ``request_id`` makes a repeated request harmless: the client's own
    id, the same for each retry. ``reason`` is a person's words on the way in; what is stored and digested is the salted
    commitment to them that ``workflow`` puts in their place. Raises ``InvalidInput`` or ``TooLarge``.
    """

    base: int
    tool: str
    params: Mapping[str, JSON] = field(default_factory=dict)
    voxels: tuple[VoxelWrite, ...] = ()
    shapes: tuple[ShapePut | ShapeDelete, ...] = ()
    reason: str | None = None
    request_id: str | None = None

    def __post_init__(self) -> None:
        # Edits are built from JSON of any kind, so types are looked at too.
        if not _is_whole(self.base) or self.base < 0:
            raise InvalidInput("base is a version: 0 or more", field="base")
        if not isinstance(self.tool, str) or not 1 <= len(self.tool) <= 64:
            raise InvalidInput("tool is a word of 1 to 64 characters", field="tool")
        require_reason(self.reason)
        if self.request_id is not None and not _is_text(self.request_id, 128):
            raise InvalidInput("request_id has 1 to 128 characters", field="request_id")
        if sum(len(write.spans) for write in self.voxels) > MAX_RUNS:
            raise TooLarge(f"an edit holds at most {MAX_RUNS} runs; send it in parts")
        if len(self.shapes) > MAX_SHAPES:
            raise TooLarge(f"an edit holds at most {MAX_SHAPES} shapes; send it in parts")
        ids = [act.shape.id if isinstance(act, ShapePut) else act.shape_id for act in self.shapes]
        if len(set(ids)) != len(ids):
            raise InvalidInput("each shape may occur once in an edit", field="shapes")
        require_json([self.tool, dict(self.params)], "params", MAX_PARAMS_BYTES)

    def request_digest(self, actor_id: str) -> Digest:
        """What makes two requests the same request: everything in it but the words, and who sent it.

        A digest of the words would outlive their erasure, and short words can be guessed from a digest.
        """
        return digest_json(
            {
                "actor": actor_id,
                "base": self.base,
                "tool": self.tool,
                "params": dict(self.params),
                "voxels": [
                    [
                        w.label,
                        None if w.over is None else sorted(w.over),
                        hashlib.sha256(w.spans.to_bytes()).hexdigest(),
                    ]
                    for w in self.voxels
                ],
                "shapes": [act.shape.to_json() if isinstance(act, ShapePut) else act.shape_id for act in self.shapes],
            }
        )


def require_reason(reason: str | None) -> None:
    """Raise ``InvalidInput`` if a reason is too long or not text that can be stored."""
    if reason is not None and not _is_text(reason, MAX_REASON):
        raise InvalidInput(f"a reason is text of 1 to {MAX_REASON} characters", field="reason")


def _is_text(value: object, most: int) -> bool:
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_label(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_LABEL
