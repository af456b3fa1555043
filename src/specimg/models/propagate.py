"""PROPAGATE: from some labelled planes of an object to all planes between them, and a little beyond.

Each labelled plane is carried to its neighbours by deforming one plane of the image onto the next (symmetric-forces
demons: Thirion, Med. Image Anal. 1998; Vercauteren et al., NeuroImage 2009) and moving the signed distance to the
outline with it. Between two labelled planes both directions meet, weighted by nearness. Where the images do not tell,
the deformation is nil and what remains is shape interpolation (Raya and Udupa, IEEE TMI 1990).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 -- its usual name
from scipy import ndimage

from specimg.errors import InvalidInput, TooLarge
from specimg.models import base
from specimg.models.base import AXES, Answer, Axis, Cancel, Card, Prompt, View, check_prompts, stop_if

Real = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

BUDGET = 160 * 160
"""Samples of a plane that registration works on; larger planes are averaged first."""
BEYOND = 0.25
"""How far past the outermost labelled planes to go, in parts of the distance between them."""
LIMIT = 2**29
"""Voxels of the answer's box."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Labelled planes along one axis: plane index to mask over the crop ``start`` … ``stop`` (level 0, plane's axes)."""

    axis: Axis
    planes: dict[int, Mask]
    start: tuple[int, int]
    stop: tuple[int, int]

    @classmethod
    def of(cls, prompts: Sequence[Prompt], shape: tuple[int, int, int]) -> Labelled:
        """Collect masks, and negative points as planes without the object. Raises ``InvalidInput``."""
        masks = [p for p in prompts if p.kind == "mask"]
        if not masks or not all(p.positive for p in masks):
            raise InvalidInput("show the object's mask on at least one plane", field="prompts")
        if any(p.positive or p.axis is None for p in prompts if p.kind == "point"):
            raise InvalidInput(
                "a point says that its plane does not show the object: negative, with an axis", field="prompts"
            )
        runs = np.concatenate([p.runs for p in masks]).astype(np.int64)
        axis = _axis(prompts, runs)
        normal = AXES.index(axis)
        voxels = _voxels(runs)
        rest = [a for a in range(3) if a != normal]
        low, high = voxels[:, rest].min(axis=0), voxels[:, rest].max(axis=0) + 1
        margin = np.maximum(8, (high - low) // 3)
        start = np.maximum(0, low - margin)
        stop = np.minimum([shape[a] for a in rest], high + margin)
        planes: dict[int, Mask] = {}
        for index in np.unique(voxels[:, normal]):
            mask = np.zeros(stop - start, np.bool_)
            mask[tuple((voxels[voxels[:, normal] == index][:, rest] - start).T)] = True
            planes[int(index)] = mask
        for prompt in prompts:
            if prompt.kind == "point":
                for point in prompt.points:
                    planes.setdefault(round(point[normal]), np.zeros(stop - start, np.bool_))
        return cls(axis, planes, (int(start[0]), int(start[1])), (int(stop[0]), int(stop[1])))


def _axis(prompts: Sequence[Prompt], runs: npt.NDArray[np.int64]) -> Axis:
    """The normal that all planes share: as named, or else along which there are fewest planes."""
    named = {p.axis for p in prompts if p.axis is not None}
    if len(named) > 1:
        raise InvalidInput("the labelled planes must share one axis", field="prompts.axis")
    if named:
        return named.pop() or "z"
    counts = [len(np.unique(runs[:, 0])), len(np.unique(runs[:, 1]))]
    return "z" if counts[0] <= counts[1] else "y"


def _voxels(runs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Runs (n, 4) as voxels (m, 3)."""
    lengths = runs[:, 3]
    voxels = np.repeat(runs[:, :3], lengths, axis=0)
    voxels[:, 2] += np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return voxels


class Propagate:
    """The model; see the module's text."""

    @cached_property
    def card(self) -> Card:
        """What it is."""
        files = [base.__file__, __file__]
        return Card(
            id="propagate",
            name="Propagate",
            version="1",
            digest=base.source_digest(files, ["numpy", "scipy", "SimpleITK"]),
            licence="Apache-2.0",
            dims=(3,),
            prompts=("mask", "point"),
            outputs="binary",
            intended_use="Drafts the planes between labelled ones for a person to review. Not a medical device.",
        )

    def open(self, view: View) -> PropagateSession:
        """Nothing is read before the first step."""
        return PropagateSession(view, self.card)


class PropagateSession:
    """PROPAGATE on one image."""

    def __init__(self, view: View, card: Card) -> None:
        self._view = view
        self._card = card

    def step(self, prompts: Sequence[Prompt], cancel: Cancel) -> Answer:
        """See ``Session.step``."""
        view = self._view
        check_prompts(prompts, view.grid, self._card)
        labelled = Labelled.of(prompts, view.grid.shape)
        known = sorted(labelled.planes)
        normal = AXES.index(labelled.axis)
        reach = max(2, round(BEYOND * (known[-1] - known[0])))
        first, last = max(0, known[0] - reach), min(view.grid.shape[normal] - 1, known[-1] + reach)
        size = (last + 1 - first) * int(np.prod(np.subtract(labelled.stop, labelled.start)))
        if size > LIMIT:
            raise TooLarge("the labelled planes span too large a box; propagate a smaller object")
        stack = _Stack(view, labelled, first, last)
        distances = _carry(stack, labelled, first, last, cancel)
        shape = [b - a for a, b in zip(labelled.start, labelled.stop, strict=True)]
        mask = np.zeros((last + 1 - first, shape[0], shape[1]), np.bool_)
        for index, distance in distances:
            stop_if(cancel)
            mask[index - first] = labelled.planes[index] if index in labelled.planes else stack.enlarge(distance) > 0
        start = [labelled.start[0], labelled.start[1]]
        start.insert(normal, first)
        whole = np.ascontiguousarray(np.moveaxis(mask, 0, normal))
        return Answer((start[0], start[1], start[2]), whole).trimmed()


class _Stack:
    """The image's planes over the crop, averaged down to the budget and scaled to contrasts."""

    def __init__(self, view: View, labelled: Labelled, first: int, last: int) -> None:
        self._view, self._labelled = view, labelled
        self._normal = AXES.index(labelled.axis)
        self.rest = [a for a in range(3) if a != self._normal]
        rows, columns = np.subtract(labelled.stop, labelled.start)
        factor = 1
        while -(-rows // factor) * -(-columns // factor) > BUDGET:
            factor *= 2
        self.factor = factor
        spacing = [view.spacing[a] for a in self.rest]
        self.spacing = (1.0, spacing[1] / spacing[0])
        self._low, self._width = self._scale()

    def _scale(self) -> tuple[float, float]:
        """What spans the contrasts around the object: its own values and what lies next to them, robustly."""
        samples = [
            self._read(i)[ndimage.binary_dilation(m, iterations=4)] for i, m in self._labelled.planes.items() if m.any()
        ]
        values = np.concatenate(samples)
        values = values[np.isfinite(values)]
        low, high = np.quantile(values, [0.02, 0.98]) if values.size else (0.0, 1.0)
        return float(low), max(float(high - low), 1e-6)

    def _read(self, index: int) -> Real:
        start = [self._labelled.start[0], self._labelled.start[1]]
        stop = [self._labelled.stop[0], self._labelled.stop[1]]
        start.insert(self._normal, index)
        stop.insert(self._normal, index + 1)
        return np.asarray(self._view.read(start, stop).squeeze(self._normal), np.float32)

    def plane(self, index: int) -> Real:
        """Contrasts 0 … 1 with some room on both sides, (rows, columns) at working size."""
        values = np.clip((self._read(index) - self._low) / self._width, -0.5, 1.5)
        return self.reduce(np.nan_to_num(values, nan=-0.5).astype(np.float32))

    def reduce(self, values: Real) -> Real:
        """To working size."""
        for axis in range(2):
            if self.factor > 1:
                values = base.block_mean(values, axis, self.factor)
        return values

    def distance(self, mask: Mask) -> Real:
        """Signed distance to the outline at working size, in working rows; positive inside."""
        small = self.reduce(mask.astype(np.float32)) >= 0.5
        if not small.any():
            return np.full(small.shape, -float(max(small.shape)), np.float32)
        inside = ndimage.distance_transform_edt(np.pad(small, 1), sampling=self.spacing)[1:-1, 1:-1]
        outside = ndimage.distance_transform_edt(~small, sampling=self.spacing)
        return np.asarray(np.where(small, inside - 0.5, 0.5 - outside), np.float32)

    def enlarge(self, distance: Real) -> Real:
        """Back to level-0 samples."""
        if self.factor == 1:
            return distance
        shape = np.subtract(self._labelled.stop, self._labelled.start)
        grid = [(np.arange(n) - (self.factor - 1) / 2) / self.factor for n in shape]
        coordinates = np.meshgrid(*grid, indexing="ij")
        return np.asarray(ndimage.map_coordinates(distance, coordinates, order=1, mode="nearest"), np.float32)


def _carry(stack: _Stack, labelled: Labelled, first: int, last: int, cancel: Cancel) -> Iterator[tuple[int, Real]]:
    """Signed distances for every plane, gap by gap."""
    known = sorted(labelled.planes)
    exact = {i: stack.distance(labelled.planes[i]) for i in known}
    yield from reversed(list(_walk(stack, exact[known[0]], range(known[0], first - 1, -1), cancel)))
    for a, b in pairwise(known):
        yield a, exact[a]
        up = dict(_walk(stack, exact[a], range(a, b), cancel))
        down = dict(_walk(stack, exact[b], range(b, a, -1), cancel))
        for i in range(a + 1, b):
            near = (b - i) / (b - a)
            yield i, np.asarray(near * up[i] + (1 - near) * down[i], np.float32)
    yield known[-1], exact[known[-1]]
    yield from _walk(stack, exact[known[-1]], range(known[-1], last + 1), cancel)


def _walk(stack: _Stack, distance: Real, planes: range, cancel: Cancel) -> Iterator[tuple[int, Real]]:
    """Carry a distance from the first plane of the range to each following one."""
    before: Real | None = None
    for index in planes:
        stop_if(cancel)
        here = stack.plane(index)
        if before is not None:
            distance = _moved(before, here, distance)
            yield index, distance
        before = here


def _moved(before: Real, here: Real, distance: Real) -> Real:
    """``distance`` as it lies on the next plane, by the deformation that takes ``before`` to ``here``."""
    fixed, moving = sitk.GetImageFromArray(here), sitk.GetImageFromArray(before)
    field: sitk.Image | None = None
    for shrink, iterations in ((2, 20), (1, 15)):
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetSmoothDisplacementField(True)
        demons.SetStandardDeviations(SMOOTH)
        demons.SetNumberOfThreads(1)  # sums in one order, so that a replay gives the same voxels
        small_fixed, small_moving = (_shrunk(image, shrink) for image in (fixed, moving))
        if field is None:
            field = demons.Execute(small_fixed, small_moving)
        else:
            field = demons.Execute(small_fixed, small_moving, sitk.Resample(field, small_fixed))
    assert field is not None
    shift = sitk.GetArrayFromImage(field)
    rows, columns = np.indices(distance.shape, np.float32)
    places = [rows + shift[..., 1], columns + shift[..., 0]]
    return np.asarray(ndimage.map_coordinates(distance, places, order=1, mode="nearest"), np.float32)


SMOOTH = 1.5
"""Standard deviation of the displacement field's smoothing, in working samples."""


def _shrunk(image: sitk.Image, factor: int) -> sitk.Image:
    if factor == 1 or min(image.GetSize()) < 8 * factor:
        return image
    return sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, factor / 2), [factor, factor])


PROPAGATE = Propagate()
