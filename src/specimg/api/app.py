"""The web application: ``create_app(settings)`` wires routes, guard and lifespan together.

Nothing here or in a route blocks the event loop: routes that touch disk or database are plain ``def`` and run in the
thread pool, chunk bytes are read directly, models live in a process of their own. ``GET /health`` needs none of these.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from specimg import __version__
from specimg.api import (
    accounts,
    audit,
    errors,
    exchange,
    images,
    overlays,
    pictures,
    proposals,
    segmentations,
    viewer,
)
from specimg.api.core import Core
from specimg.api.guard import Guard
from specimg.api.messages import Health, ProblemOut
from specimg.api.warming import warm
from specimg.settings import Settings
from specimg.workflow.desk import Desk, Limits, open_desk

_TAGS = [
    {"name": "people", "description": "Log in and out; API tokens."},
    {"name": "images", "description": "What there is to see, and its stored chunks."},
    {"name": "pictures", "description": "Rendered slices, thumbnails and tiles."},
    {"name": "ontologies", "description": "The classes a project labels with."},
    {"name": "segmentations", "description": "Labels: every version can be read, every write is a new version."},
    {"name": "models", "description": "Proposals, which become labels only when a person accepts them."},
    {"name": "exchange", "description": "Labels in the file formats of other programs."},
    {"name": "audit", "description": "The log and its proofs."},
]


def create_app(settings: Settings, desk: Desk | None = None, *, static: Path = viewer.STATIC) -> FastAPI:
    """The application on the data folder ``settings.home``, which it opens when it starts and holds until it stops.

    ``desk`` is one that is open already; the application then closes it in the end.
    """
    held = desk

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        desk = held if held is not None else await run_in_threadpool(open_server_desk, settings)
        await run_in_threadpool(warm, desk)
        core = Core(desk, settings, static)
        app.state.core = core
        desk.log.start(settings.checkpoint_seconds)
        try:
            yield
        finally:
            await run_in_threadpool(core.close)
            await run_in_threadpool(desk.log.stop)
            await run_in_threadpool(desk.close)

    app = FastAPI(
        title="specimg",
        version=__version__,
        summary="Annotation server for images that carry physical meaning",
        description="Errors are `application/problem+json`. Arrays and points are (z, y, x).",
        openapi_tags=_TAGS,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses={"default": {"model": ProblemOut, "description": "A problem"}},
        generate_unique_id_function=_operation_id,
    )
    errors.install(app)
    app.add_api_route("/health", health, tags=["people"])
    for module in (accounts, images, pictures, segmentations, overlays, proposals, exchange, audit, viewer):
        app.include_router(module.router)
    app.add_middleware(Guard, hosts=settings.hosts, any_host=settings.insecure_http)
    return app


def open_server_desk(settings: Settings) -> Desk:
    """The data folder, held as its one server. Raises ``TooBusy`` while another server has it."""
    return open_desk(settings.home, limits=limits_of(settings), server=True)


def limits_of(settings: Settings) -> Limits:
    """The part of the settings that use cases obey."""
    return Limits(settings.child_memory, settings.child_seconds, settings.max_source_bytes, settings.cache_bytes)


async def health() -> Health:
    """That this process serves. No login, no disk."""
    return Health(status="ok")


def _operation_id(route: APIRoute) -> str:
    """The function's name: short and stable, as generated clients want it."""
    module = route.endpoint.__module__.rsplit(".", 1)[-1]
    return f"{module}_{route.name}"
