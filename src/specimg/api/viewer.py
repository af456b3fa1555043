"""The viewer's files: built into ``api/static`` and served as they are, every other page address is its start page."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.responses import HTMLResponse

from specimg.api import octets
from specimg.api.deps import core_of
from specimg.api.errors import Problem
from specimg.digest import digest, hex_of

STATIC = Path(__file__).with_name("static")

router = APIRouter(include_in_schema=False)

_NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>specimg</title>
<h1>The viewer is not built</h1>
<p>The server runs and its API is at <code>/api</code>, but this copy of specimg has no viewer in it.</p>
<p>From the source tree, run <code>make viewer</code> (Node 20 or newer) and reload this page.
A released package contains the viewer.</p>
</html>
"""
_TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".css": "text/css", ".map": "application/json"}


@router.api_route("/{path:path}", methods=["GET", "HEAD"])
async def get_file(request: Request, path: str) -> Response:
    """A file of the viewer, or its start page for an address that is the viewer's own."""
    if path == "api" or path.startswith("api/"):
        raise Problem(404, "not-found", "there is no such address in the API; /api/openapi.json lists them")
    static = core_of(request).static
    found = _find(static, path)
    head = request.method == "HEAD"
    if found is not None and path != "index.html":
        # Vite puts a hash of the content into the names below assets/.
        hashed = path.startswith("assets/")
        etag = f'"{hex_of(digest(path.encode()))[:16]}-{found.stat().st_mtime_ns:x}-{found.stat().st_size:x}"'
        media_type = _TYPES.get(found.suffix) or mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        cache = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return await octets.of_file(request.headers, found, etag=etag, cache=cache, media_type=media_type, head=head)
    if "." in path.rsplit("/", 1)[-1]:
        raise Problem(404, "not-found", "there is no such file")
    start = _find(static, "index.html")
    if start is None:
        return HTMLResponse(_NOT_BUILT, 503 if path else 200, {"Cache-Control": "no-store"})
    return HTMLResponse(start.read_bytes(), 200, {"Cache-Control": "no-cache"})


def _find(static: Path, path: str) -> Path | None:
    """A regular file below ``static`` by this very path; nothing that climbs, hides or links."""
    parts = path.split("/")
    if not path or any(
        part in ("", ".", "..") or part.startswith(".") or "\\" in part or "\0" in part for part in parts
    ):
        return None
    candidate = static.joinpath(*parts)
    return candidate if candidate.is_file() and not candidate.is_symlink() else None
