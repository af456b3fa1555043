"""DICOM images: CT, MR and their like, single-frame or enhanced, of any transfer syntax pydicom decodes.

Files are grouped by series, sorted along the normal of their planes, and described without decoding a pixel. Level 0 keeps
stored values; the modality LUT (PS3.3 C.11.1) is metadata, per plane where planes differ. How frames become a volume is
``dicom_volume``; what is believed of a header is ``dicom_frames``.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels import iter_pixels
from pydicom.uid import UID

from specimg.errors import UnreadableFile
from specimg.formats.base import Channel, OpenSeries, Rescale, Series, Window
from specimg.formats.dicom_frames import Frame, read_frames, refused, series_key, sop_class, text
from specimg.formats.dicom_volume import affine_of, volumes
from specimg.geometry.grid import Grid, Space

_WINDOWS = {
    "CT": (Window("abdomen", 40, 400), Window("lung", -600, 1500), Window("bone", 400, 1800), Window("brain", 40, 80)),
}


class Dicom:
    """The format plug-in."""

    name = "dicom"

    def sniff(self, path: Path, head: bytes) -> bool:
        """A preamble and ``DICM`` (PS3.10 7.1). A directory of media is no image."""
        return head[128:132] == b"DICM" and path.name.upper() != "DICOMDIR"

    def split(self, paths: Sequence[Path], root: Path) -> list[list[Path]]:
        """One group a series, so that one that is refused does not keep the others out."""
        groups: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            groups[series_key(path)].append(path)
        return list(groups.values())

    def open(self, paths: Sequence[Path], root: Path) -> list[OpenSeries]:
        """One series from the files of one; see ``split``."""
        return [DicomSeries(paths, root)]


DICOM = Dicom()


class DicomSeries:
    """A series that is a regular volume, perhaps one for each time."""

    def __init__(self, paths: Sequence[Path], root: Path) -> None:
        frames = [f for path in sorted(paths) for f in read_frames(path, path.relative_to(root).as_posix())]
        warnings: list[str] = []
        times = volumes(frames, warnings)
        first = times[0]
        affine = affine_of(first, warnings)
        ds = first[0].ds
        shape = (len(first), int(ds.Rows), int(ds.Columns))
        self._depth = len(first)
        self._frames = [f for volume in times for f in volume]
        dtype, nodata = _dtype(frames)
        slope, intercept = _rescale(times)
        source = _source(self._frames, warnings)
        modality = text(ds, "Modality") or "OT"
        if text(ds, "PhotometricInterpretation") == "MONOCHROME1":
            warnings.append("Low values are meant to be shown bright (MONOCHROME1).")
        self.series = Series(
            key=source["SeriesInstanceUID"],
            name=(text(ds, "SeriesDescription") or f"{modality} series")[:120],
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
            files=tuple(dict.fromkeys(f.name for f in self._frames)),
        )

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Decode the frames of a box, one at a time."""
        timed = len(self.series.axes) == 4
        t0, t1 = (start[0], stop[0]) if timed else (0, 1)
        (z0, y0, x0), (z1, y1, x1) = start[-3:], stop[-3:]
        wanted = [self._frames[t * self._depth + z] for t in range(t0, t1) for z in range(z0, z1)]
        out = np.empty((len(wanted), y1 - y0, x1 - x0), np.dtype(self.series.dtype))
        for i, plane in enumerate(self._planes(wanted)):
            out[i] = plane[y0:y1, x0:x1]
        shape = (z1 - z0, y1 - y0, x1 - x0)
        return out.reshape((t1 - t0, *shape) if timed else shape)

    def close(self) -> None:
        """Files are opened for each read."""

    def _planes(self, frames: Sequence[Frame]) -> Iterator[npt.NDArray[Any]]:
        """Decoded frames, one at a time; a file is opened once for those of its frames that follow one another."""
        for path, group in groupby(frames, key=lambda f: f.path):
            run = list(group)
            decoded = 0
            try:
                for plane in _decoded(path, run):
                    if plane.shape != self.series.shape[-2:]:
                        raise refused(
                            run[0].name, "PixelData", f"it decodes to {plane.shape}, not as Rows, Columns say"
                        )
                    yield plane.astype(self.series.dtype, copy=False)
                    decoded += 1
            except UnreadableFile:
                raise
            except (
                ValueError,
                RuntimeError,
                NotImplementedError,
                AttributeError,
                TypeError,
                OSError,
                EOFError,
            ) as error:
                raise _undecodable(path, run[0].name) from error
            if decoded != len(run):
                raise refused(run[0].name, "PixelData", "it holds fewer frames than the header says")


def _decoded(path: Path, run: Sequence[Frame]) -> Iterator[npt.NDArray[Any]]:
    """Stored values; ``raw`` keeps colour and LUT conversions away."""
    if run[0].ds.file_meta.TransferSyntaxUID.is_deflated:
        # The decoders seek in the file, which cannot be done in a deflated one.
        ds = pydicom.dcmread(path)
        return iter(iter_pixels(ds, raw=True, indices=[f.index for f in run]))
    return iter(iter_pixels(str(path), raw=True, indices=[f.index for f in run]))


def _undecodable(path: Path, name: str) -> UnreadableFile:
    try:
        label = UID(pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID).name
    except (InvalidDicomError, AttributeError, OSError, ValueError):
        label = "unknown"
    return refused(
        name,
        "PixelData",
        f"its pixels cannot be decoded (transfer syntax: {label})",
        "Send it uncompressed, or as JPEG 2000, JPEG-LS, JPEG lossless or RLE.",
    )


# --- values ---------------------------------------------------------------------------------------------------------


def _dtype(slices: Sequence[Frame]) -> tuple[np.dtype[Any], float | None]:
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


def _rescale(times: Sequence[Sequence[Frame]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    pairs = [[_slope(s) for s in volume] for volume in times]
    if any(other != pairs[0] for other in pairs[1:]):
        s = times[0][0]
        raise refused(s.name, "RescaleSlope", "it changes over time", "Ingest each time as a folder of its own.")
    if len(set(pairs[0])) == 1:
        pairs[0] = pairs[0][:1]
    return tuple(p[0] for p in pairs[0]), tuple(p[1] for p in pairs[0])


def _slope(s: Frame) -> tuple[float, float]:
    values = []
    for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        raw = s.ds.get(keyword)
        try:
            value = default if raw in (None, "") else float(raw)
        except (TypeError, ValueError) as error:
            raise refused(s.name, keyword, "it is not a number") from error
        if not math.isfinite(value) or abs(value) > 1e12 or (keyword == "RescaleSlope" and value == 0):
            raise refused(s.name, keyword, f"{value:g} makes no values")
        values.append(value)
    return values[0], values[1]


def _unit(ds: pydicom.Dataset, modality: str) -> str:
    kind = text(ds, "RescaleType")
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


def _source(frames: Sequence[Frame], warnings: list[str]) -> dict[str, Any]:
    """What exports need: UIDs, one SOPInstanceUID for each file, and which frame is which slice of a multi-frame file.

    UIDs missing from the data set are taken from the file meta, or made, always alike for the same images.
    """
    files = list({f.name: f for f in frames}.values())
    ds = frames[0].ds
    study, series = text(ds, "StudyInstanceUID"), text(ds, "SeriesInstanceUID")
    instances = [text(f.ds, "SOPInstanceUID") or _meta(f, "MediaStorageSOPInstanceUID") for f in files]
    seed = "|".join([*instances, text(ds, "FrameOfReferenceUID")])
    missing = [n for n, value in (("StudyInstanceUID", study), ("SeriesInstanceUID", series)) if not value]
    if missing:
        warnings.append(f"{' and '.join(missing)} missing: made from the images' own UIDs.")
    if any(not uid for uid in instances):
        warnings.append("Some images have no SOPInstanceUID: they cannot be referred to in DICOM SEG.")
    source: dict[str, Any] = {
        "StudyInstanceUID": study or _made_uid("study", seed),
        "SeriesInstanceUID": series or _made_uid("series", seed),
        "FrameOfReferenceUID": text(ds, "FrameOfReferenceUID"),
        "SOPClassUID": sop_class(ds) or _meta(frames[0], "MediaStorageSOPClassUID"),
        "SOPInstanceUIDs": instances,
    }
    if len(files) < len(frames):
        source["frames"] = [f.index for f in frames]
    return source


def _meta(frame: Frame, keyword: str) -> str:
    return str(frame.ds.file_meta.get(keyword, "") or "")


def _made_uid(kind: str, seed: str) -> str:
    """A UUID-derived UID (PS3.5 B.2) that is the same for the same images."""
    number = int.from_bytes(hashlib.sha256(f"specimg {kind} {seed}".encode()).digest()[:16], "big")
    return f"2.25.{number}"
