"""Sentinel-1 GRD: a SAFE folder, or a catalogue's copy of one, as one raster with a channel per polarisation.

Samples are the amplitude DN as delivered. Calibration, noise and geometry come from the XML beside them, never from GDAL,
whose calibrated sub-datasets are not calibrated (``docs/radar.md``). What a copy lacks is said, not guessed: without
calibration it is amplitude only, with one polarisation missing the other is opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specimg.errors import UnreadableFile
from specimg.formats.base import Channel, OpenSeries, Series, Window
from specimg.formats.safe import (
    Annotation,
    Manifest,
    XmlFile,
    parse_annotation,
    parse_calibration,
    parse_manifest,
    parse_noise,
)
from specimg.formats.tiff import TiffFile
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space
from specimg.geometry.radar import CalibrationTable, ControlPoints, NoiseSummary, RadarGeometry

_ORDER = ("VV", "HH", "VH", "HV")
"""Co-polarised first: the order of channels."""

_SIGMA0_DB = {"VV": (-25.0, 0.0), "HH": (-25.0, 0.0), "VH": (-32.0, -8.0), "HV": (-32.0, -8.0)}
"""Where sigma0 of water to buildings lies; the low ends are near the instrument's noise."""

_MAX_INFO_BYTES = 2**20

_POLARISATION = re.compile(r"(?:^|[-_])(vv|vh|hh|hv)(?:[-_.]|$)", re.IGNORECASE)
_PRODUCT = re.compile(r"^S1[A-D]_(?P<mode>S[1-6]|IW|EW|WV)_(?P<type>SLC|GRD|OCN|RAW|ETA)", re.IGNORECASE)


class Sentinel1:
    """The format plug-in."""

    name = "sentinel1"

    def sniff(self, path: Path, head: bytes) -> bool:
        """A folder named ``.SAFE``, one with a ``manifest.safe``, or one with a catalogue's ``productInfo.json``."""
        if not path.is_dir():
            return False
        if path.suffix.upper() == ".SAFE" or (path / "manifest.safe").is_file():
            return True
        return str(_info(path).get("missionId", "")).upper().startswith("S1")

    def open(self, paths: Sequence[Path], root: Path) -> list[OpenSeries]:
        """One series a product."""
        return [_Product(path, root).open() for path in paths]


SENTINEL1 = Sentinel1()


class OpenProduct:
    """Measurement files of a product, one per channel."""

    def __init__(self, series: Series, files: Sequence[TiffFile]) -> None:
        self._series, self._files = series, tuple(files)

    @property
    def series(self) -> Series:
        """What was found."""
        return self._series

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """DN along (c, y, x)."""
        bands = [self._files[c].read(0, start[1:], stop[1:]) for c in range(start[0], stop[0])]
        return np.stack(bands).astype(self._series.dtype, copy=False)

    def close(self) -> None:
        """Release the files."""
        for file in self._files:
            file.close()


@dataclass(frozen=True, slots=True)
class _Tables:
    """Calibration and noise by polarisation."""

    calibration: Mapping[str, CalibrationTable]
    noise: Mapping[str, NoiseSummary]


class _Product:
    """A folder on its way to a series. File names in complaints are relative to ``root``."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root
        self._name = folder.resolve().name
        self._missing: list[str] = []
        self._info = _info(folder)

    def open(self) -> OpenProduct:
        self._require_supported(self._name)
        manifest = self._manifest()
        annotations = self._annotations()
        for annotation in annotations.values():
            self._require_grd(annotation.product_type, annotation.mode)
        files = self._measurements(manifest, annotations)
        try:
            return OpenProduct(self._describe(manifest, annotations, files), list(files.values()))
        except Exception:
            for file in files.values():
                file.close()
            raise

    def _describe(
        self, manifest: Manifest | None, annotations: Mapping[str, Annotation], files: Mapping[str, TiffFile]
    ) -> Series:
        polarisations = tuple(files)
        _, rows, columns = next(iter(files.values())).shape
        for polarisation, file in files.items():
            if file.shape != (1, rows, columns) or file.dtype != np.uint16:
                raise file.refused(
                    "image size and type",
                    f"{polarisation} is {file.shape[1]} x {file.shape[2]} {file.dtype}, "
                    f"but a GRD product is {rows} x {columns} uint16 in every polarisation",
                    "Use the product as its archive delivers it.",
                )
        full = next((a for a in annotations.values() if (a.lines, a.pixels) == (rows, columns)), None)
        if annotations and full is None:
            self._missing.append(
                "The samples are not on the annotated grid (a reduced copy): calibration, noise and orbit cannot be used."
            )
        tables = self._tables(polarisations) if full is not None else _Tables({}, {})
        radar = self._geometry(manifest, full, tables, files)
        calibrated = radar.calibration or {}
        return Series(
            key=self._identifier,
            name=self._identifier,
            kind="raster",
            modality="SAR",
            axes=("c", "y", "x"),
            shape=(len(polarisations), rows, columns),
            dtype="uint16",
            grid=Grid((1, rows, columns), Affine.identity(), Space("radar")),
            channels=tuple(Channel(p, "DN", (_window(p, p in calibrated, files[p]),)) for p in polarisations),
            nodata=0.0,
            radar=radar.to_json(),
            warnings=radar.missing,
            source={"product": self._identifier, "polarisations": list(polarisations)},
            files=tuple(self._relative(path) for path in self._all_files()),
        )

    def _geometry(
        self,
        manifest: Manifest | None,
        full: Annotation | None,
        tables: _Tables,
        files: Mapping[str, TiffFile],
    ) -> RadarGeometry:
        points = full.gcps if full is not None else self._control_points(files)
        missing = [*self._missing, *(full.missing if full is not None else ())]
        if points is None and full is None:
            missing.append("There are no ground control points: samples have no ground position.")
        elif full is None:
            missing.append(
                "There is no annotation: ground positions are interpolated between control points, at the terrain "
                "height these have; ships beside mountains are displaced."
            )
        if not tables.calibration:
            missing.append("There is no calibration: values are amplitude only, sigma0 is not known.")
        for polarisation in files:
            if tables.calibration and polarisation not in tables.calibration:
                missing.append(f"There is no calibration of {polarisation}: it is amplitude only.")
        start = full.start_time if full is not None else self._info.get("startTime")
        words = {"mission": "missionId", "mode": "mode", "product_type": "productType"}
        said = {name: self._info.get(key) for name, key in words.items()}
        if full is not None:
            said = {"mission": full.mission, "mode": full.mode, "product_type": full.product_type}
        return RadarGeometry(
            polarisations=tuple(files),
            gcps=points,
            calibration=tables.calibration or None,
            noise=tables.noise,
            orbit=None if full is None else full.orbit,
            processor=None if manifest is None else manifest.processor,
            flight=None if full is None else full.flight,
            look="right",  # both satellites can look to one side only
            start_time=None if start is None else _utc(str(start)),
            missing=tuple(missing),
            **{name: None if word is None else str(word) for name, word in said.items()},
        )

    def _control_points(self, files: Mapping[str, TiffFile]) -> ControlPoints | None:
        return next((points for file in files.values() if (points := file.control_points()) is not None), None)

    def _manifest(self) -> Manifest | None:
        path = self._folder / "manifest.safe"
        if not path.is_file():
            return None
        self._require_inside(path)
        return parse_manifest(path, self._relative(path))

    def _annotations(self) -> dict[str, Annotation]:
        found: dict[str, Annotation] = {}
        for path in self._list("annotation", ".xml"):
            label = self._relative(path)
            if XmlFile(path, label).root.tag != "product":
                continue
            annotation = parse_annotation(path, label)
            if annotation.polarisation in found:
                # GRD has one image a polarisation; several are swaths of an SLC or vignettes of a WV product.
                self._require_grd(annotation.product_type, annotation.mode)
                raise self._refused(label, "adsHeader/polarisation", f"there are two {annotation.polarisation} images")
            found[annotation.polarisation] = annotation
        return found

    def _measurements(self, manifest: Manifest | None, annotations: Mapping[str, Annotation]) -> dict[str, TiffFile]:
        paths: dict[str, Path] = {}
        for path in [*self._list("measurement", ".tiff", ".tif"), *self._list(".", ".tiff", ".tif")]:
            match = _POLARISATION.search(path.name)
            if match is not None and match[1].upper() not in paths:
                paths[match[1].upper()] = path
        expected = {
            match[1].upper()
            for name in (manifest.files if manifest else ())
            if name.startswith("measurement/") and (match := _POLARISATION.search(Path(name).name))
        }
        for polarisation in sorted((expected | set(annotations)) - set(paths)):
            self._missing.append(f"The measurement file of {polarisation} is not in the product.")
        if not paths:
            raise UnreadableFile(
                file=self._name,
                field="measurement",
                problem="there is no measurement file, only metadata",
                remedy="Download the whole product with its measurement folder.",
            )
        files: dict[str, TiffFile] = {}
        try:
            for polarisation in sorted(paths, key=_ORDER.index):
                files[polarisation] = TiffFile(paths[polarisation], self._relative(paths[polarisation]))
        except Exception:
            for file in files.values():
                file.close()
            raise
        return files

    def _tables(self, polarisations: Sequence[str]) -> _Tables:
        calibration: dict[str, CalibrationTable] = {}
        noise: dict[str, NoiseSummary] = {}
        for path in self._list("annotation/calibration", ".xml"):
            label = self._relative(path)
            if path.name.startswith("calibration"):
                polarisation, table = parse_calibration(path, label)
                calibration[polarisation] = table
            elif path.name.startswith("noise"):
                polarisation, summary = parse_noise(path, label)
                noise[polarisation] = summary
        return _Tables(
            {p: calibration[p] for p in polarisations if p in calibration},
            {p: noise[p] for p in polarisations if p in noise},
        )

    @property
    def _identifier(self) -> str:
        """The product's name: of the folder, or of the catalogue's record where the folder was renamed."""
        stem = self._name[: -len(".SAFE")] if self._name.upper().endswith(".SAFE") else self._name
        if _PRODUCT.match(stem):
            return stem
        listed = str(self._info.get("id", ""))
        if _PRODUCT.match(listed):
            return listed
        # A folder that was renamed, or an archive without one: the measurement file still says mission, time and orbit.
        images = [path.stem for path in self._list("measurement", ".tif", ".tiff")]
        return images[0] if images and images[0].lower().startswith("s1") else stem

    def _require_supported(self, name: str) -> None:
        for text in (name, str(self._info.get("id", ""))):
            match = _PRODUCT.match(text)
            if match is not None:
                self._require_grd(match["type"].upper(), match["mode"].upper())

    def _require_grd(self, product_type: str, mode: str) -> None:
        if mode.upper() == "WV":
            raise self._refused(
                self._name, "mode", "wave mode (WV) products are many small images, some with wrong tables"
            )
        if product_type.upper() != "GRD":
            raise self._refused(
                self._name,
                "productType",
                f"{product_type} products are not read yet, only GRD",
                "Use the GRD product of the same acquisition"
                + (", or make a detected image of it, e.g. with ESA SNAP." if product_type.upper() == "SLC" else "."),
            )

    def _refused(self, file: str, field: str, problem: str, remedy: str = "") -> UnreadableFile:
        return UnreadableFile(
            file=file, field=field, problem=problem, remedy=remedy or "Use a GRD product as its archive delivers it."
        )

    def _list(self, folder: str, *endings: str) -> list[Path]:
        place = self._folder / folder
        if not place.is_dir():
            return []
        found = sorted(p for p in place.iterdir() if p.is_file() and p.suffix.lower() in endings)
        for path in found:
            self._require_inside(path)
        return found

    def _all_files(self) -> list[Path]:
        """What is kept as the original: everything but pictures for people."""
        kept = [p for p in (self._folder / "manifest.safe", self._folder / "productInfo.json") if p.is_file()]
        kept += [p for folder in ("annotation", "annotation/calibration") for p in self._list(folder, ".xml")]
        return kept + [p for folder in ("measurement", ".") for p in self._list(folder, ".tif", ".tiff")]

    def _require_inside(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise self._refused(self._relative(path), "file", "it is a link that leads out of the product")

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else path.name


def _window(polarisation: str, calibrated: bool, file: TiffFile) -> Window:
    """In dB: of sigma0 where it is known, else of the amplitude itself, from the darkest and brightest of a few blocks."""
    if calibrated:
        low, high = _SIGMA0_DB[polarisation]
        return Window("sigma0 dB", (low + high) / 2, high - low)
    samples = file.sampled(0)
    known = samples[samples > 0]
    low, high = 20 * np.log10(np.percentile(known, (2, 98))) if known.size else (20.0, 60.0)
    return Window("amplitude dB", float(low + high) / 2, max(float(high - low), 1.0))


def _info(folder: Path) -> dict[str, Any]:
    """``productInfo.json`` of a catalogue copy, or nothing."""
    path = folder / "productInfo.json"
    if not path.is_file() or path.is_symlink() or path.stat().st_size > _MAX_INFO_BYTES:
        return {}
    try:
        info = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return info if isinstance(info, dict) else {}


def _utc(text: str) -> str:
    return text if text.endswith("Z") else f"{text}Z"
