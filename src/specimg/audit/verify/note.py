"""Verifier keys, signed notes, checkpoints and proofs (C2SP signed-note, tlog-checkpoint, tlog-proof), read strictly."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_NOTE = 64 * 1024
MAX_SIGNATURES = 16
MAX_PROOF = 256 * 1024


class BadNote(ValueError):
    """It is not what it claims to be."""


class UnknownKey(BadNote):
    """Nothing is known against it: it is only not signed by the key at hand."""


@dataclass(frozen=True, slots=True)
class Key:
    """The one thing a stranger needs from the server."""

    name: str
    id: bytes
    public: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement that the log's first ``size`` entries have this root."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """A tlog-proof. ``leaf`` comes from the unauthenticated ``extra`` line."""

    leaf: bytes | None
    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


def parse_key(text: str) -> Key:
    """``<name>+<8 hex digits>+<base64 of 0x01 and 32 bytes>``; raises ``BadNote``."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not parts[0] or any(c.isspace() for c in parts[0]):
        raise BadNote("not a verifier key: expected <name>+<id>+<key>")
    material = decode(parts[2])
    if len(material) != 33 or material[0] != 1:
        raise BadNote("not an Ed25519 verifier key")
    key_id = hashlib.sha256(parts[0].encode() + b"\n" + material).digest()[:4]
    if key_id.hex() != parts[1]:
        raise BadNote("the verifier key's id does not fit its name and key: it was mistyped or changed")
    return Key(parts[0], key_id, material[1:])


def open_checkpoint(note: str, key: Key) -> Checkpoint:
    """The content of a checkpoint if ``key`` signed it and it is of that key's log; raises ``BadNote``."""
    lines = _open(note, key).split("\n")
    if len(lines) != 4 or lines[3]:
        raise BadNote("a checkpoint has exactly three lines")
    origin, size, root = lines[0], lines[1], decode(lines[2])
    if origin != key.name:
        raise BadNote(f"it is a checkpoint of another log ({origin[:100]})")
    if len(root) != 32:
        raise BadNote("the root is not 32 bytes")
    return Checkpoint(origin, decimal(size), root)


def open_proof(text: str, key: Key) -> Proof:
    """Read a tlog-proof v1; raises ``BadNote``. The caller checks the path."""
    if len(text) > MAX_PROOF:
        raise BadNote("the proof is over 256 KiB")
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise BadNote("not a C2SP tlog-proof v1")
    leaf = None
    if lines and lines[0].startswith("extra "):
        leaf = decode(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise BadNote("the proof names no index")
    index = decimal(lines.pop(0).removeprefix("index "))
    path = tuple(decode(line) for line in lines)
    if len(path) > 63 or any(len(hash) != 32 for hash in path):
        raise BadNote("the proof's hashes are malformed")
    return Proof(leaf, index, path, open_checkpoint(note, key))


def decimal(text: str) -> int:
    """ASCII digits without leading zeroes."""
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or str(int(text)) != text:
        raise BadNote("a number is not in its one spelling")
    return int(text)


def decode(text: str) -> bytes:
    """Base64 in its one canonical spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadNote("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise BadNote("not canonical base64")
    return data


def _open(note: str, key: Key) -> str:
    if len(note.encode("utf-8", "surrogatepass")) > MAX_NOTE:
        raise BadNote("the note is over 64 KiB")
    if any(c < " " and c != "\n" for c in note):
        raise BadNote("the note holds control characters")
    end = note.rfind("\n\n")
    if end < 0 or not note.endswith("\n"):
        raise BadNote("the note has no signatures")
    text, lines = note[: end + 1], note[end + 2 : -1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise BadNote(f"the note has more than {MAX_SIGNATURES} signatures")
    signed = False
    for line in lines:
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "—" or not parts[1] or "+" in parts[1]:
            raise BadNote("a signature line is malformed")
        blob = decode(parts[2])
        if len(blob) < 5:
            raise BadNote("a signature is too short")
        if (parts[1], blob[:4]) != (key.name, key.id):
            continue  # Of someone we do not know: the format says to pass over it.
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(blob[4:], text.encode())
        except InvalidSignature as error:
            raise BadNote("the signature does not verify") from error
        signed = True
    if not signed:
        raise UnknownKey("it is not signed by the given key")
    return text
