"""A private, consistent copy of the database, taken without writing to the original.

Why a copy: opening a write-ahead database, even to read, may create files beside it, and the SQLite of this Python can be
one with the WAL-reset bug (3.7.0 to 3.51.2), which must not come near a database that a server has open.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

ATTEMPTS = 20


class NoSnapshot(Exception):
    """There is no database, or it does not hold still."""


@contextmanager
def snapshot(database: Path, *, patience: float) -> Iterator[sqlite3.Connection]:
    """Open a copy; it is removed afterwards.

    ``patience``: seconds to wait for a running server to sequence what waits in its outbox, taking new copies.
    """
    deadline = time.monotonic() + patience
    with tempfile.TemporaryDirectory(prefix="specimg-verify-") as folder:  # 0700
        while True:
            target = Path(folder) / "copy.db"
            _copy(database, target)
            with closing(sqlite3.connect(target)) as connection:
                connection.execute("PRAGMA trusted_schema=OFF")
                if time.monotonic() > deadline or not _waiting(connection):
                    yield connection
                    return
            time.sleep(0.2)


def _waiting(connection: sqlite3.Connection) -> bool:
    try:
        return connection.execute("SELECT 1 FROM outbox LIMIT 1").fetchone() is not None
    except sqlite3.DatabaseError:
        return False  # what is wrong with it is for the checks to say


def _copy(database: Path, target: Path) -> None:
    """Copy the file and its write-ahead log such that they fit.

    The log is copied last. A checkpoint in between does no harm: the pages it moved are all still in the log. Only a log
    that was reset and begun anew no longer covers them, and that shows in the salts of its header.
    """
    wal = database.with_name(database.name + "-wal")
    for _ in range(ATTEMPTS):
        before = _generation(database, wal)
        for name in (target, target.with_name(target.name + "-wal"), target.with_name(target.name + "-shm")):
            name.unlink(missing_ok=True)
        try:
            shutil.copyfile(database, target)
        except FileNotFoundError as error:
            raise NoSnapshot("there is no specimg.db here") from error
        with suppress(FileNotFoundError):
            shutil.copyfile(wal, target.with_name(target.name + "-wal"))
        if _generation(database, wal) == before:
            return
    raise NoSnapshot("the database changes too fast to be copied; stop the server and try again")


def _generation(database: Path, wal: Path) -> tuple[object, ...]:
    """Changes whenever the log was reset or, where there is no log, the file was written."""
    try:
        with wal.open("rb") as file:
            header = file.read(32)
    except FileNotFoundError:
        header = b""
    if header:
        return (header,)
    try:
        state = os.stat(database)
    except FileNotFoundError as error:
        raise NoSnapshot("there is no specimg.db here") from error
    return (state.st_mtime_ns, state.st_size, state.st_ino)
