"""What routes are handed: the core, who is asking, and a JSON reader that takes only what everyone reads alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, NoReturn

from fastapi import Depends, Path, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from specimg.access import Actor, Permission, require
from specimg.api.core import COOKIE, Core, Credential
from specimg.api.errors import Problem
from specimg.api.guard import SAFE

LOGIN = "/api/login"


def core_of(request: Request) -> Core:
    """The core of the app that answers this request."""
    core: Core = request.app.state.core
    return core


async def _core(request: Request) -> Core:
    return core_of(request)


async def actor_of(request: Request) -> Actor:
    """Who is asking. Raises ``NotAuthenticated``. Leaves the event loop only when it must ask the database."""
    core = core_of(request)
    credential = Credential.of(request.headers.get("authorization"), request.cookies.get(COOKIE))
    actor = core.remembered_actor(credential)
    return actor if actor is not None else await run_in_threadpool(core.actor, credential)


Place = Annotated[int, Path(ge=0, lt=2**31)]
"""An index in a URL: of a plane, level, row or column."""
CoreDep = Annotated[Core, Depends(_core)]
ActorDep = Annotated[Actor, Depends(actor_of)]


class StrictRequest(Request):
    """JSON without NaN and without two values for one key: what one reader would drop, another might believe."""

    async def json(self) -> Any:
        """The body. Raises ``Problem`` (400)."""
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                self._json = json.loads(body, object_pairs_hook=_unique, parse_constant=_refuse)
            except (ValueError, RecursionError):
                raise Problem(400, "malformed-json", "the body is not JSON, or not JSON that has one meaning") from None
        return self._json


class StrictRoute(APIRoute):
    """A route that knows who is asking before it reads a body, and reads it by ``StrictRequest``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given our request."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            if request.method not in SAFE and self.path != LOGIN:
                # FastAPI reads the body first; two gigabytes of a stranger's upload would be on our disk by then.
                actor = await actor_of(request)
                project = request.path_params.get("project_id")
                if project is not None:
                    require(actor, Permission.VIEW, project)
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("two values for one key")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
