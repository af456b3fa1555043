"""Verify a whole data folder: the log, the labels it speaks of, and the files they are made of."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from .chain import Chain
from .files import verify_blobs, verify_images, verify_originals
from .labels import verify_labels
from .note import BadNote, Checkpoint, Key, UnknownKey, open_checkpoint, parse_key
from .records import verify_records
from .report import USAGE, Progress, Report
from .snapshot import NoSnapshot, snapshot

TRIGGERS = frozenset(
    f"{table}_no_{act}"
    for table in ("edit", "chunk_version", "blob", "entry", "checkpoint", "original", "image", "shape_version")
    for act in ("update", "delete")
)


def verify_home(
    home: Path,
    vkey_text: str,
    *,
    checkpoint: str | None = None,
    images: bool = True,
    patience: float = 3.0,
    progress: Progress = lambda stage, done, total: None,
) -> Report:
    """Check everything in a data folder against its log.

    ``vkey_text``: the verifier key, from a source that is not this folder. ``checkpoint``: a checkpoint note kept
    elsewhere; the log must continue it. Without it the folder's own ``keys/checkpoint.txt`` is the anchor, which shows an
    older or changed database but not the work of someone who replaced the whole folder. ``images``: also hash image and
    original files, which takes as long as reading them. ``patience``: seconds to let a running server sign what waits.
    """
    report = Report()
    key = parse_key(vkey_text)
    report.origin = key.name
    # Before the copy: a running server moves the database on, then its anchor, and must not look rolled back.
    anchors = _anchors(home, key, checkpoint, report)
    try:
        with snapshot(home / "specimg.db", patience=patience) as connection:
            _verify_database(connection, home, key, anchors, report, images=images, progress=progress)
    except NoSnapshot as error:
        report.add("incomplete", "database", str(error))
    except sqlite3.DatabaseError as error:
        report.add("invalid", "database-damaged", f"the database cannot be read: {error}")
    return report


def _verify_database(
    connection: sqlite3.Connection,
    home: Path,
    key: Key,
    anchors: list[tuple[str, Checkpoint]],
    report: Report,
    *,
    images: bool,
    progress: Progress,
) -> None:
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
    if missing := sorted(TRIGGERS - names):
        report.add("note", "triggers", f"triggers that guard history are gone: {', '.join(missing)}")
    Chain(connection, key, report, progress).verify(anchors)
    verify_labels(connection, report, progress)
    verify_records(connection, report)
    verify_blobs(connection, home, report, progress)
    if images:
        verify_originals(connection, home, report, progress)
        verify_images(connection, home, report, progress)
    else:
        report.add("note", "images-skipped", "image and original files were not read")


def _anchors(home: Path, key: Key, given: str | None, report: Report) -> list[tuple[str, Checkpoint]]:
    notes = []
    with suppress(OSError):
        inside = (home / "keys" / "checkpoint.txt").read_bytes().decode("utf-8", "replace")
        notes.append(("keys/checkpoint.txt", inside))
    if given is not None:
        notes.append(("the checkpoint given", given))
    anchors = []
    for name, note in notes:
        try:
            anchors.append((name, open_checkpoint(note, key)))
        except UnknownKey as error:
            report.add("incomplete", "unknown-key", f"{name}: {error}")
        except BadNote as error:
            report.add("invalid", "anchor-note", f"{name}: {error}")
    if not notes:
        report.add(
            "incomplete",
            "no-anchor",
            "there is no checkpoint from outside the database, so nobody can tell whether newest entries were removed",
        )
    return anchors


__all__ = ["USAGE", "verify_home"]
