"""Radar: shapes and masks on a real scene with control points, and calibrated pictures of a real product."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from PIL import Image
from pyproj import Geod
from rasterio.control import GroundControlPoint
from scipy.interpolate import RectBivariateSpline, RegularGridInterpolator

from journeys.running import SAMPLES, Running, copy_home, disc, spans_of, specimg

SHAPE = (1, 837, 1280)
SCENE = SAMPLES / "sar" / "iw-vv.tiff"
PRODUCT = "S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
WGS84 = Geod(ellps="WGS84")

SHIP, LAND = 1, 4


class Known(NamedTuple):
    """A control point: the sample it was measured at, and where that lies (degrees, metres above the ellipsoid)."""

    line: float
    pixel: float
    lon: float
    lat: float
    height: float


def _written_points() -> list[GroundControlPoint]:
    with rasterio.open(SCENE) as scene:
        points, crs = scene.gcps
        assert crs.to_epsg() == 4326
        return list(points)


def _control_points() -> npt.NDArray[np.float64]:
    """(rows, columns, 5): the lattice of ``Known``, as samples of this copy.

    ESA writes indices 0 … N - 1 of the samples of the full product (Sentinel-1 Product Specification, geolocation grid).
    GDAL, which reduced this copy by s, multiplied them by s as if they were distances from the corner; the centre of
    sample i of the full product lies at (i + 1/2) s from the corner, so at index (i + 1/2) s - 1/2 of the copy. The last
    written number (N - 1) s and the copy's size N s tell s.
    """
    points = sorted(_written_points(), key=lambda p: (p.row, p.col))
    down, across = SHAPE[1] - max(p.row for p in points), SHAPE[2] - max(p.col for p in points)
    known = [(p.row + down / 2 - 0.5, p.col + across / 2 - 0.5, p.x, p.y, p.z) for p in points]
    return np.reshape(known, (len({p.row for p in points}), -1, 5))


def _polygon() -> list[Known]:
    """Four control points around one cell of their grid, off the middle of the scene."""
    lattice = _control_points()
    return [Known(*map(float, lattice[at])) for at in ((3, 11), (3, 12), (4, 12), (4, 11))]


def _middle() -> tuple[float, float]:
    """Line and pixel in the middle of that cell, as far from control points as a place can be."""
    return float(np.mean([p.line for p in _polygon()])), float(np.mean([p.pixel for p in _polygon()]))


@dataclass(frozen=True)
class Labelled:
    """Files of one segmentation, by command (``cli``) and HTTP, and what was painted."""

    files: Path
    painted: npt.NDArray[np.uint16]
    position: dict[str, Any]

    def json(self, name: str) -> Any:
        """A file that is JSON."""
        return json.loads((self.files / name).read_text())


@pytest.fixture(scope="module")
def labelled(fresh_demo: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labelled]:
    """The demo's radar scene with a polygon and brush strokes, exported."""
    folder = tmp_path_factory.mktemp("radar")
    home, files = copy_home(fresh_demo[0], folder / "home"), folder / "files"
    files.mkdir()
    painted = np.zeros(SHAPE, np.uint16)
    with Running(home) as server, server.demo() as person:
        image = person.images()["SAR"]["id"]
        segmentation = person.create(image, "Scene", "sar")
        shape = {
            "id": "cell",
            "kind": "polygon",
            "label": LAND,
            "points": [[0.0, p.line, p.pixel] for p in _polygon()],
            "holes": [],
            "attributes": {"note": "around one cell"},
        }
        middle = {"id": "middle", "kind": "point", "label": SHIP, "points": [[0.0, *_middle()]]}
        drawn = [{"op": "put", "shape": shape}, {"op": "put", "shape": middle}]
        person.edit(segmentation, 0, shapes=drawn, tool="polygon")
        strokes = ((SHIP, disc(SHAPE, 0, 700, 255, 9.5)), (SHIP, disc(SHAPE, 0, 30, 1270, 20.5)))
        for base, (label, stroke) in enumerate(strokes, start=1):
            person.paint(segmentation, base, label, spans_of(stroke))
            painted[stroke] = label
        first = _polygon()[0]
        position = person.get(f"/api/images/{image}/position", line=first.line, pixel=first.pixel)
        for format, suffix in (("geojson", "geojson"), ("coco", "json"), ("geotiff", "tif")):
            # Version 2 has the polygon and one stroke: an old version is exported as it was.
            person.export(f"{segmentation}@2", format, files / f"old.{suffix}")
            person.export(segmentation, format, files / f"http.{suffix}")
            command = ("export", segmentation, "--format", format, "--output", files / f"cli.{suffix}")
            specimg(home, *command).ended(0)
        specimg(home, "audit", "verify").ended(0)
    yield Labelled(files, painted, position)
    shutil.rmtree(folder, ignore_errors=True)


def _feature(labelled: Labelled, way: str, kind: str) -> tuple[Any, float, Any]:
    """Coordinates, stated error and attributes of the one feature of a kind."""
    features = labelled.json(f"{way}.geojson")["features"]
    (found,) = (feature for feature in features if feature["geometry"]["type"] == kind)
    properties = found["properties"]
    return found["geometry"]["coordinates"], properties["geolocation"]["error_m"], properties["attributes"]


@pytest.mark.parametrize("way", ["cli", "http"])
def test_a_polygon_on_control_points_is_where_they_are(labelled: Labelled, way: str) -> None:
    (ring,), error, attributes = _feature(labelled, way, "Polygon")
    assert ring[0] == ring[-1]
    assert attributes == {"note": "around one cell"}
    for (lon, lat), point in zip(ring[:-1], _polygon(), strict=True):
        _, _, distance = WGS84.inv(lon, lat, point.lon, point.lat)
        # On a control point it is exact; the stated error is for what lies between.
        assert distance < 0.01 <= error, f"{distance:.3f} m from a control point, stated {error} m"


@pytest.mark.parametrize("way", ["cli", "http"])
def test_a_point_between_control_points_is_within_the_error_stated(labelled: Labelled, way: str) -> None:
    lattice = _control_points()
    rows, columns = lattice[:, 0, 0], lattice[0, :, 1]
    east, north = (float(RectBivariateSpline(rows, columns, lattice[..., i])(*_middle())[0, 0]) for i in (2, 3))
    (lon, lat), error, _ = _feature(labelled, way, "Point")
    _, _, distance = WGS84.inv(lon, lat, east, north)
    # Samples are 200 m: an error stated as larger than one would be an empty promise.
    assert distance <= error < 200, f"{distance:.1f} m from a spline through all control points, stated {error} m"


def test_the_position_under_the_cursor_is_that_of_the_export(labelled: Labelled) -> None:
    first = _polygon()[0]
    _, _, distance = WGS84.inv(labelled.position["lon"], labelled.position["lat"], first.lon, first.lat)
    assert distance < 0.01 <= labelled.position["error_m"]
    assert labelled.position["height_m"] == pytest.approx(first.height, abs=1.0)


@pytest.mark.parametrize("way", ["cli", "http"])
def test_a_mask_lies_on_the_grid_of_the_scene(labelled: Labelled, way: str) -> None:
    with rasterio.open(labelled.files / f"{way}.tif") as mask:
        found, (points, crs) = mask.read(1), mask.gcps
    expected = labelled.painted[0].copy()
    # The polygon fills what is not painted; its border is judged by GDAL in the tests of the format.
    rows, columns = ([getattr(p, axis) for p in _polygon()] for axis in ("line", "pixel"))
    inner = np.s_[int(min(rows)) + 2 : int(max(rows)) - 1, int(min(columns)) + 2 : int(max(columns)) - 1]
    outer = np.s_[int(min(rows)) - 1 : int(max(rows)) + 3, int(min(columns)) - 1 : int(max(columns)) + 3]
    assert (found[inner] == LAND).all()
    outside = np.ones(SHAPE[1:], np.bool_)
    outside[outer] = False
    np.testing.assert_array_equal(found[outside], expected[outside])
    assert crs.to_epsg() == 4326

    def plain(all_points: list[GroundControlPoint]) -> npt.NDArray[np.float64]:
        return np.array([(p.row, p.col, p.x, p.y, p.z) for p in all_points])

    np.testing.assert_allclose(plain(points), plain(_written_points()), rtol=0, atol=1e-9)


def test_an_old_version_is_exported_as_it_was(labelled: Labelled) -> None:
    with rasterio.open(labelled.files / "old.tif") as mask:
        found = mask.read(1)
    assert (found[700, 255], found[30, 1270]) == (SHIP, 0)


def _run_lengths(segmentation: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """A mask from COCO's uncompressed run lengths: column by column, beginning with background."""
    height, width = segmentation["size"]
    runs = np.repeat(np.arange(len(segmentation["counts"])) % 2 == 1, segmentation["counts"])
    return runs.reshape(width, height).T


@pytest.mark.parametrize("way", ["cli", "http"])
def test_coco_says_the_same_voxels(labelled: Labelled, way: str) -> None:
    document = labelled.json(f"{way}.json")
    (image,) = document["images"]
    assert (image["height"], image["width"]) == SHAPE[1:]
    categories = {category["id"] for category in document["categories"]}
    annotations = document["annotations"]
    assert len({annotation["id"] for annotation in annotations}) == len(annotations) == 3
    assert {annotation["category_id"] for annotation in annotations} <= categories
    assert {annotation["image_id"] for annotation in annotations} == {image["id"]}
    together = np.zeros(SHAPE[1:], np.uint16)
    for annotation in annotations:
        if isinstance(annotation["segmentation"], dict):
            part = _run_lengths(annotation["segmentation"])
            assert annotation["area"] == part.sum()
            together[part] = annotation["category_id"]
        else:
            corners = np.reshape(annotation["segmentation"][0], (-1, 2)) - 0.5
            np.testing.assert_allclose(corners, [(p.pixel, p.line) for p in _polygon()], atol=1e-6)
    np.testing.assert_array_equal(together, labelled.painted[0])


# Calibration -----------------------------------------------------------------------------------------------------------

TILE = 512
ROW, COLUMN = 17, 30
"""The tile whose DN are known; off the middle in both directions."""


def _known_dn() -> npt.NDArray[np.uint16]:
    """100 to 200 in the upper half, so 6 dB; one value below, so that only calibration changes; a corner without signal."""
    y, x = np.indices((TILE, TILE))
    dn = np.where(y < TILE // 2, 100 + (7 * y + 13 * x) % 101, 150).astype(np.uint16)
    dn[-40:, -60:] = 0
    return dn


def _gain(folder: Path, lines: npt.NDArray[Any], pixels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """A of sigma nought at samples, bilinear between the vectors of the product's own XML (ESA-EOPG-CSCOP-TN-0002 §4)."""
    (file,) = (folder / "annotation" / "calibration").glob("calibration-*-vv-*.xml")
    vectors = ElementTree.parse(file).getroot().findall("calibrationVectorList/calibrationVector")
    columns = [np.array((v.findtext("pixel") or "").split(), float) for v in vectors]
    assert all((found == columns[0]).all() for found in columns)
    rows = [float(v.findtext("line") or "nan") for v in vectors]
    table = [np.array((v.findtext("sigmaNought") or "").split(), float) for v in vectors]
    between = RegularGridInterpolator((rows, columns[0]), np.array(table))
    return np.asarray(between(tuple(np.meshgrid(lines, pixels, indexing="ij"))))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_sigma0_of_a_real_product_is_what_its_tables_say(shared_data: Path, tmp_path: Path) -> None:
    """Full size (26102 × 16705) through the command, then pictures over HTTP against the formula DN² / A²."""
    product = tmp_path / PRODUCT
    shutil.copytree(shared_data / "geo" / "s1_grd_safe" / PRODUCT, product, copy_function=shutil.copyfile)
    for path in (product, *product.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    (measurement,) = (product / "measurement").iterdir()
    dn, top, left = _known_dn(), ROW * TILE, COLUMN * TILE
    with rasterio.open(measurement, "r+") as file:
        file.write(dn, 1, window=rasterio.windows.Window(left, top, TILE, TILE))
    home = tmp_path / "home"
    told = specimg(home, "ingest", product, "--project", "radar").ended(0)
    image = told.out.split()[0]
    specimg(home, "user", "add", "ann", "--project", "radar", "--password-stdin", input="a long enough phrase\n").ended(
        0
    )

    gain = _gain(product, np.arange(top, top + TILE), np.arange(left, left + TILE))
    with np.errstate(divide="ignore"):
        expected = 10 * np.log10((dn.astype(float) / gain) ** 2)
    signal = dn > 0
    with Running(home) as server, server.login("ann", "a long enough phrase") as person:

        def tile(low: float, high: float) -> npt.NDArray[np.uint8]:
            answer = person.http.get(
                f"/api/images/{image}/tiles/0/{ROW}/{COLUMN}",
                params={"quantity": "sigma0_db", "low": low, "high": high, "format": "png"},
            )
            assert answer.status_code == 200, answer.text
            return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))

        wide = (float(expected[signal].min()) - 0.5, float(expected[signal].max()) + 0.5)
        middle = float(np.median(expected[TILE // 2 :][signal[TILE // 2 :]]))
        for low, high in (wide, (middle - 0.05, middle + 0.05)):
            shown, step = tile(low, high), (high - low) / 255
            np.testing.assert_array_equal(shown[..., 3] == 255, signal)
            inside = signal & (expected > low + step) & (expected < high - step)
            assert inside.sum() > 20_000
            np.testing.assert_allclose(low + shown[..., 0][inside] * step, expected[inside], rtol=0, atol=1.01 * step)
        raw = person.http.get(f"/api/images/{image}/slices/z/0", params={"format": "raw", "level": 4})
        assert raw.headers["x-dtype"] == "uint16"
