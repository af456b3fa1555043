"""A small data folder with every kind of row the log speaks of, written without the label code.

Edit digests are computed here from the formula in ``docs/architecture.md``, so that writer and verifier are both held
against it. The log is sequenced in several steps: a real log has many checkpoints.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rfc8785
from sqlalchemy import Connection, insert, update

from specimg.access import Actor
from specimg.audit import entry as entries
from specimg.audit import private
from specimg.audit.entry import Entry
from specimg.audit.log import Log
from specimg.audit.merkle import Edge, leaf_hash
from specimg.digest import JSON, Digest
from specimg.store import schema
from specimg.store.database import Database

READER = Actor("0b9c4a52-7a0e-4d53-9f0a-3f8f2ad0c001", "dr.reader", session="sha256:" + "5e" * 32)
PROJECT = "77aa2f0e-0000-4000-8000-000000000001"
SEGMENTATION = "5f1e2d3c-0000-4000-8000-000000000002"
ONTOLOGY = "0e701090-0000-4000-8000-000000000003"
PROPOSAL = "9d0905a1-0000-4000-8000-000000000004"


def sha(data: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def sha_json(value: Any) -> Digest:
    return sha(rfc8785.dumps(value))


class Clock:
    """Ten milliseconds between any two readings."""

    def __init__(self) -> None:
        self.ticks = 0

    def __call__(self) -> str:
        self.ticks += 1
        seconds, hundredths = divmod(self.ticks, 100)
        return f"2026-11-21T10:{seconds // 60:02d}:{seconds % 60:02d}.{hundredths:02d}0000Z"


@dataclass
class Recorder:
    """Writes acts into a data folder as the workflow does, one transaction each."""

    home: Path
    database: Database
    log: Log
    head: int = 0
    digest: Digest = field(default_factory=lambda: sha_json({"segmentation": SEGMENTATION}))

    @classmethod
    def open(cls, home: Path) -> Recorder:
        database = Database.open(home, clock=Clock())
        return cls(home, database, Log(database, home))

    def act(self, make: Callable[[str], Entry], *rows: tuple[Any, Mapping[str, Any]]) -> str:
        """One entry with the rows it speaks of."""
        time = self.database.clock()
        with self.database.transaction() as connection:
            for table, values in rows:
                filled = {key: time if value is NOW else value for key, value in values.items()}
                connection.execute(insert(table).values(**filled))
            return self.log.append(connection, make(time))

    def view(self, number: int = 0) -> str:
        return self.act(lambda time: entries.image_view(READER, time, project=PROJECT, image=f"{number:032x}"))

    def edit(
        self,
        chunks: Mapping[str, bytes | None],
        *,
        shapes: Mapping[str, Mapping[str, Any] | None] | None = None,
        words: str | None = None,
        proposal: str | None = None,
    ) -> str:
        """A version, its rows and its entry."""
        time = self.database.clock()
        version, shapes = self.head + 1, shapes or {}
        with self.database.transaction() as connection:
            reason = private.commit(connection, words) if words else None
            written = self._chunks(connection, version, chunks)
            put = self._shapes(connection, version, shapes)
            params = {"radius": 2.5, "size": 1e21, "note": "größe"}
            digest = sha_json(
                {
                    "segmentation": SEGMENTATION,
                    "version": version,
                    "base": self.head,
                    "previous": self.digest,
                    "tool": "brush",
                    "params": params,
                    "reason": reason,
                    "chunks": [list(pair) for pair in sorted(written.items())],
                    "shapes": [list(pair) for pair in sorted(put.items())],
                }
            )
            common: dict[str, Any] = {
                "project": PROJECT,
                "segmentation": SEGMENTATION,
                "version": version,
                "old": self.digest,
                "new": digest,
            }
            if proposal is None:
                entry = entries.segmentation_edit(READER, time, reason=reason, **common)
            else:
                entry = entries.proposal_accept(READER, time, proposal=proposal, spans=sha(b"spans"), **common)
            connection.execute(
                insert(schema.edit).values(
                    segmentation_id=SEGMENTATION,
                    version=version,
                    base=self.head,
                    digest=digest,
                    time=time,
                    actor_id=READER.id,
                    tool="brush",
                    params=params,
                    reason=reason,
                    voxels=1,
                    entry_id=entry.id,
                )
            )
            connection.execute(update(schema.segmentation).values(head=version, head_digest=digest))
            self.log.append(connection, entry)
        self.head, self.digest = version, digest
        return entry.id

    def _chunks(self, connection: Connection, version: int, chunks: Mapping[str, bytes | None]) -> dict[str, Any]:
        written: dict[str, Any] = {}
        for key, data in chunks.items():
            written[key] = None if data is None else sha(data)
            if data is not None:
                if len(data) >= 65536:
                    path = self.home / "blobs" / written[key][7:9] / written[key][9:]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
                values = {"digest": written[key], "size": len(data), "bytes": data if len(data) < 65536 else None}
                connection.execute(insert(schema.blob).prefix_with("OR IGNORE").values(**values))
            connection.execute(
                insert(schema.chunk_version).values(
                    segmentation_id=SEGMENTATION, chunk=key, version=version, blob=written[key]
                )
            )
        return written

    def _shapes(
        self, connection: Connection, version: int, shapes: Mapping[str, Mapping[str, Any] | None]
    ) -> dict[str, Any]:
        put: dict[str, Any] = {}
        table = schema.shape_version
        for shape_id, shape in shapes.items():
            connection.execute(
                update(table)
                .where(table.c.shape_id == shape_id, table.c.last_version.is_(None))
                .values(last_version=version - 1)
            )
            put[shape_id] = None
            if shape is not None:
                put[shape_id] = sha_json(shape)
                connection.execute(
                    insert(table).values(
                        segmentation_id=SEGMENTATION,
                        shape_id=shape_id,
                        first_version=version,
                        digest=put[shape_id],
                        shape=shape,
                    )
                )
        return put

    def index(self, entry_id: str) -> int:
        index = self.log.entry(entry_id).index
        assert index is not None
        return index

    def close(self) -> None:
        self.log.sequence()
        self.database.close()


NOW = object()
NOW_TEXT = "2026-11-21T10:15:00.000000Z"


def fill(recorder: Recorder) -> None:
    """Eighteen entries: people, an image, an ontology, seven label versions, a proposal, an export."""
    recorder.act(lambda time: entries.log_start(time, vkey=recorder.log.vkey, software="specimg/0.1.0"))
    recorder.act(
        lambda time: entries.account_create(None, time, account=READER.id),
        (schema.account, {"id": READER.id, "name": READER.name, "created_at": NOW}),
    )
    recorder.act(
        lambda time: entries.project_create(READER, time, project=PROJECT),
        (schema.project, {"id": PROJECT, "name": "liver", "created_at": NOW}),
    )
    recorder.log.sequence()
    _ingest(recorder)
    classes: list[JSON] = [{"label": 1, "name": "liver"}]
    recorder.act(
        lambda time: entries.ontology_change(
            READER, time, project=PROJECT, ontology=ONTOLOGY, version=1, old=None, classes=classes
        ),
        (
            schema.ontology,
            {
                "id": ONTOLOGY,
                "version": 1,
                "project_id": PROJECT,
                "name": "organs",
                "classes": classes,
                "created_at": NOW,
                "created_by": READER.id,
            },
        ),
    )
    image = image_of(recorder.home)
    recorder.act(
        lambda time: entries.segmentation_create(
            READER, time, project=PROJECT, segmentation=SEGMENTATION, image=image, ontology=ONTOLOGY
        ),
        (
            schema.segmentation,
            {
                "id": SEGMENTATION,
                "project_id": PROJECT,
                "image_id": image,
                "ontology_id": ONTOLOGY,
                "name": "liver",
                "head": 0,
                "head_digest": sha_json({"segmentation": SEGMENTATION}),
                "created_at": NOW,
                "created_by": READER.id,
            },
        ),
    )
    recorder.log.sequence()
    polygon = {"id": "s1", "kind": "polygon", "label": 1, "points": [[0, 1.5, 2], [0, 4.25, 2], [0, 3, 1e-7]]}
    recorder.edit({"0/0/0": b"first", "0/0/1": b"second"})
    recorder.edit({"0/0/0": b"third"}, shapes={"s1": polygon}, words="seen by Müller, Jürgen, born 1950")
    recorder.edit({"0/0/1": None}, shapes={"s1": {**polygon, "label": 2}})
    recorder.log.sequence()
    recorder.edit({"1/0/0": bytes(range(256)) * 300})
    recorder.edit({}, shapes={"s1": None})
    model: JSON = {"id": "click", "version": "1"}
    prompts: JSON = [{"kind": "point", "points": [[1, 2.5, 3]]}]
    recorder.act(
        lambda time: entries.proposal_run(
            READER,
            time,
            project=PROJECT,
            proposal=PROPOSAL,
            segmentation=SEGMENTATION,
            spans=sha(b"spans"),
            model=model,
            prompts=prompts,
        ),
        (
            schema.proposal,
            {
                "id": PROPOSAL,
                "segmentation_id": SEGMENTATION,
                "actor_id": READER.id,
                "model": model,
                "prompts": prompts,
                "digest": sha(b"spans"),
                "spans": b"",  # let go when it was decided
                "state": "accepted",
                "created_at": NOW,
            },
        ),
    )
    recorder.edit({"0/0/0": b"from a model"}, proposal=PROPOSAL)
    recorder.log.sequence()
    recorder.edit({"0/1/0": b"last"})
    for number in range(4):
        recorder.view(number)
    recorder.act(
        lambda time: entries.export_write(
            READER,
            time,
            project=PROJECT,
            segmentation=SEGMENTATION,
            version=recorder.head,
            format="nifti",
            file=sha(b"file"),
        )
    )


def image_of(home: Path) -> str:
    """The id of the one image in a filled home."""
    return next((home / "images").iterdir()).name


def _ingest(recorder: Recorder) -> None:
    """An image of two files, from one original. Stands in for the store's writer: the digest is its manifest's."""
    series, levels = {"kind": "volume", "rescale": {"slope": [1], "intercept": [-1024.0]}}, [{"path": "0"}]
    own = {"series": series, "levels": [{"path": "0", "grid": {}}]}
    group = json.dumps({"zarr_format": 3, "attributes": {"specimg": own}}).encode()
    files = {"zarr.json": group, "0/c/0/0/0": b"voxels"}
    digest = sha_json(sorted([name, len(data), sha(data)[7:]] for name, data in files.items()))
    folder = recorder.home / "images" / digest[7:39]
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    original = b"DICM as it came"
    path = recorder.home / "originals" / sha(original)[7:9] / sha(original)[9:]
    path.parent.mkdir(parents=True)
    path.write_bytes(original)
    recorder.act(
        lambda time: entries.image_ingest(
            READER, time, project=PROJECT, image=digest[7:39], digest=digest, originals=[sha(original)]
        ),
        (schema.original, {"digest": sha(original), "size": len(original), "stored_at": NOW}),
        (
            schema.image,
            {
                "id": digest[7:39],
                "digest": digest,
                "format": "dicom",
                "series": {**series, "files": ["a.dcm"], "source": {}},
                "levels": levels,
                "bytes": 1,
                "created_at": NOW,
            },
        ),
        (schema.image_original, {"image_id": digest[7:39], "position": 0, "digest": sha(original)}),
    )


class Intruder:
    """Someone with the database file and no respect for triggers, but without the signing key."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.connection = sqlite3.connect(home / "specimg.db", isolation_level=None)
        triggers = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            self.connection.execute(f"DROP TRIGGER {name}")

    def __enter__(self) -> Intruder:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def run(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, parameters).fetchall()

    def leaf(self, index: int) -> bytes:
        return bytes(self.run('SELECT leaf FROM entry WHERE "index" = ?', index)[0][0])

    def set_leaf(self, index: int, leaf: bytes) -> None:
        self.run('UPDATE entry SET leaf = ? WHERE "index" = ?', leaf, index)

    def rebuild_tree(self) -> None:
        """Make every node and root fit the leaves again; only the signatures cannot be made to."""
        self.run("DELETE FROM node")
        edge = Edge(0, [])
        for (leaf,) in self.run('SELECT leaf FROM entry ORDER BY "index"'):
            for node in edge.append(leaf_hash(bytes(leaf))):
                self.run("INSERT INTO node VALUES (?, ?, ?)", node.level, node.index, node.hash)
            self.run("UPDATE checkpoint SET root = ? WHERE size = ?", edge.root(), edge.size)

    def size(self) -> int:
        return int(self.run("SELECT count(*) FROM entry")[0][0])

    def index_of(self, segmentation_version: int) -> int:
        entry = self.run("SELECT entry_id FROM edit WHERE version = ?", segmentation_version)[0][0]
        return int(self.run('SELECT "index" FROM entry WHERE id = ?', entry)[0][0])


def vkey(home: Path) -> str:
    return (home / "keys" / "log.vkey").read_text()


def edit_json(leaf: bytes, **changes: Any) -> bytes:
    """A leaf that says something else, in canonical form again."""
    return rfc8785.dumps({**json.loads(leaf), **changes})


def root_text(root: bytes) -> str:
    return base64.b64encode(root).decode()
