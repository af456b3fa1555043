"""Exception to answer: one table, one shape (RFC 9457 ``application/problem+json``).

    {"code": "version-conflict", "title": "Conflict", "status": 409, "detail": "…", …fields of the error}

``code`` is stable and meant for programs, ``detail`` for the person who must act. Nothing here ever shows a stack trace,
a path of the server or what a request held.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from specimg import errors
from specimg.errors import SpecimgError

STATUS: Mapping[type[SpecimgError], int] = {
    errors.InvalidInput: 422,
    errors.TooLarge: 413,
    errors.NotFound: 404,
    errors.NotAuthenticated: 401,
    errors.NotPermitted: 403,
    errors.Conflict: 409,
    errors.Cancelled: 409,
    errors.TooManyAttempts: 429,
    errors.TooBusy: 503,
    errors.ModelFailed: 500,
    errors.StoreError: 500,
}
"""One row a family; the most derived row wins."""

MEDIA_TYPE = "application/problem+json"

_CODES = {400: "bad-request", 404: "not-found", 405: "method-not-allowed", 408: "timeout", 413: "too-large"}


class Problem(HTTPException):
    """An answer that only HTTP knows of: a forged origin, a broken range. Raised and answered within ``api``."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        # An HTTPException, because FastAPI lets those alone through from the reading of a body.
        super().__init__(status, detail, dict(headers or {}))
        self.code = code


def status_of(error: SpecimgError) -> int:
    """The status of an error's family."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def fields_of(error: SpecimgError) -> dict[str, Any]:
    """What a program can act on, beside the code."""
    match error:
        case errors.UnreadableFile():
            return {"file": error.file, "field": error.field, "problem": error.problem, "remedy": error.remedy}
        case errors.InvalidInput() if error.field is not None:
            return {"field": error.field}
        case errors.VersionConflict():
            boxes = [{"start": list(box.start), "stop": list(box.stop)} for box in error.boxes]
            return {
                "base": error.base,
                "current": error.current,
                "boxes": boxes,
                "shapes": list(error.shapes),
                "voxels": error.voxels,
            }
        case errors.TooManyAttempts():
            return {"seconds": error.seconds}
        case _:
            return {}


def problem(
    status: int,
    code: str,
    detail: str,
    fields: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document."""
    body = {"code": code, "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **(fields or {})}
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    content = text.encode("utf-8", "replace")
    return Response(content, status, dict(headers or {}), MEDIA_TYPE)


def of_error(error: SpecimgError) -> Response:
    """The answer to an error raised on purpose."""
    headers: dict[str, str] = {}
    if isinstance(error, errors.NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.TooManyAttempts):
        headers["Retry-After"] = str(error.seconds)
    return problem(status_of(error), error.code, str(error), fields_of(error), headers)


def install(app: FastAPI) -> None:
    """Answer every kind of exception in the one shape."""

    @app.exception_handler(SpecimgError)
    async def _on_purpose(_: Request, error: SpecimgError) -> Response:
        return of_error(error)

    @app.exception_handler(Problem)
    async def _http(_: Request, error: Problem) -> Response:
        return problem(error.status_code, error.code, str(error.detail), headers=error.headers)

    @app.exception_handler(HTTPException)
    async def _framework(_: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "error")
        return problem(error.status_code, code, str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> Response:
        if any(found["type"] == "json_invalid" for found in error.errors()):
            return problem(400, "malformed-json", "the body is not JSON")
        # Places and messages only: the rejected value may be a password or a name.
        found = [{"field": _place(e["loc"]), "message": str(e["msg"])} for e in error.errors()[:20]]
        detail = "; ".join(f"{e['field']}: {e['message']}" for e in found)
        return problem(422, errors.InvalidInput.code, detail, {"errors": found})


def _place(location: Any) -> str:
    return ".".join(str(part) for part in location if part not in ("body", "query", "path")) or "body"
