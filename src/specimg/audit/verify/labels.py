"""Labels against the log: each edit row has its leaf, each leaf its edit row, and digests are what the rows give.

An edit's digest is of the canonical JSON of ``{"segmentation", "version", "base", "previous", "tool", "params", "reason",
"chunks": [[key, digest or null], …], "shapes": [[id, digest or null], …]}``; version 0 is ``{"segmentation": id}``. It is
computed here from the rows, and compared with the row and with the leaf.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from typing import Any

from .canonical import Malformed, dumps, loads
from .leaf import LABEL_TYPES
from .report import Progress, Report

_TYPES = ", ".join(f"'{name}'" for name in sorted(LABEL_TYPES))

_EDITS = """
SELECT e.segmentation_id, e.version, e.base, e.digest, e.time, e.actor_id, e.tool, e.params, e.reason, e.entry_id,
       s.project_id, c."index", c.type, c.time, c.actor, c.project, c.kind, c.object, c.version, c.old, c.new, c.reason
FROM edit e LEFT JOIN segmentation s ON s.id = e.segmentation_id LEFT JOIN claim c ON c.id = e.entry_id
ORDER BY e.segmentation_id, e.version
"""
_CHUNKS = "SELECT chunk, blob FROM chunk_version WHERE segmentation_id = ? AND version = ?"
_PUT = "SELECT shape_id, digest, shape FROM shape_version WHERE segmentation_id = ? AND first_version = ?"
_CLOSED = "SELECT shape_id FROM shape_version WHERE segmentation_id = ? AND last_version = ?"


@dataclass(frozen=True, slots=True)
class Edit:
    """A row of ``edit``, and the segmentation's project."""

    segmentation: str
    version: int
    base: int
    digest: str
    time: str
    actor: str
    tool: str
    params: str
    reason: str | None
    entry_id: str
    project: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """What the leaf of ``entry_id`` says."""

    index: int | None
    type: str | None
    time: str | None
    actor: str | None
    project: str | None
    kind: str | None
    object: str | None
    version: int | None
    old: str | None
    new: str | None
    reason: str | None


def verify_labels(connection: sqlite3.Connection, report: Report, progress: Progress) -> None:
    """Every segmentation, version by version."""
    Labels(connection, report, progress).verify()


def digest_of(value: Any) -> str:
    """``sha256:…`` of a value's canonical JSON."""
    return "sha256:" + hashlib.sha256(dumps(value)).hexdigest()


class Labels:
    """One pass over the edit rows, then the checks that need all of them."""

    def __init__(self, connection: sqlite3.Connection, report: Report, progress: Progress) -> None:
        self._connection = connection
        self._report = report
        self._progress = progress
        self._segmentation: str | None = None
        self._version = 0
        self._digest = ""
        self._index = -1
        self._time = ""

    def verify(self) -> None:
        """All of it."""
        total = self._connection.execute("SELECT count(*) FROM edit").fetchone()[0]
        for number, row in enumerate(self._connection.execute(_EDITS)):
            edit, claim = Edit(*row[:11]), Claim(*row[11:])
            if edit.segmentation != self._segmentation:
                self._begin(edit.segmentation)
            self._edit(edit, claim)
            if number % 1024 == 0:
                self._progress("label versions", number, total)
        self._progress("label versions", total, total)
        self._report.count("label versions", total)
        self._segmentations()
        self._leaves_without_rows()
        self._rows_without_edit()

    def _begin(self, segmentation: str) -> None:
        self._segmentation = segmentation
        self._version, self._index, self._time = 0, -1, ""
        self._digest = digest_of({"segmentation": segmentation})

    def _edit(self, edit: Edit, claim: Claim) -> None:
        if edit.project is None:
            self._bad("label-orphan", "an edit of a segmentation that is not there", edit, claim)
        if edit.version != self._version + 1:
            self._bad("label-gap", f"version {self._version + 1} of this segmentation is missing", edit, claim)
        self._own_digest(edit, claim)
        self._leaf(edit, claim)
        self._version, self._digest = edit.version, edit.digest

    def _own_digest(self, edit: Edit, claim: Claim) -> None:
        try:
            computed = digest_of(
                {
                    "segmentation": edit.segmentation,
                    "version": edit.version,
                    "base": edit.base,
                    "previous": self._digest,
                    "tool": edit.tool,
                    "params": loads(edit.params),
                    "reason": edit.reason,
                    "chunks": self._chunks(edit),
                    "shapes": self._shapes(edit, claim),
                }
            )
        except (Malformed, TypeError) as error:
            self._bad("label-row", f"the edit's rows are malformed: {error}", edit, claim)
            return
        if computed != edit.digest:
            self._bad("label-digest", "the edit's rows do not have the digest recorded", edit, claim)

    def _chunks(self, edit: Edit) -> list[list[str | None]]:
        rows = self._connection.execute(_CHUNKS, (edit.segmentation, edit.version))
        return [[key, blob] for key, blob in sorted(rows)]

    def _shapes(self, edit: Edit, claim: Claim) -> list[list[str | None]]:
        found: dict[str, str | None] = {}
        for (shape_id,) in self._connection.execute(_CLOSED, (edit.segmentation, edit.version - 1)):
            found[shape_id] = None
        for shape_id, digest, shape in self._connection.execute(_PUT, (edit.segmentation, edit.version)):
            if digest_of(loads(shape)) != digest:
                self._bad("shape-digest", f"shape {shape_id} does not have the digest recorded", edit, claim)
            self._report.count("shapes")
            found[shape_id] = digest
        return [[shape_id, digest] for shape_id, digest in sorted(found.items())]

    def _leaf(self, edit: Edit, claim: Claim) -> None:
        if claim.type is None:
            self._bad("label-no-entry", "an edit without an entry in the log", edit, claim)
            return
        wrong = []
        if claim.type not in LABEL_TYPES or claim.kind != "segmentation":
            wrong.append("type")
        for name, said, row in (
            ("segmentation", claim.object, edit.segmentation),
            ("version", claim.version, edit.version),
            ("digest", claim.new, edit.digest),
            ("previous digest", claim.old, self._digest),
            ("actor", claim.actor, edit.actor),
            ("time", claim.time, edit.time),
            ("project", claim.project, edit.project),
        ):
            if said != row:
                wrong.append(name)
        if claim.reason is not None and claim.reason != edit.reason:
            wrong.append("reason")
        if wrong:
            self._bad("label-entry", f"the edit is not the one its entry records: {', '.join(wrong)}", edit, claim)
        if claim.index is not None:
            if claim.index <= self._index:
                self._bad("label-order", "this version entered the log before the one it builds on", edit, claim)
            self._index = claim.index
        if edit.time < self._time:
            self._report.add(
                "note",
                "time-backwards",
                "this version is dated before the one it builds on",
                index=claim.index,
                entry_id=edit.entry_id,
                segmentation=edit.segmentation,
                version=edit.version,
            )
        self._time = edit.time

    # --- what no single edit row can show ---------------------------------------------------------------------------

    def _segmentations(self) -> None:
        heads = """
        SELECT s.id, s.head, s.head_digest, e.version, e.digest,
               (SELECT max(version) FROM edit WHERE segmentation_id = s.id)
        FROM segmentation s LEFT JOIN edit e ON e.segmentation_id = s.id AND e.version = s.head ORDER BY s.id
        """
        for segmentation, head, head_digest, version, digest, last in self._connection.execute(heads):
            self._report.count("segmentations")
            expected = (0, digest_of({"segmentation": segmentation})) if last is None else (version, digest)
            if (head, head_digest) != expected or head != (last or 0):
                self._report.add(
                    "invalid",
                    "label-head",
                    "the segmentation's head is not its last version",
                    segmentation=segmentation,
                )
        self._created()

    def _created(self) -> None:
        rows = """
        SELECT s.id, s.project_id, s.image_id, s.ontology_id, s.created_by, s.created_at,
               c."index", c.id, c.project, c.actor, c.time, c.new, c.detail
        FROM segmentation s LEFT JOIN claim c ON c.object = s.id AND c.type = 'segmentation.create' ORDER BY s.id
        """
        for row in self._connection.execute(rows):
            segmentation, project, image, ontology, creator, created_at = row[:6]
            index, entry_id, *said, detail = row[6:]
            if entry_id is None:
                self._report.add(
                    "invalid", "label-no-entry", "a segmentation without an entry in the log", segmentation=segmentation
                )
                continue
            more = loads(detail or "{}")
            found = [project, creator, created_at, digest_of({"segmentation": segmentation}), image, ontology]
            if found != [*said, more.get("image"), more.get("ontology")]:
                self._report.add(
                    "invalid",
                    "label-entry",
                    "the segmentation is not the one its entry records",
                    index=index,
                    entry_id=entry_id,
                    segmentation=segmentation,
                    version=0,
                )

    def _leaves_without_rows(self) -> None:
        gone = f"""
        SELECT c."index", c.id, c.object, c.version FROM claim c
        LEFT JOIN edit e ON e.segmentation_id = c.object AND e.version = c.version AND e.entry_id = c.id
        WHERE c.kind = 'segmentation' AND c.type IN ({_TYPES}) AND c.version > 0 AND e.version IS NULL
        UNION ALL
        SELECT c."index", c.id, c.object, c.version FROM claim c LEFT JOIN segmentation s ON s.id = c.object
        WHERE c.type = 'segmentation.create' AND s.id IS NULL ORDER BY 1
        """  # noqa: S608 -- the names are constants of this file
        for index, entry_id, segmentation, version in self._connection.execute(gone):
            self._report.add(
                "invalid",
                "label-gone",
                "the log records this version, but it is not among the labels",
                index=index,
                entry_id=entry_id,
                segmentation=segmentation,
                version=version,
            )
        forks = f"""
        SELECT max("index"), object, version FROM claim WHERE kind = 'segmentation' AND type IN ({_TYPES})
        AND version > 0 GROUP BY object, version HAVING count(*) > 1
        """  # noqa: S608 -- the names are constants of this file
        for index, segmentation, version in self._connection.execute(forks):
            self._report.add(
                "invalid",
                "label-fork",
                "two entries record the same version",
                index=index,
                segmentation=segmentation,
                version=version,
            )

    def _rows_without_edit(self) -> None:
        for table, column in (("chunk_version", "version"), ("shape_version", "first_version")):
            rows = f"""
            SELECT DISTINCT t.segmentation_id, t.{column} FROM {table} t
            LEFT JOIN edit e ON e.segmentation_id = t.segmentation_id AND e.version = t.{column}
            WHERE e.version IS NULL
            """  # noqa: S608 -- the names are constants of this file
            for segmentation, version in self._connection.execute(rows):
                self._report.add(
                    "invalid",
                    "label-orphan",
                    f"rows of {table} that belong to no edit",
                    segmentation=segmentation,
                    version=version,
                )
        late = """
        SELECT DISTINCT t.segmentation_id, t.last_version FROM shape_version t
        LEFT JOIN edit e ON e.segmentation_id = t.segmentation_id AND e.version = t.last_version + 1
        WHERE t.last_version IS NOT NULL AND e.version IS NULL
        """
        for segmentation, version in self._connection.execute(late):
            self._report.add(
                "invalid",
                "label-orphan",
                "a shape ends in a version that belongs to no edit",
                segmentation=segmentation,
                version=version,
            )

    def _bad(self, code: str, message: str, edit: Edit, claim: Claim) -> None:
        self._report.add(
            "invalid",
            code,
            message,
            index=claim.index,
            entry_id=edit.entry_id,
            segmentation=edit.segmentation,
            version=edit.version,
        )
