"""Entries as they lie in the database, found by what they speak of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy import Connection

from specimg.errors import NotFound
from specimg.store import schema

MAX_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Sequenced:
    """One entry. ``index`` is ``None`` while it waits in the outbox; ``leaf`` are its exact bytes."""

    index: int | None
    id: str
    leaf: bytes

    def row(self) -> dict[str, Any]:
        """The columns of table ``entry``: copies of what the leaf says, there only to be searched."""
        said = json.loads(self.leaf)
        return {
            "index": self.index,
            "id": self.id,
            "leaf": self.leaf,
            "type": said["type"],
            "actor_id": said["actor"]["id"],
            "object_id": said["object"]["id"] if said["object"] else None,
            "project_id": said["project"],
            "time": said["time"],
        }

    @classmethod
    def load(cls, connection: Connection, entry_id: str) -> Sequenced:
        """By id; raises ``NotFound``."""
        row = connection.execute(
            sql.select(schema.entry.c.index, schema.entry.c.leaf).where(schema.entry.c.id == entry_id)
        ).first()
        if row is not None:
            return cls(row[0], entry_id, bytes(row[1]))  # row.index is tuple's method
        leaf = connection.scalar(sql.select(schema.outbox.c.leaf).where(schema.outbox.c.id == entry_id))
        if leaf is None:
            raise NotFound("there is no audit entry by that id")
        return cls(None, entry_id, bytes(leaf))

    @classmethod
    def select(
        cls, connection: Connection, *, project: str | None, object: str | None, before: int | None, limit: int
    ) -> list[Sequenced]:
        """Newest first, below index ``before``."""
        table = schema.entry.c
        query = sql.select(table.index, table.id, table.leaf).order_by(table.index.desc())
        if project is not None:
            query = query.where(table.project_id == project)
        if object is not None:
            query = query.where(table.object_id == object)
        if before is not None:
            query = query.where(table.index < before)
        rows = connection.execute(query.limit(max(0, min(limit, MAX_LIMIT))))
        return [cls(index, id, bytes(leaf)) for index, id, leaf in rows]
