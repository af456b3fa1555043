"""Worker: one process that owns the models, and the queue in front of it.

Concurrency, whole:

- Callers (any thread) put a request into ``_waiting`` under ``_changed`` and sleep on the request's own event.
- One *driver* thread takes requests in order, and is the only one that starts, writes to, kills or forgets the child.
- One *reader* thread per child turns frames into items of that child's inbox. ``None`` in the inbox means "look at the
  request again" (it was taken back); the end of the stream means the child died.
- ``_changed`` is the only lock; nothing waits for the child while holding it.

A request of a session replaces the one before: a superseded click is of no use to anybody. A request that was taken
back is answered at once; the child gets ``grace`` seconds to notice, then it is killed and a fresh one serves the next.
No session is lost by that: prompts are the whole state (``models.base``).

The server's process imports no model: cards come from the child.
"""

from __future__ import annotations

import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from specimg.errors import Cancelled, InvalidInput, ModelFailed, SpecimgError, TooBusy, TooLarge
from specimg.formats.base import Series
from specimg.frames import BrokenFrame, encode_frame, read_frame
from specimg.models.base import Answer, Card, Prompt

_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    ),
    "1",
)
"""One thread per library: two oversubscribed ones are slower than one, and the server needs the other core."""


class StoredImage(Protocol):
    """The part of ``store.image.Image`` that names it to the child."""

    @property
    def id(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def series(self) -> Series: ...
    @property
    def levels(self) -> Sequence[Any]: ...
    @property
    def root(self) -> Any: ...


def describe(image: StoredImage) -> dict[str, Any]:
    """What the child needs to open the image itself. Names of source files stay here."""
    series = image.series.to_json()
    series["files"], series["source"] = [], {}
    return {
        "id": image.id,
        "digest": image.digest,
        "format": image.format,
        "series": series,
        "levels": [level.to_json() for level in image.levels],
        "root": str(image.root),
    }


class _Request:
    """One question and, once, its outcome."""

    def __init__(self, session: str, number: int, message: dict[str, Any], deadline: float) -> None:
        self.session, self.number, self.message, self.deadline = session, number, message, deadline
        self.started = False
        """Whether the child began with it. If it died before that, the request is not to blame and is sent again."""
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._outcome: Answer | SpecimgError | None = None

    @property
    def settled(self) -> bool:
        """Whether the caller has its outcome already."""
        return self._done.is_set()

    def settle(self, outcome: Answer | SpecimgError) -> None:
        """The first outcome counts."""
        with self._lock:
            if not self._done.is_set():
                self._outcome = outcome
                self._done.set()

    def result(self) -> Answer:
        """Wait and return, or raise."""
        self._done.wait()
        if isinstance(self._outcome, Answer):
            return self._outcome
        assert self._outcome is not None
        raise self._outcome


class Worker:
    """Thread-safe door to the models. Cheap to make: the process starts with the first request.

    ``memory`` is the child's address space in bytes, ``time_limit`` the seconds a request may take from the call to the
    answer, ``grace`` the seconds a child has to notice that nobody waits any more, ``places`` how many sessions may wait.
    ``models`` names further models as ``module:attribute``; installed plug-ins are always there.
    """

    def __init__(
        self,
        *,
        memory: int = 4 * 2**30,
        time_limit: float = 30.0,
        grace: float = 1.0,
        start_limit: float = 60.0,
        places: int = 16,
        models: Sequence[str] = (),
    ) -> None:
        self._memory, self._models = memory, tuple(models)
        self._time_limit, self._grace, self._start_limit, self._places = time_limit, grace, start_limit, places
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, _Request] = OrderedDict()
        self._running: _Request | None = None
        self._closed = False
        self._number = 0
        self._child: _Child | None = None
        self._driver: threading.Thread | None = None
        self._cards: tuple[Card, ...] | None = None

    def propose(
        self,
        *,
        session: str,
        image: StoredImage,
        model: str,
        prompts: Sequence[Prompt],
        time_limit: float | None = None,
        c: int = 0,
        t: int = 0,
    ) -> Answer:
        """Ask and wait. Raises what the model raised, ``Cancelled`` if a newer request of ``session`` took the place,
        ``TooBusy`` if there was no place or no time, ``TooLarge`` if memory did not suffice, ``ModelFailed`` if the
        model broke down.
        """
        message = {
            "model": model,
            "image": describe(image),
            "prompts": [prompt.to_json() for prompt in prompts],
            "c": c,
            "t": t,
        }
        answer = self._ask(session, message, time_limit).result()
        _check(answer, image.series.grid.shape)
        return answer

    def cards(self) -> tuple[Card, ...]:
        """The cards of all models, by id; asked from the child once."""
        if self._cards is None:
            # Every caller its own session: asking for cards must not take back another's request.
            self._ask(f"cards of thread {threading.get_ident()}", {}, self._start_limit).result()
        assert self._cards is not None
        return self._cards

    def cancel(self, session: str) -> bool:
        """Take the session's request back. Whether there was one."""
        with self._changed:
            return self._take_back(session, "the request was taken back")

    def close(self) -> None:
        """Take everything back and end the process."""
        with self._changed:
            self._closed = True
            for session in [*self._waiting, *([self._running.session] if self._running else [])]:
                self._take_back(session, "the server is stopping")
            self._changed.notify_all()
            driver = self._driver
        if driver is not None:
            driver.join()

    @property
    def pid(self) -> int | None:
        """Process id of the child, while there is one."""
        child = self._child
        return None if child is None else child.process.pid

    # --- callers' threads ------------------------------------------------------------------------------------------

    def _ask(self, session: str, message: dict[str, Any], time_limit: float | None) -> _Request:
        with self._changed:
            if self._closed:
                raise TooBusy("the server is stopping")
            self._take_back(session, "a newer request of yours took its place")
            if len(self._waiting) >= self._places:
                raise TooBusy("too many people are asking models right now; try again in a moment")
            self._number += 1
            deadline = time.monotonic() + (self._time_limit if time_limit is None else time_limit)
            request = _Request(session, self._number, message, deadline)
            self._waiting[session] = request
            if self._driver is None:
                self._driver = threading.Thread(target=self._drive, name="model-driver", daemon=True)
                self._driver.start()
            self._changed.notify_all()
            return request

    def _take_back(self, session: str, why: str) -> bool:
        """With ``_changed`` held."""
        waiting, running = self._waiting.pop(session, None), self._running
        if waiting is not None:
            waiting.settle(Cancelled(why))
        if running is None or running.session != session or running.settled:
            return waiting is not None
        running.settle(Cancelled(why))
        if self._child is not None:
            self._child.inbox.put(None)
        return True

    # --- the driver's thread ---------------------------------------------------------------------------------------

    def _drive(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    break
                _, request = self._waiting.popitem(last=False)
                self._running = request
            try:
                request.settle(self._serve(request))
            except SpecimgError as error:
                request.settle(error)
            except Exception as error:  # noqa: BLE001 -- the driver must outlive any one request
                self._forget()
                request.settle(ModelFailed(f"the model's process could not be used: {type(error).__name__}"))
            finally:
                with self._changed:
                    self._running = None
        self._forget()

    def _serve(self, request: _Request) -> Answer:
        while True:
            if request.deadline <= time.monotonic():
                raise TooBusy("the request waited too long for its turn; try again in a moment")
            child = self._ready()
            if request.settled or not request.message:
                return Answer((0, 0, 0), np.zeros((0, 0, 0), np.bool_))
            try:
                child.send({"id": request.number, **request.message}, request.deadline)
            except (OSError, TimeoutError):
                self._forget()
                continue
            answer = self._await(child, request)
            if answer is not None:
                return answer

    def _await(self, child: _Child, request: _Request) -> Answer | None:
        """The child's answer; ``None`` if it died before it began.

        A request that is late or was taken back costs at most ``grace``, or the child.
        """
        kill_at: float | None = None
        while True:
            now = time.monotonic()
            if kill_at is None and (request.settled or now >= request.deadline):
                request.settle(TooBusy("the model did not finish in time; show it a smaller part, or try again"))
                kill_at = now + self._grace
                child.cancel(request.number)
            if kill_at is not None and now >= kill_at:
                self._forget()
                raise Cancelled("the request was taken back")
            try:
                item = child.inbox.get(timeout=max(0.0, (kill_at or request.deadline) - now))
            except queue.Empty:
                continue
            if item is None:
                continue
            if item == "end":
                self._forget()
                if not request.started:
                    return None
                raise ModelFailed("the model's process died on this request; nothing was changed")
            header, body = item
            if header.get("started") == request.number:
                request.started = True
            elif header.get("id") == request.number:
                return _outcome(header, body)

    def _ready(self) -> _Child:
        """The child, started if there is none or it died idle."""
        if self._child is not None and self._child.process.poll() is not None:
            self._forget()
        if self._child is None:
            child = _Child(self._memory, self._models)
            self._child = child
            try:
                item = child.inbox.get(timeout=self._start_limit)
                while item is None and not self._closed:
                    item = child.inbox.get(timeout=self._start_limit)
            except queue.Empty:
                item = "end"
            if item in (None, "end") or not isinstance(item[0].get("ready"), list):
                self._forget()
                raise ModelFailed("the model's process could not be started; the server's log says why")
            self._cards = tuple(sorted((Card.from_json(c) for c in item[0]["ready"]), key=lambda card: card.id))
        return self._child

    def _forget(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


class _Child:
    """The process and its pipes."""

    def __init__(self, memory: int, models: Sequence[str]) -> None:
        extra = [part for model in models for part in ("--model", model)]
        # Secrets of the server are none of a model's business.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SPECIMG_")} | _ONE_THREAD
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "specimg.models.child", "--memory", str(memory), *extra],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is for the server, which then closes us
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._input, self._output = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._input, False)
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="model-reader", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while (frame := read_frame(self._output)) is not None:
                self.inbox.put(frame)
        except (OSError, BrokenFrame):
            pass
        self.inbox.put("end")

    def send(self, header: Mapping[str, Any], deadline: float) -> None:
        """Write a frame; ``TimeoutError`` if the child does not take it by ``deadline``."""
        rest = memoryview(encode_frame(header))
        while rest:
            writable = select.select([], [self._input], [], max(0.0, deadline - time.monotonic()))[1]
            if not writable:
                raise TimeoutError
            rest = rest[os.write(self._input, rest) :]

    def cancel(self, number: int) -> None:
        """Say that nobody waits for this request; if that does not reach it, the kill will."""
        try:
            self.send({"cancel": number}, time.monotonic() + 0.1)
        except (OSError, TimeoutError):
            return

    def end(self) -> None:
        """Kill, reap, close."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def _outcome(header: Mapping[str, Any], body: bytes) -> Answer:
    """The answer in a frame; raises what the child reported."""
    if "error" in header:
        message = str(header["message"])
        match header["error"]:
            case InvalidInput.code:
                raise InvalidInput(message, field=header.get("field"))
            case Cancelled.code:
                raise Cancelled(message)
            case TooLarge.code:
                raise TooLarge(message)
            case _:
                raise ModelFailed(message)
    try:
        start = tuple(int(v) for v in header["start"])
        shape = tuple(int(v) for v in header["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        if len(start) != 3 or len(shape) != 3 or min(*start, *shape) < 0 or len(body) != -(-count // 8):
            raise ValueError
        mask = np.unpackbits(np.frombuffer(body, np.uint8), count=count).reshape(shape).astype(np.bool_)
        score = None if header["score"] is None else float(header["score"])
        return Answer((start[0], start[1], start[2]), mask, score, tuple(str(n) for n in header["notes"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFailed("the model gave no valid answer") from error


def _check(answer: Answer, shape: tuple[int, int, int]) -> None:
    if any(b > n for b, n in zip(answer.stop, shape, strict=True)):
        raise ModelFailed("the model's answer leaves the image")
