"""Labels out to other programs' files, and in from them.

A mask file holds one label a voxel. Into it go the painted voxels, and polygons where nothing is painted; boxes, points and
lines say where something is, not which voxels it has, and stay out with a warning. GeoJSON holds shapes, COCO holds both.

What comes in becomes a new segmentation, with the file's digest in its history. Its classes are matched to an ontology of
the project; a class without a counterpart is refused by name, never silently renumbered or dropped.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select

from specimg.access import Actor, Permission, require
from specimg.audit import entry as entries
from specimg.audit.entry import EntryType
from specimg.digest import Digest
from specimg.errors import InvalidInput, NotFound, TooLarge
from specimg.formats import coco, geojson
from specimg.formats.base import Mask, MaskClass, Series, ShapeRecord
from specimg.formats.sandbox import Child
from specimg.labels import ontology as ontologies
from specimg.labels import segmentation as segmentations
from specimg.labels.edit import Edit, VoxelWrite, spans_by_label
from specimg.labels.ontology import LabelClass, Ontology
from specimg.labels.provenance import IMPORT, Model, models_by_label
from specimg.labels.rasterise import spans_of
from specimg.labels.segmentation import Segmentation
from specimg.labels.shapes import Shape
from specimg.store import schema
from specimg.workflow.annotate import Receipt, open_segmentation, record_edit
from specimg.workflow.desk import Desk


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A file labels can be written to. ``holds`` says what it takes of a segmentation: one label a voxel, shapes, or all."""

    name: str
    suffix: str
    media_type: str
    holds: Literal["mask", "shapes", "all"]


FORMATS: Mapping[str, FileFormat] = MappingProxyType(
    {
        made.name: made
        for made in (
            FileFormat("nifti", ".nii.gz", "application/gzip", "mask"),
            FileFormat("dicom-seg", ".dcm", "application/dicom", "mask"),
            FileFormat("geotiff", ".tif", "image/tiff", "mask"),
            FileFormat("geojson", ".geojson", "application/geo+json", "shapes"),
            FileFormat("coco", ".json", "application/json", "all"),
        )
    }
)

MAX_VOXELS = 2**31
"""Of one exported mask: 4 GiB. Larger scenes are read as Zarr."""
MAX_NAMED = 10
"""Classes that an error names."""

# Writers of masks without names call their classes "label 3" or "Segment_3": the number is all there is to know.
_NAMELESS = re.compile(r"(label|class|segment|value)?[ _-]*[0-9]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written and recorded. ``warnings`` are sentences for the person who exports."""

    path: Path
    version: int
    file: Digest
    entry_id: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClassMatch:
    """A class of a file and the class of the ontology it was taken for; ``by`` says why."""

    file_label: int
    file_name: str
    label: int
    name: str
    by: Literal["choice", "code", "name", "label"]


@dataclass(frozen=True, slots=True)
class Imported:
    """A segmentation made from a file, its one edit, and how classes were matched."""

    segmentation: Segmentation
    receipt: Receipt
    matches: tuple[ClassMatch, ...]


# --- out ------------------------------------------------------------------------------------------------------------


def export_segmentation(
    desk: Desk, actor: Actor, segmentation_id: str, version: int | None, format: str, path: Path
) -> Exported:
    """Write a version (``None``: the newest) to ``path`` and record it; hand the file out only after this returned.

    Raises ``InvalidInput`` for a format that is not there or cannot hold this image's labels, ``TooLarge``.
    """
    with desk.database.reading() as connection:
        segmentation = segmentations.load(connection, segmentation_id)
        require(actor, Permission.EXPORT, segmentation.project_id)
        at = segmentations.require_version(segmentation, segmentation.head if version is None else version)
        shapes = segmentations.shapes(connection, segmentation, at)
        classes = _classes(desk, connection, segmentation, at)
        originals = _originals(desk, connection, segmentation.image_id)
    chosen = FORMATS.get(format)
    if chosen is None:
        raise InvalidInput(f"there is no label format '{format}'; there are {', '.join(FORMATS)}", field="format")
    content = _Content(segmentation, at, shapes, classes, desk.images.open(segmentation.image_id).series, originals)
    warnings = _WRITERS[chosen.holds](desk, content, format, path)
    file = _digest_of(path)
    entry = entries.export_write(
        actor,
        desk.database.clock(),
        project=segmentation.project_id,
        segmentation=segmentation.id,
        version=at,
        format=format,
        file=file,
    )
    with desk.database.transaction() as connection:
        desk.log.append(connection, entry)
    return Exported(path, at, file, entry.id, warnings)


@dataclass(frozen=True, slots=True)
class _Content:
    """What there is to write, but for the voxels."""

    segmentation: Segmentation
    version: int
    shapes: Sequence[Shape]
    classes: Sequence[MaskClass]
    series: Series
    originals: Sequence[Path]

    @property
    def records(self) -> list[ShapeRecord]:
        """Shapes as formats know them."""
        return [ShapeRecord(s.id, s.kind, s.label, s.points, s.holes, dict(s.attributes)) for s in self.shapes]


def _write_mask(desk: Desk, content: _Content, format: str, path: Path) -> tuple[str, ...]:
    voxels = _read_voxels(desk, content)
    warnings = _fill_polygons(content.shapes, voxels)
    mask = _mask(content, voxels)
    with Child(memory=desk.limits.child_memory, seconds=desk.limits.child_seconds) as child:
        more = child.write_mask(mask, path, format=format, reference=content.series, originals=content.originals)
    return *warnings, *more


def _write_shapes(desk: Desk, content: _Content, format: str, path: Path) -> tuple[str, ...]:
    warnings = geojson.write_shapes(content.records, content.classes, path, content.series)
    with desk.database.reading() as connection:
        painted = segmentations.chunk_index(connection, content.segmentation.id, content.version)
    if painted:
        return *warnings, "Painted voxels are not in GeoJSON; export a mask or COCO for them."
    return warnings


def _write_all(desk: Desk, content: _Content, format: str, path: Path) -> tuple[str, ...]:
    mask = _mask(content, _read_voxels(desk, content))
    return coco.write_shapes(content.records, content.classes, path, content.series, mask=mask)


_WRITERS: Mapping[str, Callable[[Desk, _Content, str, Path], tuple[str, ...]]] = MappingProxyType(
    {"mask": _write_mask, "shapes": _write_shapes, "all": _write_all}
)


def _read_voxels(desk: Desk, content: _Content) -> npt.NDArray[np.uint16]:
    shape = content.segmentation.grid.shape
    if math.prod(shape) > MAX_VOXELS:
        raise TooLarge("this image is too large for one mask file; read its labels as Zarr")
    with desk.database.reading() as connection:
        return segmentations.read_box(connection, desk.blobs, content.segmentation, content.version, (0, 0, 0), shape)


def _mask(content: _Content, voxels: npt.NDArray[np.uint16]) -> Mask:
    used = labels_in(voxels)
    return Mask(voxels, content.segmentation.grid, tuple(c for c in content.classes if c.label in used))


def _fill_polygons(shapes: Sequence[Shape], voxels: npt.NDArray[np.uint16]) -> tuple[str, ...]:
    """Draw polygons where nothing is painted; sentences about what has no voxels."""
    size = voxels.shape
    for shape in shapes:
        if shape.kind == "polygon":
            for z, y, x, length in spans_of(shape, (size[0], size[1], size[2])).runs.tolist():
                row = voxels[z, y, x : x + length]
                row[row == 0] = shape.label
    others = sum(shape.kind != "polygon" for shape in shapes)
    if not others:
        return ()
    return (
        f"{others} boxes, points or lines have no voxels and are not in the mask; export GeoJSON or COCO for them.",
    )


def labels_in(voxels: npt.NDArray[np.uint16]) -> frozenset[int]:
    """The labels that occur in a (z, y, x) array, background left out; plane by plane, so without scratch memory."""
    found = np.zeros(65_536, dtype=bool)
    for plane in voxels:
        found[plane.reshape(-1)] = True
    return frozenset(np.flatnonzero(found).tolist()) - {0}


def _classes(desk: Desk, connection: Connection, segmentation: Segmentation, version: int) -> tuple[MaskClass, ...]:
    models = models_by_label(connection, desk.blobs, segmentation, version)
    found = ontologies.latest(connection, segmentation.ontology_id)
    return tuple(
        MaskClass(c.label, c.name, c.color, c.code, c.category, _algorithm(models.get(c.label, ())))
        for c in found.classes
    )


def _algorithm(models: Sequence[Model]) -> str | None:
    """``name version``; of several models ``one+other 1.0/2.1``."""
    if not models:
        return None
    return "+".join(name for name, _ in models) + " " + "/".join(version for _, version in models)


def _originals(desk: Desk, connection: Connection, image_id: str) -> list[Path]:
    """The files the image came from, in the order of ``series.files``."""
    row = schema.image_original.c
    digests = connection.scalars(select(row.digest).where(row.image_id == image_id).order_by(row.position))
    return [desk.originals.path(Digest(digest)) for digest in digests]


def _digest_of(path: Path) -> Digest:
    with path.open("rb") as stream:
        return Digest("sha256:" + hashlib.file_digest(stream, "sha256").hexdigest())


# --- in -------------------------------------------------------------------------------------------------------------


def import_segmentation(
    desk: Desk,
    actor: Actor,
    *,
    project_id: str,
    image_id: str,
    name: str,
    path: Path,
    ontology_id: str | None = None,
    mapping: Mapping[int, int] | None = None,
) -> Imported:
    """A new segmentation from a NIfTI, DICOM SEG or GeoTIFF label file on the grid of an image.

    Without ``ontology_id`` the ontology of the project that knows the file's classes is taken. ``mapping`` (label of the
    file to label of the ontology) overrides the matching. Raises ``UnreadableFile`` if the file is not on the image's
    grid, ``InvalidInput`` for classes that cannot be matched.
    """
    require(actor, Permission.ANNOTATE, project_id)
    with desk.database.reading() as connection:
        _require_image(connection, project_id, image_id)
        candidates = _candidates(connection, project_id, ontology_id)
    series = desk.images.open(image_id).series
    file = _digest_of(path)
    with Child(memory=desk.limits.child_memory, seconds=desk.limits.child_seconds) as child:
        mask = child.read_mask(path, series)
    ontology, matches = _choose(candidates, _classes_in(mask), mapping or {})
    spans = spans_by_label(mask.voxels)
    edit = Edit(
        base=0,
        tool=IMPORT,
        params={"file": file, "classes": [[m.file_label, m.label] for m in matches]},
        voxels=tuple(VoxelWrite(m.label, spans[m.file_label]) for m in matches),
    )
    with desk.database.transaction() as connection:
        made = open_segmentation(
            desk,
            connection,
            actor,
            project_id=project_id,
            image_id=image_id,
            name=name,
            ontology_id=ontology.id,
        )
        receipt = record_edit(desk, connection, actor, made, edit, type=EntryType.IMPORT_READ, detail={"file": file})
        return Imported(segmentations.load(connection, made.id), receipt, matches)


def match_classes(
    found: Sequence[MaskClass], ontology: Ontology, mapping: Mapping[int, int]
) -> tuple[tuple[ClassMatch, ...], tuple[MaskClass, ...]]:
    """Classes of a file with their counterparts, and those that have none.

    Tried in this order: the caller's choice, the code, the name, and for a class that only has a number, the number. Two
    classes of a file do not become one unless the caller chose so: that would lose what told them apart.
    """
    matches: list[ClassMatch] = []
    unknown: list[MaskClass] = []
    taken: set[int] = set()
    for mask_class in found:
        match = _match(mask_class, ontology, mapping)
        if match is None or (match.by != "choice" and match.label in taken):
            unknown.append(mask_class)
        else:
            taken.add(match.label)
            matches.append(match)
    return tuple(matches), tuple(unknown)


def _match(found: MaskClass, ontology: Ontology, mapping: Mapping[int, int]) -> ClassMatch | None:
    def matched(to: LabelClass | None, by: Literal["choice", "code", "name", "label"]) -> ClassMatch | None:
        return None if to is None else ClassMatch(found.label, found.name, to.label, to.name, by)

    if found.label in mapping:
        return matched(ontology.find(mapping[found.label]), "choice")
    name = found.name.strip().casefold()
    named = [c for c in ontology.classes if c.name.casefold() == name]
    coded = [c for c in ontology.classes if found.code and c.code and c.code[:2] == found.code[:2]]
    if len(coded) == 1:
        return matched(coded[0], "code")
    if named and (not coded or named[0] in coded):
        return matched(named[0], "name")
    if _NAMELESS.fullmatch(found.name.strip()) and found.code is None:
        return matched(ontology.find(found.label), "label")
    return None


def _choose(
    candidates: Sequence[Ontology], found: Sequence[MaskClass], mapping: Mapping[int, int]
) -> tuple[Ontology, tuple[ClassMatch, ...]]:
    if not found:
        raise InvalidInput("the file holds no labels: every voxel is background", field="file")
    tried = [(ontology, *match_classes(found, ontology, mapping)) for ontology in candidates]
    if not tried:
        raise InvalidInput("the project has no ontology; make one first", field="ontology_id")
    ontology, matches, unknown = min(tried, key=lambda result: len(result[2]))
    if unknown:
        names = ", ".join(f"{c.label} ({c.name})" for c in unknown[:MAX_NAMED])
        more = f" and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
        raise InvalidInput(
            f"the ontology '{ontology.name}' has no class of its own for {names}{more}: add them to it, or say which "
            "class each stands for",
            field="classes",
        )
    return ontology, matches


def _classes_in(mask: Mask) -> list[MaskClass]:
    """The classes whose labels occur; a label the file does not describe is known by its number."""
    described = {c.label: c for c in mask.classes}
    return [described.get(label) or MaskClass(label, f"label {label}") for label in sorted(labels_in(mask.voxels))]


def _candidates(connection: Connection, project_id: str, ontology_id: str | None) -> list[Ontology]:
    if ontology_id is None:
        return ontologies.of_project(connection, project_id)
    if ontologies.project_of(connection, ontology_id) != project_id:
        raise NotFound("there is no such ontology in this project")
    return [ontologies.latest(connection, ontology_id)]


def _require_image(connection: Connection, project_id: str, image_id: str) -> None:
    row = schema.project_image.c
    held = select(row.name).where(row.project_id == project_id, row.image_id == image_id)
    if connection.execute(held).first() is None:
        raise NotFound("there is no such image in this project")
