"""What an acknowledgement is worth: writers are killed, and writers meet. Nothing acknowledged is lost, nothing is half."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

import label_writer
from label_world import PROJECT, actor, ingested_image, seed_desk
from label_writer import CLASSES, SHAPE, patch
from specimg.access import Role
from specimg.audit.verify import verify_home
from specimg.labels import segmentation as segmentations
from specimg.labels.ontology import LabelClass
from specimg.workflow.annotate import change_ontology, create_segmentation
from specimg.workflow.desk import Desk, open_desk

KILLS = 24
WRITERS, EDITS_EACH = 4, 15

Acknowledged = tuple[int, int, str, str]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A new data folder with a project."""
    with open_desk(tmp_path / "home") as opened:
        seed_desk(opened)
        yield opened


def new_segmentation(desk: Desk) -> str:
    """On a raster, with classes enough for noise."""
    admin = actor("root", Role.ADMIN)
    classes = [LabelClass(i, f"Class {i}", f"#{i:06x}") for i in range(1, CLASSES + 1)]
    change_ontology(desk, admin, project_id=PROJECT, ontology_id="many", name="Many", classes=classes)
    image = ingested_image(desk, SHAPE)
    made = create_segmentation(desk, admin, project_id=PROJECT, image_id=image, name="One", ontology_id="many")
    return made.id


def start(desk: Desk, segmentation_id: str, seeds: list[int]) -> tuple[BaseProcess, Connection]:
    """A writer of its own process, started from a warm template that holds no locks and no database."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["label_writer"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=label_writer.write, args=(str(desk.home), segmentation_id, seeds, theirs))
    process.start()
    theirs.close()
    return process, ours


def received(pipe: Connection) -> list[Acknowledged]:
    """Everything sent until the writer closed or died."""
    found: list[Acknowledged] = []
    try:
        while True:
            found.append(pipe.recv())
    except (EOFError, OSError):
        return found


def require_whole(desk: Desk, segmentation_id: str, acknowledged: list[Acknowledged]) -> int:
    """All acknowledged edits are there, history is whole, head is what history says, every edit has its entry."""
    desk.log.sequence()
    with desk.database.reading() as connection:
        found = segmentations.load(connection, segmentation_id)
        history = segmentations.history(connection, found, limit=10_000)[::-1]
        head = segmentations.read_box(connection, desk.blobs, found, found.head, (0, 0, 0), SHAPE)
    assert [edit.version for edit in history] == list(range(1, found.head + 1))
    assert history[-1].digest == found.head_digest
    by_version = {edit.version: edit for edit in history}
    for number, version, digest, entry_id in acknowledged:
        edit = by_version[version]
        assert (edit.params["seed"], edit.digest, edit.entry_id) == (number, digest, entry_id)
    painted = np.zeros(SHAPE, np.uint16)
    for edit in history:
        seed = edit.params["seed"]
        assert isinstance(seed, int)
        painted = np.where(patch(seed) != 0, patch(seed), painted)
    assert np.array_equal(head, painted)
    assert all(desk.log.entry(edit.entry_id).index is not None for edit in history)
    report = verify_home(desk.home, desk.log.vkey)
    assert report.exit_code == 0, report
    return found.head


def test_killed_while_labelling(desk: Desk) -> None:
    at = new_segmentation(desk)
    chance = random.Random(11)
    acknowledged: list[Acknowledged] = []
    for kill in range(KILLS):
        seeds = list(range(1000 * kill + 1, 1000 * kill + 900))
        process, pipe = start(desk, at, seeds)
        for _ in range(chance.randrange(1, 6)):
            acknowledged.append(pipe.recv())
        # Then somewhere inside the next edit: waiting for a message that may not come is waiting a random time.
        pipe.poll(chance.uniform(0, 0.02))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        acknowledged += received(pipe)
        pipe.close()
    assert len(acknowledged) >= KILLS
    head = require_whole(desk, at, acknowledged)
    # At most one edit of each killed writer was done but not told.
    assert len(acknowledged) <= head <= len(acknowledged) + KILLS


def test_four_processes_on_one_segmentation(desk: Desk) -> None:
    at = new_segmentation(desk)
    running = [start(desk, at, list(range(10_000 * w + 1, 10_000 * w + 1 + EDITS_EACH))) for w in range(WRITERS)]
    acknowledged: list[Acknowledged] = []
    pipes = [pipe for _, pipe in running]
    while pipes:
        for pipe in wait(pipes):
            assert isinstance(pipe, Connection)
            try:
                acknowledged.append(pipe.recv())
            except EOFError:
                pipes.remove(pipe)
                pipe.close()
    for process, _ in running:
        process.join()
        assert process.exitcode == 0
    assert sorted(version for _, version, _, _ in acknowledged) == list(range(1, WRITERS * EDITS_EACH + 1))
    assert require_whole(desk, at, acknowledged) == WRITERS * EDITS_EACH
