"""DICOM series of single-frame images: CT, MR and their like, from files of any transfer syntax pydicom decodes.

Files are grouped by series, sorted along the normal of their planes, and described without decoding a pixel. Level 0 keeps
stored values; the modality LUT (PS3.3 C.11.1) is metadata, per plane where planes differ. Geometry is kept exactly, as PS3.3
C.7.6.2.1.1 gives it: a gantry tilt is a sheared affine and said so. What is not a regular volume is refused by name.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels import pixel_array
from pydicom.uid import UID

from specimg.errors import InvalidInput, UnreadableFile
from specimg.formats.base import Channel, OpenSeries, Rescale, Series, Window
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space

MAX_PIXELS = 2**28
"""Rows x Columns; a forged header must not make a decoder ask for more."""
SAME_MM = 0.01
"""Positions closer than this are one; DICOM writes them to about six digits."""
GAP = 0.05
"""Gaps may differ from their median by this share before a volume counts as uneven."""
PARALLEL = 1e-4
_WINDOWS = {
    "CT": (Window("abdomen", 40, 400), Window("lung", -600, 1500), Window("bone", 400, 1800), Window("brain", 40, 80)),
}
_NEEDED = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesDescription",
    "SeriesNumber",
    "InstanceNumber",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "PixelPaddingValue",
    "TemporalPositionIdentifier",
    "AcquisitionTime",
    "AcquisitionNumber",
    "EchoTime",
    "DiffusionBValue",
    "SpecificCharacterSet",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "GantryDetectorTilt",
]


class Dicom:
    """The format plug-in."""

    name = "dicom"

    def sniff(self, path: Path, head: bytes) -> bool:
        """A preamble and ``DICM`` (PS3.10 7.1). Files without are refused by nobody asking for them."""
        return head[128:132] == b"DICM" and path.name.upper() != "DICOMDIR"

    def split(self, paths: Sequence[Path], root: Path) -> list[list[Path]]:
        """One group a series, so that one that is refused does not keep the others out."""
        groups: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            groups[_series_key(path)].append(path)
        return list(groups.values())

    def open(self, paths: Sequence[Path], root: Path) -> list[OpenSeries]:
        """One series from the files of one; see ``split``."""
        return [DicomSeries(paths, root)]


DICOM = Dicom()


@dataclass(frozen=True, slots=True)
class _Slice:
    """One instance: its file, what its header says, and where it lies."""

    path: Path
    name: str
    ds: pydicom.Dataset
    position: npt.NDArray[np.float64]
    orientation: npt.NDArray[np.float64]
    """2 x 3: direction of increasing column, of increasing row."""
    spacing: tuple[float, float]
    """Between rows, between columns, in millimetres."""

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        return np.asarray(np.cross(self.orientation[0], self.orientation[1]))

    @property
    def along(self) -> float:
        return float(self.position @ self.normal)


class DicomSeries:
    """A series that is a regular volume, perhaps one for each time."""

    def __init__(self, paths: Sequence[Path], root: Path) -> None:
        slices = [_slice(path, path.relative_to(root).as_posix()) for path in sorted(paths)]
        _require_alike(slices)
        times = _volumes(slices)
        first = times[0]
        warnings: list[str] = []
        affine = _affine(first, warnings)
        dtype, nodata = _dtype(slices)
        ordered = [s for volume in times for s in volume]
        self._paths = [s.path for s in ordered]
        self._names = [s.name for s in ordered]
        self._depth = len(first)
        ds = first[0].ds
        rows, columns = int(ds.Rows), int(ds.Columns)
        shape = (len(first), rows, columns)
        modality = _text(ds, "Modality") or "OT"
        slope, intercept = _rescale(times, warnings)
        source = _source(ordered, warnings)
        if _text(ds, "PhotometricInterpretation") == "MONOCHROME1":
            warnings.append("Low values are meant to be shown bright (MONOCHROME1).")
        self.series = Series(
            key=source["SeriesInstanceUID"],
            name=" ".join(filter(None, (modality, _text(ds, "SeriesDescription"))))[:120],
            kind="volume",
            modality=modality,
            axes=("t", "z", "y", "x") if len(times) > 1 else ("z", "y", "x"),
            shape=(len(times), *shape) if len(times) > 1 else shape,
            dtype=dtype.name,
            grid=Grid(shape, affine, Space("patient")),
            channels=(Channel("intensity", _unit(ds, modality), _windows(ds, modality)),),
            rescale=Rescale(slope, intercept),
            nodata=nodata,
            warnings=tuple(warnings),
            source=source,
            files=tuple(self._names),
        )

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Decode the files of a box, one at a time."""
        timed = len(self.series.axes) == 4
        t0, t1 = (start[0], stop[0]) if timed else (0, 1)
        (z0, y0, x0), (z1, y1, x1) = start[-3:], stop[-3:]
        out = np.empty((t1 - t0, z1 - z0, y1 - y0, x1 - x0), np.dtype(self.series.dtype))
        for t in range(t0, t1):
            for z in range(z0, z1):
                out[t - t0, z - z0] = self._plane(t * self._depth + z)[y0:y1, x0:x1]
        return out if timed else out[0]

    def close(self) -> None:
        """Files are opened for each read."""

    def _plane(self, index: int) -> npt.NDArray[Any]:
        name = self._names[index]
        try:
            plane = pixel_array(str(self._paths[index]), raw=True)
        except (ValueError, RuntimeError, NotImplementedError, AttributeError, TypeError, OSError, EOFError) as error:
            raise _undecodable(self._paths[index], name) from error
        if plane.shape != self.series.shape[-2:]:
            raise _refused(name, "PixelData", f"it decodes to {plane.shape}, not {self.series.shape[-2:]}", _AGAIN)
        return np.asarray(plane).astype(self.series.dtype, copy=False)


_AGAIN = "Send or export the series again."


def _refused(name: str, field: str, problem: str, remedy: str) -> UnreadableFile:
    return UnreadableFile(file=name, field=field, problem=problem, remedy=remedy)


def _undecodable(path: Path, name: str) -> UnreadableFile:
    try:
        syntax = UID(pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
        label = syntax.name
    except (InvalidDicomError, AttributeError, OSError, ValueError):
        label = "unknown"
    return _refused(
        name,
        "PixelData",
        f"its pixels cannot be decoded (transfer syntax: {label})",
        "Send it uncompressed, or as JPEG 2000, JPEG-LS, JPEG lossless or RLE.",
    )


# --- headers --------------------------------------------------------------------------------------------------------


def _series_key(path: Path) -> str:
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "Modality"])
    except (InvalidDicomError, OSError, ValueError, EOFError, RecursionError, AttributeError, TypeError, KeyError):
        return f"unreadable {path}"
    # Planes that some devices put beside each other under one UID still belong to one folder at least.
    return _text(ds, "SeriesInstanceUID") or f"none in {path.parent}"


def _slice(path: Path, name: str) -> _Slice:
    try:
        with path.open("rb") as handle:
            ds = pydicom.dcmread(handle, stop_before_pixels=True, specific_tags=_NEEDED)
            file_meta = ds.file_meta
            whole = file_meta.TransferSyntaxUID.is_deflated or _is_whole(handle, path.stat().st_size)
        ds = pydicom.Dataset({e.tag: e for e in ds})  # decode now: lazy elements would fail later, elsewhere
        for _ in ds:
            pass
    except (InvalidDicomError, OSError, ValueError, EOFError, AttributeError, TypeError, KeyError) as error:
        raise _refused(name, "header", "it is not a sound DICOM file", _AGAIN) from error
    except RecursionError as error:
        raise _refused(
            name, "sequences", "sequences are nested too deep", "Such a file is broken or hostile."
        ) from error
    if not whole:
        raise _refused(name, "PixelData", "the file is cut short", _AGAIN)
    ds.file_meta = file_meta
    _require_pixels(ds, name)
    orientation = np.array(_numbers(ds, "ImageOrientationPatient", 6, name)).reshape(2, 3)
    if (abs(np.linalg.norm(orientation, axis=1) - 1) > 1e-2).any() or abs(orientation[0] @ orientation[1]) > 1e-2:
        raise _refused(name, "ImageOrientationPatient", "its directions are not at right angles", _AGAIN)
    spacing = _numbers(ds, "PixelSpacing", 2, name)
    if min(spacing) <= 0:
        raise _refused(name, "PixelSpacing", "it is not positive", _AGAIN)
    position = np.array(_numbers(ds, "ImagePositionPatient", 3, name))
    return _Slice(path, name, ds, position, orientation, (spacing[0], spacing[1]))


def _is_whole(handle: BinaryIO, size: int) -> bool:
    """Whether Pixel Data, at which ``handle`` stands, is all there.

    Decoders make up what is missing of a compressed image without a word, so its items are walked to the delimiter that must
    end them (PS3.5 A.4). A data set without Pixel Data is for others to refuse.
    """
    head = handle.read(12)
    if len(head) < 12 or head[:4] not in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"):
        return True
    big = head[0] == 0x7F
    explicit = head[4:6] in (b"OB", b"OW")
    (length,) = struct.unpack(">I" if big else "<I", head[8:12] if explicit else head[4:8])
    if length != 0xFFFFFFFF:
        return handle.tell() - (0 if explicit else 4) + length <= size
    while len(item := handle.read(8)) == 8:
        tag, length = item[:4], struct.unpack("<I", item[4:])[0]
        if tag == b"\xfe\xff\xdd\xe0":
            return True
        if tag != b"\xfe\xff\x00\xe0" or handle.tell() + length > size:
            return False
        handle.seek(length, 1)
    return False


def _require_pixels(ds: pydicom.Dataset, name: str) -> None:
    if _integer(ds, "NumberOfFrames", name, 1) != 1:
        raise _refused(
            name, "NumberOfFrames", "multi-frame images are not read yet", "Convert it to single-frame images."
        )
    rows, columns = _integer(ds, "Rows", name), _integer(ds, "Columns", name)
    if rows < 1 or columns < 1 or rows * columns > MAX_PIXELS:
        raise _refused(name, "Rows, Columns", f"{rows} x {columns} is not a size of an image", _AGAIN)
    if _integer(ds, "SamplesPerPixel", name, 1) != 1:
        raise _refused(name, "SamplesPerPixel", "colour images are not read as volumes", "Send the original series.")
    photometric = _text(ds, "PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise _refused(
            name, "PhotometricInterpretation", f"{photometric or 'nothing'} is not grey", "Send grey images."
        )
    allocated, stored = _integer(ds, "BitsAllocated", name), _integer(ds, "BitsStored", name)
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated:
        raise _refused(name, "BitsAllocated", f"{stored} bits stored in {allocated} is not an image", _AGAIN)
    if _integer(ds, "PixelRepresentation", name) not in (0, 1):
        raise _refused(name, "PixelRepresentation", "it is neither 0 nor 1", _AGAIN)


def _integer(ds: pydicom.Dataset, keyword: str, name: str, default: int | None = None) -> int:
    value = ds.get(keyword)
    if value in (None, ""):
        if default is not None:
            return default
        raise _refused(name, keyword, "it is missing", "The file may be cut short; send it again.")
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _refused(name, keyword, "it is not one whole number", _AGAIN) from error


def _numbers(ds: pydicom.Dataset, keyword: str, count: int, name: str) -> list[float]:
    value = ds.get(keyword)
    if value in (None, ""):
        raise _refused(
            name,
            keyword,
            "it is missing, so the image has no place in the patient",
            "Only images with a position make a volume.",
        )
    try:
        numbers = [float(v) for v in value]
    except (TypeError, ValueError, OverflowError) as error:
        raise _refused(name, keyword, "it is not made of numbers", _AGAIN) from error
    if len(numbers) != count or not all(math.isfinite(v) for v in numbers):
        raise _refused(name, keyword, f"it is not made of {count} finite numbers", _AGAIN)
    return numbers


def _text(ds: pydicom.Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    return "" if value is None else str(value).replace("\0", "").strip()


# --- a volume -------------------------------------------------------------------------------------------------------


def _require_alike(slices: Sequence[_Slice]) -> None:
    first = slices[0]
    for other in slices[1:]:
        for keyword in ("Rows", "Columns", "BitsAllocated", "PixelRepresentation", "PhotometricInterpretation"):
            if _text(other.ds, keyword) != _text(first.ds, keyword):
                raise _mixed(first, other, keyword)
        if np.abs(other.orientation - first.orientation).max() > PARALLEL * 10:
            raise _mixed(first, other, "ImageOrientationPatient")
        if not np.allclose(other.spacing, first.spacing, rtol=1e-4):
            raise _mixed(first, other, "PixelSpacing")


def _mixed(first: _Slice, other: _Slice, keyword: str) -> UnreadableFile:
    return _refused(
        other.name,
        keyword,
        f"it differs from that of {first.name} in the same series",
        "Ingest the parts as folders of their own; localizers are best left out.",
    )


def _volumes(slices: Sequence[_Slice]) -> list[list[_Slice]]:
    """Slices by time, each sorted along the normal; one time unless every position repeats equally."""
    normal = slices[0].normal
    places: list[tuple[float, list[_Slice]]] = []
    for s in sorted(slices, key=lambda s: float(s.position @ normal)):
        along = float(s.position @ normal)
        if places and along - places[-1][0] < SAME_MM:
            places[-1][1].append(s)
        else:
            places.append((along, [s]))
    counts = {len(group) for _, group in places}
    if len(counts) > 1:
        odd = min((g for _, g in places if len(g) != max(counts)), key=len)
        raise _refused(
            odd[0].name,
            "ImagePositionPatient",
            f"positions repeat unequally: {sorted(counts)} images at one place, so slices are missing or double",
            "Send the whole series, without duplicates.",
        )
    (repeats,) = counts
    if repeats > 1 and len(places) == 1:
        raise _refused(
            slices[0].name, "ImagePositionPatient", f"all {repeats} images lie at one place", "It is not a volume."
        )
    if repeats > 1 and len({_text(s.ds, "SOPInstanceUID") or s.name for s in slices}) < len(slices):
        raise _refused(slices[0].name, "SOPInstanceUID", "some images are there twice", "Remove the duplicates.")
    for _, group in places:
        group.sort(key=_moment)
    volumes = [[group[t] for _, group in places] for t in range(repeats)]
    _require_even(volumes[0])
    return volumes


def _moment(s: _Slice) -> tuple[float, ...]:
    def number(keyword: str) -> float:
        try:
            return float(_text(s.ds, keyword) or 0)
        except ValueError:
            return 0.0

    keys = ("TemporalPositionIdentifier", "AcquisitionNumber", "EchoTime", "AcquisitionTime", "InstanceNumber")
    return tuple(number(keyword) for keyword in keys)


def _require_even(volume: Sequence[_Slice]) -> None:
    if len(volume) < 2:
        return
    along = [s.along for s in volume]
    gaps = np.diff(along)
    median = float(np.median(gaps))
    uneven = np.abs(gaps - median) > max(GAP * median, SAME_MM)
    if uneven.any():
        at = int(np.argmax(uneven))
        kinds = ", ".join(f"{g:.2f}" for g in sorted({round(float(g), 2) for g in gaps})[:8])
        raise _refused(
            volume[at + 1].name,
            "ImagePositionPatient",
            f"slices are not evenly spaced (gaps of {kinds} mm)",
            "Send missing slices, or ingest evenly spaced parts as folders of their own.",
        )


def _affine(volume: Sequence[_Slice], warnings: list[str]) -> Affine:
    first, last = volume[0], volume[-1]
    rows, columns = first.spacing
    if len(volume) > 1:
        step = (last.position - first.position) / (len(volume) - 1)
        off = max(float(np.linalg.norm(s.position - (first.position + i * step))) for i, s in enumerate(volume))
        if off > max(GAP * float(np.linalg.norm(step)), SAME_MM):
            raise _refused(
                first.name,
                "ImagePositionPatient",
                f"slices do not lie on one line (up to {off:.2f} mm beside it)",
                "Ingest the parts as folders of their own.",
            )
    else:
        thickness = _thickness(first)
        step = first.normal * thickness
        warnings.append(f"One slice alone: its thickness is taken as {thickness:g} mm.")
    try:
        # A row index moves along the *second* direction cosine by the first spacing (PS3.3 C.7.6.2.1.1).
        affine = Affine.from_steps(
            z=step, y=first.orientation[1] * rows, x=first.orientation[0] * columns, origin=first.position
        )
    except InvalidInput as error:
        raise _refused(first.name, "ImagePositionPatient", str(error), _AGAIN) from error
    if not affine.is_orthogonal:
        cosine = abs(float(first.normal @ (step / np.linalg.norm(step))))
        angle = math.degrees(math.acos(min(1.0, cosine)))
        warnings.append(
            f"Gantry tilt: slices are stacked {angle:.1f} degrees off their normal. The geometry is kept sheared, exactly."
        )
    return affine


def _thickness(s: _Slice) -> float:
    try:
        value = float(pydicom.dcmread(s.path, stop_before_pixels=True, specific_tags=["SliceThickness"]).SliceThickness)
    except (AttributeError, TypeError, ValueError):
        return 1.0
    return value if math.isfinite(value) and value > 0 else 1.0


# --- values ---------------------------------------------------------------------------------------------------------


def _dtype(slices: Sequence[_Slice]) -> tuple[np.dtype[Any], float | None]:
    ds = slices[0].ds
    sign = "i" if int(ds.PixelRepresentation) == 1 else "u"
    dtype = np.dtype(f"{sign}{int(ds.BitsAllocated) // 8}")
    padding = {s.ds.get("PixelPaddingValue") for s in slices}
    if len(padding) != 1 or None in padding:
        return dtype, None
    try:
        value = int(padding.pop())
    except (TypeError, ValueError):
        return dtype, None
    # Often written in the other signedness than the pixels (a US value for SS pixels).
    return dtype, float(np.array(value & ((1 << 8 * dtype.itemsize) - 1), f"u{dtype.itemsize}").view(dtype))


def _rescale(times: Sequence[Sequence[_Slice]], warnings: list[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    pairs = [[_slope(s) for s in volume] for volume in times]
    if any(other != pairs[0] for other in pairs[1:]):
        s = times[0][0]
        raise _refused(s.name, "RescaleSlope", "it changes over time", "Ingest each time as a folder of its own.")
    if len(set(pairs[0])) == 1:
        pairs[0] = pairs[0][:1]
    return tuple(p[0] for p in pairs[0]), tuple(p[1] for p in pairs[0])


def _slope(s: _Slice) -> tuple[float, float]:
    values = []
    for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        raw = s.ds.get(keyword)
        try:
            value = default if raw in (None, "") else float(raw)
        except (TypeError, ValueError) as error:
            raise _refused(s.name, keyword, "it is not a number", _AGAIN) from error
        if not math.isfinite(value) or abs(value) > 1e12 or (keyword == "RescaleSlope" and value == 0):
            raise _refused(s.name, keyword, f"{value:g} makes no values", _AGAIN)
        values.append(value)
    return values[0], values[1]


def _unit(ds: pydicom.Dataset, modality: str) -> str:
    kind = _text(ds, "RescaleType")
    if kind == "HU" or (modality == "CT" and kind in ("", "US") and "RescaleIntercept" in ds):
        return "HU"
    return "1"


def _windows(ds: pydicom.Dataset, modality: str) -> tuple[Window, ...]:
    def values(keyword: str) -> list[Any]:
        raw = ds.get(keyword)
        if raw in (None, ""):
            return []
        return list(raw) if isinstance(raw, pydicom.multival.MultiValue) else [raw]

    found = []
    names = [str(n) for n in values("WindowCenterWidthExplanation")]
    for i, (center, width) in enumerate(zip(values("WindowCenter"), values("WindowWidth"), strict=False)):
        try:
            c, w = float(center), float(width)
        except (TypeError, ValueError):
            continue
        # A width below 1 is not allowed (C.11.2.1.2.1); some devices write 0.
        if math.isfinite(c) and math.isfinite(w) and w >= 1:
            found.append(Window((names[i] if i < len(names) else "").strip() or f"from file {i + 1}", c, w))
    return (*found, *_WINDOWS.get(modality, ()))


def _source(slices: Sequence[_Slice], warnings: list[str]) -> dict[str, Any]:
    """UIDs that exports need. Those missing from the data set are taken from the file meta, or made, always alike."""
    ds = slices[0].ds
    study, series = _text(ds, "StudyInstanceUID"), _text(ds, "SeriesInstanceUID")
    instances = [_text(s.ds, "SOPInstanceUID") or _meta(s, "MediaStorageSOPInstanceUID") for s in slices]
    seed = "|".join([*instances, _text(ds, "FrameOfReferenceUID")])
    missing = [n for n, value in (("StudyInstanceUID", study), ("SeriesInstanceUID", series)) if not value]
    if missing:
        warnings.append(f"{' and '.join(missing)} missing: made from the images' own UIDs.")
    if any(not uid for uid in instances):
        warnings.append("Some images have no SOPInstanceUID: they cannot be referred to in DICOM SEG.")
    return {
        "StudyInstanceUID": study or _made_uid("study", seed),
        "SeriesInstanceUID": series or _made_uid("series", seed),
        "FrameOfReferenceUID": _text(ds, "FrameOfReferenceUID"),
        "SOPClassUID": _text(ds, "SOPClassUID") or _meta(slices[0], "MediaStorageSOPClassUID"),
        "SOPInstanceUIDs": instances,
    }


def _meta(s: _Slice, keyword: str) -> str:
    return str(s.ds.file_meta.get(keyword, "") or "")


def _made_uid(kind: str, seed: str) -> str:
    """A UUID-derived UID (PS3.5 B.2) that is the same for the same images."""
    number = int.from_bytes(hashlib.sha256(f"specimg {kind} {seed}".encode()).digest()[:16], "big")
    return f"2.25.{number}"
