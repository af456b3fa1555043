"""Two people at one segmentation, and a server that is killed under their hands."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from journeys.running import DEADLINE, Person, Running, spans, specimg, sql

PASSWORD = "words that only a test knows"
KILLS = 10
SHAPE = (20, 91, 117)
"""Of the demo's MR."""


@pytest.fixture
def two(demo_home: Path) -> Iterator[tuple[Running, Person, Person, str]]:
    """A server, two annotators, and a segmentation of the MR."""
    for name in ("ann", "bob"):
        add = ("user", "add", name, "--project", "demo", "--role", "annotator", "--password-stdin")
        specimg(demo_home, *add, input=f"{PASSWORD}\n").ended(0)
    with (
        Running(demo_home) as server,
        server.login("ann", PASSWORD) as ann,
        server.login("bob", PASSWORD) as bob,
    ):
        yield server, ann, bob, ann.create(ann.images()["MR"]["id"], "Shared", "mr")


def test_strokes_apart_merge_and_strokes_that_meet_are_refused_with_the_place(
    two: tuple[Running, Person, Person, str],
) -> None:
    server, ann, bob, segmentation = two
    ann.paint(segmentation, 0, 1, spans([(4, 10, 20, 6)]))
    # Of the same base, in the same chunk, and of other voxels.
    assert bob.paint(segmentation, 0, 2, spans([(4, 11, 20, 6)]))["version"] == 2
    # Voxels x = 23 … 29 of the row that ann has painted to x = 25.
    refused = bob.paint(segmentation, 0, 2, spans([(4, 10, 23, 7)]), status=409)
    assert refused["code"] == "version-conflict"
    assert (refused["base"], refused["current"], refused["voxels"]) == (0, 2, 3)
    assert refused["boxes"] == [{"start": [4, 10, 23], "stop": [5, 11, 26]}]

    expected = np.zeros(SHAPE, np.uint16)
    expected[4, 10, 20:26], expected[4, 11, 20:26] = 1, 2
    np.testing.assert_array_equal(bob.labels(segmentation), expected)
    # Seen the newest, meant all the same: that is an edit like any other.
    bob.paint(segmentation, 2, 2, spans([(4, 10, 23, 7)]))
    expected[4, 10, 23:30] = 2
    np.testing.assert_array_equal(ann.labels(segmentation), expected)
    # Ann's undo would take away what bob has painted over.
    revert = f"/api/segmentations/{segmentation}/edits/1/revert"
    assert ann.post(revert, {"base": 3}, status=409)["boxes"] == [{"start": [4, 10, 23], "stop": [5, 11, 26]}]
    told = ann.get(f"/api/segmentations/{segmentation}/edits")
    assert [(edit["version"], edit["actor"]["name"]) for edit in told] == [(3, "bob"), (2, "bob"), (1, "ann")]
    assert server.interrupt() == 0
    specimg(server.home, "audit", "verify").ended(0)


def test_both_draw_at_once_and_nothing_is_lost(two: tuple[Running, Person, Person, str]) -> None:
    _, ann, bob, segmentation = two
    drawn: list[int] = []

    def draw(person: Person, label: int) -> None:
        for row in range(20):
            drawn.append(person.paint(segmentation, 0, label, spans([(7, row, 40 * label, 9)]))["version"])

    threads = [threading.Thread(target=draw, args=pair) for pair in ((ann, 1), (bob, 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(drawn) == list(range(1, 41))
    expected = np.zeros(SHAPE, np.uint16)
    expected[7, :20, 40:49], expected[7, :20, 80:89] = 1, 2
    np.testing.assert_array_equal(ann.labels(segmentation), expected)
    history = ann.get(f"/api/segmentations/{segmentation}/edits")
    assert [edit["version"] for edit in history] == list(range(40, 0, -1))


class Stream:
    """Edits one after the other until the server dies; edit n paints voxel n, counted along the image."""

    def __init__(self, person: Person, segmentation: str, numbers: Iterator[int]) -> None:
        self.acknowledged: list[tuple[int, dict[str, Any]]] = []
        self.enough = threading.Event()
        self.unexpected: list[str] = []
        self._person, self._segmentation, self._numbers = person, segmentation, numbers
        self._thread = threading.Thread(target=self._draw)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Draw meanwhile."""
        self._thread.start()
        yield
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()

    def _draw(self) -> None:
        url = f"/api/segmentations/{self._segmentation}/edits"
        for number in self._numbers:
            z, y, x = map(int, np.unravel_index(number, SHAPE))
            run = spans([(z, y, x, 1)])
            body = {"base": 0, "tool": "brush", "voxels": [{"label": 1, "over": None, "spans": run}]}
            try:
                answer = self._person.http.post(url, json=body)
            except httpx.TransportError:
                return
            if answer.status_code != 201:
                self.unexpected.append(f"{answer.status_code} {answer.text}")
                return
            self.acknowledged.append((number, answer.json()))
            if len(self.acknowledged) >= 3:
                self.enough.set()


def test_every_acknowledged_edit_survives_a_killed_server(demo_home: Path) -> None:
    """kill -9 amid a stream of edits, again and again; what was answered with 201 is there, the rest wholly or not."""
    random, numbers = np.random.default_rng(9), itertools.count()
    acknowledged: list[tuple[int, dict[str, Any]]] = []
    segmentation = ""
    for _ in range(KILLS):
        with Running(demo_home) as server, server.demo() as person:
            if not segmentation:
                segmentation = person.create(person.images()["MR"]["id"], "Killed", "mr")
            stream = Stream(person, segmentation, numbers)
            with stream.drawing():
                assert stream.enough.wait(DEADLINE)
                # Somewhere within the next edit or two: an Event that nobody sets is a clock.
                threading.Event().wait(float(random.uniform(0, 0.05)))
                server.kill()
            assert not stream.unexpected
            acknowledged += stream.acknowledged
    assert len(acknowledged) >= 3 * KILLS

    # The newest may still wait for a signature, which is said; nothing is wrong, and the next start signs them.
    assert specimg(demo_home, "audit", "verify").code in (0, 2)
    with Running(demo_home) as server, server.demo() as person:
        painted = person.labels(segmentation).ravel()
        history = person.get(f"/api/segmentations/{segmentation}/edits", limit=1000)
    assert (painted[[number for number, _ in acknowledged]] == 1).all()
    specimg(demo_home, "audit", "verify").ended(0)
    # At most one edit of each life was written without being answered, and no version was given twice.
    assert len(acknowledged) <= np.count_nonzero(painted) <= len(acknowledged) + KILLS
    assert len(history) == np.count_nonzero(painted)
    versions = {edit["version"]: (edit["digest"], edit["entry_id"]) for edit in history}
    assert sorted(versions) == list(range(1, len(history) + 1))
    for _, receipt in acknowledged:
        assert versions[receipt["version"]] == (receipt["digest"], receipt["entry_id"])
    entries = {row[0] for row in sql(demo_home, "SELECT id FROM entry")}
    assert {entry for _, entry in versions.values()} <= entries
