"""CLICK on objects of known shape, and on the real images that its figures in docs/models.md come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from scipy import ndimage

from models.phantoms import Mask, dice, ellipsoid, organs, slick
from specimg.errors import InvalidInput
from specimg.geometry.grid import Space
from specimg.models.base import Answer, Prompt, View
from specimg.models.classical import geodesic, graph_cut
from specimg.models.click import BUDGET, CLICK, REFINE, WINDOW_BUDGET
from specimg.testing.array_image import ArrayImage
from specimg.testing.model_contract import holds


def ask(image: ArrayImage, *prompts: Prompt) -> Answer:
    """One step in a fresh session."""
    return CLICK.open(View(image)).step(prompts, lambda: False)


def point(z: float, y: float, x: float, *, positive: bool = True, axis: str | None = None) -> Prompt:
    """A click."""
    return Prompt.from_json({"kind": "point", "positive": positive, "points": [[z, y, x]], "axis": axis})


def test_one_click_finds_the_object_and_stops_at_its_neighbour() -> None:
    image, liver, kidney = organs()
    assert dice(ask(image, point(15, 40, 38)), liver) > 0.93
    assert dice(ask(image, point(20, 50, 78)), kidney) > 0.9


def test_size_in_millimetres_does_not_matter_only_the_object_does() -> None:
    for spacing in ((0.8, 0.4, 0.4), (5.0, 2.0, 2.0)):
        image, liver, _ = organs(spacing)
        assert dice(ask(image, point(15, 40, 38)), liver) > 0.9


def test_one_click_in_a_plane_answers_in_that_plane() -> None:
    image, liver, _ = organs()
    for axis, index in (("z", 15), ("y", 40), ("x", 38)):
        answer = ask(image, point(15, 40, 38, axis=axis))
        normal = "zyx".index(axis)
        assert (answer.start[normal], answer.mask.shape[normal]) == (index, 1)
        truth = np.zeros_like(liver)
        cut = tuple(slice(index, index + 1) if a == normal else slice(None) for a in range(3))
        truth[cut] = liver[cut]
        assert dice(answer, truth) > 0.9


def test_box_alone_and_box_with_click() -> None:
    image, liver, kidney = organs()
    box = Prompt("box", True, ((5, 12, 14), (25, 68, 62)))
    assert dice(ask(image, box), liver) > 0.9
    assert dice(ask(image, box, point(15, 40, 38)), liver) > 0.93
    flat = Prompt("box", True, ((20, 32, 63), (20, 68, 89)), "z")
    assert dice(ask(image, flat), np.where(np.arange(36)[:, None, None] == 20, kidney, False)) > 0.9


def test_a_box_drawn_on_one_plane_finds_the_whole_object() -> None:
    image, liver, _ = organs()
    drawn = Prompt("box", True, ((15, 12, 14), (15, 68, 62)))
    answer = ask(image, drawn)
    assert dice(answer, liver) > 0.9
    # 48 mm, the smaller side, at 2.5 mm a plane: 9.6 planes each way.
    assert answer.start[0] >= 5
    assert answer.stop[0] <= 26


def test_nothing_of_the_answer_leaves_the_box() -> None:
    image, _, _ = organs()
    answer = ask(image, Prompt("box", True, ((10, 20, 20), (20, 50, 50))), point(15, 40, 38))
    assert all(
        a <= s and e <= b + 1 for a, s, e, b in zip((10, 20, 20), answer.start, answer.stop, (20, 50, 50), strict=True)
    )


def test_scribbles_count_along_their_whole_length() -> None:
    image, liver, _ = organs()
    inside = Prompt("scribble", True, ((15, 30, 30), (15, 50, 45)))
    outside = Prompt("scribble", False, ((15, 80, 5), (15, 80, 100)))
    answer = ask(image, inside, outside)
    for t in np.linspace(0, 1, 9):
        assert holds(answer, (15, 30 + 20 * t, 30 + 15 * t))
        assert not holds(answer, (15, 80, 5 + 95 * t))
    assert dice(answer, liver) > 0.9


def test_clicks_repair_what_one_click_gets_wrong() -> None:
    """Two halves of one object, 70 HU apart: further clicks lead to the whole."""
    shape = (20, 60, 80)
    whole = ellipsoid(shape, (10, 30, 38), (8, 22, 30))
    left = whole & (np.arange(80) < 40)
    values = np.where(whole, 60.0, -80.0) + np.where(left, 0, 70) + np.random.default_rng(1).normal(0, 8, shape)
    image = ArrayImage(values.astype(np.float32), spacing=(2, 1, 1))
    clicks = [point(10, 30, 25), point(10, 30, 55), point(10, 16, 40), point(10, 44, 40)]
    assert dice(ask(image, clicks[0]), left) > 0.9
    grown = [dice(ask(image, *clicks[:n]), whole) for n in (1, 4)]
    assert grown[-1] > grown[0] + 0.05


def test_a_dark_slick_in_speckle() -> None:
    image, dark = slick()
    assert dice(ask(image, point(0, 120, 260)), dark) > 0.9
    assert dice(ask(image, Prompt("box", True, ((0, 70, 185), (0, 170, 335)))), dark) > 0.9


def test_amplitude_and_decibel_give_the_same_object() -> None:
    image, _ = slick()
    amplitude = image.read_box((0, 0, 0), image.grid.shape).astype(np.float64)
    decibel = ArrayImage(
        (20 * np.log10(np.maximum(amplitude, 1e-6))).astype(np.float32), modality="SAR", unit="dB", space=Space("radar")
    )
    a, b = ask(image, point(0, 120, 260)), ask(decibel, point(0, 120, 260))
    whole = np.zeros(image.grid.shape, np.bool_)
    whole[tuple(slice(p, q) for p, q in zip(b.start, b.stop, strict=True))] = b.mask
    assert dice(a, whole) > 0.95


def test_what_was_not_measured_is_never_part_of_an_object() -> None:
    values = np.full((1, 120, 160), 200, np.uint16)
    values[0, :, 100:] = 0
    image = ArrayImage(values, modality="SAR", unit="DN", space=Space("radar"), nodata=0)
    answer = ask(image, point(0, 60, 50))
    assert answer.stop[2] <= 100


def test_a_click_on_air_a_flat_image_or_a_corner_still_answers() -> None:
    flat = ArrayImage(np.zeros((8, 9, 10), np.float32))
    for where in ((0, 0, 0), (7, 8, 9), (3, 4, 5)):
        assert holds(ask(flat, point(*where)), where)
    single = ArrayImage(np.zeros((1, 1, 1), np.float32))
    assert ask(single, point(0, 0, 0)).mask.all()
    missing = ArrayImage(np.full((6, 7, 8), np.nan, np.float32), modality="MR", unit="1")
    assert holds(ask(missing, point(3, 3, 3)), (3, 3, 3))


def test_first_prompt_must_say_where_the_object_is() -> None:
    image, _, _ = organs()
    with pytest.raises(InvalidInput):
        ask(image, point(15, 40, 38, positive=False))
    with pytest.raises(InvalidInput):
        ask(image, Prompt("box", False, ((5, 12, 14), (25, 68, 62))), point(15, 40, 38))


class Counting(ArrayImage):
    """Counts the samples that are read."""

    read = 0
    largest = 0

    def read_box(
        self, start: Sequence[int], stop: Sequence[int], *, level: int = 0, c: int = 0, t: int = 0
    ) -> npt.NDArray[Any]:
        values = super().read_box(start, stop, level=level, c=c, t=t)
        self.read += values.size
        self.largest = max(self.largest, values.size)
        return values


def test_a_click_in_a_large_scene_reads_a_bounded_part_of_it() -> None:
    rng = np.random.default_rng(4)
    values = (100 + 10 * rng.standard_normal((1, 6000, 6000), np.float32)).astype(np.uint16)
    values[0, 1000:1200, 3000:3300] = 20
    factors = [(1, 1 << k, 1 << k) for k in range(5)]
    image = Counting(values, modality="SAR", unit="DN", space=Space("radar"), factors=factors)
    answer = ask(image, point(0, 1100, 3150))
    truth = np.zeros(values.shape, np.bool_)
    truth[0, 1000:1200, 3000:3300] = True
    assert dice(answer, truth) > 0.95
    assert image.largest <= max(4 * WINDOW_BUDGET, 4 * BUDGET, REFINE)
    assert image.read < values.size // 10


def test_geodesic_distance_is_the_shortest_path_sum() -> None:
    """On a flat image it is the length of the way times the price; ITK's Euclidean distance is the shortest of all."""
    seeds = np.zeros((21, 25, 31), np.bool_)
    seeds[10, 12, 15] = True
    got = geodesic(np.zeros(seeds.shape, np.float32), seeds, (2.0, 1.0, 1.0), flat=0.5)
    mask = sitk.GetImageFromArray(seeds.astype(np.uint8))
    mask.SetSpacing((1.0, 1.0, 2.0))
    euclid = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(mask, squaredDistance=False, useImageSpacing=True))
    away = euclid > 0
    # Paths go along axes and face diagonals: a space diagonal of a cube, sqrt(3) long, takes sqrt(2) + 1, 39 % more.
    ratio = got[away] / (0.5 * euclid[away])
    assert ratio.min() > 0.999
    assert ratio.max() < (1 + 2**0.5) / 3**0.5 + 1e-3


def test_graph_cut_finds_the_cheapest_cut_of_a_chain() -> None:
    """Five samples in a row, worked out by hand: the weakest link is between the two values."""
    image = np.array([[[0, 0, 0, 1, 1]]], np.float32)
    inside, outside = np.zeros(image.shape, np.bool_), np.zeros(image.shape, np.bool_)
    inside[0, 0, 0] = outside[0, 0, 4] = True
    mask = graph_cut(image, inside, outside, np.zeros(image.shape, np.float32), (1, 1, 1), smoothness=1)
    assert mask.tolist() == [[[True, True, True, False, False]]]


def deepest(mask: Mask) -> tuple[float, float, float]:
    """Where a person would click."""
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    z, y, x = np.unravel_index(int(distance.argmax()), mask.shape)
    return float(z), float(y), float(x)


@pytest.mark.parametrize(
    ("image", "labels", "label", "modality", "least"),
    [
        ("example_ct_sm", "example_seg", 1, "CT", 0.7),
        ("example_ct_sm", "example_seg", 3, "CT", 0.75),
        ("example_mr_sm", "example_seg_mr", 2, "MR", 0.8),
        ("example_mr_sm", "example_seg_mr", 3, "MR", 0.8),
    ],
)
def test_one_click_on_real_organs(
    shared_data: Path, image: str, labels: str, label: int, modality: str, least: float
) -> None:
    """Spleen and left kidney without contrast, both kidneys in MR. Floors lie below docs/models.md, to catch a collapse."""
    folder = shared_data / "medical" / "nifti_labels"
    pixels = nibabel.as_closest_canonical(nibabel.load(folder / f"{image}.nii.gz"))
    truth = nibabel.as_closest_canonical(nibabel.load(folder / f"{labels}.nii.gz"))
    values = np.asarray(pixels.dataobj, np.float32).transpose(2, 1, 0)
    mask = np.asarray(truth.dataobj).transpose(2, 1, 0) == label
    x, y, z = (float(v) for v in pixels.header.get_zooms()[:3])
    opened = ArrayImage(np.ascontiguousarray(values), spacing=(z, y, x), modality=modality)
    assert dice(ask(opened, point(*deepest(mask))), mask) > least
