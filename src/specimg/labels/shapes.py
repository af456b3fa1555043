"""Shape: a vector label in index space, with attributes.

Coordinates are continuous indices (z, y, x): integers are voxel centres, so the first voxel of an axis reaches from -0.5
to 0.5. They never depend on zoom, projection or a resampled view; formats turn them into world positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast, get_args

from specimg.digest import JSON, Digest, canonical, digest_json
from specimg.errors import InvalidInput, TooLarge

Kind: TypeAlias = Literal["point", "polyline", "polygon", "box"]
Point: TypeAlias = tuple[float, float, float]
Ring: TypeAlias = tuple[Point, ...]

MAX_POINTS = 100_000
MAX_ATTRIBUTES_BYTES = 16 * 1024
MAX_COORDINATE = 1e7
"""Beyond any image, and far below where a double loses the tenth of a voxel."""

_FEWEST = {"point": 1, "polyline": 2, "polygon": 3, "box": 2}
_MOST = {"point": 1, "polyline": MAX_POINTS, "polygon": MAX_POINTS, "box": 2}


@dataclass(frozen=True, slots=True)
class Shape:
    """A point, polyline, polygon or box with a label.

    ``points`` are (z, y, x). A polygon is its outer ring without the first point repeated; it and its ``holes`` lie in one
    plane of the grid (one of z, y, x is the same everywhere). A box is its two opposite corners, smaller values first.
    ``attributes`` is a JSON object of at most 16 KiB. Raises ``InvalidInput`` or ``TooLarge``.
    """

    id: str
    kind: Kind
    label: int
    points: Ring
    holes: tuple[Ring, ...] = ()
    attributes: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= len(self.id) <= 64 or not self.id.isprintable():
            raise InvalidInput("a shape's id has 1 to 64 printable characters", field="id")
        if self.kind not in get_args(Kind):
            raise InvalidInput("a shape is a point, polyline, polygon or box", field="kind")
        if not 1 <= self.label <= 65_535:
            raise InvalidInput("a shape's label is 1 to 65535", field="label")
        self._require_points()
        self._require_attributes()

    @property
    def rings(self) -> tuple[Ring, ...]:
        """Outer ring, then holes."""
        return self.points, *self.holes

    @property
    def box(self) -> tuple[Point, Point]:
        """Smallest and largest coordinate along each axis."""
        low = tuple(min(p[axis] for p in self.points) for axis in range(3))
        high = tuple(max(p[axis] for p in self.points) for axis in range(3))
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    @property
    def plane(self) -> tuple[int, float] | None:
        """The axis (0 z, 1 y, 2 x) along which all points agree, and where; ``None`` if there is none."""
        low, high = self.box
        for axis in range(3):
            if low[axis] == high[axis]:
                return axis, low[axis]
        return None

    @property
    def digest(self) -> Digest:
        """Of the canonical JSON: what the edit that put it commits to."""
        return digest_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """JSON form, as stored, served and digested."""
        return {
            "id": self.id,
            "kind": self.kind,
            "label": self.label,
            "points": [list(p) for p in self.points],
            "holes": [[list(p) for p in ring] for ring in self.holes],
            "attributes": dict(self.attributes),
        }

    @classmethod
    def from_json(cls, value: Any) -> Shape:
        """From ``to_json``; raises ``InvalidInput``."""
        try:
            return cls(
                id=_text(value["id"]),
                kind=cast(Kind, _text(value["kind"])),
                label=_whole(value["label"]),
                points=_ring(value["points"]),
                holes=tuple(_ring(ring) for ring in value.get("holes", ())),
                attributes=dict(value.get("attributes", {})),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput("a shape needs id, kind, label and points of three numbers", field="shape") from error

    def require_near(self, shape: Sequence[int]) -> None:
        """Raise ``InvalidInput`` unless the shape meets a grid of this shape. It may reach past the border."""
        low, high = self.box
        if any(b < -0.5 or a > n - 0.5 for a, b, n in zip(low, high, shape, strict=True)):
            raise InvalidInput("the shape lies outside the image", field="points")

    def _require_points(self) -> None:
        count = sum(len(ring) for ring in self.rings)
        if count > MAX_POINTS:
            raise TooLarge(f"a shape has at most {MAX_POINTS} points")
        if not _FEWEST[self.kind] <= len(self.points) <= _MOST[self.kind]:
            raise InvalidInput(f"a {self.kind} does not have {len(self.points)} points", field="points")
        if self.holes and self.kind != "polygon":
            raise InvalidInput("only a polygon has holes", field="holes")
        if any(len(ring) < 3 for ring in self.holes):
            raise InvalidInput("a hole needs three points", field="holes")
        for ring in self.rings:
            if not all(len(p) == 3 and all(math.isfinite(v) and abs(v) <= MAX_COORDINATE for v in p) for p in ring):
                raise InvalidInput("points are three finite numbers (z, y, x)", field="points")
        if self.kind == "box" and any(a > b for a, b in zip(*self.points, strict=True)):
            raise InvalidInput("a box is its smaller and its larger corner", field="points")
        if self.kind == "polygon":
            plane = self.plane
            if plane is None or any(p[plane[0]] != plane[1] for ring in self.holes for p in ring):
                raise InvalidInput("a polygon and its holes lie in one plane of the grid", field="points")

    def _require_attributes(self) -> None:
        require_json(dict(self.attributes), "attributes", MAX_ATTRIBUTES_BYTES)


def require_json(value: JSON, name: str, limit: int) -> bytes:
    """The canonical bytes of a value from outside. Raises ``InvalidInput`` if it has none, ``TooLarge`` past ``limit``."""
    try:
        data = canonical(value)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{name} must be plain JSON: finite numbers, integers below 2^53, valid text", field=name
        ) from error
    if len(data) > limit:
        raise TooLarge(f"{name} may take {limit} bytes as JSON, not {len(data)}")
    return data


def _ring(value: Any) -> Ring:
    points = []
    for point in value:
        z, y, x = point
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in (z, y, x)):
            raise TypeError("a coordinate is a number")
        points.append((float(z), float(y), float(x)))
    return tuple(points)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text expected")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("a whole number expected")
    return value
