"""A real server on a socket, over a data folder with people, images and labels."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI

from specimg.access import Role
from specimg.api.app import create_app
from specimg.api.core import Core
from specimg.formats.base import Channel, Series, Window
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space
from specimg.labels.edit import Spans
from specimg.labels.ontology import LabelClass
from specimg.settings import Settings
from specimg.store import schema
from specimg.store.writer import publish, write
from specimg.workflow import accounts, annotate
from specimg.workflow.desk import Desk, open_desk

PASSWORD = "correct horse battery staple"
PEOPLE = ("outsider", "viewer", "annotator", "reviewer", "admin")
VOLUME_SHAPE = (20, 70, 90)
RASTER_SHAPE = (600, 700)


class Clock:
    """The server's clock, moved by the test; it ticks a microsecond a reading, so that no two times are equal."""

    def __init__(self) -> None:
        self._now = datetime.fromisoformat("2026-11-21T10:00:00.000000+00:00")
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self._now += timedelta(microseconds=1)
            return self._now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def move(self, **by: float) -> None:
        with self._lock:
            self._now += timedelta(**by)


@dataclass(frozen=True, eq=False)
class InMemory:
    """A readable series over an array."""

    series: Series
    samples: npt.NDArray[Any]

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        return np.ascontiguousarray(self.samples[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))])


@dataclass(frozen=True, eq=False)
class Server:
    """A running server and what lies in it. Two projects: ``home`` for everybody, ``other`` for the outsider alone."""

    url: str
    desk: Desk
    clock: Clock
    app: FastAPI
    project: str
    other_project: str
    volume: str
    raster: str
    hidden: str
    ontology: str
    segmentation: str
    raster_segmentation: str
    hidden_segmentation: str
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    @property
    def core(self) -> Core:
        """What its routes share."""
        core: Core = self.app.state.core
        return core

    def client(self, **headers: str) -> httpx.Client:
        """A new client that sends what our page sends, and is nobody yet."""
        return httpx.Client(base_url=self.url, headers={"X-Specimg": "1", "Origin": self.url, **headers}, timeout=60)

    def as_(self, name: str) -> httpx.Client:
        """A client logged in as one of ``PEOPLE``; ``nobody`` for one that is not."""
        if name not in self._clients:
            client = self._clients[name] = self.client()
            if name != "nobody":
                assert client.post("/api/login", json={"name": name, "password": PASSWORD}).status_code == 200
        return self._clients[name]

    def entries(self, type: str) -> list[dict[str, Any]]:
        """Leaves of this type that are sequenced, newest first."""
        self.desk.log.sequence()
        found = [json.loads(entry.leaf) for entry in self.desk.log.entries(limit=1000)]
        return [leaf for leaf in found if leaf["type"] == type]

    def spans(self, *runs: tuple[int, int, int, int]) -> str:
        """Runs (z, y, x, length) as an edit has them."""
        return base64.b64encode(Spans(np.array(runs, np.int32)).to_bytes()).decode()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def phantom() -> npt.NDArray[np.int16]:
    """(20, 70, 90) int16; every axis grows differently."""
    z, y, x = np.mgrid[: VOLUME_SHAPE[0], : VOLUME_SHAPE[1], : VOLUME_SHAPE[2]]
    return np.asarray(20 * z + 3 * y + x - 200, np.int16)


def scene() -> npt.NDArray[np.uint16]:
    """(2, 600, 700) uint16 amplitude."""
    y, x = np.mgrid[: RASTER_SHAPE[0], : RASTER_SHAPE[1]]
    return np.stack([100 + y + x // 2, 50 + x]).astype(np.uint16)


def _volume(name: str, shift: int = 0) -> InMemory:
    affine = Affine.from_steps(z=(0, 0, 3), y=(0, 0.5, 0), x=(1, 0, 0), origin=(-40, -20, 100))
    series = Series(
        key=name,
        name=name,
        kind="volume",
        modality="CT",
        axes=("z", "y", "x"),
        shape=VOLUME_SHAPE,
        dtype="int16",
        grid=Grid(VOLUME_SHAPE, affine, Space("patient")),
        channels=(Channel("CT", "HU", (Window("soft tissue", 40, 400),)),),
        source={"PatientName": "never shown"},
        files=("secret-file-name.dcm",),
    )
    return InMemory(series, phantom() + np.int16(shift))


def _raster() -> InMemory:
    grid = Grid((1, *RASTER_SHAPE), Affine.identity(), Space("radar"))
    channels = (Channel("VV", "DN"), Channel("VH", "DN"))
    series = Series("scene", "scene", "raster", "SAR", ("c", "y", "x"), (2, *RASTER_SHAPE), "uint16", grid, channels)
    return InMemory(series, scene())


def _put(desk: Desk, project_id: str, source: InMemory) -> str:
    with desk.staging.folder() as folder:
        staged = write(source, folder)
        publish(staged, desk.home)
    now = desk.database.clock()
    with desk.database.transaction() as connection:
        connection.execute(
            schema.image.insert().values(
                id=staged.id,
                digest=staged.digest,
                format="test",
                series=staged.series.to_json(),
                levels=[level.to_json() for level in staged.levels],
                bytes=staged.bytes,
                created_at=now,
            )
        )
        connection.execute(
            schema.project_image.insert().values(
                project_id=project_id, image_id=staged.id, name=source.series.name, added_at=now, added_by="operator"
            )
        )
    return staged.id


def fill(home: Path) -> dict[str, str]:
    """Make a data folder with people, images and labels; the ids of what is in it, as ``Server`` names them."""
    with open_desk(home, clock=Clock()) as desk:
        made = _fill(desk)
        desk.log.sequence()
    return made


def _fill(desk: Desk) -> dict[str, str]:
    made: dict[str, str] = {}
    made["project"] = accounts.create_project(desk, accounts.operator(desk), "home")
    made["other_project"] = accounts.create_project(desk, accounts.operator(desk), "other")
    operator = accounts.operator(desk)
    for name in PEOPLE:
        account = accounts.add_account(desk, operator, name, PASSWORD)
        project = made["other_project"] if name == "outsider" else made["project"]
        accounts.set_role(desk, operator, project, account, Role.ADMIN if name == "outsider" else Role(name))
    made["volume"] = _put(desk, made["project"], _volume("phantom"))
    made["raster"] = _put(desk, made["project"], _raster())
    made["hidden"] = _put(desk, made["other_project"], _volume("hidden", 7))
    classes = (LabelClass(1, "Liver", "#dd8265"), LabelClass(2, "Spleen", "#9d6ca2"))
    for project, ontology in ((made["project"], "organs"), (made["other_project"], "theirs")):
        annotate.change_ontology(
            desk, operator, project_id=project, ontology_id=ontology, name=ontology, classes=classes, base=0
        )
    made["ontology"] = "organs"
    for key, project, image, ontology in (
        ("segmentation", "project", "volume", "organs"),
        ("raster_segmentation", "project", "raster", "organs"),
        ("hidden_segmentation", "other_project", "hidden", "theirs"),
    ):
        segmentation = annotate.create_segmentation(
            desk, operator, project_id=made[project], image_id=made[image], name=key, ontology_id=ontology
        )
        made[key] = segmentation.id
    return made


@contextmanager
def running(template: Path, made: Mapping[str, str], home: Path, static: Path | None = None) -> Iterator[Server]:
    """Serve a copy of a filled folder on a free port, by a clock that the test moves."""
    shutil.copytree(template, home)
    clock = Clock()
    clock.move(hours=1)
    desk = open_desk(home, clock=clock, server=True)
    settings = Settings(home=home, checkpoint_seconds=0.05)
    app = create_app(settings, desk) if static is None else create_app(settings, desk, static=static)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            app, loop="uvloop", http="httptools", ws="none", lifespan="on", log_config=None, access_log=False
        )
        serving = uvicorn.Server(config)
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = Server(url, desk, clock, app, **made)  # type: ignore[arg-type]  # the ids, by their fields' names
        with httpx.Client(base_url=url, timeout=60) as first:
            # The socket listens already, so the first request waits in its queue until the server takes it.
            assert first.get("/health").json() == {"status": "ok"}
        try:
            yield server
        finally:
            server.close()
            serving.should_exit = True
            thread.join()
