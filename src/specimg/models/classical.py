"""The sums behind the promptable methods that need no training: geodesic distance, histogram ratio, graph cut.

Every function takes a small region (z, y, x), up to some 300,000 samples, and is deterministic. Sizes of one sample
are given relative to the smallest of the three, so that thick slices weigh what they measure.
"""

from __future__ import annotations

import maxflow
import numpy as np
import numpy.typing as npt
from scipy import ndimage

Real = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

FAR = np.float32(1e6)
BINS = 48


def geodesic(image: Real, seeds: Mask, step: tuple[float, float, float], *, flat: float, passes: int = 2) -> Real:
    """Cheapest way from the seeds to each sample, where a step costs the change of ``image`` plus ``flat`` per length.

    Planes are swept to and fro along each axis, each taking the best of the nine neighbours in the plane before (the
    raster scan of Criminisi, Sharp and Blake, "GeoS", ECCV 2008): exact for paths that do not turn back more often
    than ``passes``, and whole planes at a time.
    """
    distance = np.where(seeds, np.float32(0), FAR).astype(np.float32)
    axes = [axis for axis in range(3) if image.shape[axis] > 1]
    for _ in range(passes):
        for axis in axes:
            swept_d, swept_i = np.moveaxis(distance, axis, 0), np.moveaxis(image, axis, 0)
            across = [step[a] for a in range(3) if a != axis]
            _sweep(swept_d, swept_i, step[axis], across, flat)
            _sweep(swept_d[::-1], swept_i[::-1], step[axis], across, flat)
    return distance


def _sweep(distance: Real, image: Real, along: float, across: list[float], flat: float) -> None:
    """One pass over planes in order, in place."""
    rows, columns = distance.shape[1:]
    padded_d = np.full((rows + 2, columns + 2), FAR, np.float32)
    padded_i = np.zeros((rows + 2, columns + 2), np.float32)
    moves = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]
    costs = [np.float32(flat * np.sqrt(along**2 + (a * across[0]) ** 2 + (b * across[1]) ** 2)) for a, b in moves]
    trial = np.empty((rows, columns), np.float32)
    for k in range(1, distance.shape[0]):
        padded_d[1:-1, 1:-1] = distance[k - 1]
        padded_i[1:-1, 1:-1] = image[k - 1]
        here, best = image[k], distance[k]
        for (a, b), cost in zip(moves, costs, strict=True):
            window = (slice(1 + a, 1 + a + rows), slice(1 + b, 1 + b + columns))
            np.subtract(here, padded_i[window], out=trial)
            np.abs(trial, out=trial)
            trial += padded_d[window]
            trial += cost
            np.minimum(best, trial, out=best)


def histogram_ratio(bins: npt.NDArray[np.intp], inside: Real, outside: Real) -> Real:
    """Probability of "inside" for each sample from weighted, smoothed histograms of both sides. ``bins`` is 0..BINS-1."""
    smooth = np.array([0.06, 0.24, 0.4, 0.24, 0.06])
    both = []
    for weight in (inside, outside):
        counts = np.convolve(np.bincount(bins.ravel(), weight.ravel(), BINS), smooth, "same")
        both.append(counts / (counts.sum() + 1e-9) + 2e-3)
    return np.asarray((both[0] / (both[0] + both[1]))[bins], dtype=np.float32)


def graph_cut(
    image: Real, inside: Mask, outside: Mask, vote: Real, step: tuple[float, float, float], *, smoothness: float
) -> Mask:
    """The cheapest cut between hard seeds: ``vote`` is log-odds of inside per sample, and cutting between two samples
    costs ``smoothness``, less where they differ (Boykov and Jolly, ICCV 2001).
    """
    graph = maxflow.Graph[float](image.size, 3 * image.size)
    nodes = graph.add_grid_nodes(image.shape)
    axes = [axis for axis in range(3) if image.shape[axis] > 1]
    changes = {axis: np.diff(image, axis=axis) ** 2 for axis in axes}
    typical = 2 * float(np.mean([c.mean() for c in changes.values()])) + 1e-9 if axes else 1.0
    for axis in axes:
        structure = np.zeros((3, 3, 3))
        structure[tuple(2 if a == axis else 1 for a in range(3))] = 1
        weight = np.zeros(image.shape, np.float64)
        inner = [slice(None)] * 3
        inner[axis] = slice(0, -1)
        weight[tuple(inner)] = smoothness / step[axis] * np.exp(-changes[axis] / typical)
        graph.add_grid_edges(nodes, weight, structure=structure, symmetric=True)
    certain = 1e6
    keep = np.where(inside, certain, np.where(outside, 0, np.maximum(vote, 0)))
    drop = np.where(inside, 0, np.where(outside, certain, np.maximum(-vote, 0)))
    graph.add_grid_tedges(nodes, drop, keep)
    graph.maxflow()
    # get_grid_segments is true on the sink's side; t-links above make the sink's side the object.
    return np.asarray(graph.get_grid_segments(nodes), dtype=np.bool_)


def connected_to(mask: Mask, seeds: Mask) -> Mask:
    """The parts of ``mask`` that hold a seed; faces connect."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    keep = np.zeros(count + 1, np.bool_)
    keep[np.unique(labels[seeds & mask])] = True
    keep[0] = False
    return np.asarray(keep[labels])
