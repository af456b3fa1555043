"""Bundles: the log, or one label's part of it, as a file that a stranger can verify with the public key alone.

::

    README.txt          how to verify
    log.vkey            the verifier key; for convenience: trust the one you got elsewhere
    checkpoint.txt      the newest checkpoint, under which everything here is proven
    checkpoints.jsonl   whole log only: every checkpoint, a JSON string a line
    entries.jsonl       whole log only: the exact leaves, line n is entry n
    proofs/<12 digits>.tlog-proof   one label only: C2SP tlog-proof of each of its entries, the leaf in ``extra``

A label's bundle holds no entries about anything else: it can be given to a partner without the rest of the log.
"""

from __future__ import annotations

import json
import os
import zipfile
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, select

from specimg.audit.checkpoint import Checkpoint, VerifierKey, proof_text
from specimg.audit.log import Log, read_node
from specimg.audit.merkle import inclusion
from specimg.errors import NotFound
from specimg.store import schema
from specimg.store.database import Database

_README = """This is a bundle of the audit log {origin}.

Verify it with the log's verifier key, which you must have from the people who run the server, not from here:

    specimg audit verify --bundle FILE --key VKEY

It exits with 0 if every entry is what was recorded under checkpoint.txt, 1 if not, 2 if it could not tell.
"""
_PAGE = 4096


def export_bundle(database: Database, log: Log, path: Path, *, segmentation: str | None = None) -> Checkpoint:
    """Write a bundle to ``path`` (a new zip file); returns the checkpoint it is under. Sequences first.

    ``segmentation``: only this label's entries, with proofs. Raises ``NotFound`` where there is nothing to prove.
    """
    log.sequence()
    temporary = path.with_name(path.name + ".part")
    try:
        with database.reading() as connection, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            checkpoint = _newest(connection, VerifierKey.parse(log.vkey))
            archive.writestr("README.txt", _README.format(origin=checkpoint.origin))
            archive.writestr("log.vkey", log.vkey + "\n")
            archive.writestr("checkpoint.txt", checkpoint.note)
            if segmentation is None:
                _write_whole(connection, archive, checkpoint)
            else:
                _write_part(connection, archive, checkpoint, segmentation)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return checkpoint


def _write_whole(connection: Connection, archive: zipfile.ZipFile, checkpoint: Checkpoint) -> None:
    with archive.open("entries.jsonl", "w", force_zip64=True) as file:
        for start in range(0, checkpoint.size, _PAGE):
            index = schema.entry.c.index
            page = select(schema.entry.c.leaf).where(index >= start, index < start + _PAGE).order_by(index)
            for leaf in connection.scalars(page):
                file.write(bytes(leaf) + b"\n")
    with archive.open("checkpoints.jsonl", "w", force_zip64=True) as file:
        notes = select(schema.checkpoint.c.note).order_by(schema.checkpoint.c.size)
        for note in connection.scalars(notes):
            file.write(json.dumps(note).encode() + b"\n")


def _write_part(connection: Connection, archive: zipfile.ZipFile, checkpoint: Checkpoint, segmentation: str) -> None:
    table = schema.entry.c
    rows = connection.execute(
        select(table.index, table.leaf).where(table.object_id == segmentation).order_by(table.index)
    ).all()
    if not rows:
        raise NotFound("the log has no entries about this segmentation")
    for index, leaf in rows:
        path = inclusion(index, checkpoint.size, partial(read_node, connection))
        archive.writestr(f"proofs/{index:012d}.tlog-proof", proof_text(index, path, checkpoint, bytes(leaf)))


def _newest(connection: Connection, key: VerifierKey) -> Checkpoint:
    note = connection.scalar(select(schema.checkpoint.c.note).order_by(schema.checkpoint.c.size.desc()).limit(1))
    if note is None:
        raise NotFound("the log is empty")
    return Checkpoint.parse(note, key)
