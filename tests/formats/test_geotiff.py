"""GeoTIFF: geometry against GDAL's own arithmetic, pixels against rasterio, masks read back by rasterio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.transform
from pyproj import Transformer

from specimg.errors import InvalidInput, TooLarge, UnreadableFile
from specimg.formats import tiff
from specimg.formats.base import Mask, MaskClass, OpenSeries, Rescale, Series
from specimg.formats.geotiff import GEOTIFF, read_mask, write_mask
from specimg.formats.ground import ground_of
from specimg.formats.sentinel1 import SENTINEL1
from specimg.testing.radar_phantoms import write_geotiff, write_safe

CLASSES = (MaskClass(1, "Water, flooded", "#0040ff"), MaskClass(7, "Šíp", "#ffcc00"))
REAL = [
    "umbra/umbra_mount_yasur.tiff",
    "optical_edge/RGB.byte.tif",
    "optical_edge/cog.tif",
    "optical_edge/cog_dateline.tif",
    "dem/Rome-30m-DEM.tif",
    "sen1floods11/Spain_7370579_S1Hand.tif",
    "s1_geocoded_db/S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif",
]


def open_one(path: Path) -> OpenSeries:
    """The one series of a file."""
    assert GEOTIFF.sniff(path, path.read_bytes()[:4096])
    (opened,) = GEOTIFF.open([path], path.parent)
    return opened


def describe(path: Path) -> Series:
    """And close it."""
    opened = open_one(path)
    opened.close()
    return opened.series


# Where it lies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REAL)
def test_sample_centres_and_pixels_agree_with_rasterio(shared_data: Path, name: str) -> None:
    opened = open_one(shared_data / "geo" / name)
    with rasterio.open(shared_data / "geo" / name) as dataset:
        for line, pixel in ((0, 0), (dataset.height - 1, 3), (17, dataset.width - 1)):
            world = opened.series.grid.affine.to_world((0, line, pixel))
            np.testing.assert_allclose(world[:2], dataset.xy(line, pixel), rtol=1e-12)
        stop = (dataset.count, 60, 70)
        np.testing.assert_array_equal(opened.read((0, 13, 20), stop), dataset.read(window=((13, 60), (20, 70))))
        assert opened.series.grid.space.crs == f"EPSG:{dataset.crs.to_epsg()}"
    opened.close()


@pytest.mark.parametrize("name", ["umbra/umbra_mount_yasur.tiff", "optical_edge/cog_dateline.tif"])
def test_ground_positions_agree_with_proj_also_rotated_and_over_the_date_line(shared_data: Path, name: str) -> None:
    series = describe(shared_data / "geo" / name)
    model = ground_of(series)
    assert model is not None
    line, pixel = np.array([0, 700.25, 1999]), np.array([1800, 3, 1211.5])
    lon, lat, _, error = model.to_ground(line, pixel)
    with rasterio.open(shared_data / "geo" / name) as dataset:
        x, y = rasterio.transform.xy(dataset.transform, line, pixel)
        expected = Transformer.from_crs(dataset.crs.to_epsg(), 4326, always_xy=True).transform(x, y)
    np.testing.assert_allclose(np.exp(1j * np.radians(lon)), np.exp(1j * np.radians(expected[0])), atol=1e-11)
    np.testing.assert_allclose(lat, expected[1], atol=1e-9)
    assert np.isnan(error).all()
    np.testing.assert_allclose(model.to_image(lon, lat), (line, pixel), atol=1e-5)


def test_a_rotated_affine_is_kept_and_not_made_north_up(tmp_path: Path) -> None:
    corner = (-0.143, -0.577, 337_934.48, -0.577, 0.143, 7_840_518.46)
    sample = write_geotiff(tmp_path / "rotated.tif", corner=corner, crs="EPSG:32759")
    affine = describe(sample.path).grid.affine
    for index, world in sample.landmarks.items():
        np.testing.assert_allclose(affine.to_world(index), world, rtol=1e-12)
    np.testing.assert_allclose(affine.matrix[:2, 2], (-0.143, -0.577))


def test_a_raster_that_counts_from_0_to_360_degrees_finds_western_longitudes(tmp_path: Path) -> None:
    sample = write_geotiff(tmp_path / "world.tif", corner=(7.2, 0, 0, 0, -4.5, 90), crs="EPSG:4326")
    model = ground_of(describe(sample.path))
    assert model is not None
    lon, lat, _, _ = model.to_ground(10, 45)
    assert float(lon) == pytest.approx(45.5 * 7.2 - 360)
    np.testing.assert_allclose(model.to_image(lon, lat), (10, 45), atol=1e-9)


def test_point_and_area_pixels_lie_half_a_pixel_apart(tmp_path: Path) -> None:
    """GeoTIFF 1.1 §7.1.2.3: the same tie point is a corner of an area, but the centre of a point."""
    places = []
    for kind in ("Area", "Point"):
        path = write_geotiff(tmp_path / f"{kind}.tif").path
        with tiff.gdal(), rasterio.open(path, "r+") as dataset:
            dataset.update_tags(AREA_OR_POINT=kind)
        with tiff.gdal(), rasterio.open(path) as dataset:
            expected = dataset.xy(0, 0)
        places.append(describe(path).grid.affine.to_world((0, 0, 0))[:2])
        np.testing.assert_allclose(places[-1], expected)


def test_control_points_without_crs_of_samples_make_a_radar_plane(shared_data: Path) -> None:
    """A real ICEYE product: 810 points. GDAL counts from the corner, an index from the centre."""
    path = shared_data / "geo" / "iceye_layout" / "ICEYE_GRD_54549_hollow_10x10_0.tif"
    series = describe(path)
    assert series.grid.space.kind == "radar"
    assert series.radar is not None
    with rasterio.open(path) as dataset:
        written = dataset.gcps[0]
    np.testing.assert_allclose(series.radar["gcps"]["line"], [p.row - 0.5 for p in written])
    np.testing.assert_allclose(series.radar["gcps"]["lon"], [p.x for p in written])
    model = ground_of(series)
    assert model is not None
    _, lat, height, error = model.to_ground(series.radar["gcps"]["line"], series.radar["gcps"]["pixel"])
    np.testing.assert_allclose(lat, [p.y for p in written], atol=1e-9)
    np.testing.assert_allclose(height, [p.z for p in written], atol=1e-6)
    assert np.isfinite(error).all()


@pytest.mark.parametrize(
    ("crs", "corner", "words"),
    [
        (None, (1.0, 0, 0, 0, 1, 0), "no georeference"),
        ("EPSG:4326", (1.0, 0, 0, 0, 1, 0), "names a CRS but not where"),
        (None, (20.0, 0, 5, 0, -20, 7), "an affine but no CRS"),
    ],
)
def test_half_a_georeference_is_none_and_is_said(
    tmp_path: Path, crs: str | None, corner: tuple[float, float, float, float, float, float], words: str
) -> None:
    series = describe(write_geotiff(tmp_path / "a.tif", crs=crs, corner=corner).path)
    assert series.grid.space.kind == "pixel"
    assert words in " ".join(series.warnings)
    assert ground_of(series) is None


# What values are -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_every_number_type_comes_back_as_stored(tmp_path: Path, dtype: str) -> None:
    sample = write_geotiff(tmp_path / "a.tif", dtype=dtype, bands=3)
    opened = open_one(sample.path)
    assert opened.series.dtype == dtype
    with rasterio.open(sample.path) as dataset:
        np.testing.assert_array_equal(opened.read((0, 0, 0), (3, 40, 50)), dataset.read())
    opened.close()


def test_units_of_real_radar_rasters(shared_data: Path) -> None:
    """Amplitude cannot be negative: bands VV and VH with a negative median are decibel."""
    geo = shared_data / "geo"
    floods = describe(geo / "sen1floods11/Spain_7370579_S1Hand.tif")
    assert [(c.name, c.unit) for c in floods.channels] == [("VV", "dB"), ("VH", "dB")]
    assert (floods.modality, floods.nodata) == ("SAR", None)
    assert describe(geo / REAL[-1]).channels[0].unit == "dB"
    assert describe(geo / "optical_edge/cog_nodata_nan.tif").channels[0].unit == "1"
    assert describe(geo / "s1_grd_gcps/iw-vh.tiff").channels[0].unit == "DN"
    assert describe(geo / "dem/Rome-30m-DEM.tif").channels[0].unit == "metre"


def test_bands_are_named_by_description_then_colour(shared_data: Path) -> None:
    assert [c.name for c in describe(shared_data / "geo/sen1floods11/Spain_7370579_S2Hand.tif").channels][:2] == [
        "B1",
        "B2",
    ]
    assert [c.name for c in describe(shared_data / "geo/optical_edge/RGB.byte.tif").channels] == [
        "red",
        "green",
        "blue",
    ]


def test_scale_and_offset_are_the_rescale(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", dtype="int16").path
    with tiff.gdal(), rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 0.5), (-3.0, -3.0)
    assert describe(path).rescale == Rescale((0.5,), (-3.0,))
    with tiff.gdal(), rasterio.open(path, "r+") as dataset:
        dataset.scales = (0.5, 2.0)
    series = describe(path)
    assert series.rescale.is_identity
    assert "different scale" in " ".join(series.warnings)


def test_no_data_that_is_nan_does_not_break_json(tmp_path: Path) -> None:
    assert describe(write_geotiff(tmp_path / "a.tif", nodata=float("nan")).path).nodata is None
    assert describe(write_geotiff(tmp_path / "b.tif", nodata=-99).path).nodata == -99.0


# Refused ---------------------------------------------------------------------------------------------------------------


def test_complex_samples_are_refused_by_name(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "slc.tif", dtype="complex64", bands=1).path
    with pytest.raises(UnreadableFile, match="complex") as refusal:
        GEOTIFF.open([path], tmp_path)
    assert (refusal.value.file, refusal.value.field) == ("slc.tif", "SampleFormat")
    assert "amplitude" in refusal.value.remedy


def test_other_pictures_are_not_this_format(shared_data: Path) -> None:
    png = shared_data / "geo" / "ships_s1_chip" / "S1B_20211130_vessel_vv.png"
    assert not GEOTIFF.sniff(png, png.read_bytes()[:4096])


def test_a_vrt_in_a_tif_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "harmless.tif"
    path.write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        "<SourceFilename>/etc/passwd</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    assert not GEOTIFF.sniff(path, path.read_bytes()[:4096])
    with pytest.raises(UnreadableFile, match="it is not a TIFF"):
        GEOTIFF.open([path], tmp_path)


def test_files_beside_it_change_nothing(tmp_path: Path) -> None:
    """A world file, a PAM file and an overview are other people's words: only what is inside the TIFF counts."""
    path = write_geotiff(tmp_path / "a.tif", crs=None, corner=(1, 0, 0, 0, 1, 0)).path
    before = describe(path)
    (tmp_path / "a.tfw").write_text("20\n0\n0\n-20\n500000\n4600000\n")
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform>5,20,0,7,0,-20</GeoTransform></PAMDataset>"
    )
    assert describe(path) == before


def test_one_block_for_a_whole_scene_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "MAX_BLOCK_BYTES", 40 * 50 * 4 - 1)
    path = write_geotiff(tmp_path / "a.tif", blockysize=40, bands=1, compress="deflate").path
    with pytest.raises(TooLarge, match="TILED=YES"):
        GEOTIFF.open([path], tmp_path)


def test_garbage_after_a_good_magic_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + np.random.default_rng(1).bytes(5000))
    with pytest.raises(UnreadableFile, match=r"a\.tif: file size: it is cut short"):
        GEOTIFF.open([path], tmp_path)


# Masks -----------------------------------------------------------------------------------------------------------------


def mask_for(series: Series, highest: int = 7) -> Mask:
    """Labels 0, 1 and the highest, in a pattern no flip leaves."""
    _, y, x = np.indices(series.grid.shape)
    voxels = np.where((y * 3 + x) % 11 < 3, 1, 0)
    voxels[0, 2:5, 1:9] = highest
    return Mask(voxels.astype(np.uint16), series.grid, CLASSES)


@pytest.mark.parametrize("name", ["umbra/umbra_mount_yasur.tiff", "sen1floods11/Spain_7370579_S1Hand.tif"])
@pytest.mark.parametrize("with_original", [True, False], ids=["original", "grid alone"])
def test_a_mask_lies_exactly_on_its_map(shared_data: Path, tmp_path: Path, name: str, with_original: bool) -> None:
    source = shared_data / "geo" / name
    series = describe(source)
    mask = mask_for(series)
    warnings = write_mask(mask, tmp_path / "mask.tif", series, [source] if with_original else [])
    assert warnings == ()
    with rasterio.open(tmp_path / "mask.tif") as written, rasterio.open(source) as original:
        np.testing.assert_array_equal(written.read(1), mask.voxels[0])
        assert written.crs == original.crs
        assert written.transform.almost_equals(original.transform, precision=1e-9)
        assert not with_original or written.transform == original.transform
        assert (written.dtypes[0], written.nodata, written.count) == ("uint8", None, 1)
        assert written.block_shapes == [(512, 512)]
        assert written.compression.value == "DEFLATE"
        assert written.colormap(1)[7] == (255, 204, 0, 255)
        assert written.tags(1)["CLASS_1"] == "Water, flooded"


def test_a_mask_comes_back_as_it_went(shared_data: Path, tmp_path: Path) -> None:
    series = describe(shared_data / "geo" / "optical_edge" / "RGB.byte.tif")
    mask = mask_for(series)
    write_mask(mask, tmp_path / "mask.tif", series, [])
    back = read_mask(tmp_path / "mask.tif", series)
    np.testing.assert_array_equal(back.voxels, mask.voxels)
    assert back.voxels.dtype == np.uint16
    assert back.grid == series.grid
    assert back.classes == CLASSES


def test_labels_above_255_take_two_bytes(tmp_path: Path) -> None:
    series = describe(write_geotiff(tmp_path / "a.tif").path)
    write_mask(mask_for(series, 60_000), tmp_path / "mask.tif", series, [])
    with rasterio.open(tmp_path / "mask.tif") as written:
        assert written.dtypes[0] == "uint16"
        assert written.read(1).max() == 60_000
    assert read_mask(tmp_path / "mask.tif", series).classes[-1].label == 60_000


def test_a_mask_of_a_catalogue_copy_carries_the_source_control_points(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "geo" / "s1_grd_gcps"
    (opened,) = SENTINEL1.open([folder], folder)
    series = opened.series
    opened.close()
    originals = [folder / name for name in series.files]
    mask = mask_for(series)
    write_mask(mask, tmp_path / "mask.tif", series, originals)
    with rasterio.open(tmp_path / "mask.tif") as written, rasterio.open(folder / "iw-vv.tiff") as source:
        assert written.gcps[1] == source.gcps[1]
        ours, theirs = ([(p.row, p.col, p.x, p.y, p.z) for p in d.gcps[0]] for d in (written, source))
        assert ours == theirs
        assert written.crs is None
        np.testing.assert_array_equal(written.read(1), mask.voxels[0])
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif", series).voxels, mask.voxels)


def test_a_mask_of_a_product_with_annotation_only_gets_its_control_points(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, polarisations=("VV",)).folder
    (opened,) = SENTINEL1.open([folder], folder)
    series = opened.series
    opened.close()
    assert series.radar is not None
    write_mask(mask_for(series), tmp_path / "mask.tif", series, [])
    with rasterio.open(tmp_path / "mask.tif") as written:
        points = written.gcps[0]
    np.testing.assert_allclose([p.row - 0.5 for p in points], series.radar["gcps"]["line"])
    np.testing.assert_allclose([p.x for p in points], series.radar["gcps"]["lon"], rtol=1e-12)


def test_a_real_hand_label_is_read_on_its_image_when_its_no_data_is_declared(shared_data: Path, tmp_path: Path) -> None:
    image = describe(shared_data / "geo" / "sen1floods11" / "Spain_7370579_S1Hand.tif")
    path = shared_data / "geo" / "sen1floods11" / "Spain_7370579_LabelHand.tif"
    with pytest.raises(UnreadableFile, match="from -1 to 1") as refusal:
        read_mask(path, image)
    assert "-a_nodata" in refusal.value.remedy
    with tiff.gdal(), rasterio.open(path) as source:
        profile: dict[str, Any] = {**source.profile, "nodata": -1}
        with rasterio.open(tmp_path / "label.tif", "w", **profile) as out:
            out.write(source.read())
    mask = read_mask(tmp_path / "label.tif", image)
    assert int((mask.voxels == 1).sum()) == 70_035  # counted by the people who drew it
    assert [c.label for c in mask.classes] == [1]


def test_a_mask_of_another_place_is_refused_with_the_difference(tmp_path: Path) -> None:
    series = describe(write_geotiff(tmp_path / "a.tif").path)
    other = write_geotiff(tmp_path / "b.tif", corner=(20, 0, 500_020, 0, -30, 4_600_000), dtype="uint8", bands=1).path
    with pytest.raises(UnreadableFile, match="1 samples apart"):
        read_mask(other, series)


def test_several_bands_or_fractions_are_no_mask(tmp_path: Path) -> None:
    for number, options in enumerate(({"bands": 2, "dtype": "uint8"}, {"bands": 1, "dtype": "float32"})):
        path = write_geotiff(tmp_path / f"{number}.tif", **options).path  # type: ignore[arg-type]  # test options
        with pytest.raises(UnreadableFile, match="one band of whole numbers"):
            read_mask(path, None)


def test_a_volume_does_not_fit_into_a_geotiff(tmp_path: Path) -> None:
    series = describe(write_geotiff(tmp_path / "a.tif").path)
    grid = replace(series.grid, shape=(3, 40, 50))
    with pytest.raises(InvalidInput, match="NIfTI or DICOM SEG"):
        write_mask(Mask(np.zeros(grid.shape, np.uint16), grid, ()), tmp_path / "m.tif", series, [])
