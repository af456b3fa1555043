"""The OpenAPI document: true, complete enough to generate a client from, and held to it by random requests."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.core.transport import Response as Answer

from server_world import Server
from specimg import errors
from specimg.api.app import create_app
from specimg.api.errors import STATUS, fields_of, of_error, status_of
from specimg.errors import ConflictBox, SpecimgError, VersionConflict
from specimg.settings import Settings

DOCUMENT: dict[str, Any] = create_app(Settings()).openapi()


def leaves(kind: type[SpecimgError]) -> list[type[SpecimgError]]:
    return [kind, *(leaf for sub in kind.__subclasses__() for leaf in leaves(sub))]


@pytest.mark.parametrize("error", [e for e in leaves(SpecimgError) if e is not SpecimgError])
def test_every_error_has_a_status(error: type[SpecimgError]) -> None:
    assert any(base in STATUS for base in error.__mro__)


def test_a_conflict_tells_the_box() -> None:
    error = VersionConflict(base=1, current=3, boxes=(ConflictBox((1, 2, 3), (4, 5, 6)),), shapes=("a",), voxels=7)
    assert status_of(error) == 409
    assert fields_of(error)["boxes"] == [{"start": [1, 2, 3], "stop": [4, 5, 6]}]


def test_a_wait_tells_how_long() -> None:
    answer = of_error(errors.TooManyAttempts(3.2))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "4")


def test_operation_ids_are_unique_and_every_answer_is_described() -> None:
    operations = [item for path in DOCUMENT["paths"].values() for item in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        assert operation["tags"]
        assert operation["description"] or operation["summary"]
        assert "default" in operation["responses"]
        success = next(v for k, v in operation["responses"].items() if k.startswith("2"))
        for media, content in success.get("content", {}).items():
            if media == "application/json" and "zarr" not in operation["operationId"]:
                assert content["schema"], operation["operationId"]


def test_every_named_shape_has_a_description() -> None:
    for name, shape in DOCUMENT["components"]["schemas"].items():
        if not name.startswith(("Body_", "HTTPValidation", "ValidationError")):
            assert shape.get("description"), name


def test_random_requests_never_break_the_server(server: Server) -> None:
    """Schemathesis draws requests from the document; whatever comes back, it is never our fault (no 5xx)."""
    admin = server.as_("admin")
    headers = {"X-Specimg": "1", "Origin": server.url, "Cookie": f"specimg_session={admin.cookies['specimg_session']}"}
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.config.update(base_url=server.url)
    known = {
        "project_id": server.project,
        "image_id": server.volume,
        "ref": server.segmentation,
        "segmentation_id": server.segmentation,
    }
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        # Logging out would end the test's session, and models have a fuzz of their own.
        if operation.path not in ("/api/logout", "/api/models"):
            _attempt(operation.as_strategy(), known, headers, server.url)
            tried += 1
    assert tried > 30
    assert server.as_("nobody").get("/health").status_code == 200


def _attempt(cases: Any, known: dict[str, str], headers: dict[str, str], url: str) -> None:
    @hypothesis.settings(
        max_examples=6,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=cases)
    def attempt(case: Any) -> None:
        # Ids lead to what is there, so that requests get past the door.
        drawn = case.path_parameters or {}
        case.path_parameters = {key: known.get(key, value) for key, value in drawn.items()}
        answer: Answer = case.call(base_url=url, headers=headers)
        assert answer.status_code < 500, (case.operation.label, answer.content[:500])
        if answer.status_code >= 400:
            assert b"Traceback" not in answer.content
            assert b"/tmp/" not in answer.content

    attempt()
