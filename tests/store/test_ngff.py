"""Other people's readers open our images unchanged, and see the same values in the same places."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import ngff_zarr
import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 -- registers the .rio accessor
import xarray
import zarr
from ome_zarr_models.v05.image import Image as OmeImage
from rasterio.crs import CRS

import image_phantoms as phantoms
from specimg.geometry.radar import ControlPoints
from specimg.store.image import Image

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

LANDMARK = (52.5, 61.5, 97.5)


@pytest.fixture(scope="module", params=["axial", "oblique"])
def ct(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Image:
    affine = {"axial": phantoms.AXIAL, "oblique": phantoms.OBLIQUE}[request.param]
    voxels = phantoms.asymmetric((80, 150, 300))
    return phantoms.stored(phantoms.volume(voxels, affine=affine), tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Image:
    samples = phantoms.asymmetric((2, 601, 700), "uint16")
    samples[:, :50, :60] = 0
    return phantoms.stored(phantoms.raster(samples, nodata=0.0), tmp_path_factory.mktemp("scene"))


def whole(image: Image, level: int = 0, c: int = 0) -> Any:
    """All samples of a level."""
    return image.read_box((0, 0, 0), image.shape(level), level=level, c=c)


def described(group: zarr.Group) -> dict[str, Any]:
    """Attributes and shape of everything below a group."""
    return {path: (dict(node.attrs), getattr(node, "shape", None)) for path, node in group.members(max_depth=None)}


def world(image: Image, level: int, index: Any) -> Any:
    """Where a sample of a level lies."""
    return image.grid.downsampled(image.levels[level].factors).affine.to_world(index)


# --- OME-Zarr -------------------------------------------------------------------------------------------------------


def test_ome_zarr_models_accepts_them(ct: Image, scene: Image) -> None:
    for image in (ct, scene):
        found = OmeImage.from_zarr(zarr.open_group(image.root, mode="r"))
        assert [dataset.path for dataset in found.datasets[0]] == [level.path for level in image.levels]


def test_ngff_zarr_reads_values_and_places(ct: Image) -> None:
    multiscales = ngff_zarr.from_ngff_zarr(str(ct.root), validate=False)
    directions = ct.grid.affine.directions
    assert len(multiscales.images) == len(ct.levels) > 1
    for level, found in enumerate(multiscales.images):
        assert found.dims == ("z", "y", "x")
        np.testing.assert_array_equal(np.asarray(found.data), whole(ct, level))
        # D @ coordinate = world: see store.ngff
        coordinate = [found.scale[axis] * i + found.translation[axis] for axis, i in zip("zyx", LANDMARK, strict=True)]
        np.testing.assert_allclose(directions @ coordinate, world(ct, level, LANDMARK), atol=1e-9)


def test_ngff_zarr_finds_the_metadata_valid(ct: Image, scene: Image) -> None:
    pytest.importorskip("jsonschema", reason="validation needs jsonschema: pip install ngff-zarr[validate]")
    for image in (ct, scene):
        ngff_zarr.from_ngff_zarr(str(image.root), validate=True)


def test_an_axial_series_has_lps_coordinates(tmp_path: Path) -> None:
    image = phantoms.stored(phantoms.volume(phantoms.asymmetric((5, 6, 7))), tmp_path)
    ome = json.loads((image.root / "zarr.json").read_text())["attributes"]["ome"]
    (multiscale,) = ome["multiscales"]
    assert [axis["orientation"]["value"] for axis in multiscale["axes"]] == [
        "inferior-to-superior",
        "anterior-to-posterior",
        "right-to-left",
    ]
    assert multiscale["datasets"][0]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1.0, 0.7, 0.7]},
        {"type": "translation", "translation": [30, -50, -100]},
    ]


def test_napari_ome_zarr_reads_values_places_and_window(ct: Image, scene: Image) -> None:
    reader = pytest.importorskip("napari_ome_zarr", reason="napari-ome-zarr is not installed: pip install specimg[dev]")
    options: dict[str, Any] = {}
    for image in (ct, scene):
        open_layers = reader.napari_get_reader(str(image.root))
        ((pyramid, options, kind),) = open_layers(str(image.root))
        assert kind == "image"
        for level, found in enumerate(pyramid):
            expected = whole(image, level) if image is ct else np.stack([whole(image, level, c)[0] for c in (0, 1)])
            np.testing.assert_array_equal(np.asarray(found), expected)
        assert tuple(options["scale"]) == image.grid.affine.spacing[-len(options["scale"]) :]
    assert options["name"] == ["phantom: VV", "phantom: VH"]


def test_the_whole_affine_is_in_our_attribute(ct: Image) -> None:
    own = zarr.open_group(ct.root, mode="r").attrs["specimg"]
    for level, described in zip(ct.levels, own["levels"], strict=True):
        assert described["grid"]["affine"] == ct.grid.downsampled(level.factors).affine.to_json()
    assert own["grid"] == ct.grid.to_json()


def test_zarr_python_sees_the_same_tree_with_and_without_consolidated_metadata(ct: Image, scene: Image) -> None:
    for image in (ct, scene):
        plain = zarr.open_group(image.root, mode="r", use_consolidated=False)
        quick = zarr.open_group(image.root, mode="r", use_consolidated=True)
        assert described(quick) == described(plain)
        for level in image.levels:
            assert plain[level.path].metadata.dimension_names == image.series.axes


# --- xarray and rioxarray -------------------------------------------------------------------------------------------


def test_xarray_opens_the_tree_and_every_level(scene: Image) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", xarray.SerializationWarning)
        tree = xarray.open_datatree(scene.root, engine="zarr", mask_and_scale=False)
        assert set(tree.groups) == {"/", *(f"/{level.path.split('/')[0]}" for level in scene.levels)}
        for number in range(len(scene.levels)):
            found = xarray.open_zarr(scene.root, group=str(number), mask_and_scale=False)["image"]
            assert found.dims == ("c", "y", "x")
            np.testing.assert_array_equal(found[1], whole(scene, number, c=1)[0])
            y, x = 3, 5
            place = world(scene, number, (0, y, x))
            np.testing.assert_allclose([found.x[x], found.y[y]], place[:2])


def test_rioxarray_knows_crs_transform_and_nodata(scene: Image) -> None:
    found = xarray.open_zarr(scene.root, group="0")["image"]
    assert found.rio.crs == CRS.from_epsg(32633)
    # The corner of the first sample: half a sample of 10 m before its centre.
    assert found.rio.transform() == rasterio.Affine(10, 0, 500_000, 0, -10, 5_400_000)
    assert np.isnan(found.values[0, 0, 0]), "nodata is masked"
    assert xarray.open_zarr(scene.root, group="0", mask_and_scale=False)["image"].rio.nodata == 0
    coarse = xarray.open_zarr(scene.root, group="1")["image"]
    assert coarse.rio.transform() == rasterio.Affine(20, 0, 500_000, 0, -20, 5_400_000)


def test_rioxarray_writes_a_geotiff_that_gdal_puts_in_the_same_place(scene: Image, tmp_path: Path) -> None:
    xarray.open_zarr(scene.root, group="0", mask_and_scale=False)["image"].rio.to_raster(tmp_path / "scene.tif")
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        assert dataset.crs == CRS.from_epsg(32633)
        np.testing.assert_allclose(dataset.xy(3, 5), world(scene, 0, (0, 3, 5))[:2])
        np.testing.assert_array_equal(dataset.read(1), whole(scene)[0])


def test_a_rotated_raster_keeps_its_rotation(tmp_path: Path) -> None:
    opened = phantoms.raster(phantoms.asymmetric((1, 600, 700), "float32"), affine=phantoms.ROTATED, unit="1")
    image = phantoms.stored(opened, tmp_path)
    for number in range(len(image.levels)):
        found = xarray.open_zarr(image.root, group=str(number))["image"]
        assert not {"x", "y"} & set(found.coords), "1-D coordinates would be wrong"
        transform = found.rio.transform()
        np.testing.assert_allclose(transform @ (5.5, 3.5), world(image, number, (0, 3, 5))[:2])


def test_missing_floats_are_missing_in_xarray(tmp_path: Path) -> None:
    samples = np.full((1, 30, 40), -9999, np.float32)
    samples[0, 4, 5] = 2.5
    image = phantoms.stored(phantoms.raster(samples, unit="1", crs="EPSG:4326", nodata=-9999.0), tmp_path)
    found = xarray.open_zarr(image.root, group="0")["image"]
    assert int(found.notnull().sum()) == 1
    assert found.x.attrs["units"] == "degrees_east"


def test_a_radar_scene_carries_its_control_points(tmp_path: Path) -> None:
    line, pixel = np.array([0.0, 0, 599]), np.array([0.0, 699, 0])
    points = ControlPoints(line=line, pixel=pixel, lon=line / 1e3 + 76, lat=pixel / 1e3 + 10, height=line + 255)
    opened = phantoms.raster(phantoms.asymmetric((1, 600, 700), "uint16"), crs=None, radar={"gcps": points.to_json()})
    image = phantoms.stored(opened, tmp_path)
    for number, factor in ((0, 1), (1, 2)):
        found = xarray.open_zarr(image.root, group=str(number))["image"].rio.get_gcps()
        # GDAL counts from the corner: the centre of the first sample is at (0.5, 0.5).
        assert [(g.row, g.col) for g in found] == [
            ((y + 0.5) / factor, (x + 0.5) / factor) for y, x in zip(line, pixel, strict=True)
        ]
        assert [(g.x, g.y, g.z) for g in found] == [(76, 10, 255), (76, 10.699, 255), (76.599, 10, 854)]


# --- GeoZarr --------------------------------------------------------------------------------------------------------


def test_geozarr_attributes_agree_with_the_grid(scene: Image) -> None:
    root = zarr.open_group(scene.root, mode="r")
    assert {c["name"] for c in root.attrs["zarr_conventions"]} == {"multiscales", "proj:", "spatial:"}
    assert root.attrs["proj:code"] == "EPSG:32633"
    assert root.attrs["spatial:bbox"] == [500_000, 5_400_000 - 6010, 507_000, 5_400_000]
    for number, item in enumerate(root.attrs["multiscales"]["layout"]):
        group = root[item["asset"]]
        assert item["spatial:shape"] == group.attrs["spatial:shape"] == list(group["image"].shape[1:])
        a, b, c, d, e, f = group.attrs["spatial:transform"]
        corner = (a * 5.5 + b * 3.5 + c, d * 5.5 + e * 3.5 + f)
        np.testing.assert_allclose(corner, world(scene, number, (0, 3, 5))[:2])


def test_json_is_strict(tmp_path: Path) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON: a browser would refuse it")

    samples = np.full((1, 30, 40), np.nan, np.float32)
    image = phantoms.stored(phantoms.raster(samples, unit="1", nodata=float("nan")), tmp_path)
    for path in image.root.rglob("zarr.json"):
        json.loads(path.read_text(), parse_constant=refuse)
    assert np.isnan(image.read_plane("z", 0)).all()
