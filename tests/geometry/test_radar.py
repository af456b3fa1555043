"""Calibration: DN to sigma0 against the golden table and the formula of ESA-EOPG-CSCOP-TN-0002."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specimg.errors import InvalidInput
from specimg.geometry.radar import (
    CalibrationTable,
    ControlPoints,
    NoiseSummary,
    Orbit,
    RadarGeometry,
    decibel,
    sigma0,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "sigma0.json").read_text("utf-8"))


def table(**changes: Any) -> CalibrationTable:
    values = {
        "lines": np.array([-10.0, 30.0, 200.0]),
        "pixels": np.array([0.0, 40.0, 100.0]),
        "sigma0": np.array([[600.0, 590, 580], [610, 601, 588], [650, 640, 625]]),
    }
    return CalibrationTable(**{**values, **changes})


@pytest.mark.parametrize("golden", GOLDEN, ids=[g["name"] for g in GOLDEN])
def test_decibels_are_those_of_the_table_shared_with_the_viewer(golden: dict[str, Any]) -> None:
    gains = CalibrationTable.from_json(golden["table"])
    for case in golden["cases"]:
        db = float(decibel(sigma0(case["dn"], gains, case["line"], case["pixel"])))
        assert gains.gain(case["line"], case["pixel"]) == pytest.approx(case["gain"], rel=1e-12)
        if case["db"] is None:
            assert np.isnan(db)
        else:
            assert db == pytest.approx(case["db"], abs=2e-5)


def test_a_tile_is_its_samples_one_by_one() -> None:
    dn = np.arange(12, dtype=np.uint16).reshape(3, 4) * 100
    lines, pixels = [5, 29.5, 180], [-4, 0.5, 39, 300]
    tile = sigma0(dn, table(), lines, pixels)
    alone = [[float(sigma0(dn[i, j], table(), lines[i], pixels[j])) for j in range(4)] for i in range(3)]
    np.testing.assert_allclose(tile, alone, rtol=1e-6)
    assert tile.dtype == np.float32


def test_interpolation_is_in_gain_and_not_in_its_square() -> None:
    """TN-0002 §4: bilinear in A. The middle of 600 and 590 is 595, not sqrt of the mean of squares."""
    assert table().gain(-10, 20) == pytest.approx(595.0, abs=1e-12)


def test_beyond_the_vectors_the_ends_are_held() -> None:
    assert table().gain(-500, -500) == 600.0
    assert table().gain(17_380, 26_000) == 625.0


def test_no_signal_is_no_data_and_not_minus_infinity() -> None:
    assert np.isnan(decibel(sigma0(np.uint16(0), table(), 0, 0)))
    with np.errstate(all="raise"):
        decibel(np.array([0.0, -1.0, np.nan, 1.0]))


@given(st.floats(1, 60_000), st.floats(-50, 300), st.floats(-50, 300))
def test_twice_the_amplitude_is_six_decibels_more(dn: float, line: float, pixel: float) -> None:
    once, twice = (decibel(sigma0(v, table(), line, pixel)) for v in (dn, 2 * dn))
    assert float(twice - once) == pytest.approx(20 * np.log10(2), abs=1e-4)


def test_incidence_from_either_table_is_the_angle_put_in() -> None:
    angle = np.radians(np.array([30.0, 37.0, 45.0]))
    sigma = np.full((3, 3), 600.0)
    gamma, beta = sigma * np.sqrt(np.cos(angle)), sigma * np.sqrt(np.sin(angle))
    np.testing.assert_allclose(table(sigma0=sigma, gamma0=gamma).incidence(0, [0, 40, 100])[:], [30, 37, 45])
    np.testing.assert_allclose(table(sigma0=sigma, beta0=beta).incidence(0, [0, 40, 100])[:], [30, 37, 45])
    with pytest.raises(InvalidInput, match="beta0"):
        table().incidence(0, 0)


def test_leaving_out_equal_vectors_changes_no_gain() -> None:
    rows = np.array([600.0, 590, 580])
    full = CalibrationTable(
        np.arange(6.0) * 100, np.array([0.0, 40, 100]), np.stack([rows, rows, rows, rows + 3, rows + 9, rows + 9])
    )
    less = full.simplified()
    assert less.lines.tolist() == [0, 200, 300, 400, 500]
    lines, pixels = np.linspace(-50, 600, 131), np.linspace(-5, 120, 26)
    np.testing.assert_array_equal(less.gain(lines, pixels), full.gain(lines, pixels))


@pytest.mark.parametrize(
    "change",
    [
        {"lines": np.array([0.0, 0, 1])},
        {"pixels": np.array([0.0, 50, 40])},
        {"sigma0": np.zeros((3, 3))},
        {"sigma0": np.ones((2, 3))},
        {"beta0": np.full((3, 3), np.nan)},
        {"lines": np.array([])},
    ],
    ids=["line twice", "pixels fall", "zero gain", "too few", "nan", "none"],
)
def test_a_table_that_would_give_wrong_numbers_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        table(**change)


def geometry() -> RadarGeometry:
    gcps = ControlPoints(
        *(np.array(v, np.float64) for v in ([0, 0, 9, 9], [0, 7, 0, 7], [1, 2, 1, 2], [5, 5, 6, 6], [0] * 4))
    )
    orbit = Orbit(
        "2021-12-23T05:11:22.594441Z",
        np.arange(6.0),
        np.ones((6, 3)),
        np.ones((6, 3)),
        10.0,
        np.array([0.0]),
        np.array([0.0]),
        np.array([[8e5, 0.5]]),
    )
    return RadarGeometry(
        ("VV", "VH"),
        gcps,
        {"VV": table()},
        {"VV": NoiseSummary("range", usable=False, notes=("All noise values are 0.",))},
        orbit,
        mission="S1B",
        flight="descending",
        look="right",
        missing=("There is no calibration of VH: it is amplitude only.",),
    )


def test_json_there_and_back() -> None:
    text = json.dumps(geometry().to_json(), allow_nan=False)
    assert RadarGeometry.from_json(json.loads(text)).to_json() == geometry().to_json()


def test_json_has_the_keys_the_viewer_reads() -> None:
    value = geometry().to_json()
    assert {"line", "pixel", "lon", "lat", "height"} <= set(value["gcps"])
    assert {"lines", "pixels", "sigma0"} <= set(value["calibration"]["VV"])
    without = RadarGeometry(("VV",), None, None).to_json()
    assert without["calibration"] is None
    assert without["gcps"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"gcps": {"line": [0]}},
        {"gcps": {"line": [0], "pixel": [0], "lon": [0], "lat": [91], "height": [0]}},
        {"gcps": {"line": [0, 1], "pixel": [0], "lon": [0], "lat": [0], "height": [0]}},
        {"calibration": {"VV": {"lines": [0]}}},
        {"calibration": [1]},
        {"orbit": {"epoch": "x"}},
        {"noise": {"VV": {"schema": "other", "usable": True, "notes": []}}},
        {"flight": "upwards"},
    ],
)
def test_json_from_a_stranger_is_refused_not_believed(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        RadarGeometry.from_json({**geometry().to_json(), **change})
