"""Models that misbehave on purpose, for tests of whatever runs models. Never installed as plug-ins.

Each takes its orders from the first prompt's first coordinate or simply does what its name says.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from specimg.digest import digest
from specimg.errors import Cancelled
from specimg.models.base import Answer, Card, Prompt, View


@dataclass(frozen=True, slots=True)
class Difficult:
    """A model around one function of (view, prompts, cancel)."""

    name: str
    act: Callable[[View, Sequence[Prompt], Callable[[], bool]], Answer]

    @property
    def card(self) -> Card:
        """Complete, so that only the behaviour is difficult."""
        return Card(
            id=self.name,
            name=self.name,
            version="1",
            digest=digest(self.name.encode()),
            licence="Apache-2.0",
            dims=(3,),
            prompts=("point",),
            outputs="binary",
            intended_use="Tests.",
        )

    def open(self, view: View) -> DifficultSession:
        """A session."""
        return DifficultSession(self, view)


@dataclass(frozen=True, slots=True)
class DifficultSession:
    """Calls the function."""

    model: Difficult
    view: View

    def step(self, prompts: Sequence[Prompt], cancel: Callable[[], bool]) -> Answer:
        """As ordered."""
        return self.model.act(self.view, prompts, cancel)


def _one_voxel(prompts: Sequence[Prompt]) -> Answer:
    z, y, x = (round(v) for v in prompts[0].points[0])
    return Answer((z, y, x), np.ones((1, 1, 1), np.bool_))


def _patient(view: View, prompts: Sequence[Prompt], cancel: Callable[[], bool]) -> Answer:
    """Works until it is cancelled."""
    while not cancel():
        time.sleep(0.01)
    raise Cancelled("stopped when asked")


def _deaf(view: View, prompts: Sequence[Prompt], cancel: Callable[[], bool]) -> Answer:
    """Never ends and never listens."""
    while True:
        time.sleep(1)


def _fatal(view: View, prompts: Sequence[Prompt], cancel: Callable[[], bool]) -> Answer:
    """Dies as the kernel's out-of-memory killer would have it."""
    os.kill(os.getpid(), signal.SIGKILL)
    return _one_voxel(prompts)


def _greedy(view: View, prompts: Sequence[Prompt], cancel: Callable[[], bool]) -> Answer:
    """Asks for more memory than any limit allows."""
    return Answer((0, 0, 0), np.ones((1 << 14, 1 << 14, 1 << 10), np.bool_))


def _raising(view: View, prompts: Sequence[Prompt], cancel: Callable[[], bool]) -> Answer:
    raise RuntimeError("a defect")


def _talkative(view: View, prompts: Sequence[Prompt], cancel: Callable[[], bool]) -> Answer:
    """Prints to where the frames go, from Python and below it."""
    sys.stdout.write("hello\n")
    sys.stdout.flush()
    os.write(1, b"hello\n")
    return _one_voxel(prompts)


def _outside(view: View, prompts: Sequence[Prompt], cancel: Callable[[], bool]) -> Answer:
    """Answers beyond the image."""
    return Answer(view.grid.shape, np.ones((1, 1, 1), np.bool_))


PATIENT = Difficult("patient", _patient)
DEAF = Difficult("deaf", _deaf)
FATAL = Difficult("fatal", _fatal)
GREEDY = Difficult("greedy", _greedy)
RAISING = Difficult("raising", _raising)
TALKATIVE = Difficult("talkative", _talkative)
OUTSIDE = Difficult("outside", _outside)

ALL = tuple(f"{__name__}:{name}" for name in ("PATIENT", "DEAF", "FATAL", "GREEDY", "RAISING", "TALKATIVE", "OUTSIDE"))
"""As ``models.worker.Worker`` takes them."""
