"""Words that may have to be forgotten, and the commitments that stay.

``commitment = sha256(0x02 ‖ salt ‖ value)`` with 32 random bytes of salt: while the row is there, anyone can check that
these were the words; once it is erased, no dictionary of names finds them again. The 0x02 keeps a commitment apart from
the tree's leaves (0x00) and nodes (0x01).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, insert, select

from specimg.audit.entry import Random
from specimg.digest import Digest
from specimg.errors import TooLarge
from specimg.store.schema import private_value

SALT = 32
MAX_BYTES = 16 * 1024


def commitment(value: str, salt: bytes) -> Digest:
    """What stands for the words in leaves and edits."""
    return Digest("sha256:" + hashlib.sha256(b"\x02" + salt + value.encode()).hexdigest())


def commit(connection: Connection, value: str, *, random: Random = secrets.token_bytes) -> Digest:
    """Keep the words and return their commitment; in the caller's transaction."""
    if len(value.encode()) > MAX_BYTES:
        raise TooLarge(f"a reason may have at most {MAX_BYTES} bytes")
    salt = random(SALT)
    name = commitment(value, salt)
    connection.execute(insert(private_value).values(commitment=name, salt=salt, value=value))
    return name


def reveal(connection: Connection, commitments: Iterable[str]) -> Mapping[Digest, str]:
    """The words that are still there, by commitment."""
    wanted = list(commitments)
    found: dict[Digest, str] = {}
    for start in range(0, len(wanted), 500):
        rows = connection.execute(
            select(private_value.c.commitment, private_value.c.value).where(
                private_value.c.commitment.in_(wanted[start : start + 500])
            )
        )
        found.update((Digest(name), value) for name, value in rows)
    return found


def erase(connection: Connection, commitments: Iterable[str]) -> int:
    """Forget words and salts; returns how many there were. Write ``entry.private_erase`` in the same transaction.

    The page may keep the bytes until SQLite reuses it; the connection asks for ``secure_delete``, which zeroes them.
    """
    connection.exec_driver_sql("PRAGMA secure_delete=ON")
    gone = 0
    for name in commitments:
        gone += connection.execute(delete(private_value).where(private_value.c.commitment == name)).rowcount
    return gone
