"""The DB-API face on APSW: what SQLAlchemy relies on, and the promises of a commit."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import exc, func, select

from specimg.errors import StoreError
from specimg.store import schema, sqlite
from specimg.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path, clock=lambda: "2026-01-02T03:04:05.000006Z")
    yield opened
    opened.close()


def _project(identity: str) -> dict[str, str]:
    return {"id": identity, "name": identity, "created_at": "2026-01-02T03:04:05.000006Z"}


def test_the_library_has_the_wal_reset_fix() -> None:
    # https://sqlite.org/wal.html#walresetbug: fixed in 3.51.3
    assert sqlite.sqlite_version_info >= (3, 51, 3)


def test_an_older_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "sqlite_version_info", (3, 40, 1))
    with pytest.raises(StoreError, match=r"apsw 3\.51\.3\.0"):
        sqlite.connect(str(tmp_path / "x.db"))


def test_a_commit_is_durable_and_readers_do_not_wait(database: Database) -> None:
    with database.reading() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_an_empty_result_still_has_its_columns(database: Database) -> None:
    with database.reading() as connection:
        result = connection.execute(select(schema.project))
        assert list(result.keys()) == ["id", "name", "created_at"]
        assert result.all() == []


def test_an_exception_leaves_nothing_behind(database: Database) -> None:
    def write_then_fail() -> None:
        with database.transaction() as connection:
            connection.execute(schema.project.insert(), _project("a"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_then_fail()
    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(schema.project)).scalar_one() == 0


def test_constraints_hold(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(schema.project.insert(), _project("a"))
    with pytest.raises(exc.DBAPIError, match="UNIQUE"), database.transaction() as connection:
        connection.execute(schema.project.insert(), _project("a"))
    with pytest.raises(exc.DBAPIError, match="FOREIGN KEY"), database.transaction() as connection:
        connection.execute(schema.membership.insert(), {"project_id": "a", "account_id": "nobody", "role": "viewer"})


@pytest.mark.parametrize("act", ["UPDATE blob SET size = 2", "DELETE FROM blob"])
def test_history_is_append_only(database: Database, act: str) -> None:
    with database.transaction() as connection:
        connection.execute(schema.blob.insert(), {"digest": "d", "size": 1, "bytes": b"x"})
    with pytest.raises(exc.DBAPIError, match="append-only"), database.transaction() as connection:
        connection.exec_driver_sql(act)


def test_many_threads_write_one_after_another(database: Database) -> None:
    def write(name: str) -> None:
        for count in range(20):
            with database.transaction() as connection:
                connection.execute(schema.project.insert(), _project(f"{name}{count}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(schema.project)).scalar_one() == 80


def test_the_migrated_database_is_the_declared_one(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_opening_again_changes_nothing(database: Database) -> None:
    again = Database.open(database.path.parent)
    again.close()


def test_two_processes_may_create_the_same_folder(tmp_path: Path) -> None:
    code = textwrap.dedent(
        f"""
        from pathlib import Path
        from specimg.store.database import Database
        Database.open(Path({str(tmp_path)!r})).close()
        """
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]


def test_the_database_is_private(database: Database) -> None:
    assert database.path.stat().st_mode & 0o077 == 0
