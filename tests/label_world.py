"""A data folder with one project, some people and images, for tests of the label store."""

from __future__ import annotations

import hashlib
import itertools
import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specimg.access import Actor, Role
from specimg.audit import entry as entries
from specimg.digest import Digest, digest_json
from specimg.formats.base import Channel, Series
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space
from specimg.labels import ontology, segmentation, versions
from specimg.labels.edit import Edit, Index, ShapeDelete, ShapePut, Spans, VoxelWrite
from specimg.labels.segmentation import Segmentation
from specimg.labels.versions import Applied
from specimg.store import schema
from specimg.store.blobs import Blobs
from specimg.store.database import Database
from specimg.workflow.annotate import change_ontology
from specimg.workflow.desk import Desk

PROJECT = "00000000-0000-4000-8000-000000000001"
TIME = "2026-11-21T10:15:00.000000Z"
OBLIQUE = Affine.from_steps(z=(0.3, 0, 2.4), y=(0.1, 0.8, 0), x=(0.7, -0.1, 0.05), origin=(-120.5, 44, 310.25))


def actor(name: str, role: Role = Role.ANNOTATOR, project: str = PROJECT) -> Actor:
    """A person of the project."""
    return Actor(id=f"account-{name}", name=name, roles={project: role})


def seed(database: Database) -> None:
    """The project and its ontology, unless they are there."""
    with database.transaction() as connection:
        if connection.execute(schema.project.select()).first() is None:
            connection.execute(schema.project.insert(), {"id": PROJECT, "name": "Study", "created_at": TIME})
            organs = ontology.organs("organs")
            ontology.append(connection, organs, project_id=PROJECT, actor_id="account-ada", time=TIME)


def seed_desk(desk: Desk) -> None:
    """``seed`` with the entries the use cases write."""
    with desk.database.transaction() as connection:
        row = {"id": PROJECT, "name": "Study", "created_at": desk.database.clock()}
        connection.execute(schema.project.insert(), row)
        desk.log.append(connection, entries.project_create(None, desk.database.clock(), project=PROJECT))
    organs = ontology.organs("organs")
    admin = actor("root", Role.ADMIN)
    change_ontology(desk, admin, project_id=PROJECT, ontology_id="organs", name="Organs", classes=organs.classes)


def add_image(
    database: Database, shape: Index, affine: Affine = OBLIQUE, space: Space | None = None, name: Digest | None = None
) -> str:
    """An image row of this grid; the label store never looks at pixels."""
    raster = shape[0] == 1
    series = Series(
        key="1",
        name="phantom",
        kind="raster" if raster else "volume",
        modality="SAR" if raster else "CT",
        axes=("y", "x") if raster else ("z", "y", "x"),
        shape=shape[1:] if raster else shape,
        dtype="int16",
        grid=Grid(shape, affine, space or Space("pixel" if raster else "patient")),
        channels=(Channel("0", "1"),),
    )
    name = name or digest_json({"image": str(uuid.uuid4())})
    image_id = name.removeprefix("sha256:")[:32]
    row: dict[str, Any] = {
        "id": image_id,
        "digest": name,
        "format": "phantom",
        "series": series.to_json(),
        "levels": [],
        "bytes": 0,
        "created_at": TIME,
    }
    held = {"project_id": PROJECT, "image_id": image_id, "name": "phantom", "added_at": TIME, "added_by": "x"}
    with database.transaction() as connection:
        connection.execute(schema.image.insert(), row)
        connection.execute(schema.project_image.insert(), held)
    return image_id


def ingested_image(desk: Desk, shape: Index) -> str:
    """``add_image`` with one file and the entry that ingest would have written, so that the verifier is content."""
    content = json.dumps({"image": str(uuid.uuid4())}).encode()
    name = digest_json([["zarr.json", len(content), hashlib.sha256(content).hexdigest()]])
    folder = desk.home / "images" / name.removeprefix("sha256:")[:32]
    folder.mkdir(parents=True)
    (folder / "zarr.json").write_bytes(content)
    image_id = add_image(desk.database, shape, name=name)
    with desk.database.transaction() as connection:
        now = desk.database.clock()
        entry = entries.image_ingest(None, now, project=PROJECT, image=image_id, digest=name, originals=[])
        desk.log.append(connection, entry)
    return image_id


class World:
    """Owns the database; everything is written for real and durably."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.database = Database.open(home)
        self.blobs = Blobs(home / "blobs")
        self._entries = itertools.count(1)
        seed(self.database)

    def segmentation(self, shape: Index, **grid: Any) -> str:
        """A new, empty segmentation of a new image."""
        image_id = add_image(self.database, shape, **grid)
        with self.database.transaction() as connection:
            made = segmentation.create(
                connection,
                segmentation_id=str(uuid.uuid4()),
                project_id=PROJECT,
                image_id=image_id,
                ontology_id="organs",
                name="First reading",
                actor=actor("ada"),
                time=TIME,
            )
        return made.id

    def load(self, segmentation_id: str) -> Segmentation:
        """As it is now."""
        with self.database.reading() as connection:
            return segmentation.load(connection, segmentation_id)

    def apply(self, segmentation_id: str, edit: Edit, who: str = "ada") -> Applied:
        """One edit in its own transaction."""
        with self.database.transaction() as connection:
            found = segmentation.load(connection, segmentation_id)
            entry = f"entry-{next(self._entries)}"
            return versions.apply(
                connection, self.blobs, found, edit, actor=actor(who), time=self.database.clock(), entry_id=entry
            )

    def revert(self, segmentation_id: str, version: int, base: int | None = None, who: str = "ada") -> Applied:
        """Take one version back."""
        with self.database.transaction() as connection:
            found = segmentation.load(connection, segmentation_id)
            return versions.revert(
                connection,
                self.blobs,
                found,
                version,
                base=found.head if base is None else base,
                actor=actor(who),
                time=self.database.clock(),
                entry_id=f"entry-{next(self._entries)}",
            )

    def restore(self, segmentation_id: str, version: int, base: int | None = None, who: str = "ada") -> Applied:
        """Make it as it was."""
        with self.database.transaction() as connection:
            found = segmentation.load(connection, segmentation_id)
            return versions.restore(
                connection,
                self.blobs,
                found,
                version,
                base=found.head if base is None else base,
                actor=actor(who),
                time=self.database.clock(),
                entry_id=f"entry-{next(self._entries)}",
            )

    def read(self, segmentation_id: str, version: int | None = None) -> npt.NDArray[np.uint16]:
        """The whole label array at a version."""
        with self.database.reading() as connection:
            found = segmentation.load(connection, segmentation_id)
            at = found.head if version is None else version
            return segmentation.read_box(connection, self.blobs, found, at, (0, 0, 0), found.grid.shape)


def paint(
    mask: npt.NDArray[np.bool_],
    label: int,
    *,
    base: int,
    over: Iterable[int] | None = None,
    request_id: str | None = None,
    origin: Index = (0, 0, 0),
    shapes: tuple[ShapePut | ShapeDelete, ...] = (),
) -> Edit:
    """An edit that gives a mask a label."""
    write = VoxelWrite(label, Spans.from_mask(mask, origin), None if over is None else frozenset(over))
    return Edit(base, "brush", {"radius_mm": 4}, (write,), shapes, request_id=request_id)


def box_mask(shape: Index, start: Index, stop: Index) -> npt.NDArray[np.bool_]:
    """True inside a box."""
    mask = np.zeros(shape, dtype=bool)
    mask[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]] = True
    return mask
