"""Every error specimg raises on purpose.

    SpecimgError
    ├── InvalidInput            the request or file is wrong; says what and what to do            422
    │   └── UnreadableFile      a file from outside cannot be used: file, field, remedy           422
    ├── TooLarge                a limit was met before memory was spent                           413
    ├── NotFound                nothing by that name that this actor may know of                  404
    ├── NotAuthenticated        nobody is logged in, or the token is not valid                    401
    ├── NotPermitted            this actor may know of it but not do that                         403
    ├── Conflict                the state moved on                                                409
    │   └── VersionConflict     an edit meets other edits on the same voxels or shapes            409
    ├── Cancelled               the caller no longer wants the answer                             409
    ├── TooManyAttempts         passwords are being tried too fast                                429
    ├── ModelFailed             a model broke down; the labels are untouched                      500
    ├── TooBusy                 a queue is full or a time limit passed                            503
    └── StoreError              our own disk or database is not as it must be                     500

Messages are written for the person who must act, and never carry paths of the server, identity of a patient, or a
stack trace: they travel to clients as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


class SpecimgError(Exception):
    """Base of all errors raised on purpose. ``code`` is stable and part of the API."""

    code = "error"


class InvalidInput(SpecimgError):
    """The request is wrong, and the message says what to change."""

    code = "invalid-input"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class UnreadableFile(InvalidInput):
    """A file from outside cannot be used.

    ``file`` is its name within the source (never an absolute path), ``field`` the element that is wrong, ``remedy``
    what the person can do.
    """

    code = "unreadable-file"

    def __init__(self, *, file: str, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{file}: {field}: {problem}. {remedy}", field=field)
        self.file = file
        self.problem = problem
        self.remedy = remedy


class TooLarge(SpecimgError):
    """A limit was met."""

    code = "too-large"


class NotFound(SpecimgError):
    """There is nothing by that name, or nothing this actor may know of: the answer is the same."""

    code = "not-found"


class NotAuthenticated(SpecimgError):
    """Nobody is logged in."""

    code = "not-authenticated"


class NotPermitted(SpecimgError):
    """The actor's role does not allow this."""

    code = "not-permitted"


class Conflict(SpecimgError):
    """The state is no longer what the request was made for."""

    code = "conflict"


@dataclass(frozen=True, slots=True)
class ConflictBox:
    """Voxels ``start <= index < stop`` in (z, y, x), inside which edits collide."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]


class VersionConflict(Conflict):
    """An edit was drawn on a version after which the same voxels or shapes changed."""

    code = "version-conflict"

    def __init__(
        self,
        *,
        base: int,
        current: int,
        boxes: tuple[ConflictBox, ...] = (),
        shapes: tuple[str, ...] = (),
        voxels: int = 0,
    ) -> None:
        super().__init__(f"the edit was drawn on version {base}; version {current} has changed the same place since")
        self.base = base
        self.current = current
        self.boxes = boxes
        self.shapes = shapes
        self.voxels = voxels


class Cancelled(SpecimgError):
    """The caller took the request back."""

    code = "cancelled"


class TooManyAttempts(SpecimgError):
    """Wait before the next try. ``seconds`` says how long."""

    code = "too-many-attempts"

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, ceil(seconds))
        super().__init__(f"too many attempts: try again in {self.seconds} s")


class ModelFailed(SpecimgError):
    """A model raised, or its process died. Nothing was written; the same prompts may be sent again."""

    code = "model-failed"


class TooBusy(SpecimgError):
    """Try again: a queue is full or a time limit passed."""

    code = "too-busy"


class StoreError(SpecimgError):
    """Our own data is not as it must be. Needs an operator."""

    code = "store-error"
