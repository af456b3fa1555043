"""Frames of DICOM images: what the header says of each, checked before anything is believed or decoded.

A single-frame instance has one frame. Of an enhanced one (CT, MR, PET), the functional groups that tell where a frame lies
and what its values are (PS3.3 C.7.6.16) are folded into the frame, so that nothing above needs to know the difference.
Positions and spacings keep DICOM's own conventions here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from specimg.errors import UnreadableFile
from specimg.formats.dicom_pixels import PixelData, inspect

MAX_PIXELS = 2**28
"""Rows x Columns; a forged header must not make a decoder ask for more."""
MAX_FRAMES = 20_000
AGAIN = "Send or export the series again."

_MULTI_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
    "1.2.840.10008.5.1.4.1.1.130": "PT",
    "1.2.840.10008.5.1.4.1.1.128.1": "PT",
}
"""Enhanced and legacy-converted classes, whose frames have positions of their own."""

_LABELS = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}

_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesDescription",
    "InstanceNumber",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "ModalityLUTSequence",
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
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]

_MACROS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation"),
    "MRDiffusionSequence": ("DiffusionBValue",),
}
"""Functional group to the attributes it holds under the name that single-frame images have at the top."""

_RENAMED = {
    "MREchoSequence": ("EffectiveEchoTime", "EchoTime"),
    "FrameContentSequence": ("TemporalPositionIndex", "TemporalPositionIdentifier"),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One plane: its file, what the header says of it, and where it lies."""

    path: Path
    name: str
    """The file's name below the source's root."""
    index: int
    """Number of the frame in its file, from 0."""
    ds: pydicom.Dataset
    position: npt.NDArray[np.float64]
    orientation: npt.NDArray[np.float64]
    """2 x 3: direction of increasing column, of increasing row."""
    spacing: tuple[float, float]
    """Between rows, between columns, in millimetres."""

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit vector of increasing column x increasing row."""
        normal = np.cross(self.orientation[0], self.orientation[1])
        return np.asarray(normal / np.linalg.norm(normal))


def refused(name: str, field: str, problem: str, remedy: str = AGAIN) -> UnreadableFile:
    """The error every reader of DICOM raises; ``name`` is relative to the source."""
    return UnreadableFile(file=name, field=field, problem=problem, remedy=remedy)


def text(ds: pydicom.Dataset, keyword: str) -> str:
    """An attribute as text, empty if it is not there."""
    value = ds.get(keyword)
    return "" if value is None else str(value).replace("\0", "").strip()


def series_key(path: Path) -> str:
    """What groups files into series; a file that cannot be read is a group of its own."""
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
    except (InvalidDicomError, OSError, ValueError, EOFError, RecursionError, AttributeError, TypeError, KeyError):
        return f"unreadable {path}"
    # Without a UID, what lies in one folder is taken to belong together.
    return text(ds, "SeriesInstanceUID") or f"none in {path.parent}"


def read_frames(path: Path, name: str) -> list[Frame]:
    """Frames of one file, in file order, no pixel decoded. Raises ``UnreadableFile`` naming the attribute."""
    ds = _header(path, name)
    _require_image(ds, name)
    _require_pixels(ds, name)
    if int(ds.get("NumberOfFrames") or 1) == 1 and "PerFrameFunctionalGroupsSequence" not in ds:
        return [_frame(path, name, 0, ds)]
    shared = ds.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
    groups = ds.get("PerFrameFunctionalGroupsSequence") or ()
    count = int(ds.get("NumberOfFrames") or 1)
    if len(groups) != count:
        raise refused(name, "PerFrameFunctionalGroupsSequence", f"it has {len(groups)} items for {count} frames")
    top = pydicom.Dataset({e.tag: e for e in ds if e.VR != "SQ"})
    top.file_meta = ds.file_meta
    return [_frame(path, name, i, _folded(top, shared[0], group, i)) for i, group in enumerate(groups)]


def _header(path: Path, name: str) -> pydicom.Dataset:
    try:
        with path.open("rb") as handle:
            ds = pydicom.dcmread(handle, stop_before_pixels=True, specific_tags=_TAGS)
            file_meta = ds.file_meta
            # A deflated data set comes from memory, not from this handle; inflating it has checked it.
            deflated = file_meta.TransferSyntaxUID.is_deflated
            pixels = PixelData("whole") if deflated else inspect(handle, path.stat().st_size)
        ds = pydicom.Dataset({e.tag: e for e in ds})  # decode now: lazy elements would fail later, elsewhere
        for _ in ds:
            pass
    except (InvalidDicomError, OSError, ValueError, EOFError, AttributeError, TypeError, KeyError) as error:
        raise refused(name, "header", "it is not a sound DICOM file") from error
    except RecursionError as error:
        raise refused(name, "sequences", "they are nested too deep", "Such a file is broken or hostile.") from error
    ds.file_meta = file_meta
    _require_class(ds, name)
    _require_pixel_data(ds, pixels, name)
    return ds


def _require_pixel_data(ds: pydicom.Dataset, pixels: PixelData, name: str) -> None:
    if pixels.state == "short":
        raise refused(name, "PixelData", "the file is cut short")
    if pixels.state == "none":
        label = UID(sop_class(ds)).name or "the file"
        raise refused(name, "PixelData", f"{label} without pixels of whole numbers is not read")
    wanted = _integer(ds, "Rows", name), _integer(ds, "Columns", name)
    if pixels.claimed is not None and pixels.claimed != wanted:
        problem = (
            f"its codestream is {pixels.claimed[0]} x {pixels.claimed[1]}, the header says {wanted[0]} x {wanted[1]}"
        )
        raise refused(name, "PixelData", problem)


def sop_class(ds: pydicom.Dataset) -> str:
    """SOP class from the data set, or from the file meta of files that lost it."""
    return text(ds, "SOPClassUID") or str(ds.file_meta.get("MediaStorageSOPClassUID", "") or "")


def _require_class(ds: pydicom.Dataset, name: str) -> None:
    uid = sop_class(ds)
    label = UID(uid).name if uid else "a class that is not named"
    if uid in _LABELS:
        raise refused(name, "SOPClassUID", "it is a segmentation, not an image", "Import it as labels of its image.")
    if not ds.get("Rows") and "Image" not in label:
        raise refused(
            name, "SOPClassUID", f"{label} is not an image", "Leave it out, or ingest the images it speaks of."
        )


def _require_image(ds: pydicom.Dataset, name: str) -> None:
    frames = _integer(ds, "NumberOfFrames", name, 1)
    if not 1 <= frames <= MAX_FRAMES:
        raise refused(name, "NumberOfFrames", f"{frames} is not a number of frames")
    enhanced = sop_class(ds) in _MULTI_FRAME
    if frames > 1 and not enhanced:
        label = UID(sop_class(ds)).name or "an unnamed class"
        raise refused(
            name,
            "NumberOfFrames",
            f"{frames} frames of {label} have no places in a volume",
            "Send single-frame images.",
        )
    if "MOSAIC" in text(ds, "ImageType"):
        raise refused(
            name,
            "ImageType",
            "it is a mosaic: many slices tiled into one image",
            "Convert it to NIfTI with dcm2niix, or export it as enhanced MR.",
        )
    if _integer(ds, "SamplesPerPixel", name, 1) != 1:
        raise refused(name, "SamplesPerPixel", "colour images are not read as volumes", "Send the original series.")
    photometric = text(ds, "PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise refused(name, "PhotometricInterpretation", f"{photometric or 'nothing'} is not grey", "Send grey images.")
    if "ModalityLUTSequence" in ds:
        raise refused(
            name,
            "ModalityLUTSequence",
            "values follow a table instead of slope and intercept, which is not read",
            "Export the series with RescaleSlope and RescaleIntercept.",
        )


def _require_pixels(ds: pydicom.Dataset, name: str) -> None:
    rows, columns = _integer(ds, "Rows", name), _integer(ds, "Columns", name)
    if rows < 1 or columns < 1 or rows * columns > MAX_PIXELS:
        raise refused(name, "Rows, Columns", f"{rows} x {columns} is not a size of an image")
    allocated, stored = _integer(ds, "BitsAllocated", name), _integer(ds, "BitsStored", name)
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated:
        raise refused(name, "BitsAllocated", f"{stored} bits stored in {allocated} is not an image")
    high = _integer(ds, "HighBit", name, stored - 1)
    if high != stored - 1:
        # PS3.5 8.1.1 has allowed nothing else since 2014, and decoders differ on what came before.
        raise refused(name, "HighBit", f"it is {high}, not one less than BitsStored ({stored})")
    if _integer(ds, "PixelRepresentation", name) not in (0, 1):
        raise refused(name, "PixelRepresentation", "it is neither 0 nor 1")


def _folded(top: pydicom.Dataset, shared: pydicom.Dataset, group: pydicom.Dataset, index: int) -> pydicom.Dataset:
    """The header of one frame as a single-frame image would have it."""
    ds = pydicom.Dataset({e.tag: e for e in top})
    ds.file_meta = top.file_meta
    for functional in (shared, group):
        for macro, keywords in _MACROS.items():
            for item in functional.get(macro) or ():
                for keyword in keywords:
                    if keyword in item:
                        ds[keyword] = item[keyword]
        for macro, (inner, keyword) in _RENAMED.items():
            for item in functional.get(macro) or ():
                if item.get(inner) is not None:
                    setattr(ds, keyword, str(item[inner].value) if keyword == "EchoTime" else item[inner].value)
    # Files of one series follow one another, and so do frames in a file.
    ds.InstanceNumber = _whole(text(top, "InstanceNumber")) * MAX_FRAMES + index
    return ds


def _whole(value: str) -> int:
    try:
        return min(max(int(value), 0), 10_000)
    except ValueError:
        return 0


def _frame(path: Path, name: str, index: int, ds: pydicom.Dataset) -> Frame:
    orientation = np.array(_numbers(ds, "ImageOrientationPatient", 6, name)).reshape(2, 3)
    if (abs(np.linalg.norm(orientation, axis=1) - 1) > 1e-2).any() or abs(orientation[0] @ orientation[1]) > 1e-2:
        raise refused(name, "ImageOrientationPatient", "its directions are not at right angles")
    spacing = _numbers(ds, "PixelSpacing", 2, name)
    if min(spacing) <= 0:
        raise refused(name, "PixelSpacing", "it is not positive")
    position = np.array(_numbers(ds, "ImagePositionPatient", 3, name))
    return Frame(path, name, index, ds, position, orientation, (spacing[0], spacing[1]))


def _integer(ds: pydicom.Dataset, keyword: str, name: str, default: int | None = None) -> int:
    value = ds.get(keyword)
    if value in (None, ""):
        if default is not None:
            return default
        raise refused(name, keyword, "it is missing", "The file may be cut short; send it again.")
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise refused(name, keyword, "it is not one whole number") from error


def _numbers(ds: pydicom.Dataset, keyword: str, count: int, name: str) -> list[float]:
    value: Any = ds.get(keyword)
    if value in (None, ""):
        problem = "it is missing, so the image has no place in the patient"
        raise refused(name, keyword, problem, "Only images with a position make a volume.")
    try:
        numbers = [float(v) for v in value]
    except (TypeError, ValueError, OverflowError) as error:
        raise refused(name, keyword, "it is not made of numbers") from error
    if len(numbers) != count or not all(math.isfinite(v) for v in numbers):
        raise refused(name, keyword, f"it is not made of {count} finite numbers")
    return numbers
