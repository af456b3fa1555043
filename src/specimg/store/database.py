"""The one database: engine, transactions, clock.

SQLite in write-ahead mode with ``synchronous=FULL``: a commit that returned is on disk. Writers queue on ``BEGIN
IMMEDIATE``; readers see the last commit and never wait. PostgreSQL comes with a later release; nothing here forbids it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from specimg.store import sqlite


def utc_now() -> str:
    """RFC 3339 UTC with microseconds; the server's clock is the only one an entry trusts."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Database:
    """Owns the engine. One per process and data folder."""

    def __init__(self, path: Path, *, clock: Callable[[], str] = utc_now) -> None:
        self.path = path
        self.clock = clock
        self._engine = _engine(path)

    @classmethod
    def open(cls, home: Path, *, clock: Callable[[], str] = utc_now) -> Database:
        """Open ``home/specimg.db``, creating or migrating it to this release's schema."""
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = cls(home / "specimg.db", clock=clock)
        database._migrate()
        return database

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A write transaction: everything inside commits together and durably, or nothing does."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent snapshot for reads."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        with self._engine.connect() as connection:
            # Two processes may start on one folder: the second waits here and then finds nothing to do.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
        os.chmod(self.path, 0o600)


def _engine(path: Path) -> Engine:
    engine = create_engine(
        "sqlite://",
        module=sqlite,
        creator=lambda: sqlite.connect(str(path)),
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=32,
        hide_parameters=True,  # errors are logged, and a statement's values can be a person's words
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "trusted_schema=OFF",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine
