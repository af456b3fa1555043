"""Shapes as GeoJSON (RFC 7946): longitude and latitude derived, samples kept as the truth.

Each feature carries where it was drawn (``pixels``: line and pixel), by which model, height and with what error its ground
position was derived. Reading back into the same image takes the samples, so nothing is lost; a file from elsewhere is
brought into the image by its longitude and latitude.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from specimg.digest import digest_json
from specimg.errors import InvalidInput, TooLarge, UnreadableFile
from specimg.formats.base import MaskClass, Series, ShapeRecord
from specimg.formats.ground import ground_of
from specimg.geometry.antimeridian import Position, Ring, split_line, split_polygon
from specimg.geometry.geolocation import Geolocator, Ground

MAX_BYTES = 256 * 2**20
MAX_POINTS = 5_000_000
DECIMALS = 8
"""Of a degree: 1 mm, below any product's error. RFC 7946 §11.2 warns of more, not of these."""

_LONGEST_EDGE = 256.0
"""Samples. An edge straight in the image is not straight in longitude and latitude; longer ones get points between."""


class ReadShapes(NamedTuple):
    """Shapes and the classes that their labels stand for."""

    shapes: tuple[ShapeRecord, ...]
    classes: tuple[MaskClass, ...]


def write_shapes(
    shapes: Sequence[ShapeRecord], classes: Sequence[MaskClass], path: Path, reference: Series
) -> tuple[str, ...]:
    """Write a FeatureCollection; returns warnings. A shape's attribute ``height_m`` (ellipsoid) sets its height.

    Raises ``InvalidInput`` if the image has no ground position.
    """
    locator = _require_ground(reference)
    names = {c.label: c for c in classes}
    identity = _identity(reference)
    features = [_feature(shape, names.get(shape.label), locator, identity) for shape in shapes]
    document = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")), "utf-8")
    return tuple(reference.warnings)


def read_shapes(path: Path, reference: Series) -> ReadShapes:
    """Shapes of a GeoJSON file in index space of ``reference``. Raises ``UnreadableFile``.

    Features that ``write_shapes`` wrote for this very image come back exactly. Others go through longitude and latitude;
    parts of a Multi geometry become shapes of their own. A class is told by an integer ``label`` or by ``class``.
    """
    document = _load(path)
    reader = _Reader(path.name, reference)
    for feature in document:
        reader.take(feature)
    return ReadShapes(tuple(reader.shapes), reader.classes())


# Writing -------------------------------------------------------------------------------------------------------------


def _feature(shape: ShapeRecord, named: MaskClass | None, locator: Geolocator, identity: str) -> dict[str, Any]:
    height = _height(shape)
    rings = [_corners(shape), *shape.holes]
    grounds = [locator.to_ground(*_line_pixel(_with_points_between(ring, shape.kind)), height) for ring in rings]
    lon = np.concatenate([ground.lon for ground in grounds])
    if not np.isfinite(lon).all():
        raise InvalidInput(
            f"shape {shape.id} has no ground position: it lies too far outside the image", field="points"
        )
    # The height of samples themselves, not of the points between.
    up = locator.to_ground(*_line_pixel(shape.points), height).height
    errors = np.concatenate([ground.error_m for ground in grounds])
    # A map projection needs no height and knows none.
    unsaid = "not known" if locator.model == "crs" else "of the product's control points"
    source = unsaid if height is None else "given"
    return {
        "type": "Feature",
        "id": shape.id,
        "geometry": _geometry(shape.kind, [_positions(ground) for ground in grounds]),
        "properties": {
            "label": shape.label,
            "class": None if named is None else named.name,
            "color": None if named is None else named.color,
            "attributes": dict(shape.attributes),
            "image": identity,
            "kind": shape.kind,
            "pixels": [[y, x] for _, y, x in shape.points],
            "pixel_holes": [[[y, x] for _, y, x in hole] for hole in shape.holes],
            "geolocation": {
                "model": locator.model,
                "height_m": None if source == "not known" else round(float(up.mean()), 3),
                "height": source,
                "error_m": round(float(errors.max()), 3) if np.isfinite(errors).all() else None,
            },
        },
    }


def _identity(reference: Series) -> str:
    """Of the image and its geometry: samples of one are nothing in another, even of the same name."""
    gcps = None if reference.radar is None else reference.radar["gcps"]
    return digest_json({"key": reference.key, "grid": reference.grid.to_json(), "gcps": gcps})


def _height(shape: ShapeRecord) -> float | None:
    value = shape.attributes.get("height_m")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _corners(shape: ShapeRecord) -> tuple[tuple[float, float, float], ...]:
    """A box as its four corners; anything else as it is."""
    if shape.kind != "box":
        return shape.points
    (z, top, left), (_, bottom, right) = shape.points
    return (z, top, left), (z, top, right), (z, bottom, right), (z, bottom, left)


def _line_pixel(points: Sequence[tuple[float, float, float]]) -> tuple[list[float], list[float]]:
    return [p[1] for p in points], [p[2] for p in points]


def _with_points_between(points: Sequence[tuple[float, float, float]], kind: str) -> list[tuple[float, float, float]]:
    if kind == "point":
        return list(points)
    closing = [points[0]] if kind != "polyline" else []
    dense: list[tuple[float, float, float]] = []
    for a, b in pairwise([*points, *closing]):
        parts = max(1, math.ceil(math.hypot(b[1] - a[1], b[2] - a[2]) / _LONGEST_EDGE))
        dense += [(a[0], a[1] + (b[1] - a[1]) * i / parts, a[2] + (b[2] - a[2]) * i / parts) for i in range(parts)]
    return dense if closing else [*dense, points[-1]]


def _positions(ground: Ground) -> Ring:
    """Longitudes run on past 180 degrees, so that neighbours stay neighbours."""
    lon = np.unwrap(ground.lon, period=360)
    return list(zip(lon.tolist(), ground.lat.tolist(), strict=True))


def _geometry(kind: str, rings: list[Ring]) -> dict[str, Any]:
    if kind == "point":
        ((lon, lat),) = rings[0]
        return {"type": "Point", "coordinates": _rounded((_home(lon), lat))}
    if kind == "polyline":
        parts = split_line(rings[0])
        lines = [[_rounded(position) for position in part] for part in parts]
        if len(lines) == 1:
            return {"type": "LineString", "coordinates": lines[0]}
        return {"type": "MultiLineString", "coordinates": lines}
    if any(abs(ring[-1][0] - ring[0][0]) > 180 for ring in rings):
        raise InvalidInput("a polygon encloses a pole, which GeoJSON cannot hold", field="points")
    polygons = [[_closed(ring) for ring in polygon] for polygon in split_polygon(rings)]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _home(lon: float) -> float:
    """Into -180 … 180."""
    return lon - 360 * math.floor((lon + 180) / 360)


def _rounded(position: Position) -> list[float]:
    return [round(position[0], DECIMALS), round(position[1], DECIMALS)]


def _closed(ring: Ring) -> list[list[float]]:
    """First position repeated, as RFC 7946 §3.1.6 asks."""
    return [_rounded(position) for position in [*ring, ring[0]]]


# Reading -------------------------------------------------------------------------------------------------------------


def _load(path: Path) -> list[Mapping[str, Any]]:
    if path.stat().st_size > MAX_BYTES:
        raise TooLarge(f"{path.name}: GeoJSON of more than {MAX_BYTES} bytes; split it")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _refused(path.name, "JSON", "it is not well-formed") from error
    if not isinstance(document, dict):
        raise _refused(path.name, "type", "it is not GeoJSON")
    crs = document.get("crs")
    name = str(crs.get("properties", {}).get("name", "")) if isinstance(crs, dict) else ""
    if crs is not None and not name.upper().endswith(("CRS84", "EPSG::4326", "EPSG:4326")):
        raise _refused(path.name, "crs", "its coordinates are not WGS 84 longitude and latitude")
    features = document.get("features") if document.get("type") == "FeatureCollection" else [document]
    if not isinstance(features, list) or not all(isinstance(f, dict) and f.get("type") == "Feature" for f in features):
        raise _refused(path.name, "type", "it is not a FeatureCollection or a Feature")
    return features


class _Reader:
    """Shapes so far, and the labels given to class names."""

    def __init__(self, file: str, reference: Series) -> None:
        self.shapes: list[ShapeRecord] = []
        self._file, self._identity = file, _identity(reference)
        self._locator = ground_of(reference)
        self._names: dict[int, tuple[str, str]] = {}
        self._by_name: dict[str, int] = {}
        self._points = 0

    def classes(self) -> tuple[MaskClass, ...]:
        return tuple(MaskClass(label, name, color) for label, (name, color) in sorted(self._names.items()))

    def take(self, feature: Mapping[str, Any]) -> None:
        number = len(self.shapes)
        properties = feature.get("properties") or {}
        if not isinstance(properties, dict):
            raise _refused(self._file, f"features[{number}].properties", "it is not an object")
        try:
            label = self._label(properties)
            attributes = properties.get("attributes", _plain(properties))
            attributes = dict(attributes) if isinstance(attributes, dict) else {}
            for part, (kind, rings) in enumerate(self._rings(feature, properties)):
                identifier = str(feature.get("id", f"feature-{number}"))[:60]
                record = ShapeRecord(
                    id=identifier if part == 0 else f"{identifier}-{part}",
                    kind=kind,
                    label=label,
                    points=rings[0],
                    holes=tuple(rings[1:]),
                    attributes=attributes,
                )
                self.shapes.append(record)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            if isinstance(error, UnreadableFile):
                raise
            raise _refused(self._file, f"features[{number}].geometry", "it is not a valid RFC 7946 geometry") from error

    def _label(self, properties: Mapping[str, Any]) -> int:
        name, color = str(properties.get("class") or ""), str(properties.get("color") or "#ff0000")
        label = properties.get("label")
        if isinstance(label, bool) or not isinstance(label, int):
            # Features that say neither share one label, as those of one class do.
            free = next(n for n in range(1, 65_537) if n not in self._names)
            label = self._by_name.setdefault(name, free)
        elif name:
            self._by_name.setdefault(name, label)
        if not 1 <= label <= 65_535:
            raise _refused(self._file, "label", f"{label} is not 1 to 65535")
        self._names.setdefault(label, (name[:200] or f"class {label}", color[:20]))
        return label

    def _rings(self, feature: Mapping[str, Any], properties: Mapping[str, Any]) -> Iterator[tuple[Any, list[Any]]]:
        if properties.get("image") == self._identity and "pixels" in properties:
            rings = [properties["pixels"], *properties.get("pixel_holes", [])]
            kind = properties["kind"]
            if kind not in ("point", "polyline", "polygon", "box"):
                raise ValueError("kind")
            yield kind, [tuple((0.0, _finite(y), _finite(x)) for y, x in self._counted(ring)) for ring in rings]
            return
        geometry = feature["geometry"]
        kind, many = _KINDS[geometry["type"]]
        height = properties.get("geolocation", {}).get("height_m") if _given(properties) else None
        for coordinates in geometry["coordinates"] if many else [geometry["coordinates"]]:
            rings = [[coordinates]] if kind == "point" else [coordinates] if kind == "polyline" else coordinates
            yield kind, [self._indices(ring, kind, height) for ring in rings]

    def _indices(self, ring: Sequence[Any], kind: str, height: float | None) -> tuple[tuple[float, float, float], ...]:
        if self._locator is None:
            raise _refused(self._file, "geometry", "the image has no ground position, so longitude means nothing in it")
        positions = self._counted(ring)
        if kind == "polygon":
            if len(positions) < 4 or list(positions[0][:2]) != list(positions[-1][:2]):
                raise ValueError("a linear ring is closed")
            positions = positions[:-1]
        lon, lat = ([_finite(p[axis]) for p in positions] for axis in (0, 1))
        if any(abs(v) > 180 for v in lon) or any(abs(v) > 90 for v in lat):
            raise _refused(self._file, "coordinates", "they are not longitude and latitude in degrees")
        line, pixel = self._locator.to_image(lon, lat, height)
        if not (np.isfinite(line).all() and np.isfinite(pixel).all()):
            raise _refused(self._file, "coordinates", "they lie far outside the image")
        return tuple((0.0, float(y), float(x)) for y, x in zip(line, pixel, strict=True))

    def _counted(self, ring: Sequence[Any]) -> Sequence[Any]:
        self._points += len(ring)
        if self._points > MAX_POINTS:
            raise TooLarge(f"{self._file}: more than {MAX_POINTS} positions; split it")
        return ring


_KINDS = {
    "Point": ("point", False),
    "MultiPoint": ("point", True),
    "LineString": ("polyline", False),
    "MultiLineString": ("polyline", True),
    "Polygon": ("polygon", False),
    "MultiPolygon": ("polygon", True),
}


def _plain(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Properties of a foreign file, kept as attributes."""
    return {key: value for key, value in properties.items() if key not in ("label", "class", "color")}


def _given(properties: Mapping[str, Any]) -> bool:
    location = properties.get("geolocation")
    return isinstance(location, dict) and location.get("height") == "given" and "height_m" in location


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a coordinate is a finite number")
    return float(value)


def _require_ground(reference: Series) -> Geolocator:
    locator = ground_of(reference)
    if locator is None:
        raise InvalidInput("this image has no ground position; export COCO or a mask instead", field="format")
    return locator


def _refused(file: str, field: str, problem: str) -> UnreadableFile:
    return UnreadableFile(file=file, field=field, problem=problem, remedy="Write it as GeoJSON of RFC 7946, WGS 84.")
