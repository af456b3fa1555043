"""XML of Sentinel-1 products: annotation, calibration, noise and manifest, parsed with limits.

Field names are those of the product specification (S1-RS-MDA-52-7441) and of ``docs/radar.md``. XML is hostile until proven
otherwise: no DTD, no entities, a size limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from specimg.errors import InvalidInput, TooLarge, UnreadableFile
from specimg.geometry.radar import Array, CalibrationTable, ControlPoints, NoiseSummary, Orbit

MAX_XML_BYTES = 32 * 2**20
"""Annotation is 2 MB, of long stripmap data takes up to 10 MB."""

_REMEDY = "Download the product again; if it stays so, its annotation is damaged at the source."


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """What an annotation file says of one polarisation. ``missing`` says in sentences what it does not."""

    polarisation: str
    mission: str
    mode: str
    product_type: str
    start_time: str
    flight: Literal["ascending", "descending"] | None
    lines: int
    pixels: int
    gcps: ControlPoints | None
    orbit: Orbit | None
    missing: tuple[str, ...]


class XmlFile:
    """A parsed XML file that knows its name, so that every complaint can say file and field."""

    def __init__(self, path: Path, label: str) -> None:
        self.label = label
        if path.stat().st_size > MAX_XML_BYTES:
            raise TooLarge(f"{label}: more than {MAX_XML_BYTES} bytes of XML")
        try:
            # From bytes: the parser must not be able to follow anything relative to the file.
            self.root: Element = fromstring(path.read_bytes(), forbid_dtd=True)
        except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
            raise self.refused("XML", "it is not well-formed, or has a DTD") from error

    def refused(self, field: str, problem: str) -> UnreadableFile:
        """An error about this file."""
        return UnreadableFile(file=self.label, field=field, problem=problem, remedy=_REMEDY)

    def text(self, path: str, element: Element | None = None) -> str:
        """Stripped text of the first element at ``path``; raises ``UnreadableFile`` if there is none."""
        found = (self.root if element is None else element).findtext(path)
        if found is None or not found.strip():
            raise self.refused(path, "it is missing")
        return found.strip()

    def number(self, path: str, element: Element | None = None) -> float:
        """A finite number."""
        return float(self.numbers(path, element)[0])

    def numbers(self, path: str, element: Element | None = None) -> Array:
        """One or more finite numbers with blanks between."""
        try:
            values = np.array(self.text(path, element).split(), np.float64)
        except ValueError as error:
            raise self.refused(path, "it does not hold numbers") from error
        if not np.isfinite(values).all():
            raise self.refused(path, "a number is not finite")
        return values

    def time(self, path: str, element: Element | None = None) -> datetime:
        """UTC; annotation writes no zone."""
        try:
            return datetime.fromisoformat(self.text(path, element)).replace(tzinfo=UTC)
        except ValueError as error:
            raise self.refused(path, "it is not a time") from error


def parse_annotation(path: Path, label: str) -> Annotation:
    """Image size, grid, orbit and timing of ``annotation/*.xml``. Raises ``UnreadableFile``."""
    xml = XmlFile(path, label)
    epoch = xml.time(".//imageInformation/productFirstLineUtcTime")
    missing: list[str] = []
    gcps = _control_points(xml, epoch)
    if gcps is None:
        missing.append("The annotation has no geolocation grid: samples have no ground position.")
    orbit = _orbit(xml, epoch, missing)
    flight = xml.root.findtext(".//productInformation/pass", "").strip().lower()
    return Annotation(
        polarisation=xml.text("adsHeader/polarisation"),
        mission=xml.text("adsHeader/missionId"),
        mode=xml.text("adsHeader/mode"),
        product_type=xml.text("adsHeader/productType"),
        start_time=_written(epoch),
        flight="ascending" if flight == "ascending" else "descending" if flight == "descending" else None,
        lines=int(xml.number(".//imageInformation/numberOfLines")),
        pixels=int(xml.number(".//imageInformation/numberOfSamples")),
        gcps=gcps,
        orbit=orbit,
        missing=tuple(missing),
    )


def _control_points(xml: XmlFile, epoch: datetime) -> ControlPoints | None:
    points = xml.root.findall(".//geolocationGridPointList/geolocationGridPoint")
    if not points:
        return None
    names = ("line", "pixel", "longitude", "latitude", "height", "incidenceAngle")
    table = np.array([[xml.number(name, point) for name in names] for point in points])
    times = np.array([(xml.time("azimuthTime", point) - epoch).total_seconds() for point in points])
    try:
        return ControlPoints(
            line=table[:, 0],
            pixel=table[:, 1],
            lon=table[:, 2],
            lat=table[:, 3],
            height=table[:, 4],
            azimuth_time=times,
            incidence=table[:, 5],
        )
    except InvalidInput as error:
        raise xml.refused("geolocationGridPointList", str(error)) from error


def _orbit(xml: XmlFile, epoch: datetime, missing: list[str]) -> Orbit | None:
    vectors = xml.root.findall(".//orbitList/orbit")
    conversions = xml.root.findall(".//coordinateConversionList/coordinateConversion")
    if len(vectors) < 5 or not conversions:
        lacking = "orbit state vectors" if len(vectors) < 5 else "ground range conversion"
        missing.append(f"The annotation has no usable {lacking}: positions are interpolated between control points.")
        return None
    coefficients = [xml.numbers("grsrCoefficients", conversion) for conversion in conversions]
    if len({c.size for c in coefficients}) != 1:
        raise xml.refused("grsrCoefficients", "their number changes within the product")
    arrays = {
        "times": np.array([(xml.time("time", v) - epoch) / timedelta(seconds=1) for v in vectors]),
        "positions": np.array([[xml.number(f"position/{axis}", v) for axis in "xyz"] for v in vectors]),
        "velocities": np.array([[xml.number(f"velocity/{axis}", v) for axis in "xyz"] for v in vectors]),
        "conversion_times": np.array([(xml.time("azimuthTime", c) - epoch).total_seconds() for c in conversions]),
        "conversion_origin_m": np.array([xml.number("gr0", c) for c in conversions]),
        "coefficients": np.array(coefficients),
    }
    spacing = xml.number(".//imageInformation/rangePixelSpacing")
    try:
        return Orbit(epoch=_written(epoch), pixel_spacing_m=spacing, **arrays)
    except InvalidInput as error:
        raise xml.refused("orbitList", str(error)) from error


def _written(time: datetime) -> str:
    """RFC 3339."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_calibration(path: Path, label: str) -> tuple[str, CalibrationTable]:
    """Polarisation and gains of ``calibration-*.xml``. Raises ``UnreadableFile``.

    Vectors of one file may differ in length: all are brought to the pixels of the longest. Lines may be negative or lie
    beyond the image; the table holds its ends.
    """
    xml = XmlFile(path, label)
    vectors = xml.root.findall("calibrationVectorList/calibrationVector")
    if not vectors:
        raise xml.refused("calibrationVectorList", "there are no calibration vectors")
    lines = np.array([xml.number("line", v) for v in vectors])
    order = np.argsort(lines, kind="stable")
    axes = [_axis(xml, v) for v in vectors]
    common = max(axes, key=len)
    tables: dict[str, Array] = {}
    for name in ("sigmaNought", "betaNought", "gamma"):
        gains = [xml.numbers(name, v) for v in vectors]
        if any(g.size != a.size for g, a in zip(gains, axes, strict=True)):
            raise xml.refused(name, "it has not one value a pixel")
        tables[name] = np.stack([np.interp(common, a, g) for a, g in zip(axes, gains, strict=True)])[order]
    try:
        table = CalibrationTable(lines[order], common, tables["sigmaNought"], tables["betaNought"], tables["gamma"])
    except InvalidInput as error:
        raise xml.refused("calibrationVectorList", str(error)) from error
    return xml.text("adsHeader/polarisation"), table.simplified()


def parse_noise(path: Path, label: str) -> tuple[str, NoiseSummary]:
    """Polarisation and usefulness of ``noise-*.xml``, in both schemas. Raises ``UnreadableFile`` for broken files."""
    xml = XmlFile(path, label)
    schema: Literal["range-azimuth", "range"] = "range-azimuth"
    vectors, values = xml.root.findall("noiseRangeVectorList/noiseRangeVector"), "noiseRangeLut"
    if not vectors:
        schema, values = "range", "noiseLut"
        vectors = xml.root.findall("noiseVectorList/noiseVector")
    polarisation = xml.text("adsHeader/polarisation")
    if not vectors:
        return polarisation, NoiseSummary(schema, usable=False, notes=("The noise file holds no vectors.",))
    notes: list[str] = []
    axes, noise = [_axis(xml, v) for v in vectors], [xml.numbers(values, v) for v in vectors]
    if any(n.size != a.size for n, a in zip(noise, axes, strict=True)):
        raise xml.refused(values, "it has not one value a pixel")
    if len({a.size for a in axes}) > 1:
        notes.append("Noise vectors differ in length and must be brought to common pixels.")
    if min(xml.number("line", v) for v in vectors) < 0:
        notes.append("Noise vectors begin before the image, at negative lines.")
    powers = np.concatenate(noise)
    usable = bool((powers >= 0).all() and (powers > 0).any())
    if not (powers > 0).any():
        notes.append("All noise values are 0, as in products of processor 2.36: there is no usable noise table.")
    elif not usable:
        notes.append("Some noise values are negative: the noise table is not usable.")
    if schema == "range-azimuth":
        usable = _check_azimuth(xml, notes) and usable
    return polarisation, NoiseSummary(schema, usable, tuple(notes))


def _check_azimuth(xml: XmlFile, notes: list[str]) -> bool:
    blocks = xml.root.findall("noiseAzimuthVectorList/noiseAzimuthVector")
    if not blocks:
        notes.append("There are no azimuth noise vectors: only the range dependence of noise is known.")
        return True
    for block in blocks:
        lut = xml.numbers("noiseAzimuthLut", block)
        # WV and some stripmap blocks carry one value, without or with one line.
        if lut.size > 1 and xml.numbers("line", block).size != lut.size:
            raise xml.refused("noiseAzimuthLut", "it has not one value a line")
        if not (lut > 0).all():
            notes.append("Some azimuth noise factors are not positive: the noise table is not usable.")
            return False
    return True


def parse_manifest(path: Path, label: str) -> Manifest:
    """Processor and the files a manifest lists. Raises ``UnreadableFile``, also for names that lead out of the product."""
    xml = XmlFile(path, label)
    files = []
    for location in xml.root.iterfind(".//dataObjectSection//fileLocation"):
        href = location.get("href", "")
        inside = href.removeprefix("./")
        if not inside or inside.startswith("/") or "\\" in inside or ":" in inside or ".." in inside.split("/"):
            raise UnreadableFile(
                file=label,
                field="fileLocation href",
                problem="it names a file outside the product",
                remedy="Do not use this product; get it from its archive.",
            )
        files.append(inside)
    processor = None
    for element in xml.root.iter():
        if element.tag.endswith("}software") and element.get("name"):
            processor = f"{element.get('name')} {element.get('version', '')}".strip()
            break
    return Manifest(tuple(files), processor)


@dataclass(frozen=True, slots=True)
class Manifest:
    """``files`` relative to the product; ``processor`` as in ``Sentinel-1 IPF 003.40``."""

    files: tuple[str, ...]
    processor: str | None


def _axis(xml: XmlFile, vector: Any) -> Array:
    pixels = xml.numbers("pixel", vector)
    if (np.diff(pixels) <= 0).any():
        raise xml.refused("pixel", "pixels do not grow")
    return pixels
