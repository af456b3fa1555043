"""Small radar products and map rasters, written as real files, of which everything is known.

The SAFE product has the structure of a Sentinel-1 GRD one. Its ground truth comes from a made-up circular orbit by another
road than ``geometry.geolocation`` takes: for each sample, the look angle in the plane across the flight is searched until
the point has the wanted height. Its gain is bilinear in line and pixel, so it is known between the vectors too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine as CornerAffine
from scipy.optimize import brentq

from specimg.formats.tiff import gdal
from specimg.geometry.ellipsoid import from_earth_fixed
from specimg.testing.contracts import Index, Sample, World

LINES, PIXELS = 70, 90
LINE_TIME_S, PIXEL_M = 0.05, 450.0
GRID_LINES, GRID_PIXELS = (0, 20, 40, 69), (0, 22, 44, 66, 89)
LIGHT_M_S = 299_792_458.0

_ORBIT_RADIUS_M, _ORBIT_RATE, _EARTH_RATE = 7_071_000.0, 1.0636e-3, 7.292115e-5
_INCLINATION, _PHASE = np.radians(98.18), np.radians(138.0)
_SLANT = (8.0e5, 0.5, 4.5e-7, -1.5e-12)
"""Metres of slant range by powers of ground range."""

_TIME = "2021-12-23T05:11:{:09.6f}"
_PRODUCT = "S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_0A17"

Noise = Literal["range-azimuth", "range", "zero", "none"]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RadarPhantom:
    """A product on disk and what is true of it. ``dn`` is (c, y, x) in the order of ``polarisations``."""

    folder: Path
    polarisations: tuple[str, ...]
    dn: npt.NDArray[np.uint16]

    @property
    def sample(self) -> Sample:
        """For the contract: world of a radar plane is (pixel, line, 0)."""
        landmarks: dict[Index, World] = {(0, 3, 71): (71.0, 3.0, 0.0), (0, 69, 0): (0.0, 69.0, 0.0)}
        values = {(0, y, x): float(self.dn[0, y, x]) for y, x in ((0, 0), (5, 80), (69, 89), (40, 1))}
        return Sample(self.folder, landmarks, values)


def gain(line: npt.ArrayLike, pixel: npt.ArrayLike, polarisation: str = "VV") -> Array:
    """A of sigma0, for lines -10 to 200: bilinear, so that interpolation between vectors is exact."""
    line_, pixel_ = np.asarray(line, np.float64), np.asarray(pixel, np.float64)
    return (600 if polarisation == "VV" else 700) + 0.5 * line_ - 1.25 * pixel_ + 0.002 * line_ * pixel_


def incidence(pixel: npt.ArrayLike) -> Array:
    """Degrees, at calibration vectors."""
    return 30 + 15 * np.asarray(pixel, np.float64) / PIXELS


def azimuth_time(line: float, pixel: float) -> float:
    """Seconds after the first line, with the residual bistatic shift that real products carry across the swath."""
    return line * LINE_TIME_S + (slant_range(pixel) - slant_range(PIXELS / 2)) / LIGHT_M_S


def slant_range(pixel: float) -> float:
    """Metres."""
    return float(np.polynomial.polynomial.polyval(pixel * PIXEL_M, _SLANT))


def sensor(time: float) -> tuple[Array, Array]:
    """Position and velocity in the rotating Earth-fixed frame."""
    angle, turn = _PHASE + _ORBIT_RATE * time, -_EARTH_RATE * time
    plane = np.array([np.cos(angle), np.sin(angle) * np.cos(_INCLINATION), np.sin(angle) * np.sin(_INCLINATION)])
    along = np.array([-np.sin(angle), np.cos(angle) * np.cos(_INCLINATION), np.cos(angle) * np.sin(_INCLINATION)])
    cos, sin = np.cos(turn), np.sin(turn)
    spin = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    slope = np.array([[-sin, -cos, 0], [cos, -sin, 0], [0, 0, 0]]) * -_EARTH_RATE
    position = _ORBIT_RADIUS_M * spin @ plane
    return position, _ORBIT_RADIUS_M * (_ORBIT_RATE * spin @ along + slope @ plane)


def ground(line: float, pixel: float, height: float = 0.0) -> tuple[float, float]:
    """Longitude and latitude of a sample at a height, seen to the right: by searching the look angle."""
    position, velocity = sensor(azimuth_time(line, pixel))
    ahead = velocity / np.linalg.norm(velocity)
    down = -position + (position @ ahead) * ahead
    down /= np.linalg.norm(down)
    right = np.cross(ahead, -down)
    reach = slant_range(pixel)

    def point(angle: float) -> Array:
        return np.asarray(position + reach * (np.cos(angle) * down + np.sin(angle) * right))

    found = brentq(lambda angle: float(from_earth_fixed(point(angle))[2]) - height, 0.1, 1.2, xtol=1e-13)
    lon, lat, _ = from_earth_fixed(point(found))
    return float(lon), float(lat)


def terrain(line: float, pixel: float) -> float:
    """Height of the control points: a slope, bilinear."""
    return 40 + 3.0 * line + 1.5 * pixel


def write_safe(
    parent: Path,
    *,
    polarisations: Sequence[str] = ("VV", "VH"),
    measured: Sequence[str] | None = None,
    calibrated: bool = True,
    noise: Noise = "range-azimuth",
    ragged: bool = False,
    product_type: str = "GRD",
    mode: str = "IW",
    name: str = _PRODUCT + ".SAFE",
) -> RadarPhantom:
    """A SAFE folder below ``parent``. ``measured``: polarisations whose measurement file is there, all if ``None``."""
    folder = parent / name
    for part in ("annotation/calibration", "measurement"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    files = []
    dn = []
    for number, polarisation in enumerate(polarisations, start=1):
        stem = f"s1b-iw-grd-{polarisation.lower()}-20211223t051122-20211223t051147-030148-039993-{number:03d}"
        head = _header(polarisation, product_type, mode)
        (folder / f"annotation/{stem}.xml").write_text(_annotation(head), "utf-8")
        if calibrated:
            text = _calibration(head, polarisation, ragged=ragged)
            (folder / f"annotation/calibration/calibration-{stem}.xml").write_text(text, "utf-8")
        if noise != "none":
            (folder / f"annotation/calibration/noise-{stem}.xml").write_text(_noise(head, noise, ragged), "utf-8")
        files.append(f"measurement/{stem}.tiff")
        if measured is None or polarisation in measured:
            dn.append(index_amplitude(number))
            write_measurement(folder / files[-1], dn[-1])
    (folder / "manifest.safe").write_text(_manifest(files), "utf-8")
    kept = tuple(p for p in polarisations if measured is None or p in measured)
    return RadarPhantom(folder, kept, np.stack(dn) if dn else np.zeros((0, LINES, PIXELS), np.uint16))


def write_catalogue_copy(parent: Path) -> RadarPhantom:
    """Renamed measurement files and ``productInfo.json``, as public catalogues keep them: no annotation at all."""
    folder = parent / "product"
    folder.mkdir(parents=True)
    dn = np.stack([index_amplitude(1), index_amplitude(2)])
    for polarisation, band in zip(("vv", "vh"), dn, strict=True):
        write_measurement(folder / f"iw-{polarisation}.tiff", band)
    info = {"id": _PRODUCT, "missionId": "S1B", "productType": "GRD", "mode": "IW", "startTime": "2021-12-23T05:11:22"}
    (folder / "productInfo.json").write_text(json.dumps(info), "utf-8")
    return RadarPhantom(folder, ("VV", "VH"), dn)


def index_amplitude(number: int = 1) -> npt.NDArray[np.uint16]:
    """DN that tell their own index; the last column is border (0)."""
    y, x = np.indices((LINES, PIXELS))
    amplitude = (number * 1000 + 91 * y + x).astype(np.uint16)
    amplitude[:, -1] = 0
    return amplitude


def write_measurement(path: Path, amplitude: npt.NDArray[np.uint16]) -> None:
    """One-row strips and control points that hold sample indices, as the Sentinel-1 processor writes them."""
    points = []
    for line in GRID_LINES:
        for pixel in GRID_PIXELS:
            lon, lat = ground(line, pixel, terrain(line, pixel))
            points.append(GroundControlPoint(row=line, col=pixel, x=lon, y=lat, z=terrain(line, pixel)))
    profile: dict[str, Any] = {"driver": "GTiff", "width": amplitude.shape[1], "height": amplitude.shape[0], "count": 1}
    with gdal(), rasterio.open(path, "w", dtype="uint16", blockysize=1, gcps=points, crs="EPSG:4326", **profile) as out:
        out.write(amplitude, 1)
        out.update_tags(TIFFTAG_SOFTWARE="Sentinel-1 IPF 003.40")


def write_geotiff(
    path: Path,
    *,
    corner: tuple[float, float, float, float, float, float] = (20.0, 0.0, 500_000.0, 0.0, -30.0, 4_600_000.0),
    crs: str | None = "EPSG:32633",
    dtype: str = "float32",
    bands: int = 2,
    **profile: Any,
) -> Sample:
    """A map raster of 40 x 50 samples. ``corner`` is GDAL's affine (a, b, c, d, e, f), which leads to pixel corners."""
    rows, columns = 40, 50
    values = np.stack([100 * (b + 1) + 51 * np.indices((rows, columns))[0] + np.arange(columns) for b in range(bands)])
    values = values.astype(dtype)
    a, b, c, d, e, f = corner
    with gdal(), rasterio.open(
        path, "w", driver="GTiff", width=columns, height=rows, count=bands, dtype=dtype, crs=crs,
        transform=CornerAffine(*corner), **profile,
    ) as out:  # fmt: skip
        out.write(values)
    centers = ((0, 0, 0), (0, 7, 41), (0, 39, 2))
    landmarks: dict[Index, World] = {
        (z, y, x): (a * (x + 0.5) + b * (y + 0.5) + c, d * (x + 0.5) + e * (y + 0.5) + f, 0.0) for z, y, x in centers
    }
    return Sample(path, landmarks, {(z, y, x): float(values[0, y, x].real) for z, y, x in centers})


# XML -----------------------------------------------------------------------------------------------------------------


def _header(polarisation: str, product_type: str, mode: str) -> str:
    return (
        f"<adsHeader><missionId>S1B</missionId><productType>{product_type}</productType>"
        f"<polarisation>{polarisation}</polarisation><mode>{mode}</mode><swath>{mode}</swath></adsHeader>"
    )


def _time(seconds: float) -> str:
    return _TIME.format(22.5 + seconds)


def _annotation(head: str) -> str:
    orbits = []
    for time in np.arange(-20.0, 25.0, 2.5):
        position, velocity = sensor(float(time))
        words = [
            "".join(f"<{axis}>{value:.9e}</{axis}>" for axis, value in zip("xyz", vector, strict=True))
            for vector in (position, velocity)
        ]
        orbits.append(
            f"<orbit><time>{_time(time)}</time><position>{words[0]}</position><velocity>{words[1]}</velocity></orbit>"
        )
    points = []
    for line in GRID_LINES:
        for pixel in GRID_PIXELS:
            height = terrain(line, pixel)
            lon, lat = ground(line, pixel, height)
            points.append(
                f"<geolocationGridPoint><azimuthTime>{_time(azimuth_time(line, pixel))}</azimuthTime>"
                f"<slantRangeTime>{2 * slant_range(pixel) / LIGHT_M_S:.15e}</slantRangeTime>"
                f"<line>{line}</line><pixel>{pixel}</pixel><latitude>{lat:.15e}</latitude><longitude>{lon:.15e}</longitude>"
                f"<height>{height:.9e}</height><incidenceAngle>{float(incidence(pixel)):.9e}</incidenceAngle>"
                "</geolocationGridPoint>"
            )
    conversions = [
        f"<coordinateConversion><azimuthTime>{_time(time)}</azimuthTime><gr0>0.0</gr0>"
        f"<grsrCoefficients>{' '.join(f'{c:.15e}' for c in _SLANT)}</grsrCoefficients></coordinateConversion>"
        for time in (-1.0, 1.0, 3.0)
    ]
    return (
        f"<product>{head}<generalAnnotation><productInformation><pass>Descending</pass></productInformation>"
        f"<orbitList>{''.join(orbits)}</orbitList></generalAnnotation><imageAnnotation><imageInformation>"
        f"<productFirstLineUtcTime>{_time(0)}</productFirstLineUtcTime><rangePixelSpacing>{PIXEL_M}</rangePixelSpacing>"
        f"<numberOfSamples>{PIXELS}</numberOfSamples><numberOfLines>{LINES}</numberOfLines></imageInformation>"
        f"</imageAnnotation><geolocationGrid><geolocationGridPointList>{''.join(points)}</geolocationGridPointList>"
        f"</geolocationGrid><coordinateConversion><coordinateConversionList>{''.join(conversions)}"
        "</coordinateConversionList></coordinateConversion></product>"
    )


def _vector(tag: str, line: int, pixels: Sequence[int], columns: dict[str, Array]) -> str:
    values = "".join(f"<{name}>{' '.join(f'{v:.9e}' for v in column)}</{name}>" for name, column in columns.items())
    return f"<{tag}><line>{line}</line><pixel>{' '.join(map(str, pixels))}</pixel>{values}</{tag}>"


def _calibration(head: str, polarisation: str, *, ragged: bool) -> str:
    vectors = []
    for line in (-10, 30, 200):
        pixels = [0, 40, 80, 120] if not (ragged and line == 30) else [0, 80, 120]
        sigma, angle = gain(line, pixels, polarisation), np.radians(incidence(pixels))
        columns = {
            "sigmaNought": sigma,
            "betaNought": sigma * np.sqrt(np.sin(angle)),
            "gamma": sigma * np.sqrt(np.cos(angle)),
        }
        vectors.append(_vector("calibrationVector", line, pixels, columns))
    listed = f"<calibrationVectorList>{''.join(vectors)}</calibrationVectorList>"
    return f"<calibration>{head}{listed}</calibration>"


def _noise(head: str, noise: Noise, ragged: bool) -> str:
    tag, lut = ("noiseRange", "noiseRangeLut") if noise == "range-azimuth" else ("noise", "noiseLut")
    level = 0.0 if noise == "zero" else 1500.0
    vectors = []
    for line in (-10, 50):
        pixels = [0, 40, 80] if ragged and line == 50 else [0, 40, 80, 89]
        vectors.append(_vector(f"{tag}Vector", line, pixels, {lut: np.full(len(pixels), level)}))
    body = f"<{tag}VectorList>{''.join(vectors)}</{tag}VectorList>"
    if noise == "range-azimuth":
        body += (
            "<noiseAzimuthVectorList><noiseAzimuthVector><swath>IW1</swath><line>0</line>"
            "<noiseAzimuthLut>1.1</noiseAzimuthLut></noiseAzimuthVector></noiseAzimuthVectorList>"
        )
    return f"<noise>{head}{body}</noise>"


def _manifest(files: Sequence[str]) -> str:
    objects = "".join(
        f'<dataObject ID="d{i}"><byteStream><fileLocation locatorType="URL" href="./{name}"/></byteStream></dataObject>'
        for i, name in enumerate(files)
    )
    return (
        '<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1" xmlns:safe="http://www.esa.int/safe/sentinel-1.0">'
        '<metadataSection><safe:software name="Sentinel-1 IPF" version="003.40"/></metadataSection>'
        f"<dataObjectSection>{objects}</dataObjectSection></xfdu:XFDU>"
    )
