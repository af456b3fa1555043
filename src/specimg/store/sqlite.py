"""APSW under SQLAlchemy: a DB-API 2.0 face for the SQLite that comes in APSW's wheel.

Why not the standard library's ``sqlite3``: it uses the system's SQLite, and 3.7.0 to 3.51.2 can corrupt a database when
two connections checkpoint the write-ahead log (the WAL-reset bug, fixed in 3.51.3). Debian 12 ships 3.40.1.
Only what SQLAlchemy's ``pysqlite`` dialect calls is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apsw

from specimg.errors import StoreError

MINIMUM = (3, 51, 3)

apilevel = "2.0"
threadsafety = 1
paramstyle = "qmark"
version = apsw.apsw_version()
sqlite_version = apsw.sqlite_lib_version()
sqlite_version_info = tuple(int(part) for part in sqlite_version.split("."))

Error = apsw.Error
Warning = apsw.Error
InterfaceError = apsw.Error
DatabaseError = apsw.Error
InternalError = apsw.InternalError
OperationalError = apsw.BusyError
IntegrityError = apsw.ConstraintError
ProgrammingError = apsw.SQLError
DataError = apsw.MismatchError
NotSupportedError = apsw.SQLError
Binary = bytes
PARSE_DECLTYPES = 0
PARSE_COLNAMES = 0


class Cursor:
    """DB-API cursor over one APSW cursor."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor = connection.handle.cursor()
        self._rows: list[Sequence[Any]] = []
        self.description: list[tuple[Any, ...]] | None = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Cursor:
        """Run one statement and fetch all of its rows: result sets here are small by design."""
        before = self._connection.handle.total_changes()
        self.description = None

        def remember(cursor: apsw.Cursor, row: Sequence[Any]) -> Sequence[Any]:
            if self.description is None:
                self._describe(cursor)
            return row

        self._cursor.row_trace = remember
        try:
            self._rows = list(self._cursor.execute(sql, tuple(parameters)))
            if self.description is None and sql.lstrip()[:6].upper() in ("SELECT", "PRAGMA", "WITH R"):
                self._describe_empty(sql, parameters)
        finally:
            self._cursor.row_trace = None
        self.rowcount = self._connection.handle.total_changes() - before
        self.lastrowid = self._connection.handle.last_insert_rowid()
        return self

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> Cursor:
        """Run one statement for each row of parameters."""
        before = self._connection.handle.total_changes()
        self._cursor.executemany(sql, [tuple(row) for row in rows])
        self.description = None
        self.rowcount = self._connection.handle.total_changes() - before
        return self

    def fetchone(self) -> Sequence[Any] | None:
        """Next row."""
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[Sequence[Any]]:
        """Next rows."""
        count = size or self.arraysize
        rows, self._rows = self._rows[:count], self._rows[count:]
        return rows

    def fetchall(self) -> list[Sequence[Any]]:
        """All rows left."""
        rows, self._rows = self._rows, []
        return rows

    def __iter__(self) -> Iterator[Sequence[Any]]:
        return iter(self.fetchall())

    def close(self) -> None:
        """Release the statement."""
        self._rows = []
        self._cursor.close()

    def setinputsizes(self, sizes: Any) -> None:
        """Nothing to do."""

    def setoutputsize(self, size: Any, column: Any = None) -> None:
        """Nothing to do."""

    def _describe(self, cursor: apsw.Cursor) -> None:
        self.description = [(name, None, None, None, None, None, None) for name, _ in cursor.get_description()]

    def _describe_empty(self, sql: str, parameters: Sequence[Any]) -> None:
        # APSW forgets the columns of a statement that gave no row; an execution trace sees them before it is stepped.
        def look(cursor: apsw.Cursor, _sql: str, _parameters: Any) -> bool:
            self.description = [(d[0], None, None, None, None, None, None) for d in cursor.get_description()]
            return False  # do not run it again

        self._cursor.exec_trace = look
        try:
            list(self._cursor.execute(sql, tuple(parameters)))
        except apsw.ExecTraceAbort:
            pass
        finally:
            self._cursor.exec_trace = None


class Connection:
    """DB-API connection. Transactions are begun by ``store.database``, not implicitly."""

    isolation_level: str | None = None

    def __init__(self, handle: apsw.Connection) -> None:
        self.handle = handle

    def cursor(self, *_: Any) -> Cursor:
        """A new cursor."""
        return Cursor(self)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Cursor:
        """Shortcut, as sqlite3 has it."""
        return self.cursor().execute(sql, parameters)

    def commit(self) -> None:
        """Commit if a transaction is open."""
        if self.handle.in_transaction:
            self.handle.execute("COMMIT")

    def rollback(self) -> None:
        """Roll back if a transaction is open."""
        if self.handle.in_transaction:
            self.handle.execute("ROLLBACK")

    def close(self) -> None:
        """Close the database handle."""
        self.handle.close()

    def create_function(
        self, name: str, arity: int, function: Callable[..., Any], *, deterministic: bool = False
    ) -> None:
        """Register a scalar function (SQLAlchemy adds ``regexp``)."""
        self.handle.create_scalar_function(name, function, arity, deterministic=deterministic)


def connect(path: str, **_: Any) -> Connection:
    """Open a database. Refuses a SQLite with the WAL-reset bug."""
    if sqlite_version_info < MINIMUM:
        raise StoreError(
            f"SQLite {sqlite_version} can corrupt this database; install apsw 3.51.3.0 or newer, which brings its own"
        )
    handle = apsw.Connection(path)
    handle.set_busy_timeout(30_000)
    return Connection(handle)
