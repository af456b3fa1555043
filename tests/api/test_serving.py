"""Bytes and pictures from a real server over a socket."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import SimpleITK
import zarr
import zarr.storage
from PIL import Image as Pillow

from server_world import Server, phantom, scene
from specimg.audit.verify import verify_proof


def zarr_url(server: Server, key: str) -> str:
    return f"/api/images/{server.volume}/zarr/{key}"


def test_health_answers_without_login_and_is_never_stored(server: Server) -> None:
    answer = server.as_("nobody").get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["cache-control"] == "no-store"


def test_a_chunk_is_the_file_with_a_strong_validator_for_ever(server: Server) -> None:
    answer = server.as_("viewer").get(zarr_url(server, "0/c/0/0/0"))
    stored = (server.desk.home / "images" / server.volume / "0/c/0/0/0").read_bytes()
    assert answer.content == stored
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"].startswith('"')
    assert "content-encoding" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_the_client_holds_is_not_sent_again(server: Server) -> None:
    viewer = server.as_("viewer")
    etag = viewer.get(zarr_url(server, "0/c/0/0/0")).headers["etag"]
    again = viewer.get(zarr_url(server, "0/c/0/0/0"), headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = viewer.get(zarr_url(server, "0/zarr.json"), headers={"If-None-Match": etag})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("value", "part"),
    [("bytes=0-15", slice(0, 16)), ("bytes=100-", slice(100, None)), ("bytes=-20", slice(-20, None))],
)
def test_ranges_are_parts_of_the_file(server: Server, value: str, part: slice) -> None:
    viewer = server.as_("viewer")
    whole = viewer.get(zarr_url(server, "0/c/0/0/0")).content
    answer = viewer.get(zarr_url(server, "0/c/0/0/0"), headers={"Range": value})
    assert (answer.status_code, answer.content) == (206, whole[part])
    start = range(len(whole))[part][0]
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(answer.content) - 1}/{len(whole)}"


def test_a_range_of_an_older_file_gets_the_whole_new_one(server: Server) -> None:
    answer = server.as_("viewer").get(
        zarr_url(server, "0/c/0/0/0"), headers={"Range": "bytes=0-9", "If-Range": '"something else"'}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("value", ["bytes=99999999-", "bytes=5-2", "bytes=" + ",".join(["0-0"] * 10_000)])
def test_ranges_that_cannot_be_are_refused(server: Server, value: str) -> None:
    answer = server.as_("viewer").get(zarr_url(server, "0/c/0/0/0"), headers={"Range": value})
    assert answer.status_code in (416, 400)


def test_head_tells_the_size_and_sends_nothing(server: Server) -> None:
    viewer = server.as_("viewer")
    size = len(viewer.get(zarr_url(server, "0/c/0/0/0")).content)
    head = viewer.head(zarr_url(server, "0/c/0/0/0"))
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")


@pytest.mark.parametrize("key", ["0/c/9/9/9", "7/zarr.json", "nothing", "0", "0/c"])
def test_a_key_that_is_not_there_is_404_as_zarr_expects(server: Server, key: str) -> None:
    answer = server.as_("viewer").get(zarr_url(server, key))
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_zarr_python_reads_the_image_over_http(server: Server) -> None:
    """Through the server's own answers, keys as zarr-python asks for them."""
    viewer = server.as_("viewer")
    held: dict[str, bytes] = {}
    for key in ("zarr.json", "0/zarr.json", "0/c/0/0/0"):
        held[key] = viewer.get(zarr_url(server, key)).content
    store = zarr.storage.MemoryStore({k: zarr.core.buffer.cpu.Buffer.from_bytes(v) for k, v in held.items()})
    group = zarr.open_group(store, mode="r")
    assert np.array_equal(np.asarray(group["0"]), phantom())


def test_a_slice_is_what_simpleitk_makes_of_the_same_plane(server: Server) -> None:
    answer = server.as_("viewer").get(f"/api/images/{server.volume}/slices/y/12?center=40&width=400&format=png")
    assert answer.headers["content-type"] == "image/png"
    ours = np.asarray(Pillow.open(io.BytesIO(answer.content))).astype(float)
    ramp = SimpleITK.IntensityWindowingImageFilter()
    ramp.SetWindowMinimum(40 - 0.5 - 399 / 2)
    ramp.SetWindowMaximum(40 - 0.5 + 399 / 2)
    source = SimpleITK.GetImageFromArray(phantom()[:, 12].astype(np.float64))
    assert np.abs(ours - SimpleITK.GetArrayFromImage(ramp.Execute(source))).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(("axis", "index"), [("z", 7), ("y", 69), ("x", 0)])
def test_raw_slices_are_the_stored_samples(server: Server, axis: str, index: int) -> None:
    answer = server.as_("viewer").get(f"/api/images/{server.volume}/slices/{axis}/{index}?format=raw")
    rows, columns = (int(n) for n in answer.headers["x-shape"].split(","))
    samples = np.frombuffer(answer.content, np.dtype(answer.headers["x-dtype"]).newbyteorder("<"))
    assert np.array_equal(samples.reshape(rows, columns), np.take(phantom(), index, axis="zyx".index(axis)))


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_every_picture_format_opens(server: Server, format: str) -> None:
    answer = server.as_("viewer").get(
        f"/api/images/{server.volume}/slices/z/3?format={format}&colormap=viridis&square=true"
    )
    picture = Pillow.open(io.BytesIO(answer.content))
    # 70 rows of 0.5 mm and 90 columns of 1 mm: a column is two rows wide.
    assert (picture.format or "").lower() == format
    assert picture.size == (180, 70)


def test_a_rendered_picture_has_a_validator_too(server: Server) -> None:
    viewer = server.as_("viewer")
    url = f"/api/images/{server.volume}/slices/z/3"
    first = viewer.get(url)
    assert viewer.get(url, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert viewer.get(url + "?colormap=hot").headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    "query",
    [
        "slices/z/20",
        "slices/z/-1",
        "slices/w/0",
        "slices/z/0?level=9",
        "slices/z/0?width=0&center=1",
        "slices/z/0?width=nan&center=1",
        "slices/z/0?center=1",
        "slices/z/0?format=tiff",
        "slices/z/0?colormap=jet",
        "slices/z/0?size=100000",
        "slices/z/0?c=1",
        "slices/z/99999999999999999999999",
        "thumbnail?size=1000000",
        "tiles/0/0/0",
    ],
)
def test_requests_that_mean_nothing_are_refused_with_a_reason(server: Server, query: str) -> None:
    answer = server.as_("viewer").get(f"/api/images/{server.volume}/{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-input")


def test_a_raster_tile_shows_its_samples_in_decibel(server: Server) -> None:
    answer = server.as_("viewer").get(
        f"/api/images/{server.raster}/tiles/0/1/1?bands=1&quantity=amplitude_db&low=40&high=60"
    )
    tile = np.asarray(Pillow.open(io.BytesIO(answer.content)).convert("RGBA"))
    expected = (20 * np.log10(scene()[1, 512:600, 512:700].astype(float)) - 40) / 20 * 255
    assert np.abs(tile[:88, :188, 0] - np.clip(expected, 0, 255)).max() <= 0.51
    assert (tile[88:, :, 3] == 0).all()
    assert (tile[:, 188:, 3] == 0).all()


def test_sigma0_without_calibration_is_refused_not_guessed(server: Server) -> None:
    answer = server.as_("viewer").get(f"/api/images/{server.raster}/tiles/0/0/0?quantity=sigma0_db")
    assert (answer.status_code, answer.json()["field"]) == (422, "quantity")


def test_label_tiles_show_the_voxel_in_the_middle_of_each_sample(server: Server) -> None:
    annotator = server.as_("annotator")
    made = annotator.post(
        f"/api/projects/{server.project}/segmentations",
        json={"image_id": server.raster, "name": "tiles", "ontology_id": server.ontology},
    ).json()
    runs = [(0, y, 250, 20) for y in range(300, 320)]
    edit = {"base": 0, "tool": "brush", "voxels": [{"label": 2, "spans": server.spans(*runs), "over": None}]}
    assert annotator.post(f"/api/segmentations/{made['id']}/edits", json=edit).status_code == 201
    for level in (0, 1):
        answer = annotator.get(f"/api/segmentations/{made['id']}/tiles/{level}/0/0")
        tile = np.asarray(Pillow.open(io.BytesIO(answer.content)))
        labels = np.zeros((600, 700), bool)
        labels[300:320, 250:270] = True
        factor = 2**level
        shown = labels[factor // 2 :: factor, factor // 2 :: factor][:512, :512]
        assert np.array_equal(tile[: shown.shape[0], : shown.shape[1], 3] == 255, shown)
        assert tile[300 // factor + 1, 250 // factor + 1].tolist() == [0x9D, 0x6C, 0xA2, 255]


def test_an_image_s_description_names_no_file_and_no_patient(server: Server) -> None:
    answer = server.as_("viewer").get(f"/api/images/{server.volume}")
    assert "secret-file-name" not in answer.text
    assert "never shown" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["series"]["window_function"] == "LINEAR"


def test_the_first_pixel_of_a_session_is_in_the_log_before_it_is_served(own_server: Server) -> None:
    server = own_server
    with server.client() as first, server.client() as second:
        for client in (first, second):
            client.post("/api/login", json={"name": "viewer", "password": "correct horse battery staple"})
        assert server.entries("image.view") == []
        first.get(zarr_url(server, "zarr.json"))
        first.get(f"/api/images/{server.volume}")
        assert server.entries("image.view") == []
        for _ in range(3):
            first.get(zarr_url(server, "0/c/0/0/0"))
        first.get(f"/api/images/{server.volume}/thumbnail")
        assert len(server.entries("image.view")) == 1
        second.get(f"/api/images/{server.volume}/slices/z/0")
        first.get(f"/api/images/{server.raster}/tiles/0/0/0")
        views = server.entries("image.view")
        assert len(views) == 3
        assert len({view["actor"]["session"] for view in views}) == 2
        assert {view["object"]["id"] for view in views} == {server.volume, server.raster}


def test_labels_written_over_http_are_read_back_as_zarr_at_every_version(server: Server) -> None:
    annotator = server.as_("annotator")
    made = annotator.post(
        f"/api/projects/{server.project}/segmentations",
        json={"image_id": server.volume, "name": "round trip", "ontology_id": server.ontology},
    ).json()
    url = f"/api/segmentations/{made['id']}"
    for version, label in ((1, 1), (2, 2)):
        edit = {
            "base": version - 1,
            "tool": "brush",
            "voxels": [{"label": label, "spans": server.spans((5, 10, 20 + version, 3)), "over": None}],
        }
        receipt = annotator.post(f"{url}/edits", json=edit)
        assert (receipt.status_code, receipt.json()["version"]) == (201, version)
    assert annotator.get(f"{url}@0/chunks").json() == {"version": 0, "chunks": {}}
    held: dict[str, bytes] = {}
    for version, expected in ((1, [1, 1, 1, 0]), (2, [1, 2, 2, 2])):
        keys = ["zarr.json", "0/zarr.json", "0/c/0/0/0"]
        held = {key: annotator.get(f"{url}@{version}/zarr/{key}").content for key in keys}
        store = zarr.storage.MemoryStore({k: zarr.core.buffer.cpu.Buffer.from_bytes(v) for k, v in held.items()})
        assert np.asarray(zarr.open_group(store, mode="r")["0"])[5, 10, 21:25].tolist() == expected
    chunks = annotator.get(f"{url}/chunks").json()["chunks"]
    blob = annotator.get(f"{url}/blobs/{chunks['0/0/0'].removeprefix('sha256:')}")
    assert blob.content == held["0/c/0/0/0"]
    assert "immutable" in blob.headers["cache-control"]
    assert annotator.get(f"{url}/zarr/0/c/0/0/0").headers["cache-control"] == "private, no-cache"
    assert annotator.get(f"{url}@2/zarr/0/c/0/0/0").headers["cache-control"].endswith("immutable")
    history = annotator.get(f"{url}/edits").json()
    assert [(row["version"], row["actor"]["name"]) for row in history] == [(2, "annotator"), (1, "annotator")]
    changes = annotator.get(f"{url}/changes?since=1").json()
    assert changes["chunks"] == {"0/0/0": chunks["0/0/0"]}


def test_a_stale_edit_is_a_conflict_with_its_box(server: Server) -> None:
    annotator, reviewer = server.as_("annotator"), server.as_("reviewer")
    made = annotator.post(
        f"/api/projects/{server.project}/segmentations",
        json={"image_id": server.volume, "name": "conflict", "ontology_id": server.ontology},
    ).json()
    url = f"/api/segmentations/{made['id']}/edits"

    def edit(label: int, *run: int) -> dict[str, object]:
        spans = server.spans((run[0], run[1], run[2], run[3]))
        return {"base": 0, "tool": "brush", "voxels": [{"label": label, "spans": spans, "over": None}]}

    assert annotator.post(url, json=edit(1, 3, 4, 5, 6)).status_code == 201
    assert reviewer.post(url, json=edit(2, 9, 9, 9, 1)).status_code == 201
    clash = reviewer.post(url, json=edit(2, 3, 4, 8, 6))
    assert (clash.status_code, clash.json()["code"]) == (409, "version-conflict")
    assert clash.json()["boxes"] == [{"start": [3, 4, 8], "stop": [4, 5, 11]}]
    assert (clash.json()["base"], clash.json()["current"], clash.json()["voxels"]) == (0, 2, 3)


def test_a_repeated_request_is_one_edit_and_another_body_under_its_id_is_refused(server: Server) -> None:
    annotator = server.as_("annotator")
    made = annotator.post(
        f"/api/projects/{server.project}/segmentations",
        json={"image_id": server.volume, "name": "repeat", "ontology_id": server.ontology},
    ).json()
    url = f"/api/segmentations/{made['id']}/edits"
    edit = {
        "base": 0,
        "tool": "brush",
        "request_id": "stroke-1",
        "voxels": [{"label": 1, "spans": server.spans((1, 1, 1, 1)), "over": None}],
    }
    first, second = annotator.post(url, json=edit), annotator.post(url, json=edit)
    assert first.json()["version"] == second.json()["version"] == 1
    other = annotator.post(url, json={**edit, "tool": "eraser"})
    assert other.status_code in (409, 422)


def test_an_edit_s_entry_and_its_proof_come_over_http(server: Server) -> None:
    annotator = server.as_("annotator")
    made = annotator.post(
        f"/api/projects/{server.project}/segmentations",
        json={"image_id": server.volume, "name": "proof", "ontology_id": server.ontology},
    ).json()
    edit = {"base": 0, "tool": "brush", "voxels": [{"label": 1, "spans": server.spans((1, 1, 1, 1)), "over": None}]}
    receipt = annotator.post(f"/api/segmentations/{made['id']}/edits", json=edit).json()
    entry = annotator.get(f"/api/audit/entries/{receipt['entry_id']}").json()
    assert entry["leaf"]["new_digest"] == receipt["digest"]
    proof = annotator.get(f"/api/audit/entries/{receipt['entry_id']}/proof")
    assert proof.text.startswith("c2sp.org/tlog-proof@v1\n")
    assert verify_proof(proof.text, annotator.get("/api/audit/key").json()["vkey"]).exit_code == 0


def test_a_mask_goes_out_and_comes_in_again(server: Server) -> None:
    annotator = server.as_("annotator")
    made = annotator.post(
        f"/api/projects/{server.project}/segmentations",
        json={"image_id": server.volume, "name": "exchange", "ontology_id": server.ontology},
    ).json()
    edit = {"base": 0, "tool": "brush", "voxels": [{"label": 2, "spans": server.spans((4, 5, 6, 7)), "over": None}]}
    annotator.post(f"/api/segmentations/{made['id']}/edits", json=edit)
    file = annotator.get(f"/api/segmentations/{made['id']}/exports/nifti")
    assert file.headers["content-disposition"].startswith('attachment; filename="exchange-v1.nii.gz"')
    assert json.loads(file.headers["x-warnings"].replace("%5B", "[").replace("%5D", "]")) == []
    back = annotator.post(
        f"/api/projects/{server.project}/imports",
        data={"image_id": server.volume, "name": "back"},
        files={"file": ("patient name.nii.gz", file.content)},
    )
    assert back.status_code == 201, back.text
    assert back.json()["head"] == 1
    assert [(m["file_label"], m["label"]) for m in back.json()["matches"]] == [(2, 2)]
    chunks = [annotator.get(f"/api/segmentations/{s}/chunks").json()["chunks"] for s in (made["id"], back.json()["id"])]
    assert chunks[0] == chunks[1]
