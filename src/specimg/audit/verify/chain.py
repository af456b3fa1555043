"""The log itself: every leaf, the tree over them, every checkpoint, the anchors.

One pass in the order of the log, O(log n) memory. The root is computed from the leaves alone; the stored tree only helps
to say *which* entry is wrong where a checkpoint could merely say that one is. What a leaf claims about labels, images and
proposals goes into a temporary table, against which the rows are checked afterwards.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .canonical import Malformed
from .leaf import Leaf, read_leaf
from .note import BadNote, Checkpoint, Key, UnknownKey, open_checkpoint
from .report import Progress, Report
from .tree import node_hash, root_of

SKEW = timedelta(seconds=60)
"""Entries are dated before they queue for the write lock, so neighbours may be out of order by that wait."""
STEP = 4096

CLAIM = """
CREATE TEMP TABLE claim (
  "index" INTEGER, id TEXT, type TEXT, time TEXT, actor TEXT, project TEXT, kind TEXT, object TEXT, version INTEGER,
  old TEXT, new TEXT, reason TEXT, detail TEXT)
"""
_INSERT = "INSERT INTO claim VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
_CLAIMING = ("segmentation.", "proposal.", "import.", "image.ingest", "ontology.", "private.")
_ENTRIES = 'SELECT "index", id, leaf, type, actor_id, object_id, project_id, time FROM entry ORDER BY "index"'


@dataclass(frozen=True, slots=True)
class Mark:
    """A root that the tree must have at a size: from a checkpoint in the database, or from an anchor outside it."""

    size: int
    root: bytes
    anchor: str | None


class Claims:
    """Writes what leaves claim, in batches."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []
        connection.execute(CLAIM)

    def add(self, index: int | None, leaf: Leaf) -> None:
        """Remember a leaf that speaks of something checked later."""
        if leaf.reason is None and not leaf.type.startswith(_CLAIMING):
            return
        self._rows.append(
            (
                index,
                leaf.id,
                leaf.type,
                leaf.time,
                leaf.actor,
                leaf.project,
                leaf.kind,
                leaf.object,
                leaf.version,
                leaf.old,
                leaf.new,
                leaf.reason,
                json.dumps(leaf.detail) if leaf.detail else None,
            )
        )
        if len(self._rows) >= STEP:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        self._connection.executemany(_INSERT, self._rows)
        self._rows.clear()

    def finish(self) -> None:
        """All claims are in; index them."""
        self.flush()
        self._connection.execute("CREATE INDEX temp.claim_id ON claim (id)")
        self._connection.execute("CREATE INDEX temp.claim_object ON claim (object, version)")


class Chain:
    """One verification of one log."""

    def __init__(self, connection: sqlite3.Connection, key: Key, report: Report, progress: Progress) -> None:
        self._connection = connection
        self._key = key
        self._report = report
        self._progress = progress
        self._claims = Claims(connection)
        self._peaks: list[bytes] = []
        self._size = 0
        self._good = 0  # all leaves below are covered by a checkpoint that held
        self._failed = 0  # checkpoints that did not
        self._unknown = 0  # checkpoints that the key at hand did not sign
        self._latest_time = ""
        self._stored = StoredNodes(connection)

    def verify(self, anchors: Sequence[tuple[str, Checkpoint]]) -> None:
        """Run over the whole log."""
        marks = self._marks(anchors)
        total = self._connection.execute("SELECT count(*) FROM entry").fetchone()[0]
        mark = next(marks, None)
        for row in self._connection.execute(_ENTRIES):
            mark = self._advance(marks, mark, row[0])
            self._entry(row)
            if self._size % STEP == 0:
                self._progress("entries", self._size, total)
        while mark is not None and mark.size <= self._size:
            self._compare(mark)
            mark = next(marks, None)
        self._end(mark, marks)
        self._outbox()
        self._claims.finish()
        self._progress("entries", total, total)

    # --- entries ----------------------------------------------------------------------------------------------------

    def _advance(self, marks: Iterator[Mark], mark: Mark | None, index: object) -> Mark | None:
        """Compare the marks passed, and step over indices that have no entry, until the tree has ``index`` leaves."""
        while True:
            while mark is not None and mark.size <= self._size:
                self._compare(mark)
                mark = next(marks, None)
            if not isinstance(index, int) or index <= self._size:
                return mark
            self._report.add("invalid", "entry-missing", "an entry is missing from the log", index=self._size)
            kept = self._stored.next(0, self._size)
            if kept is None:
                self._size = index  # nothing is known of it: the roots below cannot hold
                return mark
            self._push(kept)

    def _entry(self, row: tuple[Any, ...]) -> None:
        index, entry_id, data = row[0], row[1], row[2]
        if index != self._size:
            self._report.add("invalid", "entry-index", "an entry has an impossible index", entry_id=str(entry_id))
            return
        computed = hashlib.sha256(b"\x00" + data).digest() if isinstance(data, bytes) else b""
        stored = self._stored.next(0, index)
        if stored is None:
            self._report.add(
                "invalid", "tree-node", "the tree has no node for this entry", index=index, entry_id=str(entry_id)
            )
        elif stored != computed:
            self._report.add(
                "invalid",
                "leaf-hash",
                "the entry's bytes are not those that were hashed into the tree",
                index=index,
                entry_id=str(entry_id),
            )
        try:
            leaf = read_leaf(data)
        except Malformed as error:
            self._report.add("invalid", "leaf-form", f"malformed leaf: {error}", index=index, entry_id=str(entry_id))
        else:
            self._columns(leaf, row)
            self._claims.add(index, leaf)
        # Going on with the hash that was stored keeps one changed leaf from spoiling every checkpoint after it.
        self._push(stored or computed)

    def _columns(self, leaf: Leaf, row: tuple[Any, ...]) -> None:
        if (leaf.id, leaf.type, leaf.actor, leaf.object, leaf.project, leaf.time) != (row[1], *row[3:]):
            self._report.add(
                "invalid",
                "entry-columns",
                "the entry's columns are not what its leaf says",
                index=row[0],
                entry_id=leaf.id,
            )
        if leaf.time >= self._latest_time:
            self._latest_time = leaf.time
        elif _moment(self._latest_time) - _moment(leaf.time) > SKEW:
            self._report.add(
                "note", "time-backwards", "the clock went back before this entry", index=row[0], entry_id=leaf.id
            )
        if leaf.type == "log.recovery":
            self._report.add(
                "note",
                "recovery",
                "an operator went on from an older database here; later entries of the earlier log are lost",
                index=row[0],
                entry_id=leaf.id,
            )

    def _push(self, hash: bytes) -> None:
        level, index = 0, self._size
        while index & 1:
            if not self._peaks:
                break  # after a gap without stored nodes
            hash = node_hash(self._peaks.pop(), hash)
            level, index = level + 1, index >> 1
            stored = self._stored.next(level, index)
            if stored is not None and stored != hash:
                first = index << level
                self._report.add(
                    "invalid",
                    "tree-node",
                    "the tree was not built over these entries: one of them was changed",
                    index=first,
                    last=first + (1 << level) - 1,
                )
                hash = stored
            elif stored is None:
                self._report.add("invalid", "tree-node", "a node of the tree is missing", index=index << level)
        self._peaks.append(hash)
        self._size += 1

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def _marks(self, anchors: Sequence[tuple[str, Checkpoint]]) -> Iterator[Mark]:
        outside = sorted((Mark(anchor.size, anchor.root, name) for name, anchor in anchors), key=lambda m: m.size)
        for size, root, note in self._connection.execute("SELECT size, root, note FROM checkpoint ORDER BY size"):
            while outside and outside[0].size <= size:
                yield outside.pop(0)
            checkpoint = self._signed(size, root, note)
            if checkpoint is not None:
                yield Mark(checkpoint.size, checkpoint.root, None)
        yield from outside

    def _signed(self, size: object, root: object, note: object) -> Checkpoint | None:
        place = size - 1 if isinstance(size, int) and size > 0 else None
        try:
            checkpoint = open_checkpoint(note if isinstance(note, str) else "", self._key)
        except UnknownKey as error:
            self._unknown += 1
            if self._unknown == 1:
                self._report.add("incomplete", "unknown-key", f"checkpoint {size}: {error}", index=place)
            return None
        except BadNote as error:
            self._report.add("invalid", "checkpoint-note", f"checkpoint {size}: {error}", index=place)
            return None
        if (checkpoint.size, checkpoint.root) != (size, root):
            self._report.add(
                "invalid",
                "checkpoint-columns",
                f"checkpoint {size} is stored under a size or root it does not state",
                index=place,
            )
        self._report.count("checkpoints")
        return checkpoint

    def _compare(self, mark: Mark) -> None:
        """The tree has ``mark.size`` leaves now."""
        if mark.size < self._size:
            return  # a duplicate or unsorted size, reported where it is read
        if root_of(self._peaks) == mark.root:
            if not self._failed:
                self._good = mark.size
            return
        self._failed += 1
        if mark.anchor is not None:
            self._report.add(
                "invalid",
                "anchor-root",
                f"the log is not the one of {mark.anchor} (size {mark.size}): its history was replaced",
                index=self._good,
                last=mark.size - 1,
            )
        elif self._failed == 1:
            self._report.add(
                "invalid",
                "checkpoint-root",
                f"the entries do not have the root that checkpoint {mark.size} signed",
                index=self._good,
                last=mark.size - 1,
            )

    def _end(self, mark: Mark | None, marks: Iterator[Mark]) -> None:
        report = self._report
        if self._stored.next(0, self._size) is not None:
            report.add(
                "invalid",
                "entry-missing",
                "the tree goes on where the log ends: entries were removed",
                index=self._size,
            )
        while mark is not None:
            name = mark.anchor or f"checkpoint {mark.size}"
            missing = mark.size - self._size
            report.add(
                "invalid",
                "log-shorter",
                f"the log is shorter than {name}: {missing} entries are missing at its end",
                index=self._size,
                last=mark.size - 1,
            )
            mark = next(marks, None)
        if self._good < self._size and not self._failed:
            # With an unknown key nothing is known to be signed, which is not the same as being wrong.
            report.add(
                "incomplete" if self._unknown else "invalid",
                "unsigned",
                "entries at the end are covered by no checkpoint",
                index=self._good,
                last=self._size - 1,
            )
        twice = self._connection.execute("SELECT id FROM entry GROUP BY id HAVING count(*) > 1 LIMIT 1").fetchone()
        if twice:
            report.add("invalid", "entry-twice", "two entries have the same id", entry_id=str(twice[0]))
        report.size = self._size
        report.root = base64.b64encode(root_of(self._peaks)).decode()
        report.count("entries", self._size)

    def _outbox(self) -> None:
        """Entries that were acknowledged but not sequenced: they bind nobody yet."""
        waiting = 0
        for entry_id, data in self._connection.execute("SELECT id, leaf FROM outbox ORDER BY position"):
            waiting += 1
            try:
                leaf = read_leaf(data)
            except Malformed as error:
                self._report.add(
                    "invalid", "leaf-form", f"malformed leaf in the outbox: {error}", entry_id=str(entry_id)
                )
                continue
            self._claims.add(None, leaf)
        if waiting:
            self._report.add(
                "incomplete",
                "outbox",
                f"{waiting} entries wait for the next checkpoint and are not proven yet; start the server to sign them",
            )


class StoredNodes:
    """The stored tree, each level read in order beside the computation."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._levels: list[Iterator[tuple[Any, ...]]] = []
        self._heads: list[tuple[Any, ...] | None] = []

    def next(self, level: int, index: int) -> bytes | None:
        """The hash of node (level, index), ``None`` if it is not there. Indices of a level are asked for in order."""
        while len(self._levels) <= level:
            rows = self._connection.execute(
                'SELECT "index", hash FROM node WHERE level = ? ORDER BY "index"', (len(self._levels),)
            )
            self._levels.append(rows)
            self._heads.append(next(rows, None))
        head = self._heads[level]
        while head is not None and isinstance(head[0], int) and head[0] < index:
            head = next(self._levels[level], None)
        if head is None or head[0] != index:
            self._heads[level] = head
            return None
        self._heads[level] = next(self._levels[level], None)
        return head[1] if isinstance(head[1], bytes) else None


def _moment(time: str) -> datetime:
    return datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%fZ")
