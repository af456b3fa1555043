"""What people try on a server that strangers can reach; each test is named after the attempt."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from server_world import PASSWORD, Server
from specimg.access import Role
from specimg.models.base import Card
from specimg.models.worker import Worker
from specimg.workflow import accounts


def login(server: Server, name: str, password: str = PASSWORD, **headers: str) -> httpx.Response:
    with server.client(**headers) as client:
        return client.post("/api/login", json={"name": name, "password": password})


def raw(server: Server, request: bytes, *, seconds: float = 10) -> bytes:
    """Send bytes as they are and return what comes back until the server closes or is quiet."""
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=seconds) as connection:
        connection.sendall(request)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
                if b"\r\n\r\n" in received and (b"content-length: 0" in received or b"}" in received):
                    break
        except TimeoutError:
            pass
    return received


# --- sessions -------------------------------------------------------------------------------------------------------


def test_a_session_ends_by_the_server_s_clock_when_nobody_asks(own_server: Server) -> None:
    viewer = own_server.as_("viewer")
    own_server.clock.move(minutes=14)
    assert viewer.get("/api/me").status_code == 200
    own_server.clock.move(minutes=14)
    assert viewer.get("/api/me").status_code == 200
    own_server.clock.move(minutes=16)
    assert viewer.get("/api/me").status_code == 401


def test_a_session_ends_after_twelve_hours_however_busy(own_server: Server) -> None:
    viewer = own_server.as_("viewer")
    for _ in range(71):
        own_server.clock.move(minutes=10)
        assert viewer.get("/api/me").status_code == 200
    own_server.clock.move(minutes=11)
    assert viewer.get("/api/me").status_code == 401


def test_a_cookie_is_worthless_after_logout(own_server: Server) -> None:
    viewer = own_server.as_("viewer")
    cookie = viewer.cookies["specimg_session"]
    assert viewer.post("/api/logout").status_code == 204
    with own_server.client(Cookie=f"specimg_session={cookie}") as thief:
        assert thief.get("/api/me").status_code == 401
        assert thief.get(f"/api/images/{own_server.volume}/zarr/0/c/0/0/0").status_code == 401


def test_a_session_id_cannot_be_fixed_beforehand(server: Server) -> None:
    answer = login(server, "viewer", Cookie="specimg_session=" + "a" * 64)
    assert answer.status_code == 200
    assert answer.cookies["specimg_session"] != "a" * 64
    with server.client(Cookie="specimg_session=" + "a" * 64) as thief:
        assert thief.get("/api/me").status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(server: Server) -> None:
    header = login(server, "viewer").headers["set-cookie"].lower()
    assert "httponly" in header
    assert "samesite=lax" in header
    assert "max-age" not in header


def test_a_role_taken_away_is_gone_within_seconds_of_an_open_session(own_server: Server) -> None:
    server = own_server
    annotator = server.as_("annotator")
    url = f"/api/projects/{server.project}/images"
    assert annotator.get(url).status_code == 200
    assert annotator.get(f"/api/images/{server.volume}/zarr/0/c/0/0/0").status_code == 200
    account = accounts.find_account(server.desk, "annotator")
    accounts.set_role(server.desk, accounts.operator(server.desk), server.project, account, None)
    server.clock.move(seconds=3)
    assert annotator.get(url).status_code == 404
    assert annotator.get(f"/api/images/{server.volume}/zarr/0/c/0/0/0").status_code == 404
    accounts.set_role(server.desk, accounts.operator(server.desk), server.project, account, Role.VIEWER)
    server.clock.move(seconds=3)
    assert annotator.get(url).status_code == 200


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_a_token_works_until_it_is_revoked_or_expires(own_server: Server) -> None:
    server = own_server
    viewer = server.as_("viewer")
    made = [viewer.post("/api/tokens", json={"name": f"t{i}", "days": 2}).json() for i in range(2)]
    assert all(token["secret"].startswith("specimg_") for token in made)
    assert "secret" not in viewer.get("/api/tokens").json()[0]
    script = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {made[0]['secret']}"})
    other = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {made[1]['secret']}"})
    with script, other:
        assert script.get("/api/me").json()["name"] == other.get("/api/me").json()["name"] == "viewer"
        assert viewer.delete(f"/api/tokens/{made[0]['id']}").status_code == 204
        assert script.get("/api/me").status_code == 401
        server.clock.move(days=2, seconds=1)
        assert other.get("/api/me").status_code == 401


def test_a_stolen_token_cannot_make_another(server: Server) -> None:
    secret = server.as_("viewer").post("/api/tokens", json={"name": "t", "days": 1}).json()["secret"]
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {secret}"}) as script:
        assert script.post("/api/tokens", json={"name": "more", "days": 366}).status_code == 403


def test_nobody_revokes_another_s_token(server: Server) -> None:
    token = server.as_("viewer").post("/api/tokens", json={"name": "mine", "days": 1}).json()
    assert server.as_("admin").delete(f"/api/tokens/{token['id']}").status_code == 404


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer specimg_" + "0" * 64,
        "Basic dmlld2VyOng=",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
        "Bearer ' OR 1=1 --",
    ],
)
def test_an_authorization_that_is_none_is_refused(server: Server, value: str) -> None:
    with httpx.Client(base_url=server.url, headers={"Authorization": value}) as client:
        assert client.get("/api/me").status_code == 401


def test_neither_passwords_nor_secrets_lie_in_the_data_folder(server: Server) -> None:
    viewer = server.as_("viewer")
    token = viewer.post("/api/tokens", json={"name": "t", "days": 1}).json()["secret"]
    wanted = [PASSWORD.encode(), token.encode(), viewer.cookies["specimg_session"].encode()]
    for path in server.desk.home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(secret in data for secret in wanted), path.name


# --- guessing -------------------------------------------------------------------------------------------------------


def test_guessing_a_password_is_slowed_and_recorded(own_server: Server) -> None:
    answers = [login(own_server, "viewer", f"wrong {i}") for i in range(7)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert login(own_server, "viewer").status_code == 429
    assert login(own_server, "annotator").status_code == 200
    own_server.clock.move(minutes=6)
    assert login(own_server, "viewer").status_code == 200
    assert len(own_server.entries("auth.fail")) == 5


def test_a_wrong_name_and_a_wrong_password_are_told_apart_by_nothing(own_server: Server) -> None:
    known = login(own_server, "viewer", "wrong")
    unknown = login(own_server, "no such person", "wrong")
    assert (known.status_code, known.json()) == (unknown.status_code, unknown.json())
    assert [leaf["actor"] for leaf in own_server.entries("auth.fail")] == [{"id": None, "session": None}] * 2
    assert "no such person" not in json.dumps(own_server.entries("auth.fail"))


@pytest.mark.parametrize(
    "name", ["", r"\u0000", "admin'--", "a" * 256, r"\ud83d\ude00", r"\ud83d", r"VIEWER\r\nSet-Cookie: x=y"]
)
def test_a_strange_name_is_just_wrong(server: Server, name: str) -> None:
    body = f'{{"name": "{name}", "password": "wrong"}}'
    with server.client(**{"Content-Type": "application/json"}) as client:
        answer = client.post("/api/login", content=body)
    assert answer.status_code in (401, 422)
    assert "set-cookie" not in answer.headers


# --- other sites ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Specimg": "", "Origin": "{url}"},
        {"X-Specimg": "1", "Origin": "https://evil.example"},
        {"X-Specimg": "1", "Origin": "null"},
        {"X-Specimg": "1", "Origin": "{url}.evil.example"},
        {"X-Specimg": "1", "Origin": ""},
        {"X-Specimg": "1", "Sec-Fetch-Site": "cross-site"},
        {"X-Specimg": "1"},
    ],
)
def test_another_site_s_page_cannot_use_our_cookie(server: Server, headers: dict[str, str]) -> None:
    cookie = server.as_("viewer").cookies["specimg_session"]
    sent = {key: value.format(url=server.url) for key, value in headers.items()}
    with httpx.Client(base_url=server.url, headers={"Cookie": f"specimg_session={cookie}", **sent}) as evil:
        answer = evil.post("/api/tokens", json={"name": "evil", "days": 1})
    assert (answer.status_code, answer.json()["code"]) == (403, "forged-request")


def test_a_form_cannot_pass_for_json(server: Server) -> None:
    answer = server.as_("viewer").post(
        "/api/tokens", content='{"name": "evil", "days": 1}', headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code in (415, 422)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost@evil"])
def test_a_name_that_points_here_is_not_ours(server: Server, host: str) -> None:
    """DNS rebinding: a page of evil.example, whose name now leads to 127.0.0.1, is of one origin with us."""
    answer = server.as_("viewer").get("/api/me", headers={"Host": host})
    assert answer.status_code == 400


def test_forwarded_headers_of_strangers_change_nothing(own_server: Server) -> None:
    for i in range(6):
        login(own_server, "viewer", "wrong", **{"X-Forwarded-For": f"10.0.0.{i}", "X-Forwarded-Host": "evil"})
    assert login(own_server, "viewer", **{"X-Forwarded-For": "10.9.9.9"}).status_code == 429


# --- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000 + b"]" * 10_000,
        b'{"name": "t", "days": NaN}',
        b'{"name": "t", "days": 1, "days": 2}',
        b'{"name": "t", "days": 1',
        b"\xff\xfe",
        b"",
    ],
)
def test_json_that_has_no_one_meaning_is_refused(server: Server, body: bytes) -> None:
    answer = server.as_("viewer").post("/api/tokens", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("days", [2**63, -1, 0, 1e400, "1; DROP TABLE token", None, [1]])
def test_numbers_out_of_range_are_refused(server: Server, days: object) -> None:
    body = json.dumps({"name": "t", "days": days}) if days != 1e400 else '{"name": "t", "days": 1e400}'
    answer = server.as_("viewer").post("/api/tokens", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_fields_that_are_not_ours_to_give_are_refused(server: Server) -> None:
    for extra in ({"role": "admin"}, {"account_id": "x"}, {"expires_at": "2999-01-01T00:00:00.000000Z"}):
        assert server.as_("viewer").post("/api/tokens", json={"name": "t", "days": 1, **extra}).status_code == 422


def test_a_body_larger_than_the_limit_is_refused_before_it_is_read(server: Server) -> None:
    head = (
        f"POST /api/login HTTP/1.1\r\nHost: {urlsplit(server.url).netloc}\r\nOrigin: {server.url}\r\nX-Specimg: 1\r\n"
        "Content-Type: application/json\r\nContent-Length: 4294967296\r\n\r\n{"
    )
    assert raw(server, head.encode()).startswith(b"HTTP/1.1 413")


def test_a_chunked_body_cannot_grow_past_the_limit(server: Server) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 65536

    answer = server.as_("viewer").post(
        "/api/tokens",
        content=endless(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 413


def test_a_compressed_body_is_not_unpacked(server: Server) -> None:
    answer = server.as_("viewer").post("/api/tokens", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415


def test_a_stranger_s_upload_is_refused_before_it_is_read(server: Server) -> None:
    """An import may have 2 GiB; nobody and outsiders may not fill our disk with it."""
    length = 1_000_000_000
    for cookie, status in (("", b"401"), (server.as_("outsider").cookies["specimg_session"], b"404")):
        head = (
            f"POST /api/projects/{server.project}/imports HTTP/1.1\r\nHost: {urlsplit(server.url).netloc}\r\n"
            f"Origin: {server.url}\r\nX-Specimg: 1\r\nCookie: specimg_session={cookie}\r\n"
            f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\n\r\n--x\r\n"
        )
        assert raw(server, head.encode()).split()[1] == status


def test_a_multipart_of_a_hundred_thousand_parts_is_refused(server: Server) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    answer = server.as_("annotator").post(
        f"/api/projects/{server.project}/imports",
        content=part * 100_000 + b"--x--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 400


def test_smuggled_lengths_are_refused(server: Server) -> None:
    netloc = urlsplit(server.url).netloc
    for lengths in (
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
    ):
        head = (
            f"POST /api/login HTTP/1.1\r\nHost: {netloc}\r\nOrigin: {server.url}\r\nX-Specimg: 1\r\n"
            f"Content-Type: application/json\r\n{lengths}\r\n0\r\n\r\n"
        )
        status = int(raw(server, head.encode(), seconds=5).split()[1])
        assert 400 <= status < 500


# --- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "..%2f..%2fspecimg.db",
        "%2e%2e/%2e%2e/specimg.db",
        "..%252f..%252fspecimg.db",
        "0/../../../specimg.db",
        "0%00/zarr.json",
        "0/c/0/0/0;x",
        "/etc/passwd",
        "0\\..\\zarr.json",
        ".zattrs",
        "0/c/" + "0/" * 200,
        "a" * 10_000,
    ],
)
def test_a_key_cannot_climb_out_of_its_image(server: Server, key: str) -> None:
    request = f"GET /api/images/{server.volume}/zarr/{key} HTTP/1.1\r\nHost: {urlsplit(server.url).netloc}\r\n"
    request += f"Cookie: specimg_session={server.as_('viewer').cookies['specimg_session']}\r\n\r\n"
    assert raw(server, request.encode()).split()[1] == b"404"


@pytest.mark.parametrize("path", ["..%2foutside.txt", "link.txt", ".hidden", "assets/../.hidden", "assets%5c..%5cx.js"])
def test_the_viewer_s_files_are_the_only_ones_served(viewer_server: Server, path: str) -> None:
    request = f"GET /{path} HTTP/1.1\r\nHost: {urlsplit(viewer_server.url).netloc}\r\nConnection: close\r\n\r\n"
    answer = raw(viewer_server, request.encode())
    assert answer.split()[1] == b"404"
    assert b"secret" not in answer


def test_the_viewer_is_served_with_a_policy_that_runs_no_foreign_script(viewer_server: Server) -> None:
    nobody = viewer_server.as_("nobody")
    for path in ("/", "/images/0123", "/login"):
        page = nobody.get(path)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cache-control"] == "no-cache"
        policy = page.headers["content-security-policy"]
        assert "unsafe-inline" not in policy
        assert "'unsafe-eval'" not in policy.replace("'wasm-unsafe-eval'", "")
        assert "frame-ancestors 'none'" in policy
    script = nobody.get("/assets/app-1a2b.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["cache-control"].endswith("immutable")
    assert nobody.get("/assets/gone.js").status_code == 404


def test_an_unknown_address_of_the_api_is_a_problem_not_a_page(server: Server) -> None:
    answer = server.as_("viewer").get("/api/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_the_log_has_no_way_to_change_it(server: Server, method: str) -> None:
    for path in ("/api/audit/entries", "/api/audit/checkpoint", "/api/audit/key"):
        assert server.as_("admin").request(method, path).status_code == 405


def test_a_filter_of_the_log_is_data_and_nothing_else(server: Server) -> None:
    for object in ("' OR 1=1 --", "%", "a" * 100, "words about a patient"):
        answer = server.as_("admin").get("/api/audit/entries", params={"project": server.project, "object": object})
        assert answer.status_code == 422


# --- staying up -----------------------------------------------------------------------------------------------------


def test_health_answers_while_every_place_for_long_work_is_taken(own_server: Server) -> None:
    """Exports and models that hang must not take the server with them."""
    server = own_server
    release, waiting = threading.Event(), threading.Semaphore(0)

    class Hanging(Worker):
        def cards(self) -> tuple[Card, ...]:
            waiting.release()
            release.wait()
            return ()

    server.core._worker = Hanging()
    admin = server.as_("admin")
    cookie = admin.cookies["specimg_session"]
    done: list[int] = []

    def ask() -> None:
        with server.client(Cookie=f"specimg_session={cookie}") as client:
            done.append(client.get("/api/models").status_code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            assert waiting.acquire(timeout=30)
        assert server.as_("nobody").get("/health").status_code == 200
        assert admin.get(f"/api/images/{server.volume}/slices/z/1").status_code == 200
        assert admin.get(f"/api/images/{server.volume}/zarr/0/c/0/0/0").status_code == 200
        assert done == []
    finally:
        release.set()
        for thread in threads:
            thread.join()
    assert done == [200] * 12
