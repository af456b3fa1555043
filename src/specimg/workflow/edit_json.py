"""Edits as JSON: the form in which viewers and scripts send them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from specimg.errors import InvalidInput
from specimg.labels.edit import Edit, ShapeDelete, ShapePut, Spans, VoxelWrite
from specimg.labels.shapes import Shape


def edit_of(value: Mapping[str, Any]) -> Edit:
    """An edit from ``{base, tool, params, reason, request_id, voxels: [{label, over, spans}], shapes: [{op, …}]}``.

    ``spans`` is base64 of ``Spans.to_bytes``. Raises ``InvalidInput`` or ``TooLarge``.
    """
    try:
        return Edit(
            base=value["base"],
            tool=value["tool"],
            params=value.get("params") or {},
            voxels=tuple(_write(write) for write in value.get("voxels") or ()),
            shapes=tuple(_act(act) for act in value.get("shapes") or ()),
            reason=value.get("reason"),
            request_id=value.get("request_id"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInput("an edit needs base and tool, and voxels or shapes", field="edit") from error


def spans_text(spans: Spans) -> str:
    """Spans as they travel in JSON."""
    return base64.b64encode(spans.to_bytes()).decode("ascii")


def _write(value: Mapping[str, Any]) -> VoxelWrite:
    try:
        data = base64.b64decode(value["spans"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("spans are base64", field="spans") from error
    over = value.get("over")
    return VoxelWrite(value["label"], Spans.from_bytes(data), None if over is None else frozenset(over))


def _act(value: Mapping[str, Any]) -> ShapePut | ShapeDelete:
    if value["op"] == "delete":
        return ShapeDelete(value["id"])
    return ShapePut(Shape.from_json(value["shape"]))
