"""From frames to a regular volume: sorted along the normal, one volume for each time, or refused with the reason.

Geometry is kept exactly as PS3.3 C.7.6.2.1.1 gives it. A gantry tilt becomes a sheared affine and is said; gaps that differ,
slices that are missing or double, and planes that are not parallel are not made into a volume.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from specimg.errors import InvalidInput, UnreadableFile
from specimg.formats.dicom_frames import Frame, refused, text
from specimg.geometry.affine import Affine

SAME_MM = 0.01
"""Positions closer than this are one; DICOM writes them to about six digits."""
GAP = 0.05
"""Gaps may differ from their median by this share before a volume counts as uneven."""
PARALLEL = 1e-3
_ALIKE = ("Rows", "Columns", "BitsAllocated", "PixelRepresentation", "PhotometricInterpretation")
_TIMES = ("TemporalPositionIdentifier", "EchoTime", "DiffusionBValue")
"""What tells volumes of one series apart, where it is written; every position must then have the same values."""
_MEANINGS = {"EchoTime": "echo time", "DiffusionBValue": "b-value"}


def volumes(frames: Sequence[Frame], warnings: list[str]) -> list[list[Frame]]:
    """Frames by time, each volume sorted along the normal; one volume unless every position repeats equally."""
    _require_alike(frames)
    places = _places(frames)
    counts = {len(group) for _, group in places}
    if len(counts) > 1:
        usual = sorted(len(group) for _, group in places)[len(places) // 2]
        odd = [(along, group) for along, group in places if len(group) != usual]
        raise refused(
            odd[0][1][0].name,
            "ImagePositionPatient",
            f"positions repeat unequally, so slices are missing or double: most have {usual}, but not "
            f"{_listed(along for along, _ in odd)}",
            "Send the whole series, without duplicates.",
        )
    (repeats,) = counts
    if repeats > 1:
        _require_times(frames, len(places), repeats)
    for _, group in places:
        group.sort(key=_moment)
    times = [[group[t] for _, group in places] for t in range(repeats)]
    if repeats > 1:
        warnings.append(f"Each position holds {repeats} images: they are kept as an axis t of {repeats}.")
    _require_same_times(times, warnings)
    _require_even(times[0])
    return times


def affine_of(volume: Sequence[Frame], warnings: list[str]) -> Affine:
    """Index (z, y, x) to LPS, exactly; tells ``warnings`` what a person must know of it."""
    first, last = volume[0], volume[-1]
    rows, columns = first.spacing
    if len(volume) > 1:
        step = (last.position - first.position) / (len(volume) - 1)
        off = max(float(np.linalg.norm(f.position - (first.position + i * step))) for i, f in enumerate(volume))
        if off > max(GAP * float(np.linalg.norm(step)), SAME_MM):
            raise refused(
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
        # A row index moves along the *second* direction cosine by the first spacing.
        affine = Affine.from_steps(
            z=step, y=first.orientation[1] * rows, x=first.orientation[0] * columns, origin=first.position
        )
    except InvalidInput as error:
        raise refused(first.name, "ImagePositionPatient", str(error)) from error
    if not affine.is_orthogonal:
        angle = math.degrees(math.acos(min(1.0, abs(float(first.normal @ (step / np.linalg.norm(step)))))))
        warnings.append(
            f"Gantry tilt: slices are stacked {angle:.1f} degrees off their normal. The geometry is kept sheared, exactly."
        )
    return affine


def _require_alike(frames: Sequence[Frame]) -> None:
    first = frames[0]
    for other in frames[1:]:
        for keyword in _ALIKE:
            if text(other.ds, keyword) != text(first.ds, keyword):
                raise _mixed(first, other, keyword)
        if np.abs(other.orientation - first.orientation).max() > PARALLEL:
            raise _mixed(first, other, "ImageOrientationPatient")
        if not np.allclose(other.spacing, first.spacing, rtol=1e-4):
            raise _mixed(first, other, "PixelSpacing")


def _mixed(first: Frame, other: Frame, keyword: str) -> UnreadableFile:
    return refused(
        other.name,
        keyword,
        f"it differs from that of {first.name} in the same series",
        "Ingest the parts as folders of their own; localizers are best left out.",
    )


def _places(frames: Sequence[Frame]) -> list[tuple[float, list[Frame]]]:
    """Distance along the normal and the frames there, in order."""
    normal = frames[0].normal
    places: list[tuple[float, list[Frame]]] = []
    for frame in sorted(frames, key=lambda f: float(f.position @ normal)):
        along = float(frame.position @ normal)
        if places and along - places[-1][0] < SAME_MM:
            places[-1][1].append(frame)
        else:
            places.append((along, [frame]))
    return places


def _require_times(frames: Sequence[Frame], places: int, repeats: int) -> None:
    if places == 1:
        raise refused(
            frames[0].name, "ImagePositionPatient", f"all {repeats} images lie at one place", "It is not a volume."
        )
    if len({(text(f.ds, "SOPInstanceUID") or f.name, f.index) for f in frames}) < len(frames):
        raise refused(frames[0].name, "SOPInstanceUID", "some images are there twice", "Remove the duplicates.")


def _require_same_times(times: Sequence[Sequence[Frame]], warnings: list[str]) -> None:
    """The n-th frame of every place must be of one time, or values of two would be mixed in one volume."""
    for keyword in _TIMES:
        seen = [{text(f.ds, keyword) for f in volume} for volume in times]
        for volume, values in zip(times, seen, strict=True):
            if len(values) > 1 and len(times) > 1:
                raise refused(
                    volume[0].name,
                    keyword,
                    "it does not run through the same values at every position",
                    "Send the whole series, without duplicates.",
                )
        if keyword in _MEANINGS and len(set.union(*seen)) > 1:
            warnings.append(f"The axis t is not time alone: it runs through values of {_MEANINGS[keyword]}.")


def _moment(frame: Frame) -> tuple[float, ...]:
    def number(keyword: str) -> float:
        try:
            return float(text(frame.ds, keyword) or 0)
        except ValueError:
            return 0.0

    keys = (*_TIMES, "AcquisitionNumber", "AcquisitionTime", "InstanceNumber")
    return tuple(number(keyword) for keyword in keys)


def _require_even(volume: Sequence[Frame]) -> None:
    if len(volume) < 2:
        return
    normal = volume[0].normal
    along = [float(f.position @ normal) for f in volume]
    gaps = np.diff(along)
    median = float(np.median(gaps))
    uneven = np.abs(gaps - median) > max(GAP * median, SAME_MM)
    if uneven.any():
        kinds = ", ".join(f"{g:.2f}" for g in sorted({round(float(g), 2) for g in gaps})[:8])
        after = _listed(along[i] for i in np.flatnonzero(uneven))
        raise refused(
            volume[int(np.argmax(uneven)) + 1].name,
            "ImagePositionPatient",
            f"slices are not evenly spaced (gaps of {kinds} mm; odd ones after {after})",
            "Send missing slices, or ingest evenly spaced parts as folders of their own.",
        )


def _listed(along: Iterable[float]) -> str:
    places = [f"{a:.2f}" for a in along]
    more = f" and {len(places) - 8} more" if len(places) > 8 else ""
    return f"{', '.join(places[:8])}{more} mm along the normal"


def _thickness(frame: Frame) -> float:
    try:
        value = float(text(frame.ds, "SliceThickness"))
    except ValueError:
        return 1.0
    return value if math.isfinite(value) and value > 0 else 1.0
