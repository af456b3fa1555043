"""Bytes over HTTP: validators, ranges and the headers of what never changes (RFC 9110, 9111)."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from specimg.api.errors import Problem

IMMUTABLE = "private, max-age=31536000, immutable"
REVALIDATE = "private, no-cache"

_SMALL = 2**19
"""Read on the event loop: half a megabyte from the page cache is as quick as the hop to a thread."""
_PIECE = 2**20
_LARGE = 4 * _PIECE
"""Sent in pieces, so that a hundred readers of whole raster shards do not hold them all in memory."""
_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*")
_MAX_RANGES = 16


@dataclass(frozen=True, slots=True)
class Span:
    """``start <= byte < stop``."""

    start: int
    stop: int


def parse_range(value: str | None, size: int) -> Span | None:
    """The one range asked for, or ``None`` to send everything. Raises ``Problem`` 416.

    A list of ranges is answered with everything, as RFC 9110 §14.2 allows; a long list is an attack and is refused.
    """
    if value is None or not value.lower().startswith("bytes="):
        return None
    if "," in value:
        if value.count(",") >= _MAX_RANGES:
            raise _unsatisfiable(size)
        return None
    match = _RANGE.fullmatch(value.lower())
    if match is None or (not match[1] and not match[2]):
        raise _unsatisfiable(size)
    if not match[1]:
        length = min(int(match[2]), size)
        if length == 0:
            raise _unsatisfiable(size)
        return Span(size - length, size)
    start = int(match[1])
    stop = min(int(match[2]) + 1, size) if match[2] else size
    if start >= size or start >= stop:
        raise _unsatisfiable(size)
    return Span(start, stop)


def _unsatisfiable(size: int) -> Problem:
    return Problem(416, "range-not-satisfiable", f"there are {size} bytes", {"Content-Range": f"bytes */{size}"})


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has this already (weak comparison, RFC 9110 §13.1.2)."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return any(tag.strip().removeprefix("W/") == etag for tag in if_none_match.split(","))


def of_bytes(
    headers: Headers, data: bytes, *, etag: str, cache: str, media_type: str, extra: Mapping[str, str] | None = None
) -> Response:
    """Bytes in memory with validators and ranges."""
    answer = {"ETag": etag, "Cache-Control": cache, "Accept-Ranges": "bytes", **(extra or {})}
    if matches(headers.get("if-none-match"), etag):
        return Response(None, 304, answer)
    span = _span(headers, len(data), etag)
    if span is None:
        return Response(data, 200, answer, media_type)
    answer["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{len(data)}"
    return Response(data[span.start : span.stop], 206, answer, media_type)


async def of_file(
    headers: Headers, path: Path, *, etag: str, cache: str, media_type: str, head: bool = False
) -> Response:
    """A file that never changes, as ``of_bytes``; large answers are sent in pieces. ``head``: headers only."""
    answer = {"ETag": etag, "Cache-Control": cache, "Accept-Ranges": "bytes"}
    if matches(headers.get("if-none-match"), etag):
        return Response(None, 304, answer)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(descriptor).st_size
        span = None if head else _span(headers, size, etag)
        status = 200 if span is None else 206
        if span is None:
            span = Span(0, size)
        else:
            answer["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
        length = span.stop - span.start
        if head:
            return Response(None, 200, {**answer, "Content-Length": str(size)}, media_type)
        if length <= _SMALL:
            return Response(_read(descriptor, span.start, length), status, answer, media_type)
        if length <= _LARGE:
            data = await to_thread.run_sync(_read, descriptor, span.start, length)
            return Response(data, status, answer, media_type)
        answer["Content-Length"] = str(length)
        return StreamingResponse(_pieces(path, span), status, answer, media_type)
    finally:
        os.close(descriptor)


def _span(headers: Headers, size: int, etag: str) -> Span | None:
    value = headers.get("range")
    if value is None:
        return None
    condition = headers.get("if-range")
    # A range of something else than what the client holds would be glued to the wrong bytes (RFC 9110 §13.1.5).
    return None if condition is not None and condition != etag else parse_range(value, size)


async def _pieces(path: Path, span: Span) -> AsyncIterator[bytes]:
    # Opened here, when the first piece is asked for: an answer that is never sent holds no descriptor.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        for start in range(span.start, span.stop, _PIECE):
            yield await to_thread.run_sync(_read, descriptor, start, min(_PIECE, span.stop - start))
    finally:
        os.close(descriptor)


def _read(descriptor: int, start: int, length: int) -> bytes:
    data = os.pread(descriptor, length, start)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), start + len(data))
        if not more:
            raise OSError("a stored file is shorter than when it was opened")
        data += more
    return data
