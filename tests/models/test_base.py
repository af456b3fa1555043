"""Prompts, views and regions: what reaches a model is what was shown, where it was shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_phantoms import OBLIQUE, asymmetric, stored, volume
from models.phantoms import slick
from specimg.errors import InvalidInput
from specimg.formats.base import Rescale
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space
from specimg.labels.edit import Spans
from specimg.models.base import Answer, Prompt, View, check_prompts, common_plane
from specimg.models.click import CLICK
from specimg.models.propagate import PROPAGATE
from specimg.models.region import Region
from specimg.testing.array_image import ArrayImage

GRID = Grid((10, 20, 30), Affine.identity(), Space("patient"))
POINT = Prompt("point", True, ((5, 6, 7),))


@pytest.mark.parametrize(
    "prompt",
    [
        {"kind": "lasso", "positive": True, "points": [[0, 0, 0]]},
        {"kind": "point", "positive": 1, "points": [[0, 0, 0]]},
        {"kind": "point", "positive": True, "points": [[0, 0]]},
        {"kind": "point", "positive": True, "points": [[0, 0, float("nan")]]},
        {"kind": "point", "positive": True, "points": [[0, float("inf"), 0]]},
        {"kind": "point", "positive": True, "points": []},
        {"kind": "point", "positive": True, "points": [["a", 0, 0]]},
        {"kind": "point", "positive": True, "points": 3},
        {"kind": "box", "positive": True, "points": [[0, 0, 0]]},
        {"kind": "point", "positive": True, "points": [[0, 0, 0]], "axis": "w"},
        {"kind": "mask", "positive": True, "points": [], "spans": "AAAA"},
        {"kind": "mask", "positive": True, "points": [], "spans": "not base64!"},
        {"kind": "mask", "positive": True},
        {"positive": True, "points": [[0, 0, 0]]},
        "a string",
        None,
    ],
)
def test_malformed_prompts_are_refused(prompt: object) -> None:
    with pytest.raises(InvalidInput):
        Prompt.from_json(prompt)


@pytest.mark.parametrize(
    "prompts",
    [
        [],
        [POINT] * 257,
        [Prompt("point", True, ((5, 6, 7),) * 10_000), POINT],
        [Prompt("point", True, ((10, 6, 7),))],
        [Prompt("point", True, ((5, -1, 7),))],
        [Prompt("box", True, ((0, 0, 0), (9, 19, 30)))],
        [Prompt("scribble", True, ((1, 1, 1), (2, 1, 1)), "z")],
    ],
)
def test_prompts_the_grid_does_not_hold_are_refused(prompts: list[Prompt]) -> None:
    with pytest.raises(InvalidInput):
        check_prompts(prompts, GRID, CLICK.card)


@pytest.mark.parametrize("run", [(0, 0, 0, 0), (0, 0, 0, -5), (0, 0, 29, 2), (-1, 0, 0, 1), (0, 0, 2, 2**31 - 1)])
def test_masks_the_grid_does_not_hold_are_refused(run: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput):
        check_prompts([Prompt("mask", True, spans=np.array([run], "<i4").tobytes())], GRID, PROPAGATE.card)


def test_outer_half_of_a_border_sample_is_still_in_the_image() -> None:
    check_prompts([Prompt("point", True, ((-0.5, 19.5, 29.4),))], GRID, CLICK.card)


def test_mask_prompts_are_the_bytes_of_spans() -> None:
    mask = np.zeros((1, 4, 6), np.bool_)
    mask[0, 1, 2:5] = mask[0, 3, 0] = True
    prompt = Prompt("mask", True, axis="z", spans=Spans.from_mask(mask, (7, 0, 1)).to_bytes())
    assert prompt.runs.tolist() == [[7, 1, 3, 3], [7, 3, 1, 1]]
    assert prompt.bounds == ((7, 1, 1), (7, 3, 5))


coordinate = st.floats(-0.5, 9.25, allow_nan=False)


@given(st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=1, max_size=5), st.booleans())
def test_prompts_survive_json(points: list[tuple[float, float, float]], positive: bool) -> None:
    prompt = Prompt("scribble", positive, tuple(points))
    assert Prompt.from_json(json.loads(json.dumps(prompt.to_json()))) == prompt


def test_prompts_in_one_plane_ask_for_that_plane() -> None:
    here = Prompt("point", True, ((5, 6, 7.4),), "x")
    assert common_plane([here, Prompt("point", False, ((1, 2, 7),), "x")], GRID) == ("x", 7)
    assert common_plane([here, POINT], GRID) is None
    assert common_plane([here, Prompt("point", True, ((5, 6, 8),), "x")], GRID) is None
    assert common_plane([here, Prompt("point", True, ((5, 6, 7),), "y")], GRID) is None
    assert common_plane([POINT], Grid((1, 9, 9), Affine.identity(), Space("radar"))) == ("z", 0)


def test_view_of_a_stored_image_gives_real_values_of_each_plane(tmp_path: Path) -> None:
    values = asymmetric((6, 20, 30))
    rescale = Rescale(tuple(1.0 + k for k in range(6)), (-1000.0,) * 6)
    image = stored(volume(values, affine=OBLIQUE, rescale=rescale), tmp_path)
    got = View(image).read((2, 3, 4), (5, 9, 20))
    want = values[2:5, 3:9, 4:20] * np.array([3.0, 4.0, 5.0])[:, None, None] - 1000
    assert got.dtype == np.float32
    assert np.array_equal(got, want.astype(np.float32))


def test_blocks_are_means_whichever_level_serves() -> None:
    values = np.random.default_rng(2).normal(0, 100, (9, 40, 51)).astype(np.float32)
    factors = ((1, 1, 1), (1, 2, 2), (2, 4, 4))
    with_pyramid, without = View(ArrayImage(values, factors=factors)), View(ArrayImage(values))
    assert with_pyramid.level_for((2, 4, 8)) == 2
    assert with_pyramid.level_for((1, 4, 8)) == 1
    for blocks in ((1, 4, 4), (2, 4, 8), (2, 8, 8)):
        shape = tuple(-(-n // f) for n, f in zip(values.shape, blocks, strict=True))
        a = with_pyramid.read_blocks((0, 0, 0), (shape[0], shape[1], shape[2]), blocks)
        b = without.read_blocks((0, 0, 0), (shape[0], shape[1], shape[2]), blocks)
        whole = tuple(slice(0, n // f) for n, f in zip(values.shape, blocks, strict=True))
        want = values[: 9 // blocks[0] * blocks[0], : 40 // blocks[1] * blocks[1], : 51 // blocks[2] * blocks[2]]
        want = want.reshape(*(v for n, f in zip(want.shape, blocks, strict=True) for v in (n // f, f))).mean((1, 3, 5))
        assert np.allclose(a[whole], want, atol=1e-3)
        assert np.allclose(b[whole], want, atol=1e-3)
        assert a.shape == b.shape == shape


def test_what_was_not_measured_is_not_a_number() -> None:
    values = np.array([[[0, 5], [7, 0]]], np.uint16)
    image = ArrayImage(values, modality="SAR", unit="DN", space=Space("radar"), nodata=0)
    assert np.isnan(View(image).read((0, 0, 0), (1, 2, 2))).tolist() == [[[True, False], [False, True]]]


def test_complex_samples_are_seen_as_amplitude() -> None:
    image = ArrayImage(np.array([[[3 + 4j]]], np.complex64), modality="SAR", unit="DN", space=Space("radar"))
    assert View(image).read((0, 0, 0), (1, 1, 1)).tolist() == [[[5.0]]]


def test_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput):
        View(slick()[0], c=1)


box = st.tuples(*[st.floats(0, 300, allow_nan=False)] * 3)


@given(box, box, st.sampled_from([(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (0.5, 0.5, 2.0)]))
def test_a_region_holds_what_it_was_asked_for_within_its_budget(
    a: tuple[float, ...], b: tuple[float, ...], spacing: tuple[float, float, float]
) -> None:
    whole = (301, 257, 300)
    low, high = np.minimum(a, b), np.maximum(a, b)
    region = Region.around(low, high, spacing=spacing, whole=whole, budget=20_000)
    assert np.prod(region.shape) <= 20_000
    first, last = np.clip(np.floor(low + 0.5), 0, None), np.minimum(np.floor(high + 0.5), np.subtract(whole, 1))
    assert (np.asarray(region.start0) <= np.minimum(first, last)).all()
    assert (np.asarray(region.stop0) > last).all()
    blocks = [[0, 0, 0], [n - 1 for n in region.shape]]
    assert np.allclose(region.blocks_of(region.indices_of(blocks)), blocks)


def test_a_region_takes_coarse_blocks_where_samples_are_small() -> None:
    region = Region.around((0, 0, 0), (39, 511, 511), spacing=(4, 0.5, 0.5), whole=(40, 512, 512), budget=64_000)
    assert region.factors in ((1, 8, 8), (2, 16, 16), (2, 8, 8), (1, 16, 16))


def test_trimming_an_answer_keeps_its_voxels() -> None:
    mask = np.zeros((4, 5, 6), np.bool_)
    mask[1, 2:4, 3] = True
    trimmed = Answer((10, 20, 30), mask).trimmed()
    assert (trimmed.start, trimmed.mask.shape, int(trimmed.mask.sum())) == ((11, 22, 33), (1, 2, 1), 2)
    assert not Answer((0, 0, 0), np.zeros((2, 2, 2), np.bool_)).trimmed().mask.any()
