"""PROPAGATE: planes between labelled ones follow the image."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from models.phantoms import Mask, bend, dice, ellipsoid, mask_prompt
from specimg.errors import InvalidInput
from specimg.models.base import Answer, Prompt, View
from specimg.models.propagate import PROPAGATE
from specimg.testing.array_image import ArrayImage


def ask(image: ArrayImage, *prompts: Prompt) -> Answer:
    """One step in a fresh session."""
    return PROPAGATE.open(View(image)).step(prompts, lambda: False)


def between(answer: Answer, mask: Mask, labelled: tuple[int, ...]) -> float:
    """Dice on the planes that were not shown, inside the labelled range."""
    keep = np.zeros(mask.shape[0], np.bool_)
    keep[min(labelled) : max(labelled)] = True
    keep[list(labelled)] = False
    whole = np.zeros(mask.shape, np.bool_)
    whole[tuple(slice(a, b) for a, b in zip(answer.start, answer.stop, strict=True))] = answer.mask
    return float(2 * (whole & mask)[keep].sum() / (whole[keep].sum() + mask[keep].sum()))


def test_labelled_planes_come_back_as_they_were() -> None:
    image, tube = bend()
    answer = ask(image, mask_prompt(tube, 3), mask_prompt(tube, 19))
    for z in (3, 19):
        got = np.zeros(tube.shape[1:], np.bool_)
        _, y, x = answer.start
        got[y : answer.stop[1], x : answer.stop[2]] = answer.mask[z - answer.start[0]]
        assert np.array_equal(got, tube[z])


def test_planes_between_follow_the_image_and_not_the_straight_line() -> None:
    """The tube bows out between two labelled planes: interpolating outlines alone would cut the corner."""
    image, tube = bend()
    shown = (1, 21)
    blank = ArrayImage(np.zeros(tube.shape, np.float32))
    followed = between(ask(image, *(mask_prompt(tube, z) for z in shown)), tube, shown)
    straight = between(ask(blank, *(mask_prompt(tube, z) for z in shown)), tube, shown)
    assert followed > 0.9
    assert followed > straight + 0.05


def test_without_contrast_shapes_are_interpolated() -> None:
    """A cone in a blank image: halfway between radii 6 and 14 lies radius 10."""
    shape = (21, 40, 40)
    cone = np.concatenate([ellipsoid((1, 40, 40), (0, 20, 20), (1, 6 + 0.4 * k, 6 + 0.4 * k)) for k in range(21)])
    answer = ask(ArrayImage(np.zeros(shape, np.float32)), mask_prompt(cone, 0), mask_prompt(cone, 20))
    assert between(answer, cone, (0, 20)) > 0.95


def test_other_axes_work_alike() -> None:
    image, tube = bend()
    values = image.read_box((0, 0, 0), image.grid.shape)
    for axes in ((1, 0, 2), (2, 1, 0)):
        turned = ArrayImage(np.ascontiguousarray(values.transpose(axes)))
        mask = tube.transpose(axes)
        normal = axes.index(0)
        prompts = []
        for index in (1, 21):
            where = [tuple(int(v) for v in w) for w in np.argwhere(mask) if w[normal] == index]
            runs = np.array([(z, y, x, 1) for z, y, x in where], "<i4")
            prompts.append(
                Prompt.from_json({**Prompt("mask", True, spans=runs.tobytes()).to_json(), "axis": "zyx"[normal]})
            )
        assert dice(ask(turned, *prompts), mask) > 0.85


def test_an_empty_plane_ends_the_object() -> None:
    image, tube = bend()
    prompts = [mask_prompt(tube, 4), mask_prompt(tube, 12), Prompt("point", False, ((14, 5, 5),), "z")]
    answer = ask(image, *prompts)
    assert answer.start[0] <= 4
    assert answer.stop[0] <= 14


def test_prompts_that_make_no_sense_are_refused() -> None:
    image, tube = bend()
    with pytest.raises(InvalidInput):
        ask(image, Prompt("point", False, ((14, 5, 5),), "z"))
    with pytest.raises(InvalidInput):
        ask(image, mask_prompt(tube, 4), Prompt("point", True, ((14, 5, 5),), "z"))
    with pytest.raises(InvalidInput):
        ask(
            image, mask_prompt(tube, 4), Prompt("mask", True, axis="y", spans=np.array([[1, 2, 3, 4]], "<i4").tobytes())
        )


def test_three_labelled_planes_of_a_real_liver(shared_data: Path) -> None:
    folder = shared_data / "medical" / "nifti_labels"
    pixels = nibabel.as_closest_canonical(nibabel.load(folder / "example_ct_sm.nii.gz"))
    truth = nibabel.as_closest_canonical(nibabel.load(folder / "example_seg.nii.gz"))
    values = np.ascontiguousarray(np.asarray(pixels.dataobj, np.float32).transpose(2, 1, 0))
    liver = np.asarray(truth.dataobj).transpose(2, 1, 0) == 5
    shown = (1, 14, 27)
    answer = ask(ArrayImage(values, spacing=(3, 3, 3)), *(mask_prompt(liver, z) for z in shown))
    assert between(answer, liver, shown) > 0.9
