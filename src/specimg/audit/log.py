"""The log: entries in an outbox, one sequencer, a Merkle tree, signed checkpoints.

States of an entry, each reached by one durable step:

1. *acknowledged*: its leaf lies in ``outbox``, written by the same transaction as the labels it speaks of. Both exist or
   neither does; the caller answers only after that commit.
2. *sequenced*: one transaction moves it to ``entry`` under the next index, writes the tree nodes it completes and the
   checkpoint over them. There is never an entry without a checkpoint, or a checkpoint without its entries.
3. *anchored*: the checkpoint is in ``keys/checkpoint.txt``, outside the database.

There is no recovery code: whatever a crash leaves in state 1 or 2, the next ``sequence()`` carries on.

Concurrency. SQLite lets one writer in at a time, so the sequencer's transaction and everyone's appends are serial, and
the outbox's row ids are the order in which they committed: a label's versions, written one after the other under that
lock, keep their order. ``_sequencing`` keeps two threads of this process from doing the same work; two processes are kept
apart by the database, where the second finds the outbox empty, and would fail on the primary key of ``entry`` if it ever
did not. The order is ``_sequencing`` before the database's write lock, never the reverse. ``_wake`` is a leaf lock.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, delete, event, func, insert, select
from sqlalchemy.exc import DBAPIError

from specimg.access import Actor
from specimg.audit import private
from specimg.audit.checkpoint import Checkpoint, proof_text
from specimg.audit.entry import Entry, Random, log_recovery
from specimg.audit.keys import Keys
from specimg.audit.merkle import EMPTY_ROOT, Edge, consistency, inclusion, leaf_hash
from specimg.audit.sequenced import Sequenced
from specimg.digest import JSON
from specimg.errors import NotFound, SpecimgError, StoreError
from specimg.store import schema
from specimg.store.database import Database
from specimg.store.failpoint import reach

BATCH = 4096
"""Entries in one sequencing transaction: bounds memory and how long label writes wait for the lock (about 0.2 s)."""
IDLE_SECONDS = 30.0
"""How often a sleeping sequencer looks for entries that another process (the command line) has left."""

_logger = logging.getLogger(__name__)


class Log:
    """The one log of a data folder. Thread-safe."""

    def __init__(self, database: Database, home: Path, *, random: Random = secrets.token_bytes) -> None:
        self._database = database
        self._keys = Keys(home)
        self._random = random
        self._sequencing = threading.Lock()
        self._wake = threading.Condition()
        self._pending = True  # an earlier process may have died with a full outbox
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.refusal: str | None = None
        """Why nothing may be written, or ``None``."""
        with database.reading() as connection:
            self._key = self._keys.load(logged=_newest(connection) is not None, random=random)
            if self._keys.anchor(self._key.verifier) is None and _newest(connection) is None:
                # A log is anchored before its first entry; from here on a missing anchor means that someone took it.
                self._keys.publish(Checkpoint.sign(self._key, 0, EMPTY_ROOT))
        # The anchor is read before the snapshot: another process may move both on in between.
        anchor = self._keys.anchor(self._key.verifier)
        with database.reading() as connection:
            self.refusal = _find_refusal(connection, anchor)

    @property
    def vkey(self) -> str:
        """The verifier key, to be handed to whoever shall be able to check."""
        return str(self._key.verifier)

    # --- writing ----------------------------------------------------------------------------------------------------

    def append(self, connection: Connection, entry: Entry) -> str:
        """Record an act in the caller's transaction; returns the entry's id.

        If the process dies before the caller's commit, neither the act nor the entry happened; after it, both did.
        """
        self._require_writable()
        connection.execute(insert(schema.outbox).values(id=entry.id, leaf=entry.leaf()))
        # Told just before the commit, the sequencer waits on the write lock until the commit is through.
        event.listen(connection, "commit", self._notify)
        return entry.id

    def sequence(self) -> Checkpoint | None:
        """Move what waits in the outbox into the tree; returns the newest checkpoint, ``None`` while the log is empty."""
        with self._sequencing:
            self._require_writable()
            while self._sequence_batch():
                pass
            newest = self.checkpoint()
            if newest is not None:
                # Dying here leaves an older anchor, which is consistent with the log; the next call brings it up.
                self._anchor(newest)
            return newest

    def recover(self, *, actor: Actor | None, reason: str) -> Checkpoint:
        """Go on writing on a database older than its anchor: an operator's act, recorded with the reason.

        What the lost entries said is gone; that they existed stays provable. The abandoned checkpoint is kept beside the
        keys, its size and root are in the ``log.recovery`` entry, and whoever holds a newer checkpoint of the old branch
        will see it contradict this one.
        """
        with self._sequencing:
            if self.refusal is None:
                raise StoreError("the log is in order: there is nothing to recover from")
            with self._database.transaction() as connection:
                lost = self._keys.anchor(self._key.verifier)
                size, root = self._require_intact(connection)
                words = private.commit(connection, reason, random=self._random)
                recovery = log_recovery(
                    actor,
                    self._database.clock(),
                    reason=words,
                    lost=_summary(lost.size, lost.root) if lost else {},
                    found=_summary(size, root),
                )
                connection.execute(insert(schema.outbox).values(id=recovery.id, leaf=recovery.leaf()))
            # Dying before the new anchor stands leaves the refusal in force; the operator repeats the recovery, and the
            # log tells of both attempts.
            while self._sequence_batch(recovering=True):
                pass
            newest = self.checkpoint()
            assert newest is not None
            if lost is not None:
                self._keys.set_aside(lost)
            self._keys.publish(newest)
            self.refusal = None
            return newest

    # --- reading ----------------------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint, ``None`` while nothing was ever sequenced."""
        with self._database.reading() as connection:
            note = _newest(connection)
        return None if note is None else Checkpoint.parse(note, self._key.verifier)

    def checkpoints(self) -> list[int]:
        """The sizes at which a checkpoint was signed, oldest first."""
        with self._database.reading() as connection:
            return list(connection.scalars(select(schema.checkpoint.c.size).order_by(schema.checkpoint.c.size)))

    def entry(self, entry_id: str) -> Sequenced:
        """One entry; its index is ``None`` while it waits for the next checkpoint. Raises ``NotFound``."""
        with self._database.reading() as connection:
            return Sequenced.load(connection, entry_id)

    def entries(
        self,
        *,
        project: str | None = None,
        object: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Sequenced]:
        """Sequenced entries, newest first, below index ``before``; at most 1000."""
        with self._database.reading() as connection:
            return Sequenced.select(connection, project=project, object=object, before=before, limit=limit)

    def receipt(self, entry_id: str) -> str:
        """The C2SP tlog-proof of an entry under the newest checkpoint. Sequences first if the entry still waits."""
        if self.entry(entry_id).index is None:
            self.sequence()
        with self._database.reading() as connection:
            found = Sequenced.load(connection, entry_id)
            note = _newest(connection)
            if found.index is None or note is None:
                raise NotFound("this entry is not in the log yet")
            checkpoint = Checkpoint.parse(note, self._key.verifier)
            path = inclusion(found.index, checkpoint.size, partial(read_node, connection))
        return proof_text(found.index, path, checkpoint, found.leaf)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the log of ``old`` entries is how the log of ``new`` began (RFC 6962 §2.1.2)."""
        with self._database.reading() as connection:
            size = _size(connection)
            if not 0 <= old <= new <= size:
                raise NotFound(f"the log has {size} entries; ask for 0 <= old <= new <= {size}")
            return consistency(old, new, partial(read_node, connection))

    # --- the sequencer's thread -------------------------------------------------------------------------------------

    def start(self, seconds: float) -> None:
        """Sequence in the background: at once after a quiet time, and at most every ``seconds`` under load."""
        if self._thread is not None:
            raise RuntimeError("the sequencer is running already")
        self._stopping = False
        self._thread = threading.Thread(target=self._run, args=(seconds,), name="audit-sequencer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sequence what is there and end the thread. Returns when both are done."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        thread.join()

    def _run(self, seconds: float) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._pending or self._stopping, IDLE_SECONDS)
                stopping, self._pending = self._stopping, False
            began = time.monotonic()
            self._sequence_in_background()
            if stopping:
                return
            with self._wake:
                # Under load one signature and one fsync serve all the entries of this pause.
                self._wake.wait_for(lambda: self._stopping, max(0.0, seconds - (time.monotonic() - began)))

    def _sequence_in_background(self) -> None:
        try:
            if self.refusal is None:
                self.sequence()
        except DBAPIError as error:
            # Busy or full disk: entries are safe in the outbox, so try again after the pause.
            _logger.warning("sequencing will be tried again: %s", type(error.orig).__name__)
            with self._wake:
                self._pending = True
        except SpecimgError as error:
            self._give_up(str(error))
        except Exception as error:  # noqa: BLE001 -- a thread must not die unheard: without it nothing is proven
            self._give_up(type(error).__name__)

    def _give_up(self, why: str) -> None:
        self.refusal = f"the audit log stopped: {why}"
        _logger.error("%s; writes are refused", self.refusal)

    def _notify(self, _connection: Connection) -> None:
        with self._wake:
            self._pending = True
            self._wake.notify_all()

    # --- one step ---------------------------------------------------------------------------------------------------

    def _sequence_batch(self, *, recovering: bool = False) -> bool:
        """One transaction: outbox → entries, nodes, checkpoint. Returns whether there was anything to do."""
        # No look before taking the write lock: we are woken just before a commit, and only the lock waits for it.
        with self._database.transaction() as connection:
            rows = connection.execute(select(schema.outbox).order_by(schema.outbox.c.position).limit(BATCH)).all()
            if not rows:
                return False
            if not recovering:
                # Under the write lock nobody can move the anchor past what we see.
                self.refusal = _find_refusal(connection, self._keys.anchor(self._key.verifier))
                self._require_writable()
            size, _ = self._require_intact(connection)
            edge = Edge.read(size, partial(read_node, connection))
            found, nodes = [], []
            for row in rows:
                found.append(Sequenced(edge.size, row.id, row.leaf).row())
                nodes += [
                    {"level": node.level, "index": node.index, "hash": node.hash}
                    for node in edge.append(leaf_hash(row.leaf))
                ]
            connection.execute(insert(schema.entry), found)
            connection.execute(insert(schema.node), nodes)
            # Exactly the rows that were read: whatever commits meanwhile is not lost, whatever its id or time.
            sequenced = [row.position for row in rows]
            connection.execute(delete(schema.outbox).where(schema.outbox.c.position.in_(sequenced)))
            # Signed inside the transaction but shown to nobody before its commit: dying here unsays it, and the next
            # run signs the same leaves at the same indices.
            checkpoint = Checkpoint.sign(self._key, edge.size, edge.root())
            connection.execute(
                insert(schema.checkpoint).values(
                    size=checkpoint.size,
                    root=checkpoint.root,
                    note=checkpoint.note,
                    time=self._database.clock(),
                )
            )
            reach("audit-before-commit")
        # Committed. Dying here leaves a good log whose anchor is one step behind.
        reach("audit-before-anchor")
        return True

    def _require_writable(self) -> None:
        if self.refusal is not None:
            raise StoreError(self.refusal)

    def _require_intact(self, connection: Connection) -> tuple[int, bytes]:
        """Size and root of the log, if they are those of its newest checkpoint: we never sign over a doubtful tree."""
        size, note = _size(connection), _newest(connection)
        known = Checkpoint.parse(note, self._key.verifier) if note is not None else None
        root = Edge.read(size, partial(read_node, connection)).root()
        if (size, root) != ((known.size, known.root) if known is not None else (0, EMPTY_ROOT)):
            raise StoreError(
                "the audit log does not match its own newest checkpoint: it was changed outside of specimg. Run "
                "'specimg audit verify' to see where, and restore the data folder from a backup"
            )
        return size, root

    def _anchor(self, newest: Checkpoint) -> None:
        known = self._keys.anchor(self._key.verifier)
        if known is None or known.size < newest.size:
            self._keys.publish(newest)


def _find_refusal(connection: Connection, anchor: Checkpoint | None) -> str | None:
    """The rollback rule: the log must continue the newest checkpoint that left the database."""
    size = _size(connection)
    remedy = "If this is a restored backup, record it with 'specimg audit recover'; until then nothing is written"
    if anchor is None:
        return f"keys/checkpoint.txt is missing, so the log cannot be compared with its past. {remedy}"
    if size < anchor.size:
        return (
            f"the database is older than its last checkpoint: it has {size} audit entries, {anchor.size} were "
            f"recorded. {remedy}"
        )
    if Edge.read(anchor.size, partial(read_node, connection)).root() != anchor.root:
        return f"the database's audit log is not the one of checkpoint {anchor.size}. {remedy}"
    return None


def _size(connection: Connection) -> int:
    last = connection.scalar(select(func.max(schema.entry.c.index)))
    return 0 if last is None else int(last) + 1


def _newest(connection: Connection) -> str | None:
    return connection.scalar(select(schema.checkpoint.c.note).order_by(schema.checkpoint.c.size.desc()).limit(1))


def read_node(connection: Connection, level: int, index: int) -> bytes:
    hash = connection.scalar(
        select(schema.node.c.hash).where(schema.node.c.level == level, schema.node.c.index == index)
    )
    if hash is None:
        raise StoreError("a node of the audit tree is missing; restore the data folder from a backup")
    return bytes(hash)


def _summary(size: int, root: bytes) -> dict[str, JSON]:
    return {"size": size, "root": f"sha256:{root.hex()}"}
