"""Grid: the geometry of an image without its pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from specimg.errors import InvalidInput
from specimg.geometry.affine import Affine

SpaceKind = Literal["patient", "map", "radar", "pixel"]


@dataclass(frozen=True, slots=True)
class Space:
    """What world coordinates mean.

    ``patient``: LPS millimetres. ``map``: units of ``crs`` (an authority code or WKT2). ``radar``: world is
    (pixel, line, 0) of the product itself, and ground position comes from its geolocation. ``pixel``: nothing is known.
    """

    kind: SpaceKind
    crs: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(SpaceKind):
            raise InvalidInput("a space is of a patient, a map, a radar plane or pixels", field="space")
        if (self.kind == "map") != (self.crs is not None):
            raise InvalidInput("a map space, and only a map space, has a CRS", field="crs")

    @property
    def unit(self) -> str:
        """Unit of world coordinates, for axes that have one."""
        return {"patient": "millimeter", "map": "crs", "radar": "pixel", "pixel": "pixel"}[self.kind]


@dataclass(frozen=True, slots=True)
class Grid:
    """``shape`` in (z, y, x), an affine and the space it leads to. A raster has one z."""

    shape: tuple[int, int, int]
    affine: Affine
    space: Space

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or any(n < 1 for n in self.shape):
            raise InvalidInput("a grid has three positive sizes (z, y, x)", field="shape")

    def crop(self, start: tuple[int, int, int], stop: tuple[int, int, int]) -> Grid:
        """The part ``start <= index < stop``."""
        if any(not 0 <= a < b <= n for a, b, n in zip(start, stop, self.shape, strict=True)):
            raise InvalidInput("the box is empty or leaves the grid", field="box")
        size = tuple(b - a for a, b in zip(start, stop, strict=True))
        return replace(self, shape=(size[0], size[1], size[2]), affine=self.affine.shifted(start))

    def downsampled(self, factors: tuple[int, int, int]) -> Grid:
        """Blocks of ``factors`` samples become one; a rest counts as a block."""
        size = tuple(-(-n // f) for n, f in zip(self.shape, factors, strict=True))
        return replace(self, shape=(size[0], size[1], size[2]), affine=self.affine.downsampled(factors))

    def matches(self, other: Grid, *, tolerance: float = 1e-3) -> str | None:
        """``None`` if every corner of both grids agrees within ``tolerance`` of a sample; else the field that differs."""
        if self.shape != other.shape:
            return f"shape {self.shape} against {other.shape}"
        if self.space != other.space:
            return f"space {self.space.kind} against {other.space.kind}"
        corners = [[(n - 1) * b for n, b in zip(self.shape, bits, strict=True)] for bits in _CORNERS]
        apart = abs(self.affine.to_index(other.affine.to_world(corners)) - corners).max()
        return None if apart <= tolerance else f"affine: corners lie up to {apart:.3g} samples apart"

    def to_json(self) -> dict[str, Any]:
        """JSON form; the same noun and keys in TypeScript."""
        return {
            "shape": list(self.shape),
            "affine": self.affine.to_json(),
            "space": {"kind": self.space.kind, "crs": self.space.crs},
        }

    @classmethod
    def from_json(cls, value: Any) -> Grid:
        """From ``to_json``; raises ``InvalidInput``."""
        try:
            z, y, x = (int(n) for n in value["shape"])
            space = Space(value["space"]["kind"], value["space"]["crs"])
            return cls((z, y, x), Affine.from_json(value["affine"]), space)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput("a grid needs shape, affine and space", field="grid") from error


_CORNERS = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
