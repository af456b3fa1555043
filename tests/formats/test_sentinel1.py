"""Sentinel-1 GRD: known DN to known sigma0, ground position against ESA's own grid, and products that lack something."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from scipy.interpolate import RectBivariateSpline

from specimg.errors import TooLarge, UnreadableFile
from specimg.formats import safe, tiff
from specimg.formats.base import OpenSeries, Window
from specimg.formats.ground import ground_of
from specimg.formats.sentinel1 import SENTINEL1
from specimg.geometry.ellipsoid import distance_m
from specimg.geometry.geolocation import ControlPointGrid, Lattice, RangeDoppler, geolocator
from specimg.geometry.radar import RadarGeometry, decibel, sigma0
from specimg.testing.radar_phantoms import (
    GRID_PIXELS,
    gain,
    ground,
    index_amplitude,
    terrain,
    write_catalogue_copy,
    write_measurement,
    write_safe,
)

REAL = "S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
ALPS = "S1B_IW_GRDH_1SDV_20210401T052623_20210401T052648_026269_032297_ECC8.SAFE"


def open_one(folder: Path) -> OpenSeries:
    """The one series of a product folder."""
    assert SENTINEL1.sniff(folder, b"")
    (opened,) = SENTINEL1.open([folder], folder)
    return opened


def radar_of(opened: OpenSeries) -> RadarGeometry:
    """As the rest of specimg gets it: through JSON."""
    assert opened.series.radar is not None
    return RadarGeometry.from_json(opened.series.radar)


# Known DN, known decibel -----------------------------------------------------------------------------------------------


def test_sigma0_of_a_phantom_is_known_everywhere(tmp_path: Path) -> None:
    phantom = write_safe(tmp_path)
    opened = open_one(phantom.folder)
    radar = radar_of(opened)
    assert radar.calibration is not None
    lines, pixels = np.arange(70), np.arange(90)
    for channel, polarisation in enumerate(phantom.polarisations):
        dn = opened.read((channel, 0, 0), (channel + 1, 70, 90))[0]
        np.testing.assert_array_equal(dn, phantom.dn[channel])
        ours = decibel(sigma0(dn, radar.calibration[polarisation], lines, pixels))
        truth = 20 * np.log10(np.where(dn > 0, dn, np.nan) / gain(lines[:, None], pixels, polarisation))
        np.testing.assert_allclose(ours, truth, atol=1e-4)
        assert np.isnan(ours[:, -1]).all()  # the border, DN = 0
    opened.close()


def test_channels_are_co_then_cross_polarised_with_windows_in_decibel(tmp_path: Path) -> None:
    series = open_one(write_safe(tmp_path, polarisations=("VH", "VV")).folder).series
    assert [c.name for c in series.channels] == ["VV", "VH"]
    assert [c.unit for c in series.channels] == ["DN", "DN"]
    assert [c.windows for c in series.channels] == [
        (Window("sigma0 dB", -12.5, 25.0),),
        (Window("sigma0 dB", -20.0, 24.0),),
    ]
    assert (series.modality, series.kind, series.nodata, series.dtype) == ("SAR", "raster", 0.0, "uint16")
    assert series.grid.space.kind == "radar"


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real product with DN of ours written into a block of a sparse copy of its 26102 x 16705 measurement."""
    folder = tmp_path_factory.mktemp("real") / REAL
    source = shared_data / "geo" / "s1_grd_safe" / REAL
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.tiff"), copy_function=shutil.copyfile)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    (name,) = (source / "measurement").glob("*.tiff")
    profile = {"driver": "GTiff", "width": 26_102, "height": 16_705, "count": 1, "dtype": "uint16", "sparse_ok": True}
    with tiff.gdal(), rasterio.open(folder / "measurement" / name.name, "w", blockysize=1, **profile) as out:
        out.write(BLOCK[None], window=((FIRST_LINE, FIRST_LINE + 8), (0, 26_102)))
    yield folder
    shutil.rmtree(folder)


FIRST_LINE = 664  # across the calibration vector at line 668
BLOCK = (1 + (np.arange(8)[:, None] * 7919 + np.arange(26_102) * 31) % 60_000).astype(np.uint16)


def test_known_dn_in_a_real_product_give_the_decibels_of_its_xml(real: Path) -> None:
    (path,) = (real / "annotation" / "calibration").glob("calibration-*.xml")
    vectors = list(ElementTree.parse(path).getroot().iter("calibrationVector"))
    lines = [float(v.findtext("line", "")) for v in vectors]
    pixels = [float(p) for p in vectors[0].findtext("pixel", "").split()]
    table = np.array([[float(g) for g in v.findtext("sigmaNought", "").split()] for v in vectors])
    spline = RectBivariateSpline(lines, pixels, table, kx=1, ky=1)

    opened = open_one(real)
    radar = radar_of(opened)
    assert radar.calibration is not None
    at = np.r_[0:200, 12_980:13_060, 26_000:26_102]  # at vectors (every 40) and between
    dn = opened.read((0, FIRST_LINE, 0), (1, FIRST_LINE + 8, 26_102))[0]
    np.testing.assert_array_equal(dn, BLOCK)
    rows = FIRST_LINE + np.arange(8)
    ours = decibel(sigma0(dn[:, at], radar.calibration["VV"], rows, at))
    truth = 20 * np.log10(BLOCK[:, at] / spline(rows, at))
    np.testing.assert_allclose(ours, truth, atol=2e-5)
    # By hand, at a vector: A(668, 40) = 663.5805 and DN = 1 + (4 * 7919 + 40 * 31) % 60000 = 32917.
    assert float(decibel(sigma0(dn[4, 40], radar.calibration["VV"], 668, 40))) == pytest.approx(33.9111, abs=1e-3)
    opened.close()


def test_a_full_size_product_is_read_in_windows_of_bounded_memory(real: Path) -> None:
    import tracemalloc

    opened = open_one(real)
    tracemalloc.start()
    opened.read((0, 0, 8192), (1, 512, 8704))
    opened.read((0, 16_600, 0), (1, 16_705, 26_102))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 105 * 26_102 * 2
    assert opened.series.shape == (1, 16_705, 26_102)
    opened.close()


def test_what_a_real_product_lacks_is_said(real: Path) -> None:
    series = open_one(real).series
    assert series.warnings == ("The measurement file of VH is not in the product.",)
    radar = RadarGeometry.from_json(series.radar)
    assert radar.processor == "Sentinel-1 IPF 003.40"
    assert (radar.flight, radar.look, radar.start_time) == ("descending", "right", "2021-12-23T05:11:22.594441Z")
    assert radar.noise["VV"].usable


# Where it lies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("product", "within_m"), [(REAL, 0.01), (ALPS, 0.3)])
def test_range_doppler_meets_the_grid_of_real_products(shared_data: Path, product: str, within_m: float) -> None:
    """ESA's own ground control points, 0 to 2818 m high, from orbit and timing alone."""
    (path, *_) = sorted((shared_data / "geo" / "s1_grd_safe" / product / "annotation").glob("*vv*.xml"))
    annotation = safe.parse_annotation(path, path.name)
    points = annotation.gcps
    assert points is not None
    model = geolocator(RadarGeometry(("VV",), points, None, orbit=annotation.orbit))
    assert isinstance(model, RangeDoppler)
    lon, lat, _, error = model.to_ground(points.line, points.pixel, points.height)
    missed = distance_m(lon, lat, points.lon, points.lat)
    assert missed.max() < within_m
    assert (missed <= error + 1e-9).all()
    line, pixel = model.to_image(points.lon, points.lat, points.height)
    assert np.abs(line - points.line).max() < within_m / 10 + 0.01
    assert np.abs(pixel - points.pixel).max() < within_m / 10 + 0.01


def test_a_grid_made_by_interpolation_is_a_kilometre_off_in_the_alps_and_says_so(shared_data: Path) -> None:
    (path, *_) = sorted((shared_data / "geo" / "s1_grd_safe" / ALPS / "annotation").glob("*vv*.xml"))
    points = safe.parse_annotation(path, path.name).gcps
    assert points is not None
    lattice = Lattice.of(points)
    assert lattice is not None
    assert 1500 < ControlPointGrid(lattice).error_m < 1800  # 1633 m, the largest of the left-out half


def test_control_points_of_a_resized_copy_are_where_the_samples_are(shared_data: Path) -> None:
    """837 of 16759 lines: index i of the product is (i + 1/2) s - 1/2 of the copy. GDAL's own reading is 0.475 off, 95 m."""
    folder = shared_data / "geo" / "s1_grd_gcps"
    radar = radar_of(open_one(folder))
    assert radar.gcps is not None
    with rasterio.open(folder / "iw-vv.tiff") as dataset:
        written = dataset.gcps[0]
    scale = 837 / 16_759
    np.testing.assert_allclose(radar.gcps.line, [p.row + scale / 2 - 0.5 for p in written], atol=1e-5)
    assert radar.gcps.line.max() == pytest.approx((16_758 + 0.5) * scale - 0.5, abs=1e-5)
    np.testing.assert_allclose(radar.gcps.height.min(), 255.30, atol=0.01)


def test_control_points_of_a_full_size_tiff_are_sample_indices(tmp_path: Path) -> None:
    radar = radar_of(open_one(write_catalogue_copy(tmp_path).folder))
    assert radar.gcps is not None
    assert sorted(set(radar.gcps.pixel)) == list(GRID_PIXELS)


def test_a_phantom_lies_where_its_orbit_says(tmp_path: Path) -> None:
    model = ground_of(open_one(write_safe(tmp_path).folder).series)
    assert model is not None
    lon, lat, _, _ = model.to_ground(20, 44, terrain(20, 44))
    assert distance_m(lon, lat, *ground(20, 44, terrain(20, 44))) < 0.01


# What is missing, and what is refused ----------------------------------------------------------------------------------


def test_one_polarisation_without_measurement_leaves_the_other(tmp_path: Path) -> None:
    phantom = write_safe(tmp_path, measured=("VH",))
    opened = open_one(phantom.folder)
    assert [c.name for c in opened.series.channels] == ["VH"]
    assert opened.series.warnings == ("The measurement file of VV is not in the product.",)
    np.testing.assert_array_equal(opened.read((0, 0, 0), (1, 70, 90))[0], index_amplitude(2))
    opened.close()


def test_without_calibration_it_is_amplitude_and_says_so(tmp_path: Path) -> None:
    series = open_one(write_safe(tmp_path, calibrated=False).folder).series
    assert series.radar is not None
    assert series.radar["calibration"] is None
    assert "amplitude only" in " ".join(series.warnings)
    (window,) = series.channels[0].windows
    known = index_amplitude(1)[index_amplitude(1) > 0]
    assert window.name == "amplitude dB"
    assert abs(window.center - float(20 * np.log10(np.median(known)))) < window.width


def test_a_catalogue_copy_opens_with_what_it_has(shared_data: Path) -> None:
    opened = open_one(shared_data / "geo" / "s1_grd_gcps")
    assert opened.series.name.startswith("S1A_IW_GRDH_1SDV_20180716T004042")
    assert opened.series.shape == (2, 837, 1280)
    words = " ".join(opened.series.warnings)
    assert "amplitude only" in words
    assert "no annotation" in words
    with rasterio.open(shared_data / "geo" / "s1_grd_gcps" / "iw-vh.tiff") as dataset:
        np.testing.assert_array_equal(opened.read((1, 300, 500), (2, 400, 700))[0], dataset.read(1)[300:400, 500:700])
    opened.close()


def test_zero_noise_tables_are_not_called_usable(tmp_path: Path) -> None:
    radar = radar_of(open_one(write_safe(tmp_path, noise="zero").folder))
    assert not radar.noise["VV"].usable
    assert "no usable noise table" in radar.noise["VV"].notes[-1]


@pytest.mark.parametrize(
    ("product", "words"),
    [
        ("S1B_IW_SLC__1SDV_20210401T052622_20210401T052650_026269_032297_EFA4", "SLC products are not read yet"),
        ("S1A_WV_GRDM_1SSV_20210401T052622_20210401T052650_026269_032297_EFA4", "wave mode"),
    ],
)
def test_slc_and_wave_mode_are_refused_by_name_with_a_remedy(tmp_path: Path, product: str, words: str) -> None:
    folder = write_safe(tmp_path, name=f"{product}.SAFE").folder
    with pytest.raises(UnreadableFile, match=words) as refusal:
        SENTINEL1.open([folder], folder)
    assert "GRD" in refusal.value.remedy


def test_slc_is_refused_by_its_annotation_when_the_folder_was_renamed(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, product_type="SLC", name="renamed.SAFE").folder
    with pytest.raises(UnreadableFile, match="SLC products"):
        SENTINEL1.open([folder], folder)


def test_metadata_alone_is_refused(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, measured=()).folder
    with pytest.raises(UnreadableFile, match="no measurement file, only metadata"):
        SENTINEL1.open([folder], folder)


def test_polarisations_of_different_size_are_refused(tmp_path: Path) -> None:
    folder = write_safe(tmp_path).folder
    (path,) = (folder / "measurement").glob("*vh*")
    write_measurement(path, index_amplitude(2)[:-1])
    with pytest.raises(UnreadableFile, match="image size and type"):
        SENTINEL1.open([folder], folder)


def test_a_reduced_copy_beside_the_full_annotation_is_not_calibrated_with_it(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, polarisations=("VV",)).folder
    (path,) = (folder / "measurement").iterdir()
    write_measurement(path, index_amplitude(1)[::2, ::2])
    series = open_one(folder).series
    assert series.radar is not None
    assert series.radar["calibration"] is None
    assert "not on the annotated grid" in " ".join(series.warnings)


def test_a_link_out_of_the_product_is_refused(tmp_path: Path) -> None:
    folder = write_safe(tmp_path).folder
    (path,) = (folder / "measurement").glob("*vh*")
    secret = tmp_path / "secret.tiff"
    path.rename(secret)
    path.symlink_to(secret)
    with pytest.raises(UnreadableFile, match="leads out of the product"):
        SENTINEL1.open([folder], folder)


def test_a_vrt_that_calls_itself_tiff_is_not_read(tmp_path: Path) -> None:
    folder = write_safe(tmp_path).folder
    (path,) = (folder / "measurement").glob("*vh*")
    path.write_text(
        '<VRTDataset rasterXSize="90" rasterYSize="70"><VRTRasterBand dataType="UInt16" band="1"/></VRTDataset>'
    )
    with pytest.raises(UnreadableFile, match="it is not a TIFF"):
        SENTINEL1.open([folder], folder)


def test_a_tiff_that_claims_a_billion_samples_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "MAX_SAMPLES", 70 * 90 - 1)
    folder = write_safe(tmp_path).folder
    with pytest.raises(TooLarge, match="70 x 90"):
        SENTINEL1.open([folder], folder)


@pytest.mark.parametrize("name", ["plain", "productInfo"])
def test_folders_of_others_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.json").write_text('{"id": "LC08_L1TP", "missionId": "L8"}')
    assert not SENTINEL1.sniff(tmp_path, b"")
