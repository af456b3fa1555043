"""Ontology: the classes a project labels with, as append-only versions.

A label number keeps its meaning for ever: a later version may rename, recolour and add classes, but not drop one or give
its number another code. Old segmentations therefore never change what they say. Codes are DICOM coded concepts, mostly
SNOMED CT, so that exports mean the same to other programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, func, select

from specimg.errors import InvalidInput, NotFound, TooLarge
from specimg.store import schema

Code: TypeAlias = tuple[str, str, str]
"""DICOM code value, coding scheme designator, code meaning."""

MAX_CLASSES = 4_096
_COLOR = re.compile(r"#[0-9a-f]{6}")
_HOTKEY = re.compile(r"[0-9a-z]")


@dataclass(frozen=True, slots=True)
class LabelClass:
    """What a label number stands for.

    ``color`` is ``#rrggbb``; ``hotkey`` one of 0-9 a-z. ``code`` says what it is (DICOM Segmented Property Type),
    ``category`` of which sort (Segmented Property Category). Raises ``InvalidInput``.
    """

    label: int
    name: str
    color: str
    hotkey: str | None = None
    code: Code | None = None
    category: Code | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.label <= 65_535:
            raise InvalidInput("a class has a label of 1 to 65535; 0 is background", field="label")
        if not 1 <= len(self.name.strip()) <= 64 or not self.name.isprintable():
            raise InvalidInput("a class has a name of 1 to 64 printable characters", field="name")
        if _COLOR.fullmatch(self.color) is None:
            raise InvalidInput("a colour is written #rrggbb with lower-case digits", field="color")
        if self.hotkey is not None and _HOTKEY.fullmatch(self.hotkey) is None:
            raise InvalidInput("a hotkey is one of 0-9 a-z", field="hotkey")
        for field, code in (("code", self.code), ("category", self.category)):
            if code is not None:
                _require_code(code, field)

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as 0..255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)

    def to_json(self) -> dict[str, Any]:
        """JSON form; a code is ``[value, scheme, meaning]``."""
        return {
            "label": self.label,
            "name": self.name,
            "color": self.color,
            "hotkey": self.hotkey,
            "code": None if self.code is None else list(self.code),
            "category": None if self.category is None else list(self.category),
        }

    @classmethod
    def from_json(cls, value: Any) -> LabelClass:
        """From ``to_json``; raises ``InvalidInput``."""
        try:
            label, name, color = value["label"], value["name"], value["color"]
            if isinstance(label, bool) or not isinstance(label, int) or not isinstance(name, str):
                raise TypeError("label is a whole number and name is text")
            hotkey = value.get("hotkey") or None
            return cls(label, name, str(color).lower(), hotkey, _code(value.get("code")), _code(value.get("category")))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput("a class needs label, name and color", field="classes") from error


@dataclass(frozen=True, slots=True)
class Ontology:
    """A version of a project's classes. Labels, names and hotkeys are unique. Raises ``InvalidInput``."""

    id: str
    version: int
    name: str
    classes: tuple[LabelClass, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.name.strip()) <= 64 or not self.name.isprintable():
            raise InvalidInput("an ontology has a name of 1 to 64 printable characters", field="name")
        if len(self.classes) > MAX_CLASSES:
            raise TooLarge(f"an ontology has at most {MAX_CLASSES} classes")
        _require_unique("label", [c.label for c in self.classes])
        _require_unique("name", [c.name.casefold() for c in self.classes])
        _require_unique("hotkey", [c.hotkey for c in self.classes if c.hotkey is not None])

    @property
    def labels(self) -> frozenset[int]:
        """The label numbers in use."""
        return frozenset(c.label for c in self.classes)

    def find(self, label: int) -> LabelClass | None:
        """The class of a label number."""
        return next((c for c in self.classes if c.label == label), None)

    def require_successor(self, later: Ontology) -> None:
        """Raise ``InvalidInput`` if ``later`` would change what existing labels say."""
        for old in self.classes:
            new = later.find(old.label)
            if new is None:
                raise InvalidInput(
                    f"label {old.label} ({old.name}) cannot be dropped: segmentations may use it", field="classes"
                )
            if old.code is not None and new.code is not None and old.code[:2] != new.code[:2]:
                raise InvalidInput(
                    f"label {old.label} ({old.name}) has code {old.code[0]}: give another meaning another label",
                    field="classes",
                )

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "id": self.id,
            "version": self.version,
            "name": self.name,
            "classes": [c.to_json() for c in self.classes],
        }


def latest(connection: Connection, ontology_id: str) -> Ontology:
    """The newest version. Raises ``NotFound``."""
    row = connection.execute(
        select(schema.ontology)
        .where(schema.ontology.c.id == ontology_id)
        .order_by(schema.ontology.c.version.desc())
        .limit(1)
    ).first()
    if row is None:
        raise NotFound("there is no such ontology")
    return Ontology(row.id, row.version, row.name, tuple(LabelClass.from_json(c) for c in row.classes))


def project_of(connection: Connection, ontology_id: str) -> str:
    """The project an ontology belongs to. Raises ``NotFound``."""
    found = connection.execute(
        select(schema.ontology.c.project_id).where(schema.ontology.c.id == ontology_id).limit(1)
    ).scalar()
    if found is None:
        raise NotFound("there is no such ontology")
    return str(found)


def of_project(connection: Connection, project_id: str) -> list[Ontology]:
    """The newest version of each ontology of a project, by name."""
    table = schema.ontology.c
    newest = (
        select(table.id, func.max(table.version).label("version"))
        .where(table.project_id == project_id)
        .group_by(table.id)
        .subquery()
    )
    rows = connection.execute(
        select(schema.ontology).join(newest, (newest.c.id == table.id) & (newest.c.version == table.version))
    )
    found = [Ontology(r.id, r.version, r.name, tuple(LabelClass.from_json(c) for c in r.classes)) for r in rows]
    return sorted(found, key=lambda ontology: (ontology.name, ontology.id))


def append(connection: Connection, ontology: Ontology, *, project_id: str, actor_id: str, time: str) -> None:
    """Store a new version. Who may do so, and whether it follows from the last, is ``workflow.annotate``'s matter."""
    connection.execute(
        schema.ontology.insert(),
        {
            "id": ontology.id,
            "version": ontology.version,
            "project_id": project_id,
            "name": ontology.name,
            "classes": [c.to_json() for c in ontology.classes],
            "created_at": time,
            "created_by": actor_id,
        },
    )


def organs(ontology_id: str) -> Ontology:
    """A start for CT and MR: organs of the trunk and head, and findings. Codes are SNOMED CT (DICOM CID 7150 ff.)."""
    return Ontology(ontology_id, 1, "Organs", _classes(_ORGANS))


def radar_scene(ontology_id: str) -> Ontology:
    """A start for radar scenes at sea and on land. No coding scheme of DICOM covers these."""
    return Ontology(ontology_id, 1, "Radar scene", _classes(_RADAR))


def _classes(rows: Sequence[tuple[str, str, str | None, Code | None, Code | None]]) -> tuple[LabelClass, ...]:
    return tuple(LabelClass(i, *row) for i, row in enumerate(rows, start=1))


def _require_unique(field: str, values: Iterable[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise InvalidInput(f"two classes have the same {field} {value}", field="classes")
        seen.add(value)


def _require_code(code: Code, field: str) -> None:
    # DICOM: Code Value is SH (16), scheme SH (16), meaning LO (64); a backslash separates values and cannot occur.
    limits = (16, 16, 64)
    if any(not 1 <= len(part) <= n or "\\" in part for part, n in zip(code, limits, strict=True)):
        raise InvalidInput("a code is value, scheme (16 characters each) and meaning (64)", field=field)


def _code(value: Any) -> Code | None:
    if value is None:
        return None
    parts = tuple(value)
    if len(parts) != 3 or not all(isinstance(part, str) for part in parts):
        raise TypeError("a code is [value, scheme, meaning]")
    return parts[0], parts[1], parts[2]


_ANATOMY: Code = ("91723000", "SCT", "Anatomical Structure")
_ABNORMAL: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
_TISSUE: Code = ("85756007", "SCT", "Tissue")

_ORGANS: tuple[tuple[str, str, str | None, Code | None, Code | None], ...] = (
    ("Liver", "#dd8265", "1", ("10200004", "SCT", "Liver"), _ANATOMY),
    ("Spleen", "#9d6ca2", "2", ("78961009", "SCT", "Spleen"), _ANATOMY),
    ("Left kidney", "#e8c547", "3", ("18639004", "SCT", "Left kidney"), _ANATOMY),
    ("Right kidney", "#f08c2e", "4", ("9846003", "SCT", "Right kidney"), _ANATOMY),
    ("Aorta", "#e0303c", "5", ("15825003", "SCT", "Aorta"), _ANATOMY),
    ("Inferior vena cava", "#3a6fd8", "6", ("64131007", "SCT", "Inferior vena cava"), _ANATOMY),
    ("Pancreas", "#f9b46f", "7", ("15776009", "SCT", "Pancreas"), _ANATOMY),
    ("Stomach", "#5aa469", "8", ("69695003", "SCT", "Stomach"), _ANATOMY),
    ("Gallbladder", "#8b9662", "9", ("28231008", "SCT", "Gallbladder"), _ANATOMY),
    ("Urinary bladder", "#deb887", None, ("89837001", "SCT", "Bladder"), _ANATOMY),
    ("Left lung", "#7fc8e8", None, ("44029006", "SCT", "Left lung"), _ANATOMY),
    ("Right lung", "#4f9fc8", None, ("3341006", "SCT", "Right lung"), _ANATOMY),
    ("Heart", "#c8506e", None, ("80891009", "SCT", "Heart"), _ANATOMY),
    ("Brain", "#c9a0dc", None, ("12738006", "SCT", "Brain"), _ANATOMY),
    ("Hippocampus", "#6f5bd0", None, ("5366008", "SCT", "Hippocampus"), _ANATOMY),
    ("Bone", "#f1e6bf", "b", ("272673000", "SCT", "Bone"), _TISSUE),
    ("Lesion", "#39ff88", "l", ("52988006", "SCT", "Lesion"), _ABNORMAL),
    ("Neoplasm", "#00c2a8", "n", ("108369006", "SCT", "Neoplasm"), _ABNORMAL),
    ("Cyst", "#a0e030", None, ("367643001", "SCT", "Cyst"), _ABNORMAL),
)

_RADAR: tuple[tuple[str, str, str | None, Code | None, Code | None], ...] = (
    ("Ship", "#ff4d4d", "1", None, None),
    ("Offshore structure", "#ff9f1c", "2", None, None),
    ("Oil slick", "#b388ff", "3", None, None),
    ("Water", "#3a86ff", "4", None, None),
    ("Sea ice", "#a8e6ff", "5", None, None),
    ("Iceberg", "#00e5c8", "6", None, None),
    ("Land", "#8d7b4f", "7", None, None),
    ("Urban area", "#e056c1", "8", None, None),
    ("Vegetation", "#4caf50", "9", None, None),
    ("Flooded area", "#1d5fd1", "f", None, None),
    ("Bare soil", "#d7b98e", None, None, None),
)
