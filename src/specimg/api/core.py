"""Core: what every route of one running server shares, and what it remembers between requests.

Two things are remembered, both for two seconds by the server's clock: who a credential belongs to, and which image its
holder may read. They make a chunk cost one dictionary look-up instead of three queries; a role that is taken away is
gone two seconds later. Logging out and revoking forget at once.

Concurrency: dictionaries are changed by single operations only, so the event loop reads them without a lock. One lock
serialises the recording of first views, which is a commit of a few milliseconds in a worker thread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter

from specimg.access import Actor, Permission
from specimg.errors import InvalidInput, NotAuthenticated, NotFound
from specimg.formats.ground import ground_of
from specimg.geometry.geolocation import Geolocator
from specimg.models.worker import Worker
from specimg.settings import Settings
from specimg.store.image import Image
from specimg.workflow import accounts, viewing
from specimg.workflow.accounts import SessionPolicy
from specimg.workflow.desk import Desk
from specimg.workflow.throttle import Throttle

COOKIE = "specimg_session"
_FRESH = timedelta(seconds=2)
_REMEMBERED = 10_000
_OPEN_IMAGES = 256
_HEAVY = 8
"""Exports, imports and questions to models that may wait at the same time, in threads of their own."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request showed: the secret of a session or of a token."""

    kind: str
    secret: str

    @classmethod
    def of(cls, authorization: str | None, cookie: str | None) -> Credential:
        """A bearer token wins over a cookie. Raises ``NotAuthenticated`` when there is neither."""
        if authorization is not None:
            scheme, _, secret = authorization.partition(" ")
            if scheme.lower() != "bearer" or not secret:
                raise NotAuthenticated("the only authorization is 'Bearer' and an API token")
            return cls("token", secret.strip())
        if not cookie:
            raise NotAuthenticated("log in first")
        return cls("session", cookie)


class Remembered(Generic[T]):
    """Values by key, believed for ``_FRESH`` by the given clock; the oldest go when there are too many."""

    def __init__(self, clock: Callable[[], str]) -> None:
        self._clock = clock
        self._values: OrderedDict[object, tuple[str, str, T]] = OrderedDict()

    def get(self, key: object) -> T | None:
        """The value, if it is fresh. Times are RFC 3339 text of one form, so they compare as text."""
        found = self._values.get(key)
        if found is None or not found[0] <= self._clock() < found[1]:
            return None
        return found[2]

    def put(self, key: object, value: T) -> T:
        """Remember from now on."""
        now = self._clock()
        until = (datetime.fromisoformat(now) + _FRESH).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._values[key] = (now, until, value)
        while len(self._values) > _REMEMBERED:
            self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget everything: after any change of who may do what."""
        self._values.clear()


class Core:
    """One per process; made by ``create_app`` and handed to routes."""

    def __init__(self, desk: Desk, settings: Settings, static: Path) -> None:
        self.desk = desk
        self.settings = settings
        self.static = static
        self.policy = SessionPolicy(timedelta(minutes=settings.idle_minutes), timedelta(hours=settings.session_hours))
        self.throttle = Throttle()
        self.heavy = CapacityLimiter(_HEAVY)
        self.stretches: OrderedDict[object, tuple[tuple[float, float], ...]] = OrderedDict()
        clock = desk.database.clock
        self._actors = Remembered[Actor](clock)
        self._images = Remembered[tuple[Image, str]](clock)
        self._files: OrderedDict[tuple[str, str], Path] = OrderedDict()
        self._grounds: WeakKeyDictionary[Image, Geolocator | None] = WeakKeyDictionary()
        self._opened: OrderedDict[str, Image] = OrderedDict()
        self._viewed: OrderedDict[tuple[str | None, str, str], None] = OrderedDict()
        self._viewing = threading.Lock()
        self._starting = threading.Lock()
        self._worker: Worker | None = None

    # --- who is asking ----------------------------------------------------------------------------------------------

    def remembered_actor(self, credential: Credential) -> Actor | None:
        """Who this is, if that was asked a moment ago. Touches no disk."""
        return self._actors.get(credential)

    def actor(self, credential: Credential) -> Actor:
        """Who this is. Blocks. Raises ``NotAuthenticated``."""
        if credential.kind == "token":
            actor = accounts.actor_of_token(self.desk, credential.secret)
        else:
            actor = accounts.actor_of_session(self.desk, credential.secret, self.policy)
        return self._actors.put(credential, actor)

    def forget_people(self) -> None:
        """After a logout or a change of rights."""
        self._actors.clear()
        self._images.clear()

    # --- what they may see ------------------------------------------------------------------------------------------

    def image(self, actor: Actor, image_id: str) -> tuple[Image, str]:
        """An image and the project through which this actor may see it. Blocks. Raises ``NotFound``."""
        found = self._images.get((actor.session, image_id))
        if found is not None:
            return found
        for project_id in self.desk.images.projects_of(image_id):
            if actor.may(Permission.VIEW, project_id):
                return self._images.put((actor.session, image_id), (self._open(image_id), project_id))
        raise NotFound("there is no such image")

    def _open(self, image_id: str) -> Image:
        """An image never changes, so its open arrays are kept."""
        image = self._opened.get(image_id)
        if image is None:
            image = self._opened[image_id] = self.desk.images.open(image_id)
            while len(self._opened) > _OPEN_IMAGES:
                self._opened.popitem(last=False)
        return image

    def pixels(self, actor: Actor, image_id: str) -> Image:
        """As ``image``, for a request whose answer shows pixels: the first of a session and day is in the log first."""
        image, project_id = self.image(actor, image_id)
        key = self._view_key(actor, image_id)
        if key not in self._viewed:
            with self._viewing:
                if key not in self._viewed:
                    viewing.record_view(self.desk, actor, image_id, project_id)
                    self._viewed[key] = None
                    while len(self._viewed) > 10 * _REMEMBERED:
                        self._viewed.popitem(last=False)
        return image

    def remembered_pixels(self, actor: Actor, image_id: str) -> Image | None:
        """The image, if this session was let in a moment ago and its view is recorded. Touches no disk."""
        found = self._images.get((actor.session, image_id))
        return found[0] if found is not None and self._view_key(actor, image_id) in self._viewed else None

    def file(self, image: Image, key: str) -> Path | None:
        """As ``Image.file``, which looks at every folder on the way; what was found once stays, for images never change."""
        path = self._files.get((image.id, key))
        if path is None:
            path = image.file(key)
            if path is not None:
                self._files[image.id, key] = path
                while len(self._files) > 10 * _REMEMBERED:
                    self._files.popitem(last=False)
        return path

    def geolocator(self, image: Image) -> Geolocator:
        """How to place this raster on the Earth; fitting an orbit is done once. Raises ``InvalidInput`` if it cannot be."""
        if image not in self._grounds:
            self._grounds[image] = ground_of(image.series)
        found = self._grounds[image]
        if found is None:
            raise InvalidInput("nothing in this image says where on the Earth it lies", field="image")
        return found

    def _view_key(self, actor: Actor, image_id: str) -> tuple[str | None, str, str]:
        # A token may live for a year: a day of it counts as a session.
        return actor.session, image_id, self.desk.database.clock()[:10]

    # --- models -----------------------------------------------------------------------------------------------------

    def worker(self) -> Worker:
        """The process that owns the models, started when first asked for."""
        with self._starting:
            if self._worker is None:
                self._worker = Worker()
            return self._worker

    def close(self) -> None:
        """Stop what this core started."""
        with self._starting:
            if self._worker is not None:
                self._worker.close()
                self._worker = None
