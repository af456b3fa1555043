"""Frames: how a process of ours talks with a child of its own over pipes.

A frame is two little-endian uint32 (length of header, length of body), a JSON header and raw bytes. Nothing is pickled, and
a length is checked before memory is asked for, so that the child need not be trusted.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Mapping
from typing import Any

HEADER_LIMIT = 64 * 2**20
BODY_LIMIT = 2**31
_LENGTHS = struct.Struct("<II")


class BrokenFrame(Exception):
    """The other side closed the pipe in mid-frame, or sent something that is no frame."""


class FrameTimeout(Exception):
    """The other side said nothing in time."""


def encode_frame(header: Mapping[str, Any], body: bytes | memoryview = b"") -> bytes:
    """The bytes of one frame. Raises ``ValueError`` beyond the limits."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    if len(text) > HEADER_LIMIT or len(body) > BODY_LIMIT:
        raise ValueError("a frame is too large")
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


def write_frame(descriptor: int, header: Mapping[str, Any], body: bytes | memoryview = b"") -> None:
    """Write one frame whole. Raises ``OSError`` when the other side is gone."""
    rest = memoryview(encode_frame(header, body))
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_frame(
    descriptor: int, *, body_limit: int = BODY_LIMIT, seconds: float | None = None
) -> tuple[dict[str, Any], bytes] | None:
    """Read one frame; ``None`` at the end of the stream.

    Raises ``BrokenFrame``, and ``FrameTimeout`` if the whole frame is not here within ``seconds``.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    lengths = _exactly(descriptor, _LENGTHS.size, deadline, first=True)
    if lengths is None:
        return None
    header_size, body_size = _LENGTHS.unpack(lengths)
    if header_size > HEADER_LIMIT or body_size > body_limit:
        raise BrokenFrame("a frame is too large")
    text, body = _exactly(descriptor, header_size, deadline), _exactly(descriptor, body_size, deadline)
    try:
        header = json.loads(text or b"")
    except (ValueError, RecursionError) as error:
        raise BrokenFrame("a header is not JSON") from error
    if not isinstance(header, dict):
        raise BrokenFrame("a header is not an object")
    return header, body or b""


def _exactly(descriptor: int, size: int, deadline: float | None, *, first: bool = False) -> bytes | None:
    """``size`` bytes; ``None`` if the stream ends before the first of them and that is allowed."""
    parts: list[bytes] = []
    missing = size
    while missing:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise FrameTimeout
        part = os.read(descriptor, min(missing, 1 << 20))
        if not part:
            if first and missing == size:
                return None
            raise BrokenFrame("the stream ended inside a frame")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
