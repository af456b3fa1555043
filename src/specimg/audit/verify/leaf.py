"""What a leaf must look like, and what it claims."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .canonical import Malformed, parse

MAX_LEAF = 2**16 - 1

LABEL_TYPES = frozenset(
    {"segmentation.edit", "segmentation.revert", "segmentation.restore", "proposal.accept", "import.read"}
)
"""Types that make a version of a segmentation."""

_KEYS = frozenset(
    "v id type time actor project object old_digest new_digest reason detail".split()  # noqa: SIM905 -- one line
)
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z").fullmatch
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}").fullmatch


@dataclass(frozen=True, slots=True)
class Leaf:
    """A parsed leaf."""

    id: str
    type: str
    time: str
    actor: str | None
    project: str | None
    kind: str | None
    object: str | None
    version: int | None
    old: str | None
    new: str | None
    reason: str | None
    detail: dict[str, Any]


def read_leaf(data: object) -> Leaf:
    """Check the form of a leaf; raises ``Malformed`` with the reason."""
    if not isinstance(data, bytes):
        raise Malformed("not bytes")
    if len(data) > MAX_LEAF:
        raise Malformed("over 64 KiB")
    said = parse(data)
    if not isinstance(said, dict) or said.keys() != _KEYS:
        raise Malformed("its keys are not those of an entry")
    actor, target = said["actor"], said["object"]
    if said["v"] != 1 or said["v"] is True:
        raise Malformed("written by a newer release than this verifier knows")
    if not isinstance(actor, dict) or actor.keys() != {"id", "session"}:
        raise Malformed("its actor is malformed")
    if target is None:
        kind = object = version = None
    elif isinstance(target, dict) and target.keys() == {"kind", "id", "version"}:
        kind, object, version = target["kind"], target["id"], target["version"]
    else:
        raise Malformed("its object is malformed")
    leaf = Leaf(
        said["id"],
        said["type"],
        said["time"],
        actor["id"],
        said["project"],
        kind,
        object,
        version,
        said["old_digest"],
        said["new_digest"],
        said["reason"],
        said["detail"],
    )
    _require_types(leaf)
    return leaf


def _require_types(leaf: Leaf) -> None:
    try:
        fits = [_ID(leaf.id), _TIME(leaf.time)]
        fits += [_DIGEST(digest) for digest in (leaf.old, leaf.new, leaf.reason) if digest is not None]
    except TypeError as error:
        raise Malformed("a value has the wrong type") from error
    texts = (leaf.actor, leaf.project, leaf.kind, leaf.object)
    if (
        None in fits
        or not isinstance(leaf.type, str)
        or not isinstance(leaf.detail, dict)
        or not all(text is None or isinstance(text, str) for text in texts)
        or not (leaf.version is None or type(leaf.version) is int)
    ):
        raise Malformed("a value has the wrong form")
