"""verify-log: entries of a data folder checked offline, against reading and hashing the same bytes alone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select

from benchmarks.result import Result
from specimg.access import Actor
from specimg.audit import entry as entries
from specimg.audit.verify import verify_home
from specimg.store import schema
from specimg.workflow.desk import Desk, open_desk

ENTRIES = 60_000
BATCH = 2_000


def run() -> Iterator[Result]:
    """Canonical form, leaf hashes, tree, checkpoints, signatures and rows of a log of image views."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        with open_desk(home) as desk:
            _fill(desk)
            vkey = desk.log.vkey
            floor = _hash_only(desk)
        start = time.perf_counter()
        report = verify_home(home, vkey)
        ours = ENTRIES / (time.perf_counter() - start)
    if report.exit_code != 0:
        raise RuntimeError(f"the log did not verify:\n{report.render()}")
    yield Result(
        "verify-log",
        f"{ENTRIES:,} entries of a data folder",
        ours,
        floor,
        "reading and hashing alone",
        "entries/s",
        ">= 50,000",
        ours >= 50_000,
        better="higher",
    )


def _fill(desk: Desk) -> None:
    actor = Actor("99999999-9999-4999-8999-999999999999", "bench")
    image = "ab" * 16
    for _ in range(ENTRIES // BATCH):
        with desk.database.transaction() as connection:
            for _ in range(BATCH):
                now = desk.database.clock()
                desk.log.append(connection, entries.image_view(actor, now, project=actor.id, image=image))
    desk.log.sequence()


def _hash_only(desk: Desk) -> float:
    start = time.perf_counter()
    with desk.database.reading() as connection:
        for (leaf,) in connection.execute(select(schema.entry.c.leaf)):
            hashlib.sha256(b"\0" + leaf).digest()
    return ENTRIES / (time.perf_counter() - start)
