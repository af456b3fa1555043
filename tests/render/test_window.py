"""Window and level against the text of the standard, pydicom, SimpleITK, and its own laws."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from specimg.errors import InvalidInput
from specimg.formats.base import Channel, Rescale, Series, Window
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space
from specimg.render.window import WindowLevel, from_values, function_of, suggested, to_grey

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "window.json").read_text("utf-8"))
ALL: list[dict[str, Any]] = GOLDEN["cases"]
CASES = [pytest.param(case, id=case["name"]) for case in ALL]


def standard(x: float, case: dict[str, Any]) -> Fraction:
    """PS3.3 C.11.2.1.2.1 and C.11.2.1.3.2, word for word, in exact arithmetic; y_min 0, y_max 255."""
    c, w, value = Fraction(case["center"]), Fraction(case["width"]), Fraction(x)
    if case["function"] == "LINEAR":
        if value <= c - Fraction(1, 2) - (w - 1) / 2:
            return Fraction(0)
        if value > c - Fraction(1, 2) + (w - 1) / 2:
            return Fraction(255)
        return ((value - (c - Fraction(1, 2))) / (w - 1) + Fraction(1, 2)) * 255
    if value <= c - w / 2:
        return Fraction(0)
    if value > c + w / 2:
        return Fraction(255)
    return ((value - c) / w + Fraction(1, 2)) * 255


def window(case: dict[str, Any]) -> WindowLevel:
    return WindowLevel(case["center"], case["width"], case["function"])


@pytest.mark.parametrize("case", CASES)
def test_the_table_is_the_standard(case: dict[str, Any]) -> None:
    for value, y, grey in case["rows"]:
        assert y == pytest.approx(float(standard(value, case)), abs=1e-9)
        assert grey == int(standard(value, case) + Fraction(1, 2))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_grey_levels_are_the_table(case: dict[str, Any], dtype: type) -> None:
    values: npt.NDArray[Any] = np.array([row[0] for row in case["rows"]], dtype)
    assert to_grey(values, window(case)).tolist() == [row[2] for row in case["rows"]]


@pytest.mark.parametrize("case", [case for case in ALL if case["name"] in ("abdomen", "lung", "bone", "brain")])
def test_whole_numbers_need_no_conversion_first(case: dict[str, Any]) -> None:
    values = np.array([row[0] for row in case["rows"]], np.int16)
    assert to_grey(values, window(case)).tolist() == [row[2] for row in case["rows"]]


@pytest.mark.parametrize("case", CASES)
def test_pydicom_draws_the_same(case: dict[str, Any]) -> None:
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.PixelRepresentation = 16, 1
    dataset.WindowCenter, dataset.WindowWidth = case["center"], case["width"]
    dataset.VOILUTFunction = case["function"]
    values = np.array([row[0] for row in case["rows"]], np.float64)
    # pydicom maps to the range of the stored bits, -32768 to 32767.
    theirs = (apply_windowing(values, dataset) + 32768) / 65535 * 255
    assert np.allclose(theirs, [row[1] for row in case["rows"]], atol=1e-6)


def test_simpleitk_draws_the_same_ramp() -> None:
    """ITK's filter takes the two ends of a ramp; those of LINEAR are c - 0.5 -+ (w - 1) / 2."""
    values = np.arange(-1024, 3072, dtype=np.float64)[None]
    ramp = SimpleITK.IntensityWindowingImageFilter()
    ramp.SetWindowMinimum(40 - 0.5 - 399 / 2)
    ramp.SetWindowMaximum(40 - 0.5 + 399 / 2)
    theirs = SimpleITK.GetArrayFromImage(ramp.Execute(SimpleITK.GetImageFromArray(values)))
    ours = to_grey(values, WindowLevel(40, 400)).astype(np.float64)
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-6


@given(
    center=st.floats(-5000, 5000),
    width=st.floats(1, 10_000),
    values=st.lists(st.integers(-32768, 32767), min_size=2, max_size=50),
)
def test_brighter_values_never_become_darker(center: float, width: float, values: list[int]) -> None:
    grey = to_grey(np.array(sorted(values), np.int16), WindowLevel(center, width))
    assert (np.diff(grey.astype(int)) >= 0).all()


@given(center=st.floats(-100, 100), width=st.floats(0.01, 1000), value=st.floats(-2000, 2000))
def test_the_exact_rule_has_its_ends_where_it_says(center: float, width: float, value: float) -> None:
    window = WindowLevel(center, width, "LINEAR_EXACT")
    grey = int(to_grey(np.array([value]), window)[0])
    if value <= center - width / 2:
        assert grey == 0
    if value >= center + width / 2:
        assert grey == 255


def test_nan_is_black() -> None:
    assert to_grey(np.array([np.nan, np.inf, -np.inf], np.float32), WindowLevel(40, 400)).tolist() == [0, 255, 0]


@pytest.mark.parametrize(
    ("center", "width", "function"),
    [(40, 0, "LINEAR"), (40, 0.5, "LINEAR"), (40, -1, "LINEAR"), (0, 0, "LINEAR_EXACT"), (0, -2, "LINEAR_EXACT")],
)
def test_a_window_without_width_is_refused(center: float, width: float, function: Any) -> None:
    with pytest.raises(InvalidInput):
        WindowLevel(center, width, function)


@pytest.mark.parametrize(("center", "width"), [(float("nan"), 400), (40, float("inf")), (40, float("nan"))])
def test_a_window_that_is_no_number_is_refused(center: float, width: float) -> None:
    with pytest.raises(InvalidInput):
        WindowLevel(center, width)


def series(dtype: str, *, slope: float = 1.0, intercept: float = 0.0, windows: tuple[Window, ...] = ()) -> Series:
    return Series(
        key="s",
        name="s",
        kind="volume",
        modality="CT",
        axes=("z", "y", "x"),
        shape=(2, 3, 4),
        dtype=dtype,
        grid=Grid((2, 3, 4), Affine.identity(), Space("patient")),
        channels=(Channel("CT", "HU", windows),),
        rescale=Rescale((slope,), (intercept,)),
    )


def test_values_with_fractions_get_the_exact_rule() -> None:
    assert function_of(series("int16", intercept=-1024)) == "LINEAR"
    assert function_of(series("int16", slope=0.5)) == "LINEAR_EXACT"
    assert function_of(series("float32")) == "LINEAR_EXACT"


def test_a_window_of_the_file_without_width_is_passed_over() -> None:
    broken = Window("broken", 40, 0), Window("worse", float("nan"), 400), Window("soft tissue", 50, 350)
    assert suggested(series("int16", windows=broken)) == WindowLevel(50, 350)
    assert suggested(series("int16")) is None


def test_percentiles_become_black_and_white() -> None:
    values = np.arange(0, 1001, dtype=np.float32)
    for function in ("LINEAR", "LINEAR_EXACT"):
        window = from_values(values, function, 10, 90)
        assert to_grey(np.array([100.0, 900.0]), window).tolist() == [0, 255]
        assert 0 < to_grey(np.array([110.0]), window)[0] < 255


@pytest.mark.parametrize("values", [[], [np.nan], [7, 7, 7]])
def test_an_image_without_contrast_still_gets_a_window(values: list[float]) -> None:
    assert to_grey(np.array([1.0, 7.0]), from_values(np.array(values), "LINEAR")).shape == (2,)
    assert to_grey(np.array([1.0, 7.0]), from_values(np.array(values), "LINEAR_EXACT")).shape == (2,)
