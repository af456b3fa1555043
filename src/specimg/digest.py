"""Digests and canonical JSON: the only two ways bytes get a name in specimg.

A digest is written ``sha256:<64 hex digits>``. Canonical JSON is RFC 8785; ``json.dumps(sort_keys=True)`` is not
(it orders keys by code point, RFC 8785 by UTF-16 unit), so nothing else may be hashed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import NewType, TypeAlias

import rfc8785

Digest = NewType("Digest", str)
JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")


def digest(data: bytes | bytearray | memoryview) -> Digest:
    """The digest of these bytes."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def canonical(value: JSON) -> bytes:
    """RFC 8785 bytes of a JSON value. Integers of 2**53 and above and NaN are refused: send them as strings."""
    return rfc8785.dumps(value)


def digest_json(value: JSON) -> Digest:
    """The digest of a value's canonical JSON."""
    return digest(canonical(value))


def parse_digest(text: str) -> Digest:
    """Check the form of a digest that came from outside. Raises ``ValueError``."""
    if _PATTERN.fullmatch(text) is None:
        raise ValueError("a digest is 'sha256:' and 64 lower-case hex digits")
    return Digest(text)


def hex_of(value: Digest) -> str:
    """The 64 hex digits, as used in file names and URLs."""
    return value.removeprefix("sha256:")
