"""Frames: how the server and the model worker talk over pipes.

A frame is two little-endian uint32 (length of header, length of body), a JSON header and raw bytes. Nothing is
pickled, and a length is checked before memory is asked for.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from typing import Any

HEADER_LIMIT = 64 * 2**20
BODY_LIMIT = 256 * 2**20
_LENGTHS = struct.Struct("<II")


class BrokenFrame(Exception):
    """The other side closed the pipe in mid-frame, or sent something that is no frame."""


def encode_frame(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """The bytes of one frame. Raises ``ValueError`` beyond the limits."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    if len(text) > HEADER_LIMIT or len(body) > BODY_LIMIT:
        raise ValueError("a frame is too large")
    return _LENGTHS.pack(len(text), len(body)) + text + body


def write_frame(descriptor: int, header: Mapping[str, Any], body: bytes = b"") -> None:
    """Write one frame whole. Raises ``OSError`` when the other side is gone."""
    rest = memoryview(encode_frame(header, body))
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_frame(descriptor: int) -> tuple[dict[str, Any], bytes] | None:
    """Read one frame; ``None`` at the end of the stream. Raises ``BrokenFrame``."""
    lengths = _exactly(descriptor, _LENGTHS.size, first=True)
    if lengths is None:
        return None
    header_size, body_size = _LENGTHS.unpack(lengths)
    if header_size > HEADER_LIMIT or body_size > BODY_LIMIT:
        raise BrokenFrame("a frame is too large")
    text, body = _exactly(descriptor, header_size), _exactly(descriptor, body_size)
    assert text is not None
    assert body is not None
    try:
        header = json.loads(text)
    except ValueError as error:
        raise BrokenFrame("a header is not JSON") from error
    if not isinstance(header, dict):
        raise BrokenFrame("a header is not an object")
    return header, body


def _exactly(descriptor: int, size: int, *, first: bool = False) -> bytes | None:
    """``size`` bytes; ``None`` if the stream ends before the first of them and that is allowed."""
    parts: list[bytes] = []
    missing = size
    while missing:
        part = os.read(descriptor, min(missing, 1 << 20))
        if not part:
            if first and missing == size:
                return None
            raise BrokenFrame("the stream ended inside a frame")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
