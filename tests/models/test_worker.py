"""The worker against the real thing: a stored image, a spawned process, models that misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from image_phantoms import stored, volume
from models.phantoms import dice, organs
from specimg.errors import Cancelled, InvalidInput, ModelFailed, TooBusy, TooLarge
from specimg.geometry.affine import Affine
from specimg.models.base import Answer, Prompt, View
from specimg.models.click import CLICK
from specimg.models.worker import Worker
from specimg.store.image import Image
from specimg.testing.difficult_models import ALL
from specimg.testing.model_contract import same

AT = (Prompt("point", True, ((15, 40, 38),)),)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """``organs`` as ingest stores it: int16 on disk, sharded, with a pyramid."""
    phantom, _, _ = organs()
    values = np.rint(phantom.read_box((0, 0, 0), phantom.grid.shape)).astype(np.int16)
    affine = Affine.from_steps(z=(0, 0, 2.5), y=(0, 1, 0), x=(1, 0, 0), origin=(0, 0, 0))
    return stored(volume(values, affine=affine), tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Shared by tests that leave it usable: that it stays so is part of what they show."""
    made = Worker(models=ALL, grace=0.3)
    yield made
    made.close()


@pytest.fixture
def ask(worker: Worker, image: Image) -> Callable[..., Answer]:
    """``ask(model, session)``."""

    def call(model: str, session: str = "ada", **more: Any) -> Answer:
        return worker.propose(session=session, image=image, model=model, prompts=AT, **more)

    return call


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads of callers."""
    with ThreadPoolExecutor(8) as threads:
        yield threads


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread or process; the suite's time limit is the only clock."""
    waiting = threading.Event()
    while not condition():
        waiting.wait(0.005)


def running(worker: Worker, session: str) -> Callable[[], bool]:
    """Whether the child works on this session's request."""

    def began() -> bool:
        request = worker._running
        return request is not None and request.session == session and request.started

    return began


def start(
    pool: ThreadPoolExecutor, worker: Worker, ask: Callable[..., Answer], model: str, session: str
) -> Future[Answer]:
    """A request that is known to run."""
    future = pool.submit(ask, model, session)
    until(running(worker, session))
    return future


def test_cards_come_from_the_child(worker: Worker) -> None:
    cards = {card.id: card for card in worker.cards()}
    assert cards["click"] == CLICK.card
    assert {"click", "propagate", "deaf"} <= set(cards)


def test_answer_is_the_same_as_in_this_process(ask: Callable[..., Answer], image: Image) -> None:
    _, liver, _ = organs()
    answer = ask("click")
    assert same(answer, CLICK.open(View(image)).step(AT, lambda: False))
    assert dice(answer, liver) > 0.9


def test_replay_in_a_fresh_process_gives_the_same_voxels(
    worker: Worker, ask: Callable[..., Answer], image: Image
) -> None:
    before = ask("click")
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    assert same(ask("click"), before)


def test_newer_request_of_a_session_takes_the_place_of_the_running_one(
    pool: ThreadPoolExecutor, worker: Worker, ask: Callable[..., Answer]
) -> None:
    older = start(pool, worker, ask, "patient", "ada")
    newer = ask("click", "ada")
    with pytest.raises(Cancelled):
        older.result()
    assert newer.mask.any()


def test_newer_request_of_a_session_takes_the_place_of_the_waiting_one(
    pool: ThreadPoolExecutor, worker: Worker, ask: Callable[..., Answer]
) -> None:
    blocking = start(pool, worker, ask, "patient", "ben")
    older = pool.submit(ask, "click", "ada")
    until(lambda: "ada" in worker._waiting)
    newer = pool.submit(ask, "click", "ada")
    with pytest.raises(Cancelled):
        older.result()
    assert not blocking.done()
    assert worker.cancel("ben")
    assert newer.result().mask.any()
    with pytest.raises(Cancelled):
        blocking.result()


def test_cancel_of_a_model_that_listens_keeps_the_process(
    pool: ThreadPoolExecutor, worker: Worker, ask: Callable[..., Answer]
) -> None:
    future = start(pool, worker, ask, "patient", "ada")
    pid = worker.pid
    assert worker.cancel("ada")
    with pytest.raises(Cancelled):
        future.result()
    assert ask("talkative").mask.any()
    assert worker.pid == pid


def test_cancel_of_a_deaf_model_costs_its_process(
    pool: ThreadPoolExecutor, worker: Worker, ask: Callable[..., Answer]
) -> None:
    future = start(pool, worker, ask, "deaf", "ada")
    pid = worker.pid
    assert pid is not None
    assert worker.cancel("ada")
    with pytest.raises(Cancelled):
        future.result()
    assert ask("talkative").mask.any()
    assert worker.pid != pid
    assert not psutil.pid_exists(pid)


def test_cancel_without_a_request_does_nothing(worker: Worker) -> None:
    assert not worker.cancel("nobody")


@pytest.mark.parametrize("model", ["patient", "deaf"])
def test_time_limit_ends_a_request(ask: Callable[..., Answer], model: str) -> None:
    with pytest.raises(TooBusy):
        ask(model, time_limit=0.2)
    assert ask("click").mask.any()


def test_sigkill_in_mid_request_is_an_error_of_that_request_alone(
    pool: ThreadPoolExecutor, worker: Worker, ask: Callable[..., Answer]
) -> None:
    future = start(pool, worker, ask, "deaf", "ada")
    waiting = pool.submit(ask, "click", "ben")
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(ModelFailed):
        future.result()
    assert waiting.result().mask.any()


def test_a_model_that_dies_or_breaks_is_an_error_of_its_request(ask: Callable[..., Answer]) -> None:
    for model in ("fatal", "raising", "outside"):
        with pytest.raises(ModelFailed):
            ask(model)
        assert ask("click").mask.any()


def test_memory_is_bounded(ask: Callable[..., Answer]) -> None:
    with pytest.raises(TooLarge):
        ask("greedy")
    assert ask("click").mask.any()


def test_printing_does_not_break_the_pipe(ask: Callable[..., Answer]) -> None:
    assert ask("talkative").start == (15, 40, 38)


def test_invalid_input_keeps_its_field(ask: Callable[..., Answer], worker: Worker, image: Image) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask("unheard of")
    assert caught.value.field == "model"
    with pytest.raises(InvalidInput) as caught:
        worker.propose(session="ada", image=image, model="click", prompts=[Prompt("point", False, ((1, 1, 1),))])
    assert caught.value.field == "prompts"
    with pytest.raises(InvalidInput):
        ask("click", c=3)


def test_queue_is_bounded(image: Image) -> None:
    small = Worker(models=ALL, grace=0.1, places=2)
    with ThreadPoolExecutor(4) as pool:
        try:
            futures = [pool.submit(small.propose, session="0", image=image, model="deaf", prompts=AT)]
            until(running(small, "0"))
            for session in ("1", "2"):
                futures.append(pool.submit(small.propose, session=session, image=image, model="deaf", prompts=AT))
                until(lambda s=session: s in small._waiting)  # type: ignore[misc]
            with pytest.raises(TooBusy):
                small.propose(session="3", image=image, model="click", prompts=AT)
        finally:
            small.close()
        for future in futures:
            with pytest.raises(Cancelled):
                future.result()
    with pytest.raises(TooBusy):
        small.propose(session="4", image=image, model="click", prompts=AT)


def test_close_leaves_no_process(image: Image) -> None:
    made = Worker()
    made.propose(session="ada", image=image, model="click", prompts=AT)
    pid = made.pid
    assert pid is not None
    made.close()
    assert not psutil.pid_exists(pid)


def test_child_ends_when_the_server_dies(tmp_path: Path) -> None:
    script = (
        "import os, time\n"
        "from specimg.models.worker import Worker\n"
        "w = Worker(); w.cards(); print(w.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        child = psutil.Process(int(server.stdout.readline()))
        server.kill()
        child.wait(timeout=60)


def test_server_imports_no_model() -> None:
    script = (
        "import sys\n"
        "import specimg.models.worker, specimg.workflow.propose\n"
        "heavy = {'SimpleITK', 'maxflow', 'skimage', 'cc3d', 'specimg.models.click'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_secrets_and_parallelism_do_not_reach_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECIMG_SECRET", "hush")
    made = Worker()
    try:
        made.cards()
        assert made.pid is not None
        environment = psutil.Process(made.pid).environ()
        assert not [name for name in environment if name.startswith("SPECIMG_")]
        assert environment["OMP_NUM_THREADS"] == "1"
    finally:
        made.close()
