"""Every route, asked by everybody, against a table kept here. A route without a row fails (45 CFR 164.312(a)(1))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.routing import APIRoute

from server_world import PEOPLE, Server
from specimg.api.app import create_app
from specimg.settings import Settings

EVERYBODY = ("nobody", *PEOPLE)
MISSING = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Row:
    """What nobody, outsider, viewer, annotator, reviewer and admin get; ``json`` is the body that is sent."""

    method: str
    path: str
    status: tuple[int, int, int, int, int, int]
    json: Mapping[str, Any] | None = None
    url: str | None = None


PUBLIC = (200,) * 6
MEMBERS = (401, 404, 200, 200, 200, 200)
ANY_ACCOUNT = (401, 200, 200, 200, 200, 200)

TABLE = [
    Row("GET", "/health", PUBLIC),
    # The sixth guess at one name must wait.
    Row("POST", "/api/login", (401, 401, 401, 401, 401, 429), {"name": "nobody-of-this-name", "password": "wrong"}),
    Row("GET", "/api/me", ANY_ACCOUNT),
    Row("GET", "/api/tokens", ANY_ACCOUNT),
    Row("POST", "/api/tokens", (401, 201, 201, 201, 201, 201), {"name": "script", "days": 1}),
    Row("DELETE", "/api/tokens/{token_id}", (401,) + (404,) * 5),
    Row("GET", "/api/projects/{project_id}/images", MEMBERS),
    Row("GET", "/api/images/{image_id}", MEMBERS),
    Row("GET", "/api/images/{image_id}/zarr/{key:path}", MEMBERS),
    Row("HEAD", "/api/images/{image_id}/zarr/{key:path}", MEMBERS),
    # The phantom says nothing about the Earth: members learn that, others not even that it is there.
    Row("GET", "/api/images/{image_id}/position", (401, 404, 422, 422, 422, 422), url="?line=1&pixel=1"),
    Row("GET", "/api/images/{image_id}/slices/{axis}/{index}", MEMBERS),
    Row("GET", "/api/images/{image_id}/thumbnail", MEMBERS),
    Row("GET", "/api/images/{image_id}/tiles/{level}/{row}/{column}", MEMBERS),
    Row("GET", "/api/projects/{project_id}/ontologies", MEMBERS),
    Row(
        "PUT",
        "/api/projects/{project_id}/ontologies/{ontology_id}",
        (401, 404, 403, 403, 403, 200),
        {
            "name": "organs",
            "classes": [
                {"label": 1, "name": "Liver", "color": "#dd8265"},
                {"label": 2, "name": "Spleen", "color": "#9d6ca2"},
            ],
        },
    ),
    Row("GET", "/api/images/{image_id}/segmentations", MEMBERS),
    Row(
        "POST",
        "/api/projects/{project_id}/segmentations",
        (401, 404, 403, 201, 201, 201),
        {"image_id": "{volume}", "name": "another", "ontology_id": "organs"},
    ),
    Row("GET", "/api/segmentations/{ref}", MEMBERS),
    Row("GET", "/api/segmentations/{ref}/zarr/{key:path}", MEMBERS),
    Row("GET", "/api/segmentations/{ref}/chunks", MEMBERS),
    Row("GET", "/api/segmentations/{segmentation_id}/blobs/{hex}", (401,) + (404,) * 5),
    Row("GET", "/api/segmentations/{ref}/shapes", MEMBERS),
    Row("GET", "/api/segmentations/{segmentation_id}/changes", MEMBERS, url="?since=0"),
    Row("GET", "/api/segmentations/{ref}/tiles/{level}/{row}/{column}", MEMBERS),
    # Version 1000 is not there, and nor is anything to undo: who may write gets as far as hearing so.
    Row(
        "POST",
        "/api/segmentations/{segmentation_id}/edits",
        (401, 404, 403, 422, 422, 422),
        {"base": 1000, "tool": "brush", "voxels": []},
    ),
    Row(
        "POST",
        "/api/segmentations/{segmentation_id}/edits/{version}/revert",
        (401, 404, 403, 422, 422, 422),
        {"base": 0},
    ),
    Row(
        "POST",
        "/api/segmentations/{segmentation_id}/restore",
        (401, 404, 403, 422, 422, 422),
        {"version": 1000, "base": 0},
    ),
    Row("GET", "/api/segmentations/{segmentation_id}/edits", MEMBERS),
    Row("GET", "/api/models", ANY_ACCOUNT),
    Row(
        "POST",
        "/api/segmentations/{segmentation_id}/proposals",
        (401, 404, 403, 422, 422, 422),
        {"model": "there is none", "prompts": []},
    ),
    Row("POST", "/api/proposals/{proposal_id}/accept", (401,) + (404,) * 5, {"base": 0, "label": 1}),
    Row("POST", "/api/proposals/{proposal_id}/reject", (401,) + (404,) * 5),
    Row("GET", "/api/segmentations/{ref}/exports/{format}", (401, 404, 403, 200, 200, 200)),
    Row("POST", "/api/projects/{project_id}/imports", (401, 404, 422, 422, 422, 422), {}),
    Row("GET", "/api/audit/checkpoint", ANY_ACCOUNT),
    Row("GET", "/api/audit/key", ANY_ACCOUNT),
    Row("GET", "/api/audit/consistency", ANY_ACCOUNT, url="?old=0&new=1"),
    Row("GET", "/api/audit/entries", (401, 404, 403, 403, 200, 200), url="?project={project}"),
    Row("GET", "/api/audit/entries/{entry_id}", (401,) + (404,) * 5),
    Row("GET", "/api/audit/entries/{entry_id}/proof", (401,) + (404,) * 5),
    # Last: it ends the sessions of everybody.
    Row("POST", "/api/logout", (401, 204, 204, 204, 204, 204)),
]


def routes() -> set[tuple[str, str]]:
    app = create_app(Settings())
    found: set[tuple[str, str]] = set()
    pending: list[Any] = list(app.routes)
    while pending:
        route = pending.pop()
        if isinstance(route, APIRoute):
            found |= {(method, route.path) for method in route.methods or ()}
        else:
            # FastAPI 0.16x keeps an included router as one; earlier releases copy its routes.
            pending.extend(getattr(getattr(route, "original_router", None), "routes", ()))
    return found


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    viewer = {("GET", "/{path:path}"), ("HEAD", "/{path:path}")}
    openapi = {("GET", "/api/openapi.json"), ("HEAD", "/api/openapi.json")}
    assert routes() - viewer - openapi == {(row.method, row.path) for row in TABLE}


def test_the_openapi_document_has_no_path_beside_the_table() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    described = {(method.upper(), path) for path, item in paths.items() for method in item}
    plain = {(row.method, row.path.replace(":path}", "}")) for row in TABLE if row.method != "HEAD"}
    assert described == plain


def url_of(row: Row, server: Server) -> str:
    raster = "/tiles/" in row.path
    values = {
        "token_id": MISSING,
        "project_id": server.project,
        "project": server.project,
        "image_id": server.raster if raster else server.volume,
        "axis": "z",
        "index": "3",
        "level": "0",
        "row": "0",
        "column": "0",
        "ontology_id": server.ontology,
        "ref": server.raster_segmentation if raster else server.segmentation,
        "segmentation_id": server.segmentation,
        "hex": "0" * 64,
        "version": "1",
        "proposal_id": MISSING,
        "format": "nifti",
        "entry_id": MISSING,
    }
    key = "zarr.json" if "segmentations" in row.path else "0/c/0/0/0"
    text = row.path.replace("{key:path}", key) + (row.url or "")
    return text.format(**values)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
def test_everybody_gets_what_the_table_says(row: Row, server: Server) -> None:
    body = {k: v.format(volume=server.volume) if v == "{volume}" else v for k, v in (row.json or {}).items()}
    answers = {}
    for name in EVERYBODY:
        sent: dict[str, Any] = {"json": body} if row.json is not None else {}
        answers[name] = server.as_(name).request(row.method, url_of(row, server), **sent)
    assert tuple(answer.status_code for answer in answers.values()) == row.status
    for answer in answers.values():
        if answer.status_code >= 400 and row.method != "HEAD":
            assert answer.headers["content-type"] == "application/problem+json"
            assert set(answer.json()) >= {"code", "title", "status", "detail"}


@pytest.mark.parametrize(
    "path",
    [
        "/api/images/{image}",
        "/api/images/{image}/zarr/zarr.json",
        "/api/images/{image}/zarr/0/c/0/0/0",
        "/api/images/{image}/thumbnail",
        "/api/images/{image}/segmentations",
        "/api/segmentations/{segmentation}",
        "/api/segmentations/{segmentation}@0",
        "/api/segmentations/{segmentation}/edits",
        "/api/segmentations/{segmentation}/exports/nifti",
        "/api/projects/{project}/images",
    ],
)
def test_what_is_somebody_else_s_answers_exactly_like_what_is_not_there(server: Server, path: str) -> None:
    """Whether a thing exists is itself knowledge (abuse case 57)."""
    theirs = path.format(image=server.hidden, segmentation=server.hidden_segmentation, project=server.other_project)
    nothing = path.format(image="0" * 32, segmentation=MISSING, project=MISSING)
    # A fresh login: the table's last row has logged everybody out.
    with server.client() as admin:
        assert admin.post("/api/login", json={"name": "admin", "password": "correct horse battery staple"}).is_success
        hidden, missing = admin.get(theirs), admin.get(nothing)
    assert (hidden.status_code, hidden.json()) == (404, missing.json())
    assert missing.status_code == 404
