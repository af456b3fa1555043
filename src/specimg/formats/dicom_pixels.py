"""Pixel Data before a decoder believes it: whether it is all there, and what size its codestream claims.

A codestream of a few hundred bytes can claim 65,535 x 65,535 samples, and decoders ask for that memory, or compute for
minutes, first. Of one that was cut short, some decoders make up the rest without a word.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, Literal

_SOC = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream and its SIZ marker, always first (ISO 15444-1 A.5.1)."""
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_FRAME_HEADERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
"""SOF0-15 of JPEG (ISO 10918-1 B.1.1.3) and SOF55 of JPEG-LS (ISO 14495-1)."""
_HEAD = 1 << 17
"""Room for the application segments that may come before a frame header."""
_TAIL = 64
_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True, slots=True)
class PixelData:
    """What a glance tells. ``claimed`` is (rows, columns) of the first codestream, if it says."""

    state: Literal["whole", "short", "none"]
    claimed: tuple[int, int] | None = None


def inspect(handle: BinaryIO, size: int) -> PixelData:
    """Look at the Pixel Data element at which ``handle`` stands, in a file of ``size`` bytes (PS3.5 7.1, A.4)."""
    head = handle.read(12)
    if len(head) < 12 or head[:4] not in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"):
        return PixelData("none")
    big = head[0] == 0x7F
    explicit = head[4:6] in (b"OB", b"OW")
    (length,) = struct.unpack(">I" if big else "<I", head[8:12] if explicit else head[4:8])
    if length == 0xFFFFFFFF:
        return _encapsulated(handle, size)
    start = handle.tell() - (0 if explicit else 4)
    return PixelData("whole" if start + length <= size else "short")


def _encapsulated(handle: BinaryIO, size: int) -> PixelData:
    """Walk the items to the delimiter that must end them; the first is the table of offsets."""
    items = 0
    first, last = b"", b""
    while len(item := handle.read(8)) == 8:
        (length,) = struct.unpack("<I", item[4:])
        start = handle.tell()
        if item[:4] == _DELIMITER:
            # JPEG 2000 files in the field often lack their end marker, and their decoder notices a cut.
            short = first.startswith(_SOI) and _EOI not in last
            return PixelData("short" if short else "whole", _claimed(first))
        if item[:4] != _ITEM or start + length > size:
            break
        if items == 1:
            first = handle.read(min(length, _HEAD))
        handle.seek(start + max(0, length - _TAIL))
        last = handle.read(min(length, _TAIL))
        items += 1
    return PixelData("short", _claimed(first))


def _claimed(head: bytes) -> tuple[int, int] | None:
    if head.startswith(_SOC) and len(head) >= 24:
        width, height, left, top = struct.unpack_from(">IIII", head, 8)
        return height - top, width - left
    if not head.startswith(_SOI):
        return None
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if marker in _FRAME_HEADERS:
            rows, columns = struct.unpack_from(">HH", head, at + 5)
            return (rows, columns) if rows else None  # 0: told at the end, by a DNL marker
        at += 1 if marker == 0xFF else 2 + length
    return None
