"""CLICK: from a click, a box or a scribble to an object, without any training.

1. *Where and how large.* A box says it. Otherwise growing windows around the positive prompts do (``models.levels``).
2. *What.* In a region of at most ``BUDGET`` blocks: histograms of inside and outside, geodesic distance to positive
   against negative prompts, and a weak pull towards the first guess vote per block; a graph cut with edge-sensitive
   smoothness decides, twice, the second time with what the first has learned.
3. *Exactly where.* Back at the image's own samples, a band around the surface decides by intensity.

Cost depends on the region, not on the image. The answer depends on the image and the ordered prompts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from specimg.errors import InvalidInput
from specimg.geometry.grid import Grid
from specimg.models import base, classical, levels, region
from specimg.models.base import AXES, Answer, Cancel, Card, Prompt, View, check_prompts, common_plane, stop_if
from specimg.models.classical import BINS, Mask, Real
from specimg.models.region import Region

Points = npt.NDArray[np.float64]

BUDGET = 110_000
WINDOW_BUDGET = 64_000
PATIENT_WINDOWS = (12, 20, 32, 52, 84, 135, 220)
"""Half-widths in millimetres: from a vessel to a liver."""
SAMPLE_WINDOWS = (12, 20, 32, 52, 84, 135, 220, 350, 560)
"""Half-widths in samples, where the world's unit says nothing about objects."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Prompts as geometry, level-0 indices: points (n, 3), box as lowest and highest index."""

    first: Points
    positive: Points
    negative: Points
    low: Points | None
    high: Points | None
    plane: tuple[base.Axis, int] | None

    @classmethod
    def of(cls, prompts: Sequence[Prompt], view: View) -> Shown:
        """Collect; later boxes join earlier ones."""
        plane = common_plane(prompts, view.grid)
        sides: dict[bool, list[Points]] = {True: [np.empty((0, 3))], False: [np.empty((0, 3))]}
        corners: list[Points] = []
        for prompt in prompts:
            points = np.asarray(prompt.points, np.float64)
            if prompt.kind == "box":
                if not prompt.positive:
                    raise InvalidInput(
                        "a box shows where the object is; use a scribble for where it is not", field="prompts"
                    )
                corners.append(points)
            else:
                sides[prompt.positive].append(_along(points) if prompt.kind == "scribble" else points)
        low = high = None
        if corners:
            low, high = np.concatenate(corners).min(axis=0), np.concatenate(corners).max(axis=0)
            if plane is None:
                low, high = _deepened(low, high, view.grid)
        elif len(sides[True]) == 1:
            raise InvalidInput("the first prompt must be inside the object, or a box around it", field="prompts")
        positive = sides[True][1] if len(sides[True]) > 1 else sides[True][0]
        return cls(positive, np.concatenate(sides[True]), np.concatenate(sides[False]), low, high, plane)


def _deepened(low: Points, high: Points, grid: Grid) -> tuple[Points, Points]:
    """A box drawn on one plane says nothing of depth: it is taken as deep as its smaller side, about that plane."""
    flat = np.flatnonzero((high - low < 1) & (np.asarray(grid.shape) > 1))
    if len(flat) != 1:
        return low, high
    normal, spacing = int(flat[0]), np.asarray(grid.affine.spacing)
    half = np.delete((high - low) * spacing, normal).min() / 2 / spacing[normal]
    low, high = low.copy(), high.copy()
    low[normal] = max(0.0, low[normal] - half)
    high[normal] = min(grid.shape[normal] - 1.0, high[normal] + half)
    return low, high


def _along(points: Points) -> Points:
    """Samples of a polyline, half a sample apart."""
    pieces = [points[:1]]
    for a, b in pairwise(points):
        n = min(10_000, int(np.abs(b - a).max() * 2) + 1)
        pieces.append(a + (b - a) * (np.arange(1, n + 1) / n)[:, None])
    return np.concatenate(pieces)


class Click:
    """The model; see the module's text."""

    @cached_property
    def card(self) -> Card:
        """What it is; computed when first asked for, because the digest reads our own source."""
        files = [m.__file__ for m in (base, classical, levels, region) if m.__file__] + [__file__]
        return Card(
            id="click",
            name="Click",
            version="1",
            digest=base.source_digest(files, ["numpy", "scipy", "PyMaxflow"]),
            licence="Apache-2.0",
            dims=(2, 3),
            prompts=("point", "box", "scribble"),
            outputs="binary",
            intended_use="Drafts the outline of one object for a person to review. Not a medical device.",
        )

    def open(self, view: View) -> ClickSession:
        """Nothing is read before the first step."""
        return ClickSession(view, self.card)


class ClickSession:
    """CLICK on one image."""

    def __init__(self, view: View, card: Card) -> None:
        self._view = view
        self._card = card

    def step(self, prompts: Sequence[Prompt], cancel: Cancel) -> Answer:
        """See ``Session.step``."""
        view = self._view
        check_prompts(prompts, view.grid, self._card)
        shown = Shown.of(prompts, view)
        stop_if(cancel)
        scale = Scale.near(view, shown)
        if shown.low is not None and shown.high is not None:
            low, high, prior = shown.low, shown.high, None
        else:
            low, high, prior = _extent(view, shown, _windows(view, shown, scale, cancel))
        stop_if(cancel)
        here, mask, scale = _segment(view, shown, scale, low, high, prior)
        stop_if(cancel)
        return _refine(view, here, mask, scale, shown, cancel).trimmed()


@dataclass(frozen=True, slots=True)
class Scale:
    """How real values become an image of contrasts: -0.5 … 0.5 spans what may matter around this object.

    CT: 300 HU around the tissue shown, because outside of it lie only air and metal. Radar amplitude: decibels, 40 dB
    around what was shown, because speckle multiplies. Anything else: the values between two quantiles of the region.
    """

    logarithm: bool
    speckle: bool
    centre: float | None
    width: float

    @classmethod
    def near(cls, view: View, shown: Shown) -> Scale:
        """For the object that was shown: the median around its first point, or in the middle of its box."""
        if view.modality not in ("CT", "SAR"):
            return cls(False, False, None, 1.0)
        if len(shown.positive):
            points = shown.positive[:: max(1, len(shown.positive) // 16)]
        else:
            assert shown.low is not None
            assert shown.high is not None
            points = ((shown.low + shown.high) / 2)[None]
        reach = 1 if view.modality == "CT" else 2
        near = np.concatenate([_around(view, p, reach, shown.plane) for p in points])
        near = near[np.isfinite(near)]
        if view.modality == "CT":
            return cls(False, False, float(np.median(near)) if near.size else 0.0, 300.0)
        logarithm = view.unit != "dB"
        near = _decibel(near) if logarithm else near
        return cls(logarithm, True, float(np.median(near)) if near.size else 0.0, 40.0)

    def fitted(self, values: Real) -> Scale:
        """With the quantiles of a region where nothing better is known."""
        if self.centre is not None:
            return self
        real = values[np.isfinite(values)]
        low, high = np.quantile(real, [0.01, 0.99]) if real.size else (0.0, 1.0)
        return Scale(False, False, float(low + high) / 2, max(float(high - low), 1e-6))

    def image(self, values: Real) -> Real:
        """Contrasts in -0.5 … 0.5; what was not measured becomes the lowest."""
        assert self.centre is not None
        if self.logarithm:
            values = _decibel(values)
        scaled = np.clip((values - np.float32(self.centre)) / np.float32(self.width), -0.5, 0.5)
        return np.asarray(np.nan_to_num(scaled, nan=-0.5), dtype=np.float32)

    def calm(self, image: Real) -> Real:
        """Less noise, edges mostly kept."""
        flat = [1 if n > 1 else 0 for n in image.shape]
        if self.speckle:
            image = ndimage.median_filter(image, [1 + 4 * f for f in flat])
        return np.asarray(ndimage.gaussian_filter(image, [0.65 * f for f in flat]), dtype=np.float32)


def _decibel(values: Real) -> Real:
    return np.asarray(20 * np.log10(np.maximum(values, 1e-6)), dtype=np.float32)


def _around(view: View, point: Points, reach: int, plane: tuple[base.Axis, int] | None) -> Real:
    """Values of the samples within ``reach`` of a point, in its plane if there is one."""
    centre = [min(max(int(np.floor(v + 0.5)), 0), n - 1) for v, n in zip(point, view.grid.shape, strict=True)]
    spread = [0 if plane is not None and AXES[axis] == plane[0] else reach for axis in range(3)]
    low = [max(0, c - s) for c, s in zip(centre, spread, strict=True)]
    high = [min(n, c + s + 1) for c, s, n in zip(centre, spread, view.grid.shape, strict=True)]
    return view.read(low, high).ravel()


def _sizes(view: View) -> tuple[float, float, float]:
    """Size of a sample: millimetres in patient space, else relative to the finest axis of the plane."""
    if view.grid.space.kind == "patient":
        return view.spacing
    finest = min(view.spacing[1:])
    z, y, x = (s / finest for s in view.spacing)
    return z, y, x


def _region(view: View, shown: Shown, low: Points, high: Points, budget: int) -> Region:
    low, high = low.copy(), high.copy()
    normal = None
    if shown.plane is not None:
        normal = AXES.index(shown.plane[0])
        low[normal] = high[normal] = shown.plane[1]
    return Region.around(low, high, spacing=_sizes(view), whole=view.grid.shape, budget=budget, normal=normal)


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One of the growing windows around the first prompt, judged."""

    half: float
    region: Region
    shapes: levels.Shapes

    def guess(self, shown: Shown) -> levels.Guess:
        """Its best shape, with the later prompts as witnesses."""
        blocks = np.floor(self.region.blocks_of(shown.negative) + 0.5).astype(np.int64)
        held = ((blocks >= 0) & (blocks < self.region.shape)).all(axis=1)
        return self.shapes.best(self.shapes.rank[tuple(blocks[held].T)].tolist())


def _windows(view: View, shown: Shown, scale: Scale, cancel: Cancel) -> list[Window]:
    """Growing windows around the first positive prompt, until one holds the whole image."""
    halves = PATIENT_WINDOWS if view.grid.space.kind == "patient" else SAMPLE_WINDOWS
    sizes = np.asarray(_sizes(view))
    found: list[Window] = []
    for half in halves:
        stop_if(cancel)
        low, high = shown.first.min(axis=0) - half / sizes, shown.first.max(axis=0) + half / sizes
        here = _region(view, shown, low, high, WINDOW_BUDGET)
        found.append(Window(half, here, _judge(view, shown, scale, here, half)))
        if not any(side for pair in here.open_sides() for side in pair):
            break
    return found


def _judge(view: View, shown: Shown, scale: Scale, here: Region, half: float) -> levels.Shapes:
    """The nested shapes of one window."""
    values = view.read_blocks(here.start, here.shape, here.factors)
    image = scale.fitted(values).image(values)
    sizes = _sizes(view)
    seeds = here.mark(shown.first)
    distance = classical.geodesic(scale.calm(image), seeds, here.step(sizes), flat=0.01)
    sides = np.asarray(here.factors) * sizes
    near = ndimage.distance_transform_edt(~seeds, sampling=sides) <= max(half / 2, 1.01 * float(sides.max()))
    seen = scale.calm(image) if scale.speckle else image
    return levels.shapes(distance, levels.edge_strength(seen, near), here.open_sides(), float(np.prod(sides)))


def _extent(view: View, shown: Shown, windows: list[Window]) -> tuple[Points, Points, tuple[Region, Mask]]:
    """Where the object seems to be, from points alone: level-0 box and first guess."""
    guesses = [(w.half, w.guess(shown)) for w in windows]
    k = levels.choose(guesses)
    here, mask = windows[k].region, guesses[k][1].mask
    blocks = np.argwhere(mask)
    half = np.asarray(here.factors) / 2
    low = np.minimum(here.indices_of(blocks.min(axis=0)) - half, shown.positive.min(axis=0))
    high = np.maximum(here.indices_of(blocks.max(axis=0)) + half, shown.positive.max(axis=0))
    return low, high, (here, mask)


def _segment(
    view: View, shown: Shown, scale: Scale, low: Points, high: Points, prior: tuple[Region, Mask] | None
) -> tuple[Region, Mask, Scale]:
    """The object in a region around ``low`` to ``high`` (grown to hold every prompt)."""
    margin = (high - low) * 0.25 + 2
    wide_low, wide_high = low - margin, high + margin
    for points in (shown.positive, shown.negative):
        if len(points) and shown.low is None:
            wide_low = np.minimum(wide_low, points.min(axis=0) - 2)
            wide_high = np.maximum(wide_high, points.max(axis=0) + 2)
    here = _region(view, shown, wide_low, wide_high, BUDGET)
    values = view.read_blocks(here.start, here.shape, here.factors)
    scale = scale.fitted(values)
    image = scale.image(values)
    calm = scale.calm(image)
    positive, negative = here.mark(shown.positive), here.mark(shown.negative)
    negative &= ~positive
    outside = ~np.isfinite(values) if not np.isfinite(values).all() else np.zeros(here.shape, np.bool_)
    if shown.low is not None and shown.high is not None:
        outside |= ~_box(here, shown.low, shown.high, shown.plane)
    else:
        outside |= _rim(here)
    outside &= ~positive
    belief = _core(outside) if prior is None else _carried(prior, here)
    mask = _decide(calm, positive, negative, outside, belief, here.step(_sizes(view)), boxed=prior is None)
    return here, mask, scale


def _box(here: Region, low: Points, high: Points, plane: tuple[base.Axis, int] | None) -> Mask:
    """Blocks whose centre lies in the box."""
    inside = np.ones(here.shape, np.bool_)
    for axis in range(3):
        if plane is not None and AXES[axis] == plane[0]:
            continue
        centres = (np.arange(here.shape[axis]) + here.start[axis]) * here.factors[axis] + (here.factors[axis] - 1) / 2
        slack = here.factors[axis] / 2
        within = (centres >= low[axis] - slack) & (centres <= high[axis] + slack)
        inside &= within.reshape([-1 if a == axis else 1 for a in range(3)])
    return inside


def _rim(here: Region) -> Mask:
    """Blocks on sides behind which the image goes on."""
    rim = np.zeros(here.shape, np.bool_)
    for axis, sides in enumerate(here.open_sides()):
        if here.shape[axis] > 2:
            view = np.moveaxis(rim, axis, 0)
            view[0] |= sides[0]
            view[-1] |= sides[1]
    return rim


def _core(outside: Mask) -> Real:
    """1 in the middle of what is not outside, falling to 0 on its ellipsoid."""
    where = np.argwhere(~outside)
    centre, half = (where.min(axis=0) + where.max(axis=0)) / 2, np.ptp(where, axis=0) / 2 + 1
    away = np.zeros(outside.shape, np.float32)
    for axis in range(3):
        line = ((np.arange(outside.shape[axis]) - centre[axis]) / half[axis]) ** 2
        away = away + line.reshape([-1 if a == axis else 1 for a in range(3)]).astype(np.float32)
    return np.asarray(np.clip(1 - away, 0, 1), dtype=np.float32)


def _carried(prior: tuple[Region, Mask], here: Region) -> Real:
    """A mask on the blocks of another region, 0..1, softened at its surface; outside of its own region 0."""
    there, mask = prior
    soft: Real = ndimage.gaussian_filter(mask.astype(np.float32), [0.8 if n > 1 else 0 for n in mask.shape])
    for axis in range(3):
        centres = (np.arange(here.shape[axis]) + here.start[axis]) * here.factors[axis] + (here.factors[axis] - 1) / 2
        at = (centres - (there.factors[axis] - 1) / 2) / there.factors[axis] - there.start[axis]
        soft = _interpolated(soft, axis, at)
    return soft


def _interpolated(values: Real, axis: int, at: Points) -> Real:
    """Linear interpolation along one axis; half a sample beyond the ends counts as the end, farther as 0."""
    size = values.shape[axis]
    first = np.clip(np.floor(at).astype(np.int64), 0, max(0, size - 2))
    second = np.minimum(first + 1, size - 1)
    part = np.clip(at - first, 0, 1).astype(np.float32)
    part[(at < -0.5) | (at > size - 0.5)] = np.nan
    part = part.reshape([-1 if a == axis else 1 for a in range(3)])
    result = np.take(values, first, axis) * (1 - part) + np.take(values, second, axis) * part
    return np.nan_to_num(np.asarray(result, np.float32), nan=0.0)


WIDEN = 0.25
SHARE_HIST, SHARE_PRIOR, SHARE_GEO, SMOOTH, FLAT = 1.0, 1.2, 1.6, 1.2, 0.03


def _decide(
    image: Real,
    positive: Mask,
    negative: Mask,
    outside: Mask,
    belief: Real,
    step: tuple[float, float, float],
    *,
    boxed: bool,
) -> Mask:
    """Votes and cut, twice."""
    bins = np.clip(((image + 0.5) * BINS).astype(np.intp), 0, BINS - 1)
    inner = (~outside).astype(np.float32)
    shown = bool(positive.any())
    shape_vote = np.sqrt(belief) * 0.9 if boxed else belief
    chance = belief * (0.5 if shown and boxed else 1.0)
    near = [_halo(m) for m in (positive, negative)]
    geo: Real | None = None
    if shown:
        to_positive = classical.geodesic(image, positive, step, flat=FLAT)
        if not boxed and (further := positive & (belief < 0.5)).any():
            # What was clicked outside the first guess widens it.
            also = np.exp(-classical.geodesic(image, further, step, flat=FLAT) / WIDEN)
            belief = np.maximum(belief, also).astype(np.float32)
            shape_vote, chance = belief, belief
        to_negative = classical.geodesic(image, negative | outside, step, flat=FLAT)
        geo = np.clip(np.log((to_negative + 0.05) / (to_positive + 0.05)), -2, 2).astype(np.float32)
    mask = np.zeros(image.shape, np.bool_)
    for _ in range(2):
        ratio = classical.histogram_ratio(
            bins, chance * inner + 30 * near[0], (1 - chance) * inner * 0.5 + outside + 30 * near[1]
        )
        vote = SHARE_HIST * np.log(ratio / (1 - ratio)) + SHARE_PRIOR * (shape_vote - 0.45)
        if geo is not None:
            vote = vote + SHARE_GEO * geo
        mask = classical.graph_cut(image, positive, negative | outside, vote, step, smoothness=SMOOTH)
        mask = classical.connected_to(mask, positive) if shown else _largest(mask, belief)
        chance = (0.85 * mask + 0.15 / (1 + np.exp(-vote))).astype(np.float32)
    return mask


def _halo(seeds: Mask) -> Real:
    """A little weight around each seed."""
    return np.asarray(
        ndimage.gaussian_filter(seeds.astype(np.float32), [1.5 if n > 1 else 0 for n in seeds.shape]), np.float32
    )


def _largest(mask: Mask, weight: Real) -> Mask:
    """The part that weighs most; the middle of the box weighs most."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    totals = np.bincount(labels.ravel(), weight.ravel() + 1e-3)
    totals[0] = 0
    return np.asarray(labels == totals.argmax())


def _refine(view: View, here: Region, mask: Mask, scale: Scale, shown: Shown, cancel: Cancel) -> Answer:
    """Back at the image's own samples: near the surface, intensity decides together with the blocks' opinion."""
    box = ndimage.find_objects(mask.astype(np.uint8))
    if not box or max(here.factors) == 1:
        return Answer(here.start0, mask)
    low = np.maximum(0, [(s.start - 2 + a) * f for s, a, f in zip(box[0], here.start, here.factors, strict=True)])
    high = [(s.stop + 2 + a) * f for s, a, f in zip(box[0], here.start, here.factors, strict=True)]
    fine = _region(view, shown, low.astype(np.float64), np.asarray(high, np.float64) - 1, REFINE)
    opinion = _carried((here, mask), fine)
    if fine.factors != here.factors:
        stop_if(cancel)
        image = scale.image(view.read_blocks(fine.start, fine.shape, fine.factors))
        opinion = _sharpened(opinion, image, scale)
    fine_mask = opinion > 0.5
    for axis, f in enumerate(fine.factors):
        fine_mask = np.repeat(fine_mask, f, axis=axis)
    size = [b - a for a, b in zip(fine.start0, fine.stop0, strict=True)]
    return Answer(fine.start0, fine_mask[tuple(slice(0, n) for n in size)])


REFINE = 6_000_000
"""Samples near the object that the last phase looks at; a larger object keeps a coarser border."""


def _sharpened(opinion: Real, image: Real, scale: Scale) -> Real:
    """Probabilities that follow the image in the band where the blocks are of two minds."""
    if scale.speckle:
        return opinion  # one sample of speckle says nothing
    bins = np.clip(((image + 0.5) * BINS).astype(np.intp), 0, BINS - 1)
    inside, outside = opinion > 0.95, (opinion < 0.05) & (opinion > 0)
    if not inside.any() or not outside.any():
        return opinion
    ratio = classical.histogram_ratio(bins, inside.astype(np.float32), outside.astype(np.float32))
    evidence = scale.calm(np.log(ratio / (1 - ratio)).astype(np.float32))
    band = (opinion > 0.05) & (opinion < 0.95)
    belief = np.clip(opinion, 0.01, 0.99)
    total = BELIEF * np.log(belief / (1 - belief)) + evidence
    return np.asarray(np.where(band, 1 / (1 + np.exp(-total)), opinion), np.float32)


BELIEF = 1.5
"""Weight of the blocks' opinion against the intensity of one sample."""


CLICK = Click()
