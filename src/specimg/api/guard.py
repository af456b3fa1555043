"""Guard: what holds for every request before any route sees it, as one plain ASGI layer.

In order: the Host must be one of ours (a web page that points its own name at 127.0.0.1 gets nothing); a body has a size,
a pace and no compression; a request that changes something and carries the cookie must come from our own page; every
answer gets the security headers; an exception nobody meant becomes a bare 500.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from specimg.api.errors import Problem, problem

log = logging.getLogger(__name__)

JSON_BYTES = 2**20
EDIT_BYTES = 96 * 2**20
"""64 MiB of spans are 86 MiB of base64."""
IMPORT_BYTES = 2 * 2**30
BODY_SECONDS = 30.0
"""Longest pause within a body."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",  # the chunk decoders are WebAssembly
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

_EVERY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAGE = {
    "Content-Security-Policy": CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Frame-Options": "DENY",
}
_NO_PAGE = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox"}
"""An answer that is not a page must not become one, whatever a browser makes of its bytes."""


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


_PAGE_RAW = _raw(_EVERY | _PAGE)
_NO_PAGE_RAW = _raw(_EVERY | _NO_PAGE)
_NO_STORE = (b"cache-control", b"no-store")


class Guard:
    """The ASGI layer. ``hosts`` are names beside loopback under which this server may be asked for."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], any_host: bool = False) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._any_host = any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _add_headers(message)
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._require_host(headers)
            if scope["method"] not in SAFE:
                require_same_origin(headers)
                receive = _limited(receive, headers, _limit(scope["path"]))
            await self._app(scope, receive, guarded)
        except Problem as found:
            if started:
                raise
            await problem(found.status_code, found.code, str(found.detail), headers=found.headers)(
                scope, receive, guarded
            )
        except Exception:
            # The last resort: whoever asked learns that it failed and nothing else; the operator learns the rest.
            log.exception("a request failed")
            if started:
                raise
            detail = "something went wrong on the server; its log says what"
            await problem(500, "internal-error", detail)(scope, receive, guarded)

    def _require_host(self, headers: Headers) -> None:
        given = headers.getlist("host")
        if self._any_host and len(given) == 1:
            return
        name = _host_name(given[0]) if len(given) == 1 else ""
        if not (name in self._hosts or _is_loopback(name)):
            raise Problem(400, "unknown-host", "this server does not answer to that name; see SPECIMG_HOSTS")


def require_same_origin(headers: Headers) -> None:
    """Refuse a change that another site's page could have sent with our cookie.

    A bearer token is never sent by a browser on its own, so it needs no more. Otherwise the request must carry
    ``X-Specimg: 1``, which a form cannot set, and an Origin (or Sec-Fetch-Site) that is ours.
    """
    if headers.get("authorization", "").lower().startswith("bearer "):
        return
    if headers.get("x-specimg") != "1":
        raise Problem(403, "forged-request", "send the header X-Specimg: 1, or a bearer token")
    origin = headers.get("origin")
    if origin is not None:
        same = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    else:
        same = headers.get("sec-fetch-site") == "same-origin"
    if not same:
        raise Problem(403, "forged-request", "the request comes from another site, or does not say from which")


def _limit(path: str) -> int:
    if path.endswith("/imports"):
        return IMPORT_BYTES
    if path.endswith(("/edits", "/proposals")):
        return EDIT_BYTES
    return JSON_BYTES


def _limited(receive: Receive, headers: Headers, limit: int) -> Receive:
    """``receive`` that stops an endless, slow or compressed body."""
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Problem(415, "unsupported-encoding", "send the body as it is, without Content-Encoding")
    length = headers.get("content-length")
    if length is not None and (not length.isascii() or not length.isdigit() or int(length) > limit):
        raise Problem(413, "too-large", f"a body here may have {limit} bytes", {"Connection": "close"})
    taken, complete = 0, False

    async def limited() -> Message:
        nonlocal taken, complete
        if complete:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), BODY_SECONDS)
        except TimeoutError:
            raise Problem(408, "timeout", "the body came too slowly", {"Connection": "close"}) from None
        taken += len(message.get("body", b""))
        complete = message["type"] != "http.request" or not message.get("more_body", False)
        if taken > limit:
            raise Problem(413, "too-large", f"a body here may have {limit} bytes", {"Connection": "close"})
        return message

    return limited


def _add_headers(message: Message) -> None:
    raw: list[tuple[bytes, bytes]] = message["headers"]
    is_page = is_cached = False
    for name, value in raw:
        # A worker runs under the policy of its own script, so scripts need the page's.
        is_page = is_page or (name == b"content-type" and value.startswith((b"text/html", b"text/javascript")))
        is_cached = is_cached or name == b"cache-control"
    raw.extend(_PAGE_RAW if is_page else _NO_PAGE_RAW)
    if not is_cached:
        raw.append(_NO_STORE)


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
