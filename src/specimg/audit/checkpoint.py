"""Checkpoints and signed notes, as C2SP's signed-note, tlog-checkpoint and tlog-proof write them.

A checkpoint is three lines and a signature; whoever keeps a copy can tell later whether history was rewritten::

    specimg.local/3f2c8d1e90ab
    1342
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

    — specimg.local/3f2c8d1e90ab hI2DJ8w4…

Parsers here refuse whatever they would not print themselves: a note has one spelling.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from specimg.errors import InvalidInput

ED25519 = b"\x01"
MAX_NOTE = 64 * 1024
MAX_SIGNATURES = 16

_NAME = re.compile(r"[^\s+]+")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+=*)")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """``<name>+<hex key id>+<base64 of 0x01 and the public key>``: what a stranger needs."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """First four bytes of SHA-256(name ‖ LF ‖ 0x01 ‖ public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a vkey; raises ``InvalidInput``."""
        name, _, rest = text.strip().partition("+")
        _, _, encoded = rest.partition("+")
        material = _decode(encoded)
        key = cls(name, material[1:])
        if len(material) != 33 or material[:1] != ED25519 or not _NAME.fullmatch(name) or str(key) != text.strip():
            raise InvalidInput("this is not an Ed25519 verifier key (<name>+<id>+<key>)", field="vkey")
        return key


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The log's secret. Its text form is the one of Go's ``note`` package, which other tools read."""

    name: str
    seed: bytes

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r})"  # never the seed

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return VerifierKey(self.name, public)

    def sign(self, text: str) -> str:
        """The signed note of this text."""
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        encoded = base64.b64encode(self.verifier.id + signature).decode()
        return f"{text}\n— {self.name} {encoded}\n"

    def to_text(self) -> str:
        """``PRIVATE+KEY+<name>+<hex key id>+<base64 of 0x01 and the seed>``."""
        return f"PRIVATE+KEY+{self.name}+{self.verifier.id.hex()}+{base64.b64encode(ED25519 + self.seed).decode()}"

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read ``to_text``; raises ``InvalidInput``, never showing the key."""
        parts = text.strip().split("+", 4)
        material = _decode(parts[4]) if len(parts) == 5 else b""
        if len(material) == 33 and _NAME.fullmatch(parts[2]):
            key = cls(parts[2], material[1:])
            if key.to_text() == text.strip():
                return key
        raise InvalidInput("this is not an Ed25519 signing key", field="key")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log at one size. ``note`` is the signed note it came from, exactly."""

    origin: str
    size: int
    root: bytes
    note: str

    @classmethod
    def sign(cls, key: SigningKey, size: int, root: bytes) -> Checkpoint:
        """State, with our signature, that the log's first ``size`` leaves have this root."""
        body = f"{key.name}\n{size}\n{base64.b64encode(root).decode()}\n"
        return cls(key.name, size, root, key.sign(body))

    @classmethod
    def parse(cls, note: str, key: VerifierKey) -> Checkpoint:
        """Read a checkpoint of the log that ``key`` speaks for; raises ``InvalidInput`` if it is anything else."""
        text = open_note(note, key)
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] != "" or not _DECIMAL.fullmatch(lines[1]):
            raise InvalidInput("a checkpoint has three lines: origin, size, root")
        root = _decode(lines[2])
        if lines[0] != key.name:
            raise InvalidInput("this checkpoint is of another log")
        if len(root) != 32:
            raise InvalidInput("a checkpoint's root is 32 bytes in base64")
        return cls(lines[0], int(lines[1]), root, note)


def open_note(note: str, key: VerifierKey) -> str:
    """The text of a note that ``key`` has signed. Signatures of unknown keys are passed over, as the format demands."""
    if len(note.encode()) > MAX_NOTE:
        raise InvalidInput("the note is over 64 KiB")
    if any(ord(c) < 0x20 and c != "\n" for c in note):
        raise InvalidInput("the note holds control characters")
    text, separator, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not separator or lines.pop() != "" or not 1 <= len(lines) <= MAX_SIGNATURES:
        raise InvalidInput("the note has no signature block")
    text += "\n"
    known = False
    for line in lines:
        match = _SIGNATURE.fullmatch(line)
        if match is None:
            raise InvalidInput("the note has a malformed signature line")
        blob = _decode(match[2])
        if match[1] != key.name or blob[:4] != key.id:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(blob[4:], text.encode())
        except InvalidSignature as error:
            raise InvalidInput("the note's signature does not verify") from error
        known = True
    if not known:
        raise InvalidInput("the note is not signed by the given key")
    return text


def proof_text(index: int, path: Sequence[bytes], checkpoint: Checkpoint, leaf: bytes) -> str:
    """A C2SP tlog-proof: with the verifier key, all it takes to check one entry.

    ``extra`` carries the leaf itself. The format does not authenticate that line; the verifier hashes it and finds the
    hash in the tree, or does not.
    """
    lines = ["c2sp.org/tlog-proof@v1", f"extra {base64.b64encode(leaf).decode()}", f"index {index}"]
    lines += [base64.b64encode(hash).decode() for hash in path]
    return "\n".join(lines) + "\n\n" + checkpoint.note


def _decode(text: str) -> bytes:
    """Base64 (RFC 4648 §4) in its one canonical spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("this is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise InvalidInput("this is not canonical base64")
    return data
