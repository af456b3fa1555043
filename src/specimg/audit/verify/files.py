"""Bytes against their names: label blobs, original files, image files."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from .canonical import loads
from .labels import digest_of
from .report import Progress, Report

PIECE = 1 << 20


def verify_blobs(connection: sqlite3.Connection, home: Path, report: Report, progress: Progress) -> None:
    """Every label chunk, in the database or in ``blobs/``, has the digest it goes by."""
    total = connection.execute("SELECT count(*) FROM blob").fetchone()[0]
    for number, (digest, size, data) in enumerate(connection.execute("SELECT digest, size, bytes FROM blob")):
        if number % 256 == 0:
            progress("label blobs", number, total)
        found: tuple[str | None, int]
        if isinstance(data, bytes):
            found = ("sha256:" + hashlib.sha256(data).hexdigest(), len(data))
        else:
            found = _hash(home / "blobs", digest)
        if found != (digest, size):
            _bad_blob(connection, digest, report, missing=found == (None, 0))
    missing = """
    SELECT DISTINCT v.blob FROM chunk_version v LEFT JOIN blob b ON b.digest = v.blob
    WHERE v.blob IS NOT NULL AND b.digest IS NULL
    """
    for (digest,) in connection.execute(missing):
        _bad_blob(connection, digest, report, missing=True)
    progress("label blobs", total, total)
    report.count("label blobs", total)


def verify_originals(connection: sqlite3.Connection, home: Path, report: Report, progress: Progress) -> None:
    """Every file as it came has the digest it goes by."""
    total = connection.execute("SELECT count(*) FROM original").fetchone()[0]
    for number, (digest, size) in enumerate(connection.execute("SELECT digest, size FROM original")):
        progress("original files", number, total)
        found = _hash(home / "originals", digest)
        if found == (digest, size):
            continue
        user = connection.execute(
            """
            SELECT o.image_id, c."index", c.id FROM image_original o
            LEFT JOIN claim c ON c.object = o.image_id AND c.type = 'image.ingest'
            WHERE o.digest = ? ORDER BY c."index" LIMIT 1
            """,
            (digest,),
        ).fetchone() or (None, None, None)
        what = "is missing" if found == (None, 0) else "was changed"
        report.add(
            "invalid", "original", f"original file {digest} of image {user[0]} {what}", index=user[1], entry_id=user[2]
        )
    progress("original files", total, total)
    report.count("original files", total)


def _bad_blob(connection: sqlite3.Connection, digest: str, report: Report, *, missing: bool) -> None:
    """Name the first version that wrote this blob: from there on the labels are not what was recorded."""
    user = connection.execute(
        """
        SELECT v.segmentation_id, v.version, e.entry_id, c."index" FROM chunk_version v
        LEFT JOIN edit e ON e.segmentation_id = v.segmentation_id AND e.version = v.version
        LEFT JOIN claim c ON c.id = e.entry_id WHERE v.blob = ? ORDER BY c."index" IS NULL, c."index" LIMIT 1
        """,
        (digest,),
    ).fetchone() or (None, None, None, None)
    what = "is missing" if missing else "was changed"
    report.add(
        "invalid",
        "blob",
        f"label chunk {digest} {what}",
        index=user[3],
        entry_id=user[2],
        segmentation=user[0],
        version=user[1],
    )


def _hash(folder: Path, digest: str) -> tuple[str | None, int]:
    """Digest and size of the file that goes by this digest; ``(None, 0)`` if there is none."""
    hex = digest.removeprefix("sha256:")
    if len(hex) != 64 or not hex.isalnum():
        return (None, 0)
    return _hash_file(folder / hex[:2] / hex[2:])


def _hash_file(path: Path) -> tuple[str | None, int]:
    hasher, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                hasher.update(piece)
                size += len(piece)
    except OSError:
        return (None, 0)
    return ("sha256:" + hasher.hexdigest(), size)


def verify_images(connection: sqlite3.Connection, home: Path, report: Report, progress: Progress) -> None:
    """Every image's files are those of its digest, none changed, missing or added; and its row says what they say.

    The digest is of the canonical JSON of ``[[path, size, sha256 in hex], …]`` over all its files, sorted by path.
    """
    total = connection.execute("SELECT count(*) FROM image").fetchone()[0]
    images = connection.execute("SELECT id, digest, series, levels FROM image ORDER BY id")
    for number, (image, digest, series, levels) in enumerate(images):
        progress("images", number, total)
        folder = home / "images" / str(image)
        manifest = _manifest(folder)
        report.count("image files", len(manifest))
        if digest_of(manifest) != digest:
            wrong = ("image-files", f"files of image {image} were changed, added or are missing")
        elif _contradicts(folder / "zarr.json", series, levels):
            wrong = ("image-row", f"image {image} is described otherwise in the database than in its own files")
        else:
            continue
        index, entry_id = connection.execute(
            "SELECT \"index\", id FROM claim WHERE object = ? AND type = 'image.ingest' ORDER BY 1", (image,)
        ).fetchone() or (None, None)
        report.add("invalid", *wrong, index=index, entry_id=entry_id)
    progress("images", total, total)


def _manifest(folder: Path) -> list[list[object]]:
    rows: list[list[object]] = []
    for path in folder.rglob("*"):
        if path.is_file() or path.is_symlink():
            found, size = (None, 0) if path.is_symlink() else _hash_file(path)
            rows.append([path.relative_to(folder).as_posix(), size, found and found[7:]])
    return sorted(rows, key=lambda row: str(row[0]))


def _contradicts(group: Path, series: object, levels: object) -> bool:
    """Whether the row's geometry, rescale and levels differ from those in ``zarr.json``, which the digest covers.

    Of a series, names of files and what export needs of the source are in the row alone. A group that does not describe
    itself (the digest says it never did) cannot be contradicted.
    """
    try:
        own = loads(group.read_text("utf-8")).get("attributes", {}).get("specimg")
        if own is None:
            return False
        row = {key: value for key, value in loads(str(series)).items() if key not in ("files", "source")}
        pyramid = [{key: value for key, value in level.items() if key != "grid"} for level in own["levels"]]
        return bool(row != own["series"] or loads(str(levels)) != pyramid)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return True
