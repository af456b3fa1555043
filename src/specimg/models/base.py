"""What a model is to specimg: a card, prompts in, one proposed mask out.

A model never writes labels. It answers a list of prompts with a *proposal*, which a person accepts or rejects
(``workflow.propose``). The whole state of a conversation is its ordered list of prompts: ``Session.step`` is a pure
function of (image, prompts, model), so that the prompts stored with a proposal are its provenance, a worker that died
loses nothing, and undo is sending a shorter list.

Models run in the worker process (``models.worker``) and see pixels only through a ``View``: real values (after rescale),
float32, a box at a time, from the pyramid level that fits the question.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from specimg.digest import JSON, Digest, digest, digest_json, parse_digest
from specimg.errors import Cancelled, InvalidInput
from specimg.geometry.grid import Grid

Axis = Literal["z", "y", "x"]
PromptKind = Literal["point", "box", "scribble", "mask"]
Index: TypeAlias = tuple[int, int, int]
Cancel: TypeAlias = Callable[[], bool]
"""Asked between phases and tiles; true means that nobody wants the answer any more."""

AXES: tuple[Axis, ...] = ("z", "y", "x")
KINDS: tuple[PromptKind, ...] = ("point", "box", "scribble", "mask")

MAX_PROMPTS = 256
MAX_POINTS = 10_000
"""Per request, all prompts together."""
MAX_RUNS = 1_000_000
"""Runs of mask prompts per request: about a thousand labelled planes."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a person must know before using a model, and what a proposal's provenance names.

    ``digest`` covers whatever decides the answer: weights, or the source and libraries of a method without weights.
    ``licence`` is an SPDX expression. ``dims``: which of 2 (one plane) and 3 the model answers.
    """

    id: str
    name: str
    version: str
    digest: Digest
    licence: str
    dims: tuple[Literal[2, 3], ...]
    prompts: tuple[PromptKind, ...]
    outputs: Literal["binary"]
    intended_use: str

    def to_json(self) -> dict[str, JSON]:
        """As ``GET /api/models`` gives it."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "licence": self.licence,
            "dims": list(self.dims),
            "prompts": list(self.prompts),
            "outputs": self.outputs,
            "intended_use": self.intended_use,
        }

    @classmethod
    def from_json(cls, value: Any) -> Card:
        """From ``to_json``; raises ``InvalidInput``."""
        try:
            return cls(
                id=str(value["id"]),
                name=str(value["name"]),
                version=str(value["version"]),
                digest=parse_digest(str(value["digest"])),
                licence=str(value["licence"]),
                dims=cast(Any, tuple(int(d) for d in value["dims"])),
                prompts=cast(Any, tuple(str(k) for k in value["prompts"])),
                outputs="binary",
                intended_use=str(value["intended_use"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput("this is not a model card", field="card") from error


def source_digest(files: Sequence[str | Path], libraries: Sequence[str]) -> Digest:
    """The digest of a method without weights: its source files, and the versions of the libraries that do its sums."""
    sources: dict[str, JSON] = {Path(f).name: digest(Path(f).read_bytes()) for f in files}
    versions: dict[str, JSON] = {name: metadata.version(name) for name in libraries}
    return digest_json({"sources": sources, "libraries": versions})


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing a person showed, in the index space (z, y, x) of level 0; integers are sample centres.

    - ``point``: one or more clicks.
    - ``box``: two opposite corners; samples with centres between them are in it.
    - ``scribble``: a polyline.
    - ``mask``: voxels as runs along x, in ``spans``: little-endian int32 rows (z, y, x, length), exactly the bytes of
      ``labels.edit.Spans``. ``points`` is empty.

    ``positive`` is false for "not here". ``axis`` names the normal of the plane that a 2-D prompt was drawn in. Prompts
    that all name the same plane ask for an answer in that plane; any other list asks for a volume.
    """

    kind: PromptKind
    positive: bool
    points: tuple[tuple[float, float, float], ...] = ()
    axis: Axis | None = None
    spans: bytes = b""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInput(f"a prompt's kind is one of {', '.join(KINDS)}", field="prompts.kind")
        if self.axis is not None and self.axis not in AXES:
            raise InvalidInput("a prompt's axis is z, y, x or null", field="prompts.axis")
        if any(len(p) != 3 or not all(isfinite(v) for v in p) for p in self.points):
            raise InvalidInput("a point is three finite numbers (z, y, x)", field="prompts.points")
        least, most = {"point": (1, MAX_POINTS), "box": (2, 2), "scribble": (1, MAX_POINTS), "mask": (0, 0)}[self.kind]
        if not least <= len(self.points) <= most:
            raise InvalidInput(f"a {self.kind} has {least} to {most} points", field="prompts.points")
        if (self.kind == "mask") != bool(self.spans) or len(self.spans) % 16:
            raise InvalidInput("a mask, and only a mask, has spans: rows of four int32", field="prompts.spans")

    @property
    def runs(self) -> npt.NDArray[np.int32]:
        """Runs of a mask: (n, 4) of z, y, x, length."""
        return np.frombuffer(self.spans, "<i4").reshape(-1, 4)

    @property
    def bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Lowest and highest index, both inclusive."""
        if self.kind == "mask":
            runs = self.runs.astype(np.int64)
            low = runs[:, :3].min(axis=0)
            high = np.maximum(runs[:, :3].max(axis=0), (0, 0, int((runs[:, 2] + runs[:, 3]).max()) - 1))
            return cast(Any, tuple(low.tolist())), cast(Any, tuple(high.tolist()))
        points = np.asarray(self.points)
        return cast(Any, tuple(points.min(axis=0).tolist())), cast(Any, tuple(points.max(axis=0).tolist()))

    def to_json(self) -> dict[str, JSON]:
        """JSON form; the same keys over HTTP, to the worker and in the proposal's row."""
        value: dict[str, JSON] = {
            "kind": self.kind,
            "positive": self.positive,
            "points": [list(p) for p in self.points],
            "axis": self.axis,
        }
        if self.spans:
            value["spans"] = base64.b64encode(self.spans).decode("ascii")
        return value

    @classmethod
    def from_json(cls, value: Any) -> Prompt:
        """From ``to_json``; raises ``InvalidInput``."""
        try:
            positive = value["positive"]
            if not isinstance(positive, bool):
                raise TypeError
            return cls(
                kind=value["kind"],
                positive=positive,
                points=tuple((float(z), float(y), float(x)) for z, y, x in value.get("points", ())),
                axis=value.get("axis"),
                spans=base64.b64decode(value.get("spans") or "", validate=True),
            )
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
            raise InvalidInput("a prompt needs kind, positive and points", field="prompts") from error


def check_prompts(prompts: Sequence[Prompt], grid: Grid, card: Card) -> None:
    """Refuse what the model cannot take or the grid does not hold. Raises ``InvalidInput``."""
    if not 1 <= len(prompts) <= MAX_PROMPTS:
        raise InvalidInput(f"a proposal needs 1 to {MAX_PROMPTS} prompts", field="prompts")
    if sum(len(p.points) for p in prompts) > MAX_POINTS:
        raise InvalidInput(f"the prompts hold more than {MAX_POINTS} points", field="prompts.points")
    if sum(len(p.spans) for p in prompts) > 16 * MAX_RUNS:
        raise InvalidInput(f"the prompts hold more than {MAX_RUNS} runs", field="prompts.spans")
    for prompt in prompts:
        if prompt.kind not in card.prompts:
            raise InvalidInput(f"{card.name} takes {', '.join(card.prompts)}, not {prompt.kind}", field="prompts.kind")
        if prompt.kind == "mask" and (prompt.runs[:, 3].min() < 1 or int(prompt.runs[:, 3].max()) > grid.shape[2]):
            raise InvalidInput("a run has a length of at least one and ends inside the grid", field="prompts.spans")
        low, high = prompt.bounds
        # Half a sample of slack: the outer half of a border sample is still that sample.
        if any(a < -0.5 or b > n - 0.5 for a, b, n in zip(low, high, grid.shape, strict=True)):
            raise InvalidInput("a prompt lies outside the image", field="prompts.points")
        if prompt.axis is not None and prompt.kind != "mask":
            normal = AXES.index(prompt.axis)
            if round(low[normal]) != round(high[normal]):
                raise InvalidInput("a prompt with an axis lies in one plane of that axis", field="prompts.axis")


def common_plane(prompts: Sequence[Prompt], grid: Grid) -> tuple[Axis, int] | None:
    """The plane that every prompt names, or ``None`` for a volume. A grid with one z is always that plane."""
    if grid.shape[0] == 1:
        return "z", 0
    planes: set[tuple[Axis, int] | None] = set()
    for prompt in prompts:
        if prompt.axis is None:
            return None
        normal = AXES.index(prompt.axis)
        low, high = (min(max(round(b[normal]), 0), grid.shape[normal] - 1) for b in prompt.bounds)
        if low != high:
            return None
        planes.add((prompt.axis, low))
    return planes.pop() if len(planes) == 1 else None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A proposed mask: ``mask`` (z, y, x) with its first voxel at level-0 index ``start``; everything else is outside.

    ``score`` is the model's own opinion in 0..1, if it has one. ``notes`` are full sentences for the person.
    """

    start: Index
    mask: npt.NDArray[np.bool_]
    score: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def stop(self) -> Index:
        """First index after the mask's box."""
        z, y, x = (a + n for a, n in zip(self.start, self.mask.shape, strict=True))
        return z, y, x

    def trimmed(self) -> Answer:
        """The same answer in the smallest box that holds it; an empty one keeps a box of no voxels."""
        start: list[int] = []
        cut: list[slice] = []
        for axis in range(3):
            hit = np.flatnonzero(self.mask.any(axis=tuple(a for a in range(3) if a != axis)))
            low, high = (int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, 0)
            start.append(self.start[axis] + low)
            cut.append(slice(low, high))
        mask = np.ascontiguousarray(self.mask[tuple(cut)])
        return Answer((start[0], start[1], start[2]), mask, self.score, self.notes)


class Session(Protocol):
    """A model that looks at one image. What it keeps between steps may only be cache."""

    def step(self, prompts: Sequence[Prompt], cancel: Cancel) -> Answer:
        """Answer the whole ordered list of prompts.

        The same prompts give the same voxels, whatever was asked before. Raises ``InvalidInput`` for prompts it cannot
        use and ``Cancelled`` soon after ``cancel`` turns true.
        """
        ...


@runtime_checkable
class Model(Protocol):
    """A plug-in of the group ``specimg.models``: an object with these members."""

    @property
    def card(self) -> Card:
        """What it is."""
        ...

    def open(self, view: View) -> Session:
        """Look at an image. Cheap: nothing is read before the first step."""
        ...


def stop_if(cancel: Cancel) -> None:
    """Raise ``Cancelled`` once nobody wants the answer."""
    if cancel():
        raise Cancelled("the request was taken back")


# --- pixels ----------------------------------------------------------------------------------------------------------


class SourceLevel(Protocol):
    """The part of ``store.image.Level`` that a view needs."""

    @property
    def factors(self) -> tuple[int, int, int]:
        """Level-0 samples per sample of this level, along (z, y, x)."""
        ...


class SourceSeries(Protocol):
    """The part of ``formats.base.Series`` that a view needs."""

    @property
    def modality(self) -> str:
        """DICOM's code, or ``SAR``."""
        ...

    @property
    def channels(self) -> Sequence[Any]:
        """Channels with their ``unit``."""
        ...

    @property
    def nodata(self) -> float | None:
        """Stored value that stands for "nothing was measured"."""
        ...


class Source(Protocol):
    """The part of ``store.image.Image`` that a view needs; tests bring an array in the same clothes."""

    @property
    def grid(self) -> Grid:
        """Geometry of level 0."""
        ...

    @property
    def series(self) -> SourceSeries:
        """Description."""
        ...

    @property
    def levels(self) -> Sequence[SourceLevel]:
        """The pyramid, finest first."""
        ...

    def read_box(
        self, start: Sequence[int], stop: Sequence[int], *, level: int = 0, c: int = 0, t: int = 0
    ) -> npt.NDArray[Any]:
        """Stored values, (z, y, x)."""
        ...

    def real(self, stored: npt.NDArray[Any], *, z: int | range) -> npt.NDArray[np.float32]:
        """Rescaled values of planes ``z`` (level-0 indices)."""
        ...


class View:
    """One channel at one time of an image, as real float32 values, read lazily a box at a time.

    Complex samples become amplitudes; samples without a measurement (``nodata``, NaN) become NaN.
    """

    def __init__(self, source: Source, *, c: int = 0, t: int = 0) -> None:
        self._source = source
        self._c, self._t = c, t
        channels = source.series.channels
        if not 0 <= c < max(1, len(channels)):
            raise InvalidInput("the image has no such channel", field="c")
        self.grid = source.grid
        self.modality = source.series.modality
        self.unit = str(channels[c].unit) if channels else "1"
        self.factors: tuple[Index, ...] = tuple(level.factors for level in source.levels)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Size of a level-0 sample along (z, y, x), in units of the grid's space."""
        return self.grid.affine.spacing

    def shape(self, level: int = 0) -> Index:
        """Samples of a level."""
        z, y, x = (-(-n // f) for n, f in zip(self.grid.shape, self.factors[level], strict=True))
        return z, y, x

    def level_for(self, factors: Sequence[int]) -> int:
        """The coarsest level whose samples fit whole into blocks of ``factors`` level-0 samples."""
        fitting = [
            i for i, own in enumerate(self.factors) if all(f % o == 0 for f, o in zip(factors, own, strict=True))
        ]
        return max(fitting, default=0)

    def read(self, start: Sequence[int], stop: Sequence[int], level: int = 0) -> npt.NDArray[np.float32]:
        """Real values with ``start <= index < stop`` in the index space of ``level``, (z, y, x)."""
        stored = self._source.read_box(start, stop, level=level, c=self._c, t=self._t)
        missing = self._source.series.nodata
        nothing = None if missing is None else stored == missing
        if np.iscomplexobj(stored):
            stored = np.abs(stored)
        step = self.factors[level][0]
        planes = range(start[0] * step, stop[0] * step, step)
        real = np.array(self._source.real(stored, z=planes), dtype=np.float32)
        if nothing is not None:
            real[nothing] = np.nan
        return real

    def read_blocks(self, start: Index, shape: Index, factors: Index) -> npt.NDArray[np.float32]:
        """Means of blocks of ``factors`` level-0 samples, from the coarsest level that serves.

        ``start`` and ``shape`` count blocks; blocks that leave the image average what is inside it.
        """
        level = self.level_for(factors)
        own = self.factors[level]
        extra = [f // o for f, o in zip(factors, own, strict=True)]
        size = self.shape(level)
        low = [s * e for s, e in zip(start, extra, strict=True)]
        high = [min((s + n) * e, m) for s, n, e, m in zip(start, shape, extra, size, strict=True)]
        values = self.read(low, high, level)
        for axis, e in enumerate(extra):
            if e > 1:
                values = block_mean(values, axis, e)
        return values


def block_mean(values: npt.NDArray[np.float32], axis: int, size: int) -> npt.NDArray[np.float32]:
    """Means of ``size`` neighbours along an axis; the last block may be short."""
    edges = np.arange(0, values.shape[axis], size)
    totals = np.add.reduceat(values, edges, axis=axis, dtype=np.float32)
    counts = np.diff(np.append(edges, values.shape[axis])).astype(np.float32)
    shape = [1] * values.ndim
    shape[axis] = counts.size
    return np.asarray(totals / counts.reshape(shape), dtype=np.float32)
