"""Files from outside become images of a project.

The order makes a crash harmless. Everything large is written first, under names that nobody looks up: originals by their
digest, the image in a staging folder and then under its id. The commit of one small transaction (rows and log entry)
makes it visible. Whatever dies before that leaves files without rows, which the next ``open_desk`` sweeps.

A sweep of another process may run while we work. Deletions happen only inside a write transaction, and our transaction
first checks that its files are there: if not, the series is written again.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import apsw
import numpy.typing as npt
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError

from specimg.access import Actor, Permission, require
from specimg.audit import entry as entries
from specimg.digest import Digest
from specimg.errors import InvalidInput, SpecimgError, StoreError, TooBusy, TooLarge, UnreadableFile
from specimg.formats.base import Series
from specimg.formats.sandbox import Child
from specimg.store import schema
from specimg.store.failpoint import reach
from specimg.store.writer import Progress, StagedImage, publish, write
from specimg.workflow.desk import Desk

_ATTEMPTS = 3
"""How often a series is written again because a sweep took its files before they had rows."""


_COPIERS = 4
_FULL = "the disk of the data folder is full; nothing of this series was kept"


class Remote(Protocol):
    """A series as a parsing child offers it: ``formats.sandbox.RemoteSeries``."""

    @property
    def series(self) -> Series:
        """The description."""
        ...

    @property
    def format(self) -> str:
        """Name of the format that reads it."""
        ...

    @property
    def files(self) -> Sequence[Path]:
        """Its files, in the order of ``series.files``."""
        ...

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Stored samples of a box."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class Parser(Protocol):
    """What ingest needs of ``formats.sandbox.Child``."""

    @property
    def refusals(self) -> Sequence[UnreadableFile]:
        """After ``open``: parts of the source that could not be used."""
        ...

    @property
    def ignored(self) -> Sequence[str]:
        """After ``open``: names of files that no format reads."""
        ...

    def open(self, root: Path) -> Sequence[Remote]:
        """The series of a file, folder or archive."""
        ...


@dataclass(frozen=True, slots=True)
class Ingested:
    """A series that is in the project now. ``already`` if it was there before."""

    image_id: str
    name: str
    format: str
    already: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source, or a part of one, that could not be used: which file, what is wrong, and what to do."""

    code: str
    file: str
    field: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Ingestion:
    """What became of one source."""

    images: tuple[Ingested, ...]
    refusals: tuple[Refusal, ...]
    ignored: tuple[str, ...] = ()
    """Files that no format reads."""


def ingest(
    desk: Desk,
    actor: Actor,
    path: Path,
    project_id: str,
    *,
    progress: Progress | None = None,
    parser: Callable[[], AbstractContextManager[Parser]] | None = None,
) -> Ingestion:
    """Bring a file, folder or archive into a project.

    Each series stands for itself: one that is refused leaves an ``image.refuse`` entry and no trace of its pixels, the
    others go in. A series that is there already is found by its files, without reading pixels.

    Raises ``NotFound`` or ``NotPermitted`` before anything is read, and ``StoreError`` if our own disk is full or the log
    refuses to write.
    """
    require(actor, Permission.ANNOTATE, project_id)
    if desk.log.refusal is not None:
        raise StoreError(desk.log.refusal)
    batch = _Batch(desk, actor, project_id, progress or _quiet)
    with _refusing(batch, path.name):
        _require_size(path, desk.limits.source_bytes)
        with (parser or _child(desk))() as child:
            for remote in _open(batch, child, path):
                with _refusing(batch, remote.series.name):
                    batch.images.append(_bring(batch, remote))
    return Ingestion(tuple(batch.images), tuple(batch.refusals), tuple(batch.ignored))


class _Batch:
    """One call of ``ingest``: who asks, and what has become of the source so far."""

    def __init__(self, desk: Desk, actor: Actor, project_id: str, progress: Progress) -> None:
        self.desk, self.actor, self.project_id, self.progress = desk, actor, project_id, progress
        self.images: list[Ingested] = []
        self.refusals: list[Refusal] = []
        self.ignored: list[str] = []


class _SweptError(Exception):
    """Files that had no rows yet were taken by a sweep."""


def _quiet(phase: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def _child(desk: Desk) -> Callable[[], AbstractContextManager[Parser]]:
    return lambda: Child(memory=desk.limits.child_memory, seconds=desk.limits.child_seconds)


def _open(batch: _Batch, child: Parser, path: Path) -> Sequence[Remote]:
    """The series of a source. Each part that cannot be used is refused by itself."""
    try:
        found = child.open(path)
    except UnreadableFile as error:
        for refusal in child.refusals or (error,):
            _refuse(batch, refusal, path.name)
        return ()
    for refusal in child.refusals:
        _refuse(batch, refusal, path.name)
    batch.ignored += child.ignored
    return found


# --- refusals -------------------------------------------------------------------------------------------------------


@contextmanager
def _refusing(batch: _Batch, name: str) -> Iterator[None]:
    """Turn what is wrong with the source into a refusal on record. What is wrong with us goes on up."""
    try:
        yield
    except (InvalidInput, TooLarge, TooBusy) as error:
        _refuse(batch, error, name)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(_FULL) from error
        raise
    except DBAPIError as error:
        if isinstance(error.orig, apsw.FullError):
            raise StoreError(_FULL) from error
        raise


def _refuse(batch: _Batch, error: SpecimgError, name: str) -> None:
    refusal = _refusal(error, name)
    now = batch.desk.database.clock()
    entry = entries.image_refuse(
        batch.actor, now, project=batch.project_id, code=refusal.code, field=refusal.field or None
    )
    with batch.desk.database.transaction() as connection:
        batch.desk.log.append(connection, entry)
    batch.refusals.append(refusal)


def _refusal(error: SpecimgError, name: str) -> Refusal:
    if isinstance(error, UnreadableFile):
        return Refusal(error.code, error.file, error.field or "", error.problem, error.remedy)
    remedies = {
        TooLarge: "Split it, or ask an administrator to raise the limit.",
        TooBusy: "Try again; if it happens again, the file may be damaged.",
    }
    remedy = remedies.get(type(error), "Correct the file and ingest it again.")
    field = error.field if isinstance(error, InvalidInput) else None
    return Refusal(error.code, name, field or "", str(error), remedy)


def _require_size(path: Path, limit: int) -> None:
    if not path.exists():
        raise UnreadableFile(file=path.name, field="path", problem="there is no such file", remedy="Check the path.")
    files = [path] if path.is_file() else (entry for entry in path.rglob("*") if entry.is_file())
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > limit:
            raise TooLarge(f"the source is larger than {limit / 2**30:.3g} GiB")


# --- one series -----------------------------------------------------------------------------------------------------


def _bring(batch: _Batch, remote: Remote) -> Ingested:
    try:
        for _ in range(_ATTEMPTS):
            try:
                return _bring_once(batch, remote)
            except _SweptError:
                continue
        raise StoreError("other processes keep removing files of the data folder while they are written")
    finally:
        remote.close()


def _bring_once(batch: _Batch, remote: Remote) -> Ingested:
    desk = batch.desk
    stamps = [_stamp(file) for file in remote.files]
    # Staging begins before the first copy: a folder without an owner is what tells the next start of our death.
    with desk.staging.folder() as folder:
        copied: list[Digest] = []
        try:
            originals = _keep_originals(batch, remote, copied)
            known = _find_same(desk, remote, originals)
            if known is not None:
                return _record(batch, remote, originals, known)
            staged = write(remote, folder, progress=batch.progress)
            if [_stamp(file) for file in remote.files] != stamps:
                raise _changed(remote.series)
            publish(staged, desk.home)
            return _record(batch, remote, originals, staged)
        finally:
            # Refused, or another set of files gave this very image before: then nothing refers to these copies.
            _drop_orphans(desk, copied)


def _changed(series: Series) -> UnreadableFile:
    return UnreadableFile(
        file=series.files[0] if series.files else series.name,
        field="contents",
        problem="a file changed while it was read",
        remedy="Wait until whatever writes it has finished, and ingest it again.",
    )


def _keep_originals(batch: _Batch, remote: Remote, copied: list[Digest]) -> list[Digest]:
    """Copy a series' files to ``originals/``; returns their digests in the order of the series.

    ``copied`` gets each digest as soon as its copy is there, also when another one fails.
    """

    def copy(file: Path) -> tuple[Digest, int]:
        digest, size = batch.desk.originals.put_file(file)
        copied.append(digest)
        return digest, size

    total, done = sum(file.stat().st_size for file in remote.files), 0
    digests: list[Digest] = []
    # A series may have a thousand small files, each flushed twice: several flushes at a time share the disk's.
    with ThreadPoolExecutor(_COPIERS, "ingest-copy") as copiers:
        for digest, size in copiers.map(copy, remote.files):
            reach("originals")
            digests.append(digest)
            done += size
            batch.progress("originals", done, total)
    return digests


def _stamp(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _find_same(desk: Desk, remote: Remote, originals: Sequence[Digest]) -> StagedImage | None:
    """The image that this release would make of these files, if it was made before."""
    if not originals:
        return None
    link = schema.image_original
    query = (
        select(schema.image)
        .join(link, link.c.image_id == schema.image.c.id)
        .where(link.c.position == 0, link.c.digest == originals[0], schema.image.c.format == remote.format)
    )
    described = _text(remote.series.to_json())
    with desk.database.reading() as connection:
        for row in connection.execute(query).all():
            if _text(row.series) != described or not (desk.images.folder / row.id).is_dir():
                continue
            files = select(link.c.digest).where(link.c.image_id == row.id).order_by(link.c.position)
            if list(connection.scalars(files)) == list(originals):
                return StagedImage(desk.images.folder / row.id, Digest(row.digest), remote.series, (), row.bytes)
    return None


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _record(batch: _Batch, remote: Remote, originals: Sequence[Digest], staged: StagedImage) -> Ingested:
    """The commit point: rows and log entry of one image in one project."""
    desk, series = batch.desk, remote.series
    with desk.database.transaction() as connection:
        _require_files(desk, originals, staged)
        now = desk.database.clock()
        if not _exists(connection, staged.id):
            _insert_image(connection, remote, originals, staged, now)
        added = connection.execute(
            insert(schema.project_image)
            .values(
                project_id=batch.project_id, image_id=staged.id, name=series.name, added_at=now, added_by=batch.actor.id
            )
            .on_conflict_do_nothing()
        ).rowcount
        if added:
            desk.log.append(
                connection,
                entries.image_ingest(
                    batch.actor,
                    now,
                    project=batch.project_id,
                    image=staged.id,
                    digest=staged.digest,
                    originals=originals,
                ),
            )
        reach("before-commit")
    reach("after-commit")
    return Ingested(staged.id, series.name, remote.format, not added, series.warnings)


def _require_files(desk: Desk, originals: Sequence[Digest], staged: StagedImage) -> None:
    if not (desk.images.folder / staged.id / "zarr.json").is_file():
        raise _SweptError
    if any(digest not in desk.originals for digest in originals):
        raise _SweptError


def _exists(connection: Connection, image_id: str) -> bool:
    return connection.execute(select(schema.image.c.id).where(schema.image.c.id == image_id)).one_or_none() is not None


def _insert_image(
    connection: Connection, remote: Remote, originals: Sequence[Digest], staged: StagedImage, now: str
) -> None:
    connection.execute(
        insert(schema.image).values(
            id=staged.id,
            digest=staged.digest,
            format=remote.format,
            series=remote.series.to_json(),
            levels=[level.to_json() for level in staged.levels],
            bytes=staged.bytes,
            created_at=now,
        )
    )
    sizes = [file.stat().st_size for file in remote.files]
    for position, (digest, size) in enumerate(zip(originals, sizes, strict=True)):
        connection.execute(
            insert(schema.original).values(digest=digest, size=size, stored_at=now).on_conflict_do_nothing()
        )
        connection.execute(insert(schema.image_original).values(image_id=staged.id, position=position, digest=digest))


def _drop_orphans(desk: Desk, originals: Sequence[Digest]) -> None:
    """Forget copies of files that became part of no image."""

    def orphans(connection: Connection) -> list[Digest]:
        query = select(schema.original.c.digest).where(schema.original.c.digest == bindparam("digest"))
        return [d for d in set(originals) if connection.execute(query, {"digest": d}).one_or_none() is None]

    with desk.database.reading() as connection:
        if not orphans(connection):
            return
    with desk.database.transaction() as connection:
        for digest in orphans(connection):
            desk.originals.remove(digest)
