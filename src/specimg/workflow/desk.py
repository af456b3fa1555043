"""The desk: one opened data folder and everything a use case needs from it.

Any number of processes may open a folder: the database keeps writers apart, blobs and images are named by their bytes.
One of them may be the *server*, which holds ``lock`` as long as it lives and alone sequences the log; the command line
ingests and exports beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, select

from specimg.audit.log import Log
from specimg.digest import Digest
from specimg.errors import TooBusy
from specimg.store import schema
from specimg.store.blobs import Blobs
from specimg.store.database import Database, utc_now
from specimg.store.durable import make_folder, try_lock
from specimg.store.image import CACHE_BYTES, Images
from specimg.store.staging import Staging


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request or one source may cost. Defaults are those of ``settings``."""

    child_memory: int = 2 * 2**30
    """Bytes of address space of a child that parses files from outside."""
    child_seconds: int = 600
    """CPU seconds of such a child."""
    source_bytes: int = 64 * 2**30
    """Largest source that ingest accepts, unpacked."""
    cache_bytes: int = CACHE_BYTES
    """Decoded chunks kept in memory."""


@dataclass(frozen=True, eq=False)
class Desk:
    """An open data folder. Close it, or use it as a context manager."""

    home: Path
    database: Database
    images: Images
    blobs: Blobs
    originals: Blobs
    staging: Staging
    log: Log
    limits: Limits
    _server_lock: int | None = None

    def close(self) -> None:
        """Let go of the folder. The log's thread must have been stopped."""
        self.database.close()
        if self._server_lock is not None:
            os.close(self._server_lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_desk(
    home: Path, *, limits: Limits | None = None, clock: Callable[[], str] = utc_now, server: bool = False
) -> Desk:
    """Open (or make) a data folder and sweep what dead processes left half-done.

    With ``server`` the folder's one server lock is taken too; raises ``TooBusy`` while another server has it.
    """
    limits = limits or Limits()
    home = home.resolve()
    make_folder(home)
    lock = _lock_server(home) if server else None
    database = Database.open(home, clock=clock)
    desk = Desk(
        home=home,
        database=database,
        images=Images(database, home, cache_bytes=limits.cache_bytes),
        blobs=Blobs(home / "blobs"),
        originals=Blobs(home / "originals"),
        staging=Staging(home),
        log=Log(database, home),
        limits=limits,
        _server_lock=lock,
    )
    make_folder(home / "images")
    sweep(desk)
    return desk


def sweep(desk: Desk) -> list[str]:
    """Remove what dead processes left: staged work, unfinished blobs, and published images and originals without a row.

    Returns what was removed, by kind and name. Only after a death is there anything to look for, so a quiet start costs
    two listings. Rows appear only inside a write transaction that first checks its files (``workflow.ingest``), and files
    are deleted only inside one, so a living ingest beside us either finds its files or writes them again.
    """
    removed = [f"blob {count} unfinished" for store in (desk.blobs, desk.originals) if (count := store.sweep())]
    with desk.staging.dead() as folders:
        if folders:
            with desk.database.transaction() as connection:
                removed += [f"image {name}" for name in _remove_images(desk, connection)]
                removed += [f"original {name}" for name in _remove_originals(desk, connection)]
        removed += [f"staging {folder.name}" for folder in folders]
    return removed


def _remove_images(desk: Desk, connection: Connection) -> list[str]:
    known = set(connection.scalars(select(schema.image.c.id)))
    orphans = [folder for folder in sorted(desk.images.folder.iterdir()) if folder.name not in known]
    for folder in orphans:
        desk.staging.discard(folder)
    return [folder.name for folder in orphans]


def _remove_originals(desk: Desk, connection: Connection) -> list[Digest]:
    known = set(connection.scalars(select(schema.original.c.digest)))
    orphans = [digest for digest in desk.originals.digests() if digest not in known]
    for digest in orphans:
        desk.originals.remove(digest)
    return orphans


def _lock_server(home: Path) -> int:
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if try_lock(descriptor):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        return descriptor
    os.close(descriptor)
    raise TooBusy("another specimg server is using this data folder; stop it, or choose another with SPECIMG_HOME")
