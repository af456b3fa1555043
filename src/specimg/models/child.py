"""The model worker's side of the pipe: ``python -m specimg.models.child``. Started by ``models.worker``, by nobody else.

Threads: the main thread runs one step at a time; a reader takes frames from the pipe, queues requests and sets the
cancel flag of the one that runs. When the pipe closes, the server is gone, and so are we.

Requests name images by folder; pixels are read here, and leave only as a mask.
"""

from __future__ import annotations

import argparse
import os
import queue
import resource
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from specimg.digest import parse_digest
from specimg.errors import Cancelled, InvalidInput, SpecimgError, TooLarge
from specimg.formats.base import Series
from specimg.frames import BrokenFrame, read_frame, write_frame
from specimg.models.base import Answer, Model, Prompt, Session, View
from specimg.plugins import plugins
from specimg.store.image import Image, Level

SESSIONS = 4
"""Sessions kept open; they are caches, so any of them may be dropped."""


def main() -> None:
    """Serve until the pipe closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--model", action="append", default=[])
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (arguments.memory, arguments.memory))
    os.nice(5)  # a slice or an edit always goes before a model
    # What a model prints must not end up between the frames.
    source, target = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    models, reasons = _load(arguments.model)
    write_frame(target, {"ready": [m.card.to_json() for m in models.values()], "unavailable": reasons})
    Server(models, source, target).run()


def _load(paths: list[str]) -> tuple[dict[str, Model], dict[str, str]]:
    """Plug-ins and the models named ``module:attribute``, by card id; and why others are not here."""
    models: dict[str, Model] = {}
    reasons: dict[str, str] = {}
    for plugin in plugins("specimg.models"):
        if plugin.available:
            models[plugin.value.card.id] = plugin.value
        else:
            reasons[plugin.name] = str(plugin.reason)
    for path in paths:
        module, _, attribute = path.partition(":")
        model = getattr(import_module(module), attribute)
        models[model.card.id] = model
    return models, reasons


class Server:
    """Answers requests one after the other."""

    def __init__(self, models: Mapping[str, Model], source: int, target: int) -> None:
        self._models = models
        self._source, self._target = source, target
        self._requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._cancelled: set[int] = set()  # set.add and "in" are atomic; numbers are never used twice
        self._sessions: OrderedDict[tuple[str, str, int, int], Session] = OrderedDict()

    def run(self) -> None:
        """Until the process ends."""
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            request = self._requests.get()
            write_frame(self._target, {"started": request["id"]})
            header, body = self._answer(request)
            self._cancelled.discard(request["id"])
            write_frame(self._target, header, body)

    def _read(self) -> None:
        try:
            while (frame := read_frame(self._source)) is not None:
                header = frame[0]
                if "cancel" in header:
                    self._cancelled.add(header["cancel"])
                else:
                    self._requests.put(header)
        except (OSError, BrokenFrame):
            pass
        os._exit(0)

    def _answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        number = request["id"]
        try:
            answer = self._step(request)
            bits = np.packbits(answer.mask).tobytes()
        except InvalidInput as error:
            return {"id": number, "error": error.code, "message": str(error), "field": error.field}, b""
        except (Cancelled, TooLarge) as error:
            return {"id": number, "error": error.code, "message": str(error)}, b""
        except MemoryError:
            self._sessions.clear()
            return {"id": number, "error": TooLarge.code, "message": "the model needs more memory than it may use"}, b""
        except Exception:  # noqa: BLE001 -- a model is someone else's code; whatever it raises is one failed request
            traceback.print_exc(file=sys.stderr)
            return {"id": number, "error": "model-failed", "message": "the model broke down on this request"}, b""
        return {
            "id": number,
            "start": list(answer.start),
            "shape": list(answer.mask.shape),
            "score": answer.score,
            "notes": list(answer.notes),
        }, bits

    def _step(self, request: dict[str, Any]) -> Answer:
        model = self._models.get(request["model"])
        if model is None:
            raise InvalidInput("there is no model by that name", field="model")
        prompts = [Prompt.from_json(p) for p in request["prompts"]]
        number = request["id"]
        session = self._session(model, request)
        return session.step(prompts, lambda: number in self._cancelled)

    def _session(self, model: Model, request: dict[str, Any]) -> Session:
        key = (request["image"]["id"], model.card.id, request["c"], request["t"])
        session = self._sessions.pop(key, None)
        if session is None:
            session = model.open(View(open_image(request["image"]), c=request["c"], t=request["t"]))
        self._sessions[key] = session
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return session


def open_image(value: Mapping[str, Any]) -> Image:
    """The stored image that ``worker.describe`` named."""
    try:
        return Image(
            id=str(value["id"]),
            digest=parse_digest(value["digest"]),
            format=str(value["format"]),
            series=Series.from_json(value["series"]),
            levels=tuple(Level.from_json(level) for level in value["levels"]),
            root=Path(value["root"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SpecimgError("the request does not describe a stored image") from error


if __name__ == "__main__":
    main()
