"""NIfTI-1 and NIfTI-2, images and label maps.

The file's array is (i, j, k[, t]) with i fastest, and its affine leads to RAS millimetres. Here it becomes (t, z, y, x) =
(t, k, j, i), the same samples in the same order of memory, with an affine to LPS: nothing is flipped or resampled.
The sform counts if its code is above 0, else the qform (NIfTI-1 standard, method 3 before 2); a file with neither has no
place in the patient and says so.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from specimg.errors import InvalidInput, TooLarge, UnreadableFile
from specimg.formats.base import Channel, Mask, MaskClass, OpenSeries, Rescale, Series, Window
from specimg.formats.lattice import reindexed
from specimg.formats.mask_json import classes_from_json, classes_to_json
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space

MAX_UNPACKED = 16 * 2**30
MAX_RATIO = 1200
"""deflate cannot do better than about 1:1032; label maps come near it."""
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_DISAGREE_MM = 0.1
_MILLIMETRES = {1: 1000.0, 3: 0.001}
_UNITS = {1: "metres", 3: "micrometres"}
"""``xyzt_units`` other than millimetres; unknown (0) is taken as millimetres, as everyone does."""


class Nifti:
    """The format plug-in."""

    name = "nifti"

    def sniff(self, path: Path, head: bytes) -> bool:
        """By the magic inside; for gzip, of the first unpacked bytes."""
        if head[:2] == b"\x1f\x8b":
            if not path.name.lower().endswith((".nii.gz", ".hdr.gz", ".gz")):
                return False
            try:
                with gzip.open(path) as handle:
                    head = handle.read(544)
            except (OSError, EOFError, zlib.error):
                return path.name.lower().endswith(".nii.gz")
        return _magic(head)

    def open(self, paths: Sequence[Path], root: Path) -> list[OpenSeries]:
        """One series a file."""
        return [NiftiSeries(path, root) for path in paths]


NIFTI = Nifti()


def _magic(head: bytes) -> bool:
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:12] in (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file's header and an array on disk, both checked."""

    header: Any
    samples: Any
    """Memory-mapped (i, j, k[, t]), stored values."""
    slope: float
    intercept: float
    affine: Affine
    space: Space
    warnings: tuple[str, ...]


class NiftiSeries:
    """One open file."""

    def __init__(self, path: Path, root: Path) -> None:
        self._name = path.relative_to(root).as_posix()
        opened = _open(path, self._name)
        self._samples = opened.samples
        shape = opened.samples.shape
        timed = len(shape) == 4
        grid = Grid((shape[2], shape[1], shape[0]), opened.affine, opened.space)
        slope, intercept = opened.slope, opened.intercept
        modality, channel = _channel(path, opened.samples, slope, intercept)
        self.series = Series(
            key=self._name,
            name=Path(self._name).name.split(".")[0],
            kind="volume",
            modality=modality,
            axes=("t", "z", "y", "x") if timed else ("z", "y", "x"),
            shape=tuple(reversed(shape)),
            dtype=np.dtype(opened.samples.dtype).newbyteorder("=").name,
            grid=grid,
            channels=(channel,),
            rescale=Rescale((slope,), (intercept,)),
            warnings=opened.warnings,
            source={
                "sform_code": int(opened.header["sform_code"]),
                "qform_code": int(opened.header["qform_code"]),
                "seconds_per_frame": float(opened.header["pixdim"][4]) if timed else None,
            },
            files=(self._name,),
        )

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Stored samples of a box, straight from the mapped file."""
        box = tuple(slice(a, b) for a, b in zip(reversed(start), reversed(stop), strict=True))
        samples = np.asarray(self._samples[box]).T
        return np.ascontiguousarray(samples, np.dtype(self.series.dtype))

    def close(self) -> None:
        """Release the map."""
        self._samples = np.empty(0)


def _refused(name: str, field: str, problem: str, remedy: str) -> UnreadableFile:
    return UnreadableFile(file=name, field=field, problem=problem, remedy=remedy)


def _unpacked(path: Path, name: str) -> Path:
    """A file that can be mapped: gzip is unpacked once, so that any box can be read in any order."""
    with path.open("rb") as handle:
        if handle.read(2) != b"\x1f\x8b":
            return path
    target = Path(tempfile.mkdtemp(prefix="nifti-")) / "image.nii"  # removed by _open
    limit = min(MAX_UNPACKED, max(64 * 2**20, MAX_RATIO * path.stat().st_size))
    written = 0
    try:
        with gzip.open(path) as source, target.open("wb") as sink:
            while block := source.read(1 << 22):
                written += len(block)
                if written > limit:
                    shutil.rmtree(target.parent, ignore_errors=True)
                    raise TooLarge(f"{name}: it unpacks to more than {limit / 2**30:.3g} GiB")
                sink.write(block)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        shutil.rmtree(target.parent, ignore_errors=True)
        raise _refused(
            name, "gzip", "the compressed file is cut short or damaged", "Copy or export it again."
        ) from error
    return target


def _open(path: Path, name: str) -> _Opened:
    """Check and map a file. What gzip unpacked needs no name once it is mapped, and so leaves nothing behind."""
    plain = _unpacked(path, name)
    try:
        return _mapped(plain, name)
    finally:
        if plain != path:
            shutil.rmtree(plain.parent, ignore_errors=True)


def _mapped(path: Path, name: str) -> _Opened:
    remedy = "Export it again, or repair the header with nibabel or FSL."
    try:
        image = nib.load(path) if path.suffix == ".nii" else nib.Nifti1Image.from_filename(path)
    except (ImageFileError, HeaderDataError, ValueError, OSError, OverflowError, struct.error) as error:
        raise _refused(name, "header", "it is not a sound NIfTI header", remedy) from error
    header = image.header
    shape = tuple(int(n) for n in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    shape = shape + (1,) * (3 - len(shape))
    if len(shape) > 4 or any(n < 1 for n in shape):
        raise _refused(name, "dim", f"an image of shape {shape} has no place here", "Split it into 3-D or 4-D images.")
    dtype = header.get_data_dtype()
    if dtype.fields is not None:
        raise _refused(name, "datatype", "colour images are not read", "Convert it to one channel.")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise _refused(
            name, "datatype", f"samples of type {dtype.name} are not read", "Convert them, e.g. to their magnitude."
        )
    offset = int(image.dataobj.offset)  # nibabel clears vox_offset in the header it hands out
    if offset < 0 or offset + math.prod(shape) * dtype.itemsize > path.stat().st_size:
        raise _refused(name, "dim", "the file is shorter than its header says", "Copy or export it again.")
    samples = np.memmap(path, dtype, "r", offset, shape, order="F")
    affine, space, warnings = _place(header, name)
    slope, intercept = _scaling(path, header, name)
    return _Opened(header, samples, slope, intercept, affine, space, warnings)


def _place(header: Any, name: str) -> tuple[Affine, Space, tuple[str, ...]]:
    codes = int(header["sform_code"]), int(header["qform_code"])
    try:
        sform = header.get_sform() if codes[0] > 0 else None
        qform = header.get_qform() if codes[1] > 0 else None
    except (HeaderDataError, ValueError) as error:
        raise _refused(name, "qform", "the quaternion is not a rotation", "Set it again with nibabel.") from error
    warnings: list[str] = []
    if sform is None and qform is None:
        zooms = [abs(float(z)) or 1.0 for z in header.get_zooms()[:3]] + [1.0]
        chosen: Any = np.diag(zooms)
        space = Space("pixel")
        warnings.append("The file has neither sform nor qform: where it lies in the patient is not known.")
    else:
        chosen = sform if sform is not None else qform
        space = Space("patient")
    if sform is not None and qform is not None and space.kind == "patient":
        with np.errstate(invalid="ignore"):
            apart = np.abs(np.asarray(sform) - np.asarray(qform)).max()
        if not apart < _DISAGREE_MM:
            warnings.append(f"sform and qform differ by up to {apart:.3g}; the sform is used.")
    unit = int(header["xyzt_units"]) & 0x07
    if unit in _MILLIMETRES:
        chosen = np.diag([*[_MILLIMETRES[unit]] * 3, 1.0]) @ np.asarray(chosen)
        warnings.append(f"The header measures in {_UNITS[unit]}; positions are given in millimetres.")
    return _affine(np.asarray(chosen), space, name), space, tuple(warnings)


def _affine(ras: npt.NDArray[np.float64], space: Space, name: str) -> Affine:
    """RAS of (i, j, k) to LPS of (z, y, x) = (k, j, i)."""
    lps = _LPS @ ras if space.kind == "patient" else ras
    try:
        return Affine(lps[:, [2, 1, 0, 3]])
    except InvalidInput as error:
        field = "sform" if space.kind == "patient" else "pixdim"
        raise _refused(name, field, str(error), "Set the affine again, e.g. with nibabel.") from error


def _scaling(path: Path, header: Any, name: str) -> tuple[float, float]:
    """From the file itself: nibabel clears both fields in the header it hands out."""
    with path.open("rb") as handle:
        raw = type(header).from_fileobj(handle, check=False)
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    # The standard: a slope of 0 means that samples are not scaled. nibabel writes NaN for the same.
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise _refused(name, "scl_slope", "it is not a finite number", "Set scl_slope to 1 if values are as stored.")
    return slope, intercept


_SUFFIXES = {
    "MR": {"mr", "mri", "t1", "t1w", "t2", "t2w", "pdw", "flair", "dwi", "adc", "bold", "asl", "swi"},
    "PT": {"pet"},
}
"""Words of file names that tell a modality; the MR ones are BIDS suffixes."""


def _channel(path: Path, samples: Any, slope: float, intercept: float) -> tuple[str, Channel]:
    """NIfTI does not say what its values are. Air at -1000 and nothing far below is CT; else the file's name may tell."""
    step = max(1, samples.shape[2] // 8)
    part = np.asarray(samples[:: max(1, samples.shape[0] // 64), :: max(1, samples.shape[1] // 64), ::step])
    part = part.astype(np.float64) * slope + intercept
    part = part[np.isfinite(part)]
    if part.size == 0:
        return "OT", Channel("intensity", "1")
    low, middle, high = (float(v) for v in np.percentile(part, [0.5, 50, 99.5]))
    if np.issubdtype(samples.dtype, np.integer) and -1100 <= low <= -850 and middle < 300 and high < 4000:
        windows = (Window("abdomen", 40, 400), Window("lung", -600, 1500), Window("bone", 400, 1800))
        return "CT", Channel("intensity", "HU", windows)
    words = set(re.split(r"[^a-z0-9]+", path.name.lower()))
    modality = next((m for m, known in _SUFFIXES.items() if words & known), "OT")
    return modality, Channel("intensity", "1", (Window("all", (low + high) / 2, max(high - low, 1e-6)),))


# --- labels ---------------------------------------------------------------------------------------------------------


def read_mask(path: Path, reference: Series) -> Mask:
    """A label map on the grid of ``reference``; axes may run in any order and direction, samples must coincide."""
    name = path.name
    opened = _open(path, name)
    if opened.samples.ndim == 4:
        raise _refused(name, "dim", "a label map has three axes", "Export one label map per time.")
    labels = np.asarray(opened.samples)
    if (opened.slope, opened.intercept) != (1.0, 0.0):
        labels = labels * opened.slope + opened.intercept
    if not np.issubdtype(labels.dtype, np.integer):
        rounded = np.rint(labels)
        if not np.array_equal(rounded, labels):
            raise _refused(name, "values", "labels are whole numbers, these are not", "Save it as an integer type.")
        labels = rounded
    if labels.size and (labels.min() < 0 or labels.max() > 65535):
        raise _refused(name, "values", "labels lie between 0 and 65535, these do not", "Renumber them.")
    grid = Grid((labels.shape[2], labels.shape[1], labels.shape[0]), opened.affine, reference.grid.space)
    voxels = reindexed(labels.astype(np.uint16).T, grid, reference.grid, file=name)
    used = [int(v) for v in np.flatnonzero(np.bincount(voxels.reshape(-1), minlength=1)) if v]
    named = {c.label: c for c in _class_table(opened.header)}
    return Mask(voxels, reference.grid, tuple(named.get(v, MaskClass(v, f"label {v}")) for v in used))


def _class_table(header: Any) -> tuple[MaskClass, ...]:
    """Classes that ``write_mask`` left in an extension; nothing if others wrote the file."""
    for extension in header.extensions:
        try:
            return classes_from_json(json.loads(extension.get_content())["classes"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return ()


def write_mask(mask: Mask, path: Path, reference: Series, originals: Sequence[Path]) -> tuple[str, ...]:
    """A .nii.gz where the image lies, with the class table as JSON in an extension of the kind that readers show as text."""
    dtype = np.uint8 if mask.voxels.max(initial=0) < 256 else np.uint16
    image = nib.Nifti1Image(mask.voxels.T.astype(dtype), None)
    image.header.set_intent("label")
    image.header.set_xyzt_units("mm")
    warnings = _set_place(image, mask.grid)
    table = json.dumps({"classes": classes_to_json(mask.classes)}, ensure_ascii=False)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", table.encode()))
    # Level 1: label maps shrink nearly as well as at 9, in a tenth of the time.
    with path.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as sink:
        sink.write(image.to_bytes())
    return warnings


def _set_place(image: Any, grid: Grid) -> tuple[str, ...]:
    if grid.space.kind != "patient":
        # No codes: a file must not claim a place in the patient that its image does not have.
        image.header.set_zooms(grid.affine.spacing[::-1])
        return ("The image has no place in the patient, and so neither has this file: it fits by shape alone.",)
    ras = _LPS @ grid.affine.matrix[:, [2, 1, 0, 3]]
    image.set_sform(ras, code=1)
    if grid.affine.is_orthogonal:
        image.set_qform(ras, code=1)
        return ()
    image.set_qform(None, code=0)
    image.header.set_zooms(grid.affine.spacing[::-1])
    return ("The grid is sheared (gantry tilt): only the sform holds it; readers of the qform will be wrong.",)
