"""Half-done work: folders that only their owner knows, and that vanish when the owner does.

``staging/<name>/`` belongs to whoever holds the kernel's lock on ``staging/<name>.lock``. The lock ends with the process,
however it ends, so a folder whose lock can be taken is dead and may be swept: no process ids, which are used again, and
no clocks. The lock file is made before its folder and removed after it.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from specimg.store.durable import make_folder, try_lock


class Staging:
    """``home/staging``. Safe for many threads and processes."""

    def __init__(self, home: Path) -> None:
        self.root = home / "staging"
        make_folder(self.root)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder of our own, gone at the end of the block."""
        descriptor, lock = self._lock_new()
        folder = lock.with_suffix("")
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
            os.close(descriptor)

    def discard(self, folder: Path) -> None:
        """Delete a folder of the same file system. It leaves its place in one step: no crash leaves a part of it there."""
        doomed = self.root / f"{uuid.uuid4().hex}.doomed"
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    @contextmanager
    def dead(self) -> Iterator[list[Path]]:
        """Folders whose owners died, locked while the block runs and removed at its end if it succeeds."""
        for doomed in self.root.glob("*.doomed"):
            shutil.rmtree(doomed, ignore_errors=True)
        held = [found for lock in sorted(self.root.glob("*.lock")) if (found := _take(lock)) is not None]
        try:
            yield [lock.with_suffix("") for _, lock in held]
            for _, lock in held:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
        finally:
            for descriptor, _ in held:
                os.close(descriptor)

    def _lock_new(self) -> tuple[int, Path]:
        while True:
            lock = self.root / f"{uuid.uuid4().hex}.lock"
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
                return descriptor, lock
            os.close(descriptor)  # a sweep came between making and locking it


def _take(lock: Path) -> tuple[int, Path] | None:
    """The lock of a dead owner, held by us from now on."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
        return descriptor, lock
    os.close(descriptor)
    return None
