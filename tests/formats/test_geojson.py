"""GeoJSON: ground positions against the product's own control points and PROJ, form against RFC 7946, and back."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Geod, Transformer

from specimg.errors import InvalidInput, TooLarge, UnreadableFile
from specimg.formats import geojson
from specimg.formats.base import MaskClass, Series, ShapeRecord
from specimg.formats.geojson import read_shapes, write_shapes
from specimg.formats.geotiff import GEOTIFF
from specimg.formats.sentinel1 import SENTINEL1
from specimg.testing.radar_phantoms import ground, write_catalogue_copy, write_geotiff, write_safe

CLASSES = (MaskClass(1, "Ship", "#ff0000"), MaskClass(2, "Oil slick", "#00ff00"))


def product(folder: Path) -> Series:
    """Of a product folder."""
    (opened,) = SENTINEL1.open([folder], folder)
    opened.close()
    return opened.series


def raster(path: Path) -> Series:
    """Of a TIFF."""
    (opened,) = GEOTIFF.open([path], path.parent)
    opened.close()
    return opened.series


def written(shapes: list[ShapeRecord], series: Series, folder: Path) -> list[dict[str, Any]]:
    """Features as any other program sees them."""
    write_shapes(shapes, CLASSES, folder / "shapes.geojson", series)
    document = json.loads((folder / "shapes.geojson").read_text("utf-8"))
    assert document["type"] == "FeatureCollection"
    assert "crs" not in document  # RFC 7946 §4: always WGS 84
    features: list[dict[str, Any]] = document["features"]
    return features


def polygon(points: list[tuple[float, float]], **changes: Any) -> ShapeRecord:
    """In (line, pixel)."""
    return ShapeRecord("s1", "polygon", 1, tuple((0.0, y, x) for y, x in points), **changes)


def area(ring: list[list[float]]) -> float:
    """Positive counterclockwise."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) / 2


# Where shapes lie ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["s1_grd_safe/*5371.SAFE", "s1_grd_safe/*ECC8.SAFE", "s1_grd_gcps"])
def test_a_polygon_on_control_points_lies_where_the_producer_says(shared_data: Path, tmp_path: Path, name: str) -> None:
    (folder,) = (shared_data / "geo").glob(name)
    series = product(folder)
    assert series.radar is not None
    gcps = series.radar["gcps"]
    corners = [0, 3, 24, 66, 64]  # in reading order of a 10 x 21 lattice: no symmetric figure
    shape = polygon([(gcps["line"][i], gcps["pixel"][i]) for i in corners])
    (feature,) = written([shape], series, tmp_path)
    error = feature["properties"]["geolocation"]["error_m"]
    positions = feature["geometry"]["coordinates"][0]
    for i in corners:
        expected = gcps["lon"][i], gcps["lat"][i]
        apart = [Geod(ellps="WGS84").inv(*expected, *position)[2] for position in positions]
        # The nearest vertex is the control point, to a millimetre of rounding plus the model's own residual.
        assert min(apart) < (0.002 if name.endswith("gcps") else 0.3)
        assert min(apart) <= error
    assert feature["properties"]["geolocation"]["model"] == (
        "control-points" if name.endswith("gcps") else "range-doppler"
    )


def test_a_ship_at_sea_level_lies_where_the_orbit_says(tmp_path: Path) -> None:
    """The phantom's control points are 250 m high here; the ship is not, and says so."""
    series = product(write_safe(tmp_path).folder)
    ship = ShapeRecord("ship", "point", 1, ((0.0, 40.25, 60.5),), attributes={"height_m": 0, "length": 31.5})
    (feature,) = written([ship], series, tmp_path)
    lon, lat = feature["geometry"]["coordinates"]
    assert Geod(ellps="WGS84").inv(lon, lat, *ground(40.25, 60.5, 0.0))[2] < 0.01
    location = feature["properties"]["geolocation"]
    assert (location["height_m"], location["height"]) == (0.0, "given")
    assert location["error_m"] < 0.05
    assert feature["properties"]["attributes"] == {"height_m": 0, "length": 31.5}
    assert feature["properties"]["pixels"] == [[40.25, 60.5]]


def test_a_map_shape_agrees_with_proj(shared_data: Path, tmp_path: Path) -> None:
    series = raster(shared_data / "geo" / "umbra" / "umbra_mount_yasur.tiff")
    shape = polygon([(10.0, 20.0), (10.0, 120.0), (90.0, 55.5)])
    (feature,) = written([shape], series, tmp_path)
    world = series.grid.affine.to_world(shape.points)
    lon, lat = Transformer.from_crs(32759, 4326, always_xy=True).transform(world[:, 0], world[:, 1])
    ring = feature["geometry"]["coordinates"][0]
    for position in zip(lon, lat, strict=True):
        assert min(np.hypot(position[0] - x, position[1] - y) for x, y in ring) < 1e-8
    assert feature["properties"]["geolocation"] == {
        "model": "crs", "height_m": None, "height": "not known", "error_m": None,
    }  # fmt: skip


def test_a_long_edge_is_bent_as_the_image_is(shared_data: Path, tmp_path: Path) -> None:
    """One box around a whole real scene: without points between, its sides would cut kilometres off the coast."""
    (folder,) = (shared_data / "geo").glob("s1_grd_safe/*5371.SAFE")
    series = product(folder)
    box = ShapeRecord("all", "box", 2, ((0.0, 0.0, 0.0), (0.0, 16_704.0, 26_101.0)))
    (feature,) = written([box], series, tmp_path)
    ring = feature["geometry"]["coordinates"][0]
    assert len(ring) > 300
    assert feature["properties"]["kind"] == "box"
    assert feature["properties"]["pixels"] == [[0.0, 0.0], [16_704.0, 26_101.0]]
    assert series.radar is not None
    gcps = series.radar["gcps"]
    top = [i for i, line in enumerate(gcps["line"]) if line == 0]
    geod = Geod(ellps="WGS84")
    for i in top:
        nearest = min(geod.inv(gcps["lon"][i], gcps["lat"][i], *position)[2] for position in ring)
        assert nearest < 1500  # points are 2.5 km apart along the edge


# Form ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, -1])
def test_outlines_run_counterclockwise_and_holes_clockwise(tmp_path: Path, turn: int) -> None:
    series = raster(write_geotiff(tmp_path / "a.tif").path)
    outer = [(2.0, 2.0), (2.0, 30.0), (25.0, 30.0), (25.0, 2.0)][::turn]
    hole = tuple((0.0, y, x) for y, x in [(5.0, 5.0), (5.0, 9.0), (11.0, 9.0)][::turn])
    (feature,) = written([polygon(outer, holes=(hole,))], series, tmp_path)
    rings = feature["geometry"]["coordinates"]
    assert [ring[0] == ring[-1] for ring in rings] == [True, True]
    assert area(rings[0]) > 0 > area(rings[1])


def test_a_shape_over_the_date_line_is_split(tmp_path: Path) -> None:
    corner = (0.01, 0.0, 179.8, 0.0, -0.01, 10.0)
    series = raster(write_geotiff(tmp_path / "a.tif", corner=corner, crs="EPSG:4326").path)
    shapes = [
        polygon([(5.0, 5.0), (5.0, 40.0), (20.0, 40.0), (20.0, 5.0)]),
        ShapeRecord("line", "polyline", 2, ((0.0, 3.0, 10.0), (0.0, 9.0, 35.0))),
        ShapeRecord("point", "point", 2, ((0.0, 3.0, 45.0),)),
    ]
    many, line, point = written(shapes, series, tmp_path)
    assert many["geometry"]["type"] == "MultiPolygon"
    assert {round(max(x for x, _ in part[0]), 6) for part in many["geometry"]["coordinates"]} == {180.0, -179.795}
    assert line["geometry"]["type"] == "MultiLineString"
    assert point["geometry"]["coordinates"][0] == pytest.approx(-180 + 0.255)
    back = read_shapes(tmp_path / "shapes.geojson", series).shapes
    assert back == tuple(shapes)


def test_a_polygon_around_the_pole_is_refused_not_flattened(tmp_path: Path) -> None:
    corner = (1000.0, 0.0, -25_000.0, 0.0, -1000.0, 20_000.0)
    series = raster(write_geotiff(tmp_path / "a.tif", corner=corner, crs="EPSG:3413").path)
    with pytest.raises(InvalidInput, match="encloses a pole"):
        written([polygon([(5.0, 5.0), (5.0, 45.0), (35.0, 45.0), (35.0, 5.0)])], series, tmp_path)


def test_an_image_without_ground_position_cannot_be_exported(tmp_path: Path) -> None:
    series = raster(write_geotiff(tmp_path / "a.tif", crs=None, corner=(1, 0, 0, 0, 1, 0)).path)
    with pytest.raises(InvalidInput, match="no ground position"):
        written([], series, tmp_path)


def test_what_the_image_lacks_is_passed_on(tmp_path: Path) -> None:
    series = product(write_catalogue_copy(tmp_path).folder)
    warnings = write_shapes([], CLASSES, tmp_path / "a.geojson", series)
    assert "interpolated between control points" in " ".join(warnings)


# And back --------------------------------------------------------------------------------------------------------------

EVERY_KIND = [
    ShapeRecord("p", "point", 1, ((0.0, 3.123456789, 7.5),), attributes={"note": "Přístav", "confidence": 0.25}),
    ShapeRecord("l", "polyline", 2, ((0.0, 1.0, 2.0), (0.0, 30.0, 50.0), (0.0, 31.0, -0.5))),
    ShapeRecord("b", "box", 2, ((0.0, 5.0, 6.0), (0.0, 17.0, 60.0))),
    polygon([(1.0, 1.0), (1.0, 40.0), (33.3, 20.0)], holes=(((0.0, 4.0, 10.0), (0.0, 4.0, 20.0), (0.0, 9.0, 15.0)),)),
]


def test_shapes_come_back_exactly_into_the_same_image(tmp_path: Path) -> None:
    series = product(write_safe(tmp_path).folder)
    written(EVERY_KIND, series, tmp_path)
    back = read_shapes(tmp_path / "shapes.geojson", Series.from_json(json.loads(json.dumps(series.to_json()))))
    assert back.shapes == tuple(EVERY_KIND)
    assert back.classes == CLASSES


def test_shapes_enter_another_image_of_the_place_by_longitude_and_latitude(tmp_path: Path) -> None:
    """Drawn on the product, read into its catalogue copy: the same samples, by another model, within a fraction."""
    drawn = product(write_safe(tmp_path).folder)
    copy = product(write_catalogue_copy(tmp_path).folder)
    written([EVERY_KIND[3]], drawn, tmp_path)
    ((back,), _) = read_shapes(tmp_path / "shapes.geojson", copy)
    for ours, theirs in zip(
        [*EVERY_KIND[3].points, *EVERY_KIND[3].holes[0]], [*back.points, *back.holes[0]], strict=True
    ):
        assert (
            min(abs(theirs[1] - p[1]) + abs(theirs[2] - p[2]) for p in [*EVERY_KIND[3].points, *EVERY_KIND[3].holes[0]])
            < 0.3
        )
        assert ours[0] == theirs[0]


def foreign(folder: Path, document: Any) -> Path:
    """As another program writes it."""
    path = folder / "foreign.geojson"
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return path


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    """One."""
    return {"type": "Feature", "geometry": geometry, "properties": properties or None}


def test_a_foreign_file_is_brought_into_the_image(tmp_path: Path) -> None:
    series = raster(write_geotiff(tmp_path / "a.tif", corner=(0.01, 0, 10, 0, -0.01, 50), crs="EPSG:4326").path)
    ring = [[10.105, 49.895], [10.205, 49.895], [10.205, 49.795], [10.105, 49.895]]
    document = {
        "type": "FeatureCollection",
        "features": [
            feature({"type": "Polygon", "coordinates": [ring]}, **{"class": "Field", "crop": "wheat"}),
            feature({"type": "MultiPoint", "coordinates": [[10.005, 49.995], [10.015, 49.985, 12.5]]}, label=9),
            feature({"type": "LineString", "coordinates": ring[:2]}),
            feature({"type": "Point", "coordinates": ring[0]}, **{"class": "Field"}),
        ],
    }
    shapes, classes = read_shapes(foreign(tmp_path, document), series)
    assert [s.kind for s in shapes] == ["polygon", "point", "point", "polyline", "point"]
    np.testing.assert_allclose(shapes[0].points, [(0, 10, 10), (0, 10, 20), (0, 20, 20)], atol=1e-6)
    np.testing.assert_allclose(shapes[2].points, [(0, 1, 1)], atol=1e-6)
    assert shapes[0].attributes == {"crop": "wheat"}
    assert [s.label for s in shapes] == [1, 9, 9, 2, 1]
    assert [(c.label, c.name) for c in classes] == [(1, "Field"), (2, "class 2"), (9, "class 9")]
    assert len({s.id for s in shapes}) == 5


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        "[" * 100_000,
        {"type": "Topology"},
        {"type": "FeatureCollection", "features": [{"type": "Polygon"}]},
        feature({"type": "Polygon", "coordinates": [[[10, 50], [11, 50], [11, 49]]]}),
        feature({"type": "Point", "coordinates": [10]}),
        feature({"type": "Point", "coordinates": ["10", "50"]}),
        feature({"type": "Point", "coordinates": [500_000, 4_600_000]}),
        feature({"type": "GeometryCollection", "geometries": []}),
        feature(None),
        feature({"type": "Point", "coordinates": [10, 50]}, label=70_000),
        {**feature({"type": "Point", "coordinates": [10, 50]}), "type": "FeatureCollection", "features": 7},
        {
            "type": "FeatureCollection",
            "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
            "features": [],
        },
    ],
    ids=lambda d: str(d)[:60],
)
def test_what_is_no_geojson_is_refused_by_name(tmp_path: Path, document: Any) -> None:
    series = raster(write_geotiff(tmp_path / "a.tif", corner=(0.01, 0, 10, 0, -0.01, 50), crs="EPSG:4326").path)
    with pytest.raises(UnreadableFile) as refusal:
        read_shapes(foreign(tmp_path, document), series)
    assert refusal.value.file == "foreign.geojson"
    assert "RFC 7946" in refusal.value.remedy


def test_a_file_without_end_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geojson, "MAX_POINTS", 3)
    series = raster(write_geotiff(tmp_path / "a.tif", corner=(0.01, 0, 10, 0, -0.01, 50), crs="EPSG:4326").path)
    line = {"type": "LineString", "coordinates": [[10.1, 49.9]] * 4}
    with pytest.raises(TooLarge):
        read_shapes(foreign(tmp_path, feature(line)), series)
