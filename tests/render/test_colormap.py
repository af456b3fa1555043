"""Colour maps against Matplotlib's tables; radar colour and label colours against sums done by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from specimg.errors import InvalidInput
from specimg.render.colormap import NAMES, colorize, dual_polarisation, paint, parse_color, table

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "colormap.json").read_text("utf-8"))["maps"]


def test_the_golden_file_has_every_map() -> None:
    assert set(GOLDEN) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_the_golden_ones(name: str) -> None:
    assert [parse_color(text) for text in GOLDEN[name]] == [tuple(row) for row in table(name).tolist()]


def test_an_unknown_map_is_refused() -> None:
    with pytest.raises(InvalidInput, match="viridis"):
        table("jet")


def test_grey_stays_one_channel_and_the_others_become_three() -> None:
    grey = np.array([[0, 128, 255]], np.uint8)
    assert colorize(grey, "grey") is grey
    assert colorize(grey, "inverted").tolist() == [[[255] * 3, [127] * 3, [0] * 3]]


def test_two_polarisations_become_red_green_and_their_ratio() -> None:
    co = np.array([[-20.0, -10.0, 0.0, np.nan]], np.float32)
    cross = np.array([[-30.0, -25.0, -5.0, -20.0]], np.float32)
    ranges = {"co": (-20.0, 0.0), "cross": (-30.0, -5.0), "ratio": (0.0, 20.0)}
    picture = dual_polarisation(co, cross, ranges)
    assert picture.shape == (1, 4, 3)
    # ratio is 10, 15, 5 dB of 20: 127.5 -> 128, 191.25, 63.75
    assert picture[0, :3].tolist() == [[0, 0, 128], [128, 51, 191], [255, 255, 64]]
    assert picture[0, 3].tolist() == [0, 102, 0]


def test_labels_get_their_colour_and_the_rest_is_clear() -> None:
    labels = np.array([[0, 1, 300], [300, 65535, 0]], np.uint16)
    painted = paint(labels, {1: "#ff0000", 300: "#0102fe"}, alpha=200)
    assert painted[0, 1].tolist() == [255, 0, 0, 200]
    assert painted[0, 2].tolist() == painted[1, 0].tolist() == [1, 2, 254, 200]
    assert painted[0, 0].tolist() == painted[1, 1].tolist() == painted[1, 2].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("text", ["red", "#12345", "#1234567", "#gg0000", "", "123456#"])
def test_a_colour_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_color(text)
