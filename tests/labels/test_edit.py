"""Runs of voxels: the form edits travel in."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from specimg.digest import JSON
from specimg.errors import InvalidInput, TooLarge
from specimg.labels import edit as edits
from specimg.labels.edit import Edit, ShapePut, Spans, VoxelWrite, spans_by_label
from specimg.labels.shapes import Shape

TABLE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "spans.json").read_text())

masks = arrays.arrays(np.bool_, st.tuples(*[st.integers(1, 6)] * 3))


@pytest.mark.parametrize("case", TABLE["good"], ids=lambda case: case["name"])
def test_bytes_are_those_of_the_table(case: dict[str, Any]) -> None:
    spans = Spans.from_bytes(base64.b64decode(case["base64"]))
    assert spans.runs.tolist() == case["runs"]
    assert spans.count == case["count"]
    assert base64.b64encode(spans.to_bytes()).decode() == case["base64"]


@pytest.mark.parametrize("case", TABLE["bad"], ids=lambda case: case["name"])
def test_runs_that_are_not_sorted_and_disjoint_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Spans.from_bytes(base64.b64decode(case["base64"]))


@given(mask=masks, origin=st.tuples(*[st.integers(0, 1000)] * 3))
def test_mask_to_runs_and_back(mask: npt.NDArray[np.bool_], origin: tuple[int, int, int]) -> None:
    spans = Spans.from_mask(mask, origin)
    stop = tuple(o + n for o, n in zip(origin, mask.shape, strict=True))
    assert np.array_equal(spans.to_mask(origin, stop), mask)
    assert spans.count == np.count_nonzero(mask)
    # Maximal runs: one for each rise along x.
    rises = np.count_nonzero(np.diff(mask.astype(int), axis=2, prepend=0) == 1)
    assert len(spans) == rises


@given(mask=masks)
def test_the_box_is_the_smallest(mask: npt.NDArray[np.bool_]) -> None:
    box = Spans.from_mask(mask).box
    if box is None:
        assert not mask.any()
        return
    where = np.argwhere(mask)
    assert box == (tuple(where.min(axis=0)), tuple(where.max(axis=0) + 1))


@given(mask=masks, data=st.data())
def test_a_part_of_the_mask(mask: npt.NDArray[np.bool_], data: st.DataObject) -> None:
    start = [data.draw(st.integers(-2, n)) for n in mask.shape]
    stop = [a + data.draw(st.integers(1, 4)) for a in start]
    padded = np.pad(mask, 8)
    expected = padded[tuple(slice(a + 8, b + 8) for a, b in zip(start, stop, strict=True))]
    assert np.array_equal(Spans.from_mask(mask).to_mask(start, stop), expected)


def test_a_mask_larger_than_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits, "_PIECE_VOXELS", 24)
    mask = np.random.default_rng(5).random((7, 3, 4)) < 0.5
    assert np.array_equal(Spans.from_mask(mask).to_mask((0, 0, 0), mask.shape), mask)


@given(voxels=arrays.arrays(np.uint16, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(0, 3)))
def test_labels_to_runs_in_one_pass(voxels: npt.NDArray[np.uint16]) -> None:
    found = spans_by_label(voxels, (2, 3, 4))
    assert set(found) == set(np.unique(voxels).tolist()) - {0}
    for label, spans in found.items():
        assert spans == Spans.from_mask(voxels == label, (2, 3, 4))


def test_bytes_that_are_no_rows_are_refused() -> None:
    with pytest.raises(InvalidInput):
        Spans.from_bytes(b"\0" * 17)


def test_too_many_runs_are_refused_by_their_size_alone() -> None:
    with pytest.raises(TooLarge):
        Spans.from_bytes(bytes(16 * (edits.MAX_SENT_RUNS + 1)))


def test_a_run_past_the_range_of_indices_is_refused() -> None:
    top = np.iinfo(np.int32).max
    with pytest.raises(InvalidInput):
        Spans(np.array([[0, 0, top, 2]], np.int32))
    with pytest.raises(InvalidInput):
        Spans(np.array([[0, 0, 0, 1], [0, 0, top, 2]], np.int32))


def test_runs_cannot_be_changed_afterwards() -> None:
    rows = np.array([[0, 0, 0, 1]], np.int32)
    spans = Spans(rows)
    rows[0, 3] = 99
    assert spans.count == 1
    with pytest.raises(ValueError, match="read-only"):
        spans.runs[0, 3] = 2


@pytest.mark.parametrize(
    "params",
    [{"radius": float("nan")}, {"seed": 2**53}, {"name": "\ud800"}, {1: "number as a name"}, {"tool": object()}],
)
def test_params_that_have_no_canonical_form_are_refused(params: Any) -> None:
    with pytest.raises(InvalidInput):
        Edit(0, "brush", params)


def test_params_nested_past_reason_are_refused() -> None:
    deep: JSON = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises((InvalidInput, TooLarge)):
        Edit(0, "brush", {"deep": deep})


def test_large_params_are_refused() -> None:
    with pytest.raises(TooLarge):
        Edit(0, "brush", {"text": "x" * 20_000})


@pytest.mark.parametrize(
    "wrong",
    [
        {"base": -1},
        {"base": 0.0},
        {"base": True},
        {"base": "0"},
        {"tool": ""},
        {"tool": ["brush"]},
        {"tool": "x" * 65},
        {"reason": 5},
        {"reason": "\ud800"},
        {"reason": "x" * 2001},
        {"request_id": ""},
        {"request_id": 7},
        {"request_id": "\udfff"},
    ],
    ids=str,
)
def test_what_is_no_edit(wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"base": 0, "tool": "brush"}
    with pytest.raises(InvalidInput):
        Edit(**given | wrong)


@pytest.mark.parametrize("label", [-1, 65_536, True, 1.0, "1", None])
def test_labels_that_are_none_are_refused(label: Any) -> None:
    empty = Spans(np.empty((0, 4), np.int32))
    with pytest.raises(InvalidInput):
        VoxelWrite(label, empty)
    with pytest.raises(InvalidInput):
        VoxelWrite(1, empty, frozenset({label}))


def test_a_shape_occurs_once_in_an_edit() -> None:
    put = ShapePut(Shape("a", "point", 1, ((0, 0, 0),)))
    with pytest.raises(InvalidInput):
        Edit(0, "point", shapes=(put, put))


def test_the_request_digest_knows_everything_but_the_words() -> None:
    def request(**changes: Any) -> str:
        given: dict[str, Any] = {
            "base": 1,
            "tool": "brush",
            "params": {"radius": 2},
            "voxels": (VoxelWrite(1, Spans(np.array([[0, 0, 0, 5]], np.int32)), None),),
            "reason": "as discussed",
        } | changes
        return Edit(**given).request_digest("ada")

    same = request()
    assert request(reason="other words") == same
    others = [
        request(base=2),
        request(tool="eraser"),
        request(params={"radius": 3}),
        request(voxels=(VoxelWrite(2, Spans(np.array([[0, 0, 0, 5]], np.int32)), None),)),
        request(voxels=(VoxelWrite(1, Spans(np.array([[0, 0, 0, 6]], np.int32)), None),)),
        request(voxels=(VoxelWrite(1, Spans(np.array([[0, 0, 0, 5]], np.int32)), frozenset()),)),
        request(shapes=(ShapePut(Shape("a", "point", 1, ((0, 0, 0),))),)),
        Edit(1, "brush", {"radius": 2}).request_digest("ben"),
    ]
    assert len({same, *others}) == len(others) + 1
