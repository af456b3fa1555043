"""Files named by the digest of their bytes: originals as they came, and large label chunks.

``<root>/<2 hex>/<62 hex>``. A blob is written beside its place, flushed, and renamed into it: under its name there is
never a part of it. Its file is read-only and only ours. The same bytes are stored once.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from specimg.digest import Digest, hex_of, parse_digest
from specimg.errors import StoreError
from specimg.store.durable import make_folder, sync_folder, try_lock

_COPY = 4 * 2**20
"""Bytes copied at a time."""


class Blobs:
    """One folder of blobs. Safe for many threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._unfinished = root / "unfinished"
        make_folder(self._unfinished)

    def put(self, data: bytes) -> Digest:
        """Store these bytes; they are on disk when this returns."""
        name = Digest("sha256:" + hashlib.sha256(data).hexdigest())
        if not self.path(name).exists():
            with self._temporary() as (descriptor, path):
                _write(descriptor, data)
                self._keep(descriptor, path, name)
        return name

    def put_file(self, source: Path, *, progress: Callable[[int], None] | None = None) -> tuple[Digest, int]:
        """Store a copy of a file; returns its digest and size.

        A copy and never a link: whoever owns the source may go on writing to it. The source is read once, and what is
        named by the digest is what was hashed. ``progress`` is told the bytes of each step.
        """
        with self._temporary() as (descriptor, path), source.open("rb") as stream:
            sha, size = hashlib.sha256(), 0
            while piece := stream.read(_COPY):
                sha.update(piece)
                _write(descriptor, piece)
                size += len(piece)
                if progress is not None:
                    progress(len(piece))
            name = Digest("sha256:" + sha.hexdigest())
            if not self.path(name).exists():
                self._keep(descriptor, path, name)
        return name, size

    def path(self, digest: Digest) -> Path:
        """Where a blob lies, whether or not it is there."""
        name = hex_of(parse_digest(digest))
        return self.root / name[:2] / name[2:]

    def read(self, digest: Digest) -> bytes:
        """The bytes. Raises ``StoreError`` if they are missing; whoever needs proof hashes them again."""
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise StoreError(f"the file {digest} is missing from the data folder") from error

    def __contains__(self, digest: Digest) -> bool:
        return self.path(digest).is_file()

    def digests(self) -> Iterator[Digest]:
        """Every blob here."""
        for folder in sorted(self.root.iterdir()):
            if len(folder.name) == 2:
                for file in sorted(folder.iterdir()):
                    yield Digest(f"sha256:{folder.name}{file.name}")

    def remove(self, digest: Digest) -> None:
        """Delete a blob that nothing refers to."""
        self.path(digest).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Delete what dead processes left unfinished; returns how many files."""
        swept = 0
        for path in self._unfinished.iterdir():
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                if try_lock(descriptor):
                    path.unlink(missing_ok=True)
                    swept += 1
            finally:
                os.close(descriptor)
        return swept

    @contextmanager
    def _temporary(self) -> Iterator[tuple[int, Path]]:
        """A locked, unfinished file of our own. The lock tells ``sweep`` of another process that we are alive."""
        while True:
            path = self._unfinished / uuid.uuid4().hex
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
                break
            os.close(descriptor)  # swept between making and locking it
        try:
            yield descriptor, path
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)

    def _keep(self, descriptor: int, path: Path, name: Digest) -> None:
        os.fchmod(descriptor, 0o400)
        os.fsync(descriptor)
        target = self.path(name)
        make_folder(target.parent)
        # Two writers of the same bytes may both come here: the second rename replaces equal bytes.
        os.replace(path, target)
        sync_folder(target.parent)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
