"""XML of real Sentinel-1 products, processors 2.36 to 3.40, against the standard library, SciPy and the product itself."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from specimg.errors import TooLarge, UnreadableFile
from specimg.formats import safe
from specimg.formats.safe import parse_annotation, parse_calibration, parse_manifest, parse_noise
from specimg.geometry.ellipsoid import distance_m
from specimg.geometry.geolocation import RangeDoppler, geolocator
from specimg.geometry.radar import Brightness, RadarGeometry
from specimg.testing.radar_phantoms import write_safe

PRODUCTS = ["CEAB", "6D00", "8255", "0664", "861B"]  # processors 2.36, 2.70, 3.31, 3.52, 3.52


def member(shared_data: Path, folder: Path, product: str, wanted: str) -> Path:
    """One file of a product archive, unpacked."""
    (archive,) = (shared_data / "geo" / "s1_safe_meta").glob(f"*_{product}.zip")
    with zipfile.ZipFile(archive) as opened:
        (name,) = [n for n in opened.namelist() if wanted in n]
        path = folder / Path(name).name
        path.write_bytes(opened.read(name))
    return path


@pytest.mark.parametrize("polarisation", ["vv", "vh"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_gains_agree_with_scipy_at_and_between_vectors(
    shared_data: Path, tmp_path: Path, product: str, polarisation: str
) -> None:
    path = member(shared_data, tmp_path, product, f"/calibration/calibration-s1a-iw-grd-{polarisation}")
    vectors = list(ElementTree.parse(path).getroot().iter("calibrationVector"))
    axes = (
        [float(v.findtext("line", "")) for v in vectors],
        [float(p) for p in vectors[0].findtext("pixel", "").split()],
    )
    named, ours = parse_calibration(path, "calibration.xml")
    assert named == polarisation.upper()
    lines, pixels = np.array([0, 668, 1000.5, 9999, 16_000]), np.array([0, 40, 47.25, 12_345, 25_000])
    tags: dict[str, Brightness] = {"sigmaNought": "sigma0", "betaNought": "beta0", "gamma": "gamma0"}
    for tag, brightness in tags.items():
        gains = [[float(g) for g in v.findtext(tag, "").split()] for v in vectors]
        asked = np.stack(np.meshgrid(lines, pixels, indexing="ij"), axis=-1)
        expected = np.asarray(RegularGridInterpolator(axes, gains)(asked), np.float64)
        np.testing.assert_allclose(ours.gain(lines, pixels, brightness=brightness), expected, rtol=1e-12)


@pytest.mark.parametrize("product", PRODUCTS)
def test_incidence_from_the_gains_is_the_annotated_one(shared_data: Path, tmp_path: Path, product: str) -> None:
    """Two independent parts of one product: the ratio of its tables, and the angles of its geolocation grid.

    They differ by the terrain that tables of one mean geometry cannot follow: 0.03 degrees at sea, 0.23 at 2000 m.
    """
    annotation = parse_annotation(member(shared_data, tmp_path, product, "/annotation/s1a-iw-grd-vv"), "a.xml")
    _, gains = parse_calibration(member(shared_data, tmp_path, product, "/calibration-s1a-iw-grd-vv"), "c.xml")
    points = annotation.gcps
    assert points is not None
    assert points.incidence is not None
    ours = [float(gains.incidence(y, x)) for y, x in zip(points.line, points.pixel, strict=True)]
    np.testing.assert_allclose(ours, points.incidence, atol=0.25)


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_grid_ends_at_the_last_sample_so_indices_are_sample_centres(
    shared_data: Path, tmp_path: Path, product: str
) -> None:
    annotation = parse_annotation(member(shared_data, tmp_path, product, "/annotation/s1a-iw-grd-vv"), "a.xml")
    assert annotation.gcps is not None
    assert (annotation.gcps.line.min(), annotation.gcps.line.max()) == (0, annotation.lines - 1)
    assert (annotation.gcps.pixel.min(), annotation.gcps.pixel.max()) == (0, annotation.pixels - 1)


@pytest.mark.parametrize(
    ("product", "within_m"), [("8255", 0.01), ("0664", 0.015), ("861B", 0.015), ("6D00", 0.6), ("CEAB", 2.5)]
)
def test_orbit_and_timing_of_five_processors_meet_their_own_grid(
    shared_data: Path, tmp_path: Path, product: str, within_m: float
) -> None:
    annotation = parse_annotation(member(shared_data, tmp_path, product, "/annotation/s1a-iw-grd-vh"), "a.xml")
    model = geolocator(RadarGeometry(("VH",), annotation.gcps, None, orbit=annotation.orbit))
    assert isinstance(model, RangeDoppler)
    # The last grid line of the 2.36 product lies beyond its last range conversion: 23 m, and its samples say so.
    last = -1 if product == "CEAB" else None
    assert model.residuals_m[:last].max() < within_m
    points = annotation.gcps
    assert points is not None
    position = model.to_ground(points.line, points.pixel, points.height)
    assert (distance_m(position.lon, position.lat, points.lon, points.lat) <= position.error_m + 1e-9).all()


def test_noise_of_processor_2_36_is_called_unusable(shared_data: Path, tmp_path: Path) -> None:
    _, noise = parse_noise(member(shared_data, tmp_path, "CEAB", "noise-s1a-iw-grd-vv"), "noise.xml")
    assert (noise.schema, noise.usable) == ("range", False)
    assert "no usable noise table" in " ".join(noise.notes)


def test_ragged_noise_vectors_of_processor_2_70_are_read_and_told(shared_data: Path, tmp_path: Path) -> None:
    _, noise = parse_noise(member(shared_data, tmp_path, "6D00", "noise-s1a-iw-grd-vh"), "noise.xml")
    assert (noise.schema, noise.usable) == ("range", True)
    assert "differ in length" in " ".join(noise.notes)


def test_noise_of_processor_3_has_range_and_azimuth(shared_data: Path, tmp_path: Path) -> None:
    polarisation, noise = parse_noise(member(shared_data, tmp_path, "8255", "noise-s1a-iw-grd-vh"), "noise.xml")
    assert (polarisation, noise.schema, noise.usable, noise.notes) == ("VH", "range-azimuth", True, ())


def test_calibration_vectors_before_the_image_are_kept(shared_data: Path, tmp_path: Path) -> None:
    """The tables of a real SLC begin at line -1042 and change with line."""
    _, gains = parse_calibration(member(shared_data, tmp_path, "EFA4", "calibration-s1b-iw1-slc-vh"), "c.xml")
    assert gains.lines[0] == -1042
    assert gains.gain(-1042, 0) == pytest.approx(332.5958)
    assert gains.gain(-556, 0) == pytest.approx(332.4552)


def test_ragged_calibration_vectors_are_brought_to_one_axis(tmp_path: Path) -> None:
    whole = write_safe(tmp_path / "whole").folder / "annotation/calibration"
    ragged = write_safe(tmp_path / "ragged", ragged=True).folder / "annotation/calibration"
    (first, *_), (second, *_) = sorted(whole.glob("cal*vv*")), sorted(ragged.glob("cal*vv*"))
    lines, pixels = np.array([0, 30, 69.0]), np.array([0, 40, 63.5, 89.0])
    expected = parse_calibration(first, "c.xml")[1].gain(lines, pixels)
    np.testing.assert_allclose(parse_calibration(second, "c.xml")[1].gain(lines, pixels), expected, rtol=1e-9)


# Hostile or broken XML -------------------------------------------------------------------------------------------------

BOMB = """<?xml version="1.0"?><!DOCTYPE product [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<product><adsHeader><polarisation>&b;</polarisation></adsHeader></product>"""
LEAK = """<?xml version="1.0"?><!DOCTYPE product [<!ENTITY secret SYSTEM "file:///etc/passwd">]>
<product><adsHeader><polarisation>&secret;</polarisation></adsHeader></product>"""


@pytest.mark.parametrize(
    "text", [BOMB, LEAK, "", "<product>", "\x00\x01"], ids=["bomb", "leak", "empty", "cut", "noise"]
)
def test_hostile_xml_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.xml").write_text(text, "utf-8")
    with pytest.raises(UnreadableFile, match=r"annotation/a\.xml: XML"):
        parse_annotation(tmp_path / "a.xml", "annotation/a.xml")


def test_xml_without_end_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe, "MAX_XML_BYTES", 1000)
    (tmp_path / "a.xml").write_text("<product>" + " " * 1000 + "</product>", "utf-8")
    with pytest.raises(TooLarge):
        parse_annotation(tmp_path / "a.xml", "a.xml")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("<line>20</line>", "<line>twenty</line>", "line"),
        ("<height>", "<height>nan ", "height"),
        ("<latitude>4", "<latitude>94", "geolocationGridPointList"),
        ("<numberOfLines>70</numberOfLines>", "", "numberOfLines"),
        ("T05:11", "T25:11", "time"),
        ("<productFirstLineUtcTime>2021", "<productFirstLineUtcTime>x", "productFirstLineUtcTime"),
        ("<grsrCoefficients>", "<grsrCoefficients>1 ", None),
    ],
)
def test_a_broken_annotation_names_the_field(tmp_path: Path, old: str, new: str, field: str | None) -> None:
    (path, *_) = sorted((write_safe(tmp_path).folder / "annotation").glob("*vv*.xml"))
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(UnreadableFile) as refusal:
        parse_annotation(path, "annotation/a.xml")
    assert refusal.value.file == "annotation/a.xml"
    assert field is None or field in str(refusal.value.field)


@pytest.mark.parametrize("href", ["../../secret.tiff", "/etc/passwd", "file:///etc/passwd", "a/../../b", "..\\x", ""])
def test_a_manifest_that_points_out_of_the_product_is_refused(tmp_path: Path, href: str) -> None:
    path = write_safe(tmp_path).folder / "manifest.safe"
    text = path.read_text("utf-8")
    start = text.index('href="') + 6
    path.write_text(text[:start] + href + text[text.index('"', start) :], "utf-8")
    with pytest.raises(UnreadableFile, match="outside the product"):
        parse_manifest(path, "manifest.safe")


def test_manifests_of_real_products_are_read(shared_data: Path, tmp_path: Path) -> None:
    for product, processor in (("CEAB", "Sentinel-1 IPF 002.36"), ("8255", "Sentinel-1 IPF 003.31")):
        manifest = parse_manifest(member(shared_data, tmp_path, product, "manifest.safe"), "manifest.safe")
        assert manifest.processor == processor
        assert sum(name.startswith("measurement/") for name in manifest.files) == 2
