"""Cut lines and polygons in longitude and latitude where they cross the antimeridian (RFC 7946 §3.1.9).

Longitudes run on past 180 degrees, so that neighbours on a ring stay neighbours; what leaves lies in -180 … 180. A ring is a
list of (longitude, latitude) without the first repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

Position: TypeAlias = tuple[float, float]
Ring: TypeAlias = list[Position]


def split_line(line: Ring) -> list[Ring]:
    """Parts of a line, in order."""
    parts: list[Ring] = []
    for strip in _strips(line):
        part: Ring = []
        for a, b in pairwise(line):
            inside = _clipped(a, b, strip)
            if inside is None:
                continue
            if not part or part[-1] != inside[0]:
                if len(part) > 1:
                    parts.append(_shifted(part, strip))
                part = [inside[0]]
            part.append(inside[1])
        if len(part) > 1:
            parts.append(_shifted(part, strip))
    return parts


def _strips(ring: Ring) -> range:
    """Turns of the Earth that longitudes lie in: turn k is 360 k - 180 … 360 k + 180."""
    lon = [position[0] for position in ring]
    first = math.floor((min(lon) + 180) / 360)
    return range(first, max(first + 1, math.ceil((max(lon) + 180) / 360)))


def _clipped(a: Position, b: Position, turn: int) -> tuple[Position, Position] | None:
    low, high = 360.0 * turn - 180, 360.0 * turn + 180
    start, stop = 0.0, 1.0
    if a[0] == b[0]:
        return (a, b) if low <= a[0] <= high else None
    for bound, is_low in ((low, True), (high, False)):
        at = (bound - a[0]) / (b[0] - a[0])
        if (b[0] > a[0]) == is_low:
            start = max(start, at)
        else:
            stop = min(stop, at)
    if start >= stop:
        return None
    return _between(a, b, start, low, high), _between(a, b, stop, low, high)


def _between(a: Position, b: Position, at: float, low: float, high: float) -> Position:
    if at in (0.0, 1.0):
        return b if at else a
    return min(max(a[0] + at * (b[0] - a[0]), low), high), a[1] + at * (b[1] - a[1])


def _shifted(ring: Ring, turn: int) -> Ring:
    return [(lon - 360 * turn, lat) for lon, lat in ring]


def split_polygon(rings: list[Ring]) -> list[list[Ring]]:
    """Polygons (outer ring first, counterclockwise; holes clockwise), cut wherever they cross the antimeridian."""
    outer = _turned(rings[0], counterclockwise=True)
    middle = outer[0][0]
    holes = []
    for hole in rings[1:]:
        # A hole lies on the same turn of the Earth as its polygon.
        moved = 360 * round((hole[0][0] - middle) / 360)
        holes.append(_turned([(lon - moved, lat) for lon, lat in hole], counterclockwise=False))
    whole = [[outer, *holes]]
    done: list[list[Ring]] = []
    for turn in _strips(outer):
        meridian = 360.0 * turn + 180
        west = [part for polygon in whole for part in _cut(polygon, meridian, keep_west=True)]
        whole = [part for polygon in whole for part in _cut(polygon, meridian, keep_west=False)]
        done += [[_shifted(ring, turn) for ring in polygon] for polygon in west]
    return done


def _cut(polygon: list[Ring], meridian: float, *, keep_west: bool) -> list[list[Ring]]:
    """The part of a polygon on one side of a meridian: chains between crossings, joined along it."""

    def side(position: Position) -> bool:
        return (position[0] <= meridian) == keep_west

    chains: list[Ring] = []
    closed: list[Ring] = []
    for ring in polygon:
        if all(side(p) for p in ring):
            closed.append(ring)
        elif any(side(p) for p in ring):
            chains += _chains(ring, meridian, side)
    outers = _joined(chains) if chains else []
    outers += [ring for ring in closed if signed_area(ring) > 0]
    holes = [ring for ring in closed if signed_area(ring) < 0]
    return [[outer, *(hole for hole in holes if _contains(outer, hole[0]))] for outer in outers if len(outer) > 2]


def _chains(ring: Ring, meridian: float, side: Callable[[Position], bool]) -> list[Ring]:
    """Runs of a ring on one side, each from the crossing where it comes in to the one where it leaves."""
    start = next(i for i, p in enumerate(ring) if not side(p))
    turned = [*ring[start:], *ring[: start + 1]]
    chains: list[Ring] = []
    chain: Ring = []
    for a, b in pairwise(turned):
        if side(a) != side(b):
            at = (meridian - a[0]) / (b[0] - a[0])
            crossing = (meridian, a[1] + at * (b[1] - a[1]))
            chain.append(crossing)
            if side(a):
                chains.append(chain)
                chain = []
        if side(b):
            chain.append(b)
    return chains


def _joined(chains: list[Ring]) -> list[Ring]:
    """Close chains along the meridian: sorted by latitude, ends belong together two by two."""
    ends = sorted((chain[i][1], number, i) for number, chain in enumerate(chains) for i in (0, -1))
    partner: dict[tuple[int, int], tuple[int, int]] = {}
    for (_, n1, i1), (_, n2, i2) in zip(ends[::2], ends[1::2], strict=True):
        partner[n1, i1], partner[n2, i2] = (n2, i2), (n1, i1)
    rings: list[Ring] = []
    free = set(range(len(chains)))
    while free:
        first = number = free.pop()
        ring = list(chains[number])
        # Leaving chains join coming ones: rings keep their direction.
        while (number := partner[number, -1][0]) != first and number in free:
            free.discard(number)
            ring += chains[number]
        rings.append([p for i, p in enumerate(ring) if i == 0 or p != ring[i - 1]])
    return rings


def _contains(ring: Ring, position: Position) -> bool:
    x, y = position
    inside = False
    for (x1, y1), (x2, y2) in pairwise([*ring, ring[0]]):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside


def _turned(ring: Ring, *, counterclockwise: bool) -> Ring:
    return ring if (signed_area(ring) > 0) == counterclockwise else ring[::-1]


def signed_area(ring: Ring) -> float:
    """Positive where positions run counterclockwise. Relative to the first, or small rings vanish in rounding."""
    x0, y0 = ring[0]
    return sum((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0) for (x1, y1), (x2, y2) in pairwise([*ring, ring[0]])) / 2
