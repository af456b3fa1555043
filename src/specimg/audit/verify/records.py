"""The other rows that leaves speak of: images, ontologies, proposals, and words that may be erased."""

from __future__ import annotations

import hashlib
import sqlite3

from .canonical import Malformed, loads
from .labels import digest_of
from .report import Report


def verify_records(connection: sqlite3.Connection, report: Report) -> None:
    """All of them. Each is a handful of rows beside the labels."""
    _images(connection, report)
    _ontologies(connection, report)
    _proposals(connection, report)
    _private_values(connection, report)


def _images(connection: sqlite3.Connection, report: Report) -> None:
    rows = """
    SELECT i.id, i.digest, c."index", c.id, c.new, c.detail FROM image i
    LEFT JOIN claim c ON c.object = i.id AND c.type = 'image.ingest' ORDER BY i.id, c."index" IS NULL, c."index"
    """
    before = None
    for image, digest, index, entry_id, new, detail in connection.execute(rows):
        if image == before:
            # Brought again, to another project: perhaps from other files, which were not kept if the pixels were the same.
            if new != digest:
                report.add("invalid", "image-entry", f"image {image} is not this one", index=index, entry_id=entry_id)
            continue
        before = image
        if entry_id is None:
            report.add("invalid", "image-no-entry", f"image {image} has no entry in the log")
            continue
        said = loads(detail or "{}").get("originals")
        originals = connection.execute(
            "SELECT digest FROM image_original WHERE image_id = ? ORDER BY position", (image,)
        )
        if new != digest or str(digest)[7:39] != image or said != digest_of([row[0] for row in originals]):
            report.add(
                "invalid",
                "image-entry",
                f"image {image} or its list of original files is not what its entry records",
                index=index,
                entry_id=entry_id,
            )
    gone = """
    SELECT c."index", c.id, c.object FROM claim c LEFT JOIN image i ON i.id = c.object
    WHERE c.type = 'image.ingest' AND i.id IS NULL
    """
    for index, entry_id, image in connection.execute(gone):
        report.add("invalid", "image-gone", f"image {image} is gone", index=index, entry_id=entry_id)


def _ontologies(connection: sqlite3.Connection, report: Report) -> None:
    rows = """
    SELECT o.id, o.version, o.project_id, o.classes, o.created_by, c."index", c.id, c.project, c.actor, c.new
    FROM ontology o LEFT JOIN claim c ON c.object = o.id AND c.version = o.version AND c.type = 'ontology.change'
    """
    for name, version, project, classes, creator, index, entry_id, *said in connection.execute(rows):
        report.count("ontologies")
        if entry_id is None:
            report.add("invalid", "ontology-no-entry", f"version {version} of ontology {name} has no entry in the log")
        elif [project, creator, _digest(classes)] != said:
            report.add(
                "invalid",
                "ontology-entry",
                f"version {version} of ontology {name} is not what its entry records",
                index=index,
                entry_id=entry_id,
            )


def _proposals(connection: sqlite3.Connection, report: Report) -> None:
    rows = """
    SELECT p.id, p.segmentation_id, p.actor_id, p.model, p.prompts, p.digest, p.spans, p.state,
           r."index", r.id, r.actor, r.new, r.detail
    FROM proposal p LEFT JOIN claim r ON r.object = p.id AND r.type = 'proposal.run'
    """
    for row in connection.execute(rows):
        proposal, segmentation, actor, model, prompts, digest, spans, state = row[:8]
        index, entry_id, said_actor, new, detail = row[8:]
        report.count("proposals")
        # Once decided, the voxels are let go, and the digest stands for them.
        if (spans or state == "open") and _hash(spans) != digest:
            report.add(
                "invalid",
                "proposal-digest",
                f"the voxels of proposal {proposal} changed",
                index=index,
                entry_id=entry_id,
            )
        if entry_id is None:
            report.add("invalid", "proposal-no-entry", f"proposal {proposal} has no entry in the log")
            continue
        more = loads(detail or "{}")
        found = (actor, digest, segmentation, _digest(model), _digest(prompts))
        if found != (said_actor, new, more.get("segmentation"), more.get("model"), more.get("prompts")):
            report.add(
                "invalid",
                "proposal-entry",
                f"proposal {proposal} is not what its entry records",
                index=index,
                entry_id=entry_id,
            )
    _decisions(connection, report)


def _decisions(connection: sqlite3.Connection, report: Report) -> None:
    """A proposal's state is what its entry says; one without an entry is open, or superseded by a newer one."""
    gone = """
    SELECT c."index", c.id, c.object FROM claim c LEFT JOIN proposal p ON p.id = c.object
    WHERE c.type = 'proposal.run' AND p.id IS NULL
    """
    for index, entry_id, proposal in connection.execute(gone):
        report.add("invalid", "proposal-gone", f"proposal {proposal} is gone", index=index, entry_id=entry_id)
    decided: dict[str, tuple[int | None, str, str, str | None]] = {}
    for index, entry_id, type, target, old, detail in connection.execute(
        "SELECT \"index\", id, type, object, old, detail FROM claim WHERE type IN ('proposal.accept', 'proposal.reject')"
    ):
        said = loads(detail or "{}")
        accepted = type == "proposal.accept"
        proposal = said.get("proposal") if accepted else target
        if proposal in decided:
            report.add(
                "invalid", "proposal-twice", f"proposal {proposal} was decided twice", index=index, entry_id=entry_id
            )
        state, spans = ("accepted", said.get("spans")) if accepted else ("rejected", old)
        decided[proposal] = (index, entry_id, state, spans)
    for proposal, found, digest in connection.execute("SELECT id, state, digest FROM proposal"):
        index, entry_id, said_state, spans = decided.get(proposal, (None, None, None, digest))
        if spans != digest or found not in ((said_state,) if said_state else ("open", "superseded")):
            report.add(
                "invalid",
                "proposal-decision",
                f"proposal {proposal} was not decided as the log records",
                index=index,
                entry_id=entry_id,
            )


def _private_values(connection: sqlite3.Connection, report: Report) -> None:
    erased: set[str] = set()
    for (detail,) in connection.execute("SELECT detail FROM claim WHERE type = 'private.erase'"):
        erased.update(loads(detail or "{}").get("commitments", []))
    rows = """
    SELECT c."index", c.id, c.reason, p.salt, p.value FROM claim c LEFT JOIN private_value p ON p.commitment = c.reason
    WHERE c.reason IS NOT NULL
    """
    for index, entry_id, reason, salt, value in connection.execute(rows):
        if value is None:
            report.count("erased values")
            if reason not in erased:
                report.add(
                    "note", "erased", "words were erased without an entry that says so", index=index, entry_id=entry_id
                )
            continue
        report.count("private values")
        if _commitment(value, salt) != reason:
            report.add(
                "invalid", "private-value", "the words are not those that were recorded", index=index, entry_id=entry_id
            )


def _hash(data: object) -> str | None:
    return "sha256:" + hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else None


def _commitment(value: object, salt: object) -> str | None:
    if not isinstance(value, str) or not isinstance(salt, bytes):
        return None
    return "sha256:" + hashlib.sha256(b"\x02" + salt + value.encode("utf-8", "surrogatepass")).hexdigest()


def _digest(text: object) -> str | None:
    try:
        return digest_of(loads(text)) if isinstance(text, str) else None
    except Malformed:
        return None
