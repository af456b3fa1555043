"""What "on disk" means: bytes of a file, then the name of the file in its folder, each by its own fsync (POSIX)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """Flush a file's bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush the names in a folder: without it a new or renamed file may be gone after a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder (and its parents) that only we can enter, durably. One that exists is left as it is."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


def try_lock(descriptor: int) -> bool:
    """Take an exclusive lock that the kernel gives back when this process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
