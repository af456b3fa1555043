"""DICOM Segmentation: masks out, and in onto the grid of the image they label.

Out: BINARY, explicit VR little endian, one segment for each class that has voxels, numbered from 1, empty frames left out,
source images referred to per frame. That is the one form that OHIF, dcmqi and dciodvfy all take (PS3.3 A.51, C.8.20).
In: BINARY, FRACTIONAL (a voxel belongs from half of the maximum on) and label maps; every frame must lie on a slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels import iter_pixels
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from specimg import __version__
from specimg.errors import InvalidInput, UnreadableFile
from specimg.formats.base import Mask, MaskClass, Series
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space

BINARY_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP_CLASS = "1.2.840.10008.5.1.4.1.1.66.7"
_ANATOMY = ("123037004", "SCT", "Anatomical Structure")
_TISSUE = ("85756007", "SCT", "Tissue")
_REMEDY = "Export the segmentation again for this series."
_TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_OFF = 1e-2
"""How far, in samples, a frame may lie from its slice."""


def write_mask(mask: Mask, path: Path, reference: Series, originals: Sequence[Path]) -> tuple[str, ...]:
    """Write a SEG of ``mask`` for the series whose files are ``originals``, in slice order (or its one multi-frame file).

    Raises ``InvalidInput`` if the image did not come from DICOM, has times, or nothing is labelled.
    """
    if "SOPInstanceUIDs" not in reference.source:
        raise InvalidInput("a DICOM SEG refers to DICOM images, and this image did not come from any", field="format")
    depth, frames = reference.grid.shape[0], reference.source.get("frames")
    if "t" in reference.axes or len(originals) != (depth if frames is None else 1):
        raise InvalidInput("a DICOM SEG labels one time of a series", field="format")
    present = np.flatnonzero(np.bincount(mask.voxels.reshape(-1), minlength=2)[1:]) + 1
    if present.size == 0:
        raise InvalidInput("nothing is labelled, and a DICOM SEG cannot be empty", field="voxels")
    classes = {c.label: c for c in mask.classes}
    chosen = [classes.get(int(label), MaskClass(int(label), f"label {label}")) for label in present]
    sources = [_source(p, reference, i) for i, p in enumerate(originals)]
    segments = [_describe(number, c) for number, c in enumerate(chosen, start=1)]
    numbers = np.zeros(int(mask.voxels.max()) + 1, np.uint16)
    numbers[present] = np.arange(1, present.size + 1)
    voxels = numbers.astype(np.uint8 if present.size < 256 else np.uint16)[mask.voxels]
    if frames is not None:
        voxels = voxels[np.argsort(frames)]  # planes in the order of the file's frames
    seg = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=voxels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=300,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="specimg",
        manufacturer_model_name="specimg",
        software_versions=__version__,
        device_serial_number="0",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
        content_label="SEGMENTATION",
        series_description="Segmentation",
    )
    seg.save_as(path, enforce_file_format=True)
    if reference.grid.affine.is_orthogonal:
        return ()
    return (
        "The series has a gantry tilt: readers that build an orthogonal volume (dcmqi, 3D Slicer) will refuse this SEG.",
    )


def _source(path: Path, reference: Series, index: int) -> pydicom.Dataset:
    """An image's header, with the UIDs that ingest settled on where its own are missing."""
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    # Names of classes may be in any script; the patient's name, decoded here, is written again in UTF-8.
    ds.decode()
    ds.SpecificCharacterSet = "ISO_IR 192"
    source = reference.source
    for keyword, value in (
        ("StudyInstanceUID", source["StudyInstanceUID"]),
        ("SeriesInstanceUID", source["SeriesInstanceUID"]),
        ("FrameOfReferenceUID", source["FrameOfReferenceUID"] or f"{source['SeriesInstanceUID']}.1"[:64]),
        ("SOPClassUID", source["SOPClassUID"]),
        ("SOPInstanceUID", source["SOPInstanceUIDs"][index]),
    ):
        if not value:
            raise InvalidInput(f"the series has no {keyword}, so nothing can refer to it", field=keyword)
        if not ds.get(keyword):
            setattr(ds, keyword, value)
    _share_measures(ds)
    # Type 2: must be there, may be empty; highdicom copies them.
    for keyword in _TYPE_2:
        if keyword not in ds:
            setattr(ds, keyword, "")
    return ds


def _share_measures(ds: pydicom.Dataset) -> None:
    """Spacing and orientation among the shared groups, where highdicom looks: some scanners repeat them in each frame.

    That all frames agree on them is what made the series a volume.
    """
    for shared in ds.get("SharedFunctionalGroupsSequence") or ():
        for macro in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
            first = ds.PerFrameFunctionalGroupsSequence[0]
            if macro not in shared and macro in first:
                shared[macro] = first[macro]


def _describe(number: int, c: MaskClass) -> hd.seg.SegmentDescription:
    algorithm = hd.seg.SegmentAlgorithmTypeValues.MANUAL
    identification = None
    if c.algorithm is not None:
        algorithm = hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC
        name, _, version = c.algorithm.rpartition(" ")
        identification = hd.AlgorithmIdentificationSequence(
            name=(name or version)[:64],
            family=Code("123110", "DCM", "Artificial Intelligence"),
            version=version[:64],
        )
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=c.name[:64],
        segmented_property_category=Code(*(c.category or _ANATOMY)),
        segmented_property_type=Code(*(c.code or _TISSUE)),
        algorithm_type=algorithm,
        algorithm_identification=identification,
        tracking_uid=hd.UID(),
        tracking_id=f"{c.label} {c.name}"[:64],
    )
    description.RecommendedDisplayCIELabValue = _cielab(c.color)
    return description


def _cielab(color: str) -> list[int]:
    """``#rrggbb`` as PS3.3 C.10.7.1.1 asks: CIELab, D50, each channel over the whole range of 16 bits."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    # sRGB to XYZ adapted to D50 (Bradford), over the D50 white.
    to_xyz = np.array(
        [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
    )
    xyz = to_xyz @ linear / np.array([0.96422, 1.0, 0.82521])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    lab = np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
    scaled = [lab[0] / 100 * 65535, (lab[1] + 128) / 255 * 65535, (lab[2] + 128) / 255 * 65535]
    return [round(min(max(v, 0), 65535)) for v in scaled]


# --- in -------------------------------------------------------------------------------------------------------------


def read_mask(path: Path, reference: Series) -> Mask:
    """Segments as labels on the grid of ``reference``: segment number n is label n.

    Raises ``UnreadableFile`` if a frame does not lie on a slice of the image, or segments overlap.
    """
    name = path.name
    try:
        ds = pydicom.dcmread(path)
        sop_class, kind = str(ds.SOPClassUID), str(ds.get("SegmentationType", ""))
    except (InvalidDicomError, AttributeError, OSError, ValueError) as error:
        raise _refused(name, "header", "it is not a DICOM file") from error
    if sop_class not in (BINARY_CLASS, LABELMAP_CLASS):
        raise _refused(name, "SOPClassUID", "it is not a Segmentation")
    _require_frame_of_reference(ds, reference, name)
    grid = reference.grid
    voxels = np.zeros(grid.shape, np.uint16)
    groups = ds.get("PerFrameFunctionalGroupsSequence") or ()
    shared = (ds.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    if len(groups) != int(ds.get("NumberOfFrames") or 1):
        raise _refused(name, "PerFrameFunctionalGroupsSequence", f"it has {len(groups)} items, not one for each frame")
    for index, (frame, group) in enumerate(zip(_frames(ds, name), groups, strict=True)):
        z, order, flips = _place(_frame_grid(group, shared, frame.shape, name), grid, index, name)
        turned = frame.T if order else frame
        turned = turned[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
        if sop_class == LABELMAP_CLASS or kind == "LABELMAP":
            labels = turned.astype(np.uint16)
        else:
            inside = turned > 0 if kind == "BINARY" else 2 * turned.astype(np.int64) >= int(ds.MaximumFractionalValue)
            number = _segment(group, shared, name)
            labels = np.where(inside, number, 0).astype(np.uint16)
        clash = (voxels[z] != 0) & (labels != 0) & (voxels[z] != labels)
        if clash.any():
            raise _refused(
                name,
                "segments",
                f"segments overlap ({int(clash.sum())} voxels in one slice)",
                "Import them one by one.",
            )
        np.copyto(voxels[z], labels, where=labels != 0)
    return Mask(voxels, grid, _classes(ds, voxels))


def _refused(name: str, field: str, problem: str, remedy: str = _REMEDY) -> UnreadableFile:
    return UnreadableFile(file=name, field=field, problem=problem, remedy=remedy)


def _require_frame_of_reference(ds: pydicom.Dataset, reference: Series, name: str) -> None:
    own, wanted = str(ds.get("FrameOfReferenceUID", "")), str(reference.source.get("FrameOfReferenceUID", ""))
    if own and wanted and own != wanted:
        raise _refused(name, "FrameOfReferenceUID", "it belongs to another frame of reference than the image")


def _frames(ds: pydicom.Dataset, name: str) -> Iterator[npt.NDArray[Any]]:
    """Decoded one at a time: thirty organs on three hundred slices would be gigabytes at once."""
    try:
        yield from iter_pixels(ds, raw=True)
    except (ValueError, RuntimeError, NotImplementedError, AttributeError) as error:
        syntax = ds.file_meta.TransferSyntaxUID.name
        raise _refused(name, "PixelData", f"its pixels cannot be decoded (transfer syntax: {syntax})") from error


def _macro(group: Any, shared: Any, keyword: str, name: str) -> Any:
    """A functional group of a frame; what all frames have in common may be shared, even the segment (PS3.3 C.7.6.16)."""
    for functional in (group, shared):
        if functional.get(keyword):
            return functional[keyword].value[0]
    raise _refused(name, keyword, "it is missing")


def _segment(group: Any, shared: Any, name: str) -> int:
    number = _macro(group, shared, "SegmentIdentificationSequence", name).get("ReferencedSegmentNumber")
    if not isinstance(number, int) or not 0 < number < 65536:
        raise _refused(name, "ReferencedSegmentNumber", "it is not the number of a segment")
    return int(number)


def _frame_grid(group: Any, shared: Any, shape: tuple[int, ...], name: str) -> Grid:
    """One frame as a grid with one z, as thick as it says."""

    def macro(keyword: str) -> Any:
        return _macro(group, shared, keyword, name)

    try:
        position = np.array(macro("PlanePositionSequence").ImagePositionPatient, float)
        orientation = np.array(macro("PlaneOrientationSequence").ImageOrientationPatient, float).reshape(2, 3)
        measures = macro("PixelMeasuresSequence")
        rows, columns = (float(v) for v in measures.PixelSpacing)
        thickness = float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 1)
        affine = Affine.from_steps(
            z=np.cross(orientation[0], orientation[1]) * abs(thickness or 1),
            y=orientation[1] * rows,
            x=orientation[0] * columns,
            origin=position,
        )
        return Grid((1, shape[0], shape[1]), affine, Space("patient"))
    except (InvalidInput, AttributeError, TypeError, ValueError) as error:
        if isinstance(error, UnreadableFile):
            raise
        raise _refused(name, "frame geometry", "a frame has no sound position") from error


def _place(frame: Grid, grid: Grid, index: int, name: str) -> tuple[int, bool, tuple[bool, bool]]:
    """Slice of ``grid`` on which a frame lies, whether its axes are swapped, and which run backwards."""
    height, width = frame.shape[1:]
    corners = grid.affine.to_index(frame.affine.to_world([[0, 0, 0], [0, height - 1, 0], [0, 0, width - 1]]))
    z = round(float(corners[0, 0]))
    swapped = bool(abs(corners[1, 2] - corners[0, 2]) > abs(corners[1, 1] - corners[0, 1]))
    size = (width, height) if swapped else (height, width)
    off = max(float(np.abs(corners[:, 0] - z).max()), float(np.abs(corners - np.rint(corners)).max()))
    if off > _OFF or not 0 <= z < grid.shape[0]:
        raise _refused(name, f"frame {index + 1}", "it does not lie on a slice of the image")
    if size != grid.shape[1:]:
        raise _refused(name, "Rows, Columns", f"{size} against {grid.shape[1:]} of the image")
    along_rows, along_columns = (2, 1) if swapped else (1, 2)
    flips = bool(corners[along_rows, 1] < corners[0, 1]), bool(corners[along_columns, 2] < corners[0, 2])
    low = corners.min(axis=0)
    if np.abs(low[1:]).max() > _OFF:
        raise _refused(name, f"frame {index + 1}", "it is shifted against the image")
    return z, swapped, flips


def _classes(ds: pydicom.Dataset, voxels: npt.NDArray[np.uint16]) -> tuple[MaskClass, ...]:
    present = set(np.flatnonzero(np.bincount(voxels.reshape(-1))).tolist())
    classes = []
    for item in ds.SegmentSequence:
        number = int(item.SegmentNumber)
        if number == 0 or number not in present:
            continue
        algorithm = item.get("SegmentAlgorithmName") if item.get("SegmentAlgorithmType") != "MANUAL" else None
        classes.append(
            MaskClass(
                number,
                str(item.get("SegmentLabel") or f"segment {number}"),
                code=_code(item, "SegmentedPropertyTypeCodeSequence"),
                category=_code(item, "SegmentedPropertyCategoryCodeSequence"),
                algorithm=None if algorithm is None else str(algorithm),
            )
        )
    return tuple(classes)


def _code(item: Any, keyword: str) -> tuple[str, str, str] | None:
    if not item.get(keyword):
        return None
    code = item[keyword].value[0]
    value = code.get("CodeValue") or code.get("LongCodeValue")
    if not value:
        return None
    return str(value), str(code.get("CodingSchemeDesignator", "")), str(code.get("CodeMeaning", ""))
