"""From a click alone to a first guess of the object: its scale and its extent.

Nobody says how large the object is, so the click is looked at in growing windows. In each, samples are ordered by
geodesic distance from the click; among all nested shapes "nearer than t" the one is taken whose surface lies best on
edges of the image, is compact and does not leave the window. Across windows, the shape wins that the next larger window
finds again. One sweep per window gives the surface statistics of all its shapes at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from specimg.models.classical import FAR, Mask, Real

SHAPES = 64
"""Nested shapes compared per window."""
LEAST = 27
"""Blocks that a shape must have to be judged."""


@dataclass(frozen=True, slots=True, eq=False)
class Guess:
    """The best shape of one window. ``edge`` and ``touch`` are 0..1: how much of the surface lies on edges of the image
    and on open sides of the window; ``volume`` is in world units.
    """

    mask: Mask
    score: float
    edge: float
    touch: float
    volume: float


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """The nested shapes ``rank <= t`` of one window, and for each t what makes it likely."""

    rank: npt.NDArray[np.int32]
    score: npt.NDArray[np.float64]
    edge: npt.NDArray[np.float64]
    touch: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]

    def best(self, negative: Sequence[int]) -> Guess:
        """The likeliest shape, given the ranks of negative prompts in the window: it had better leave them out."""
        score = self.score
        if negative:
            left_out = (np.asarray(negative, np.int32) > np.arange(SHAPES + 2)[:, None]).mean(axis=1)
            score = score * (0.2 + 0.8 * left_out)
        best = int(score.argmax())
        return Guess(
            self.rank <= best,
            float(score[best]),
            float(self.edge[best]),
            float(self.touch[best]),
            float(self.volume[best]),
        )


def edge_strength(image: Real, near: Mask, *, blur: float = 0.8) -> Real:
    """0..1 per sample: gradient against what is usual near the click, so that noise does not count as an edge."""
    gradient = ndimage.gaussian_gradient_magnitude(image, [blur if n > 1 else 0 for n in image.shape])
    usual = float(np.median(gradient[near])) + 0.01
    return np.asarray(gradient / (gradient + 2 * usual), dtype=np.float32)


def shapes(distance: Real, edges: Real, open_sides: tuple[tuple[bool, bool], ...], block: float) -> Shapes:
    """Judge the nested shapes ``distance <= t``. ``block`` is the volume of one sample."""
    reached = distance < FAR / 2
    top = float(np.quantile(distance[reached], 0.98)) + 1e-9
    rank = np.where(reached, np.minimum((distance * (SHAPES / top)).astype(np.int32), SHAPES), SHAPES + 1)
    surface, support, touching = _surface(rank, edges, open_sides)
    volume = np.cumsum(np.bincount(rank.ravel(), minlength=SHAPES + 2))
    edge = support / np.maximum(1, surface)
    touch = touching / np.maximum(1, touching + surface)
    flat = 1 in rank.shape
    # Surface of a ball (circumference of a disc) of the same volume, on a grid that counts faces: 1.5 (1.27) times more.
    ball = np.sqrt(4 * np.pi * volume) * 1.27 if flat else np.cbrt(36 * np.pi * volume**2.0) * 1.5
    compact = np.minimum(1, ball / np.maximum(1, surface))
    # What fills its window is the ground with holes, not an object: its surface is that of a few odd samples.
    ground = np.clip(2 * (1 - volume / rank.size), 0, 1)
    score = edge * (1 - touch) ** 2 * np.sqrt(compact) * ground
    score[(volume < (9 if flat else LEAST)) | (np.arange(SHAPES + 2) >= SHAPES)] = 0
    return Shapes(rank, score, edge, touch, np.asarray(volume * block, np.float64))


def _surface(
    rank: npt.NDArray[np.int32], edges: Real, open_sides: tuple[tuple[bool, bool], ...]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """For every t: faces of ``rank <= t``, their summed edge strength, and faces on open sides of the window."""
    size = SHAPES + 2
    surface, support, touching = np.zeros(size), np.zeros(size), np.zeros(size)
    for axis in range(3):
        if rank.shape[axis] > 1:
            a, b = (np.take(rank, r, axis=axis) for r in (range(rank.shape[axis] - 1), range(1, rank.shape[axis])))
            weight = np.maximum(
                np.take(edges, range(rank.shape[axis] - 1), axis), np.take(edges, range(1, rank.shape[axis]), axis)
            ).ravel()
            low, high = np.minimum(a, b).ravel(), np.maximum(a, b).ravel()
            surface += np.bincount(low, minlength=size) - np.bincount(high, minlength=size)
            support += np.bincount(low, weight, minlength=size) - np.bincount(high, weight, minlength=size)
        for is_open, end in zip(open_sides[axis], (0, -1), strict=True):
            if is_open and rank.shape[axis] > 1:
                touching += np.bincount(np.take(rank, end, axis=axis).ravel(), minlength=size)
    return np.cumsum(surface), np.cumsum(support), np.cumsum(touching)


UNKNOWN = 0.5


def choose(guesses: list[tuple[float, Guess]]) -> int:
    """Which of the windows (half-width, guess), smallest first, shows the object.

    A shape counts as far as the next larger window finds one of the same volume. The largest window has no next: what
    it shows is half believed. Small windows are preferred a little: they see details.
    """
    best, chosen = -1.0, 0
    for k, (width, guess) in enumerate(guesses):
        agreement = UNKNOWN
        if k + 1 < len(guesses):
            following = guesses[k + 1][1].volume
            agreement = min(guess.volume, following) / max(guess.volume, following, 1e-9)
        # Without an edge, or cut off by the window, it can only be a makeshift.
        worth = 1.0 if guess.edge > 0.35 and guess.touch < 0.1 else 0.1
        value = guess.score * agreement * width**-0.3 * worth
        if value > best:
            best, chosen = value, k
    return chosen
