"""Mask classes as JSON, as they cross the boundary of the parsing child."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from specimg.formats.base import MaskClass


def classes_to_json(classes: Sequence[MaskClass]) -> list[dict[str, Any]]:
    """One object per class."""
    return [
        {
            "label": c.label,
            "name": c.name,
            "color": c.color,
            "code": None if c.code is None else list(c.code),
            "category": None if c.category is None else list(c.category),
            "algorithm": c.algorithm,
        }
        for c in classes
    ]


def classes_from_json(value: Sequence[Mapping[str, Any]]) -> tuple[MaskClass, ...]:
    """From ``classes_to_json``; raises ``ValueError``, ``KeyError`` or ``TypeError`` for anything else."""
    classes = tuple(
        MaskClass(
            int(c["label"]),
            str(c["name"])[:200],
            str(c["color"])[:20],
            _code(c["code"]),
            _code(c["category"]),
            None if c["algorithm"] is None else str(c["algorithm"])[:200],
        )
        for c in value
    )
    labels = [c.label for c in classes]
    if len(set(labels)) != len(labels) or any(not 0 < label < 65536 for label in labels):
        raise ValueError("labels are distinct and between 1 and 65535")
    return classes


def _code(value: Any) -> tuple[str, str, str] | None:
    if value is None:
        return None
    code, scheme, meaning = (str(part)[:64] for part in value)
    return code, scheme, meaning
