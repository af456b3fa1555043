"""How good CLICK and PROPAGATE are on real images: Dice against reference labels, and CPU seconds a step.

    python -m benchmarks.models_dice --data ../shared/data/medical

Protocol, fixed here because it decides the figures: every label with at least 300 voxels, its largest component. The first
click is the deepest point inside (Euclidean, in millimetres); each next one the deepest point of the largest error
component, positive where something is missing, negative where there is too much. A box is the object's own, widened by up
to 5 % on each side (seeded). Planes for PROPAGATE lie evenly through the object; Dice is over the planes not shown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import nibabel
import numpy as np
import numpy.typing as npt
import pydicom
from scipy import ndimage

from specimg.labels.edit import Spans
from specimg.models.base import Answer, Prompt, Session, View
from specimg.models.click import CLICK
from specimg.models.propagate import PROPAGATE
from specimg.testing.array_image import ArrayImage

Mask = npt.NDArray[np.bool_]

SETS = (
    ("CT, 3 mm, whole", "example_ct", "example_seg_fast_force_split", "CT"),
    ("CT, 3 mm, 30 slices", "example_ct_sm", "example_seg", "CT"),
    ("MR, 3 mm, 20 slices", "example_mr_sm", "example_seg_mr", "MR"),
)
CLICKS = (1, 2, 3, 5, 8)
PLANES = (3, 5, 9)
LEAST = 300


@dataclass(frozen=True, slots=True, eq=False)
class Object:
    """One reference label in its image."""

    image: ArrayImage
    mask: Mask
    spacing: tuple[float, float, float]


def objects(folder: Path, image: str, labels: str, modality: str) -> Iterator[Object]:
    """The objects of one labelled image."""
    pixels = nibabel.as_closest_canonical(nibabel.load(folder / f"{image}.nii.gz"))
    truth = nibabel.as_closest_canonical(nibabel.load(folder / f"{labels}.nii.gz"))
    x, y, z = (float(v) for v in pixels.header.get_zooms()[:3])
    values = np.ascontiguousarray(np.asarray(pixels.dataobj, np.float32).transpose(2, 1, 0))
    found = np.asarray(truth.dataobj).transpose(2, 1, 0)
    yield from labelled(ArrayImage(values, spacing=(z, y, x), modality=modality), found)


def dicom_objects(folder: Path) -> Iterator[Object]:
    """The objects of the DICOM series; its label map has the same grid, turned to RAS."""
    slices = sorted(
        (pydicom.dcmread(path, force=True) for path in folder.glob("CT.*")),
        key=lambda found: float(found.ImagePositionPatient[2]),
    )
    hounsfield = [s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]
    truth = nibabel.as_closest_canonical(nibabel.load(folder / "example_seg_dicom.nii.gz"))
    x, y, z = (float(v) for v in truth.header.get_zooms()[:3])
    values = np.ascontiguousarray(np.stack(hounsfield)[:, ::-1, ::-1], np.float32)
    found = np.asarray(truth.dataobj).transpose(2, 1, 0)
    yield from labelled(ArrayImage(values, spacing=(z, y, x), modality="CT"), found)


def labelled(opened: ArrayImage, found: npt.NDArray[Any]) -> Iterator[Object]:
    """The largest component of every label that is large enough."""
    spacing = opened.grid.affine.spacing
    for label in np.unique(found[found > 0]):
        mask = largest(found == label)
        if mask.sum() >= LEAST:
            yield Object(opened, mask, spacing)


def largest(mask: Mask) -> Mask:
    """Its largest component (faces, edges and corners connect)."""
    parts = cc3d.connected_components(np.ascontiguousarray(mask))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == sizes.argmax())


def deepest(mask: Mask, spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    """The point farthest from the outside."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    distance = ndimage.distance_transform_edt(np.pad(mask[box], 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    z, y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(z + box[0].start), float(y + box[1].start), float(x + box[2].start)


def next_click(answer: Mask, truth: Mask, spacing: tuple[float, float, float]) -> Prompt | None:
    """Where a person would correct."""
    best: tuple[int, Mask, bool] | None = None
    for wrong, positive in ((truth & ~answer, True), (answer & ~truth, False)):
        if wrong.any():
            parts = cc3d.connected_components(np.ascontiguousarray(wrong), connectivity=6)
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            if best is None or int(sizes.max()) > best[0]:
                best = int(sizes.max()), np.asarray(parts == sizes.argmax()), positive
    return None if best is None else Prompt("point", best[2], (deepest(best[1], spacing),))


def whole(answer: Answer, shape: tuple[int, ...]) -> Mask:
    """An answer on the image's grid."""
    mask = np.zeros(shape, np.bool_)
    mask[tuple(slice(a, b) for a, b in zip(answer.start, answer.stop, strict=True))] = answer.mask
    return mask


def dice(a: Mask, b: Mask) -> float:
    """Twice the overlap over the sum."""
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def timed(session: Session, prompts: list[Prompt], shape: tuple[int, ...]) -> tuple[Mask, float]:
    """A step and its CPU seconds."""
    began = time.process_time()
    answer = session.step(prompts, lambda: False)
    seconds = time.process_time() - began
    return whole(answer, shape), seconds


def clicks(thing: Object, *, box: bool, seed: int = 0) -> tuple[list[float], list[float]]:
    """Dice after 0 (box alone) and each of ``CLICKS``; CPU seconds of each step."""
    session, prompts, seconds = CLICK.open(View(thing.image)), [], []
    dices: list[float] = []
    mask = np.zeros_like(thing.mask)
    if box:
        prompts.append(rough_box(thing.mask, np.random.default_rng(seed)))
        alone, spent = timed(session, prompts, mask.shape)
        dices.append(dice(alone, thing.mask))
        seconds.append(spent)
    for count in range(1, max(CLICKS) + 1):
        click = next_click(mask, thing.mask, thing.spacing)  # the first is always inside: the mask is empty
        if click is not None:
            prompts.append(click)
            mask, spent = timed(session, prompts, mask.shape)
            seconds.append(spent)
        if count in CLICKS:
            dices.append(dice(mask, thing.mask))
    return dices, seconds


def rough_box(mask: Mask, rng: np.random.Generator) -> Prompt:
    """The object's box, up to 5 % too large on each side."""
    where = np.argwhere(mask)
    low, high = where.min(axis=0), where.max(axis=0)
    size = high - low + 1
    low = np.maximum(0, low - rng.uniform(0, 0.05, 3) * size)
    high = np.minimum(np.subtract(mask.shape, 1), high + rng.uniform(0, 0.05, 3) * size)
    return Prompt("box", True, (tuple(low.tolist()), tuple(high.tolist())))


def planes(thing: Object, count: int) -> tuple[float, float] | None:
    """Dice on the planes not shown, and CPU seconds."""
    present = np.flatnonzero(thing.mask.any(axis=(1, 2)))
    if len(present) < 8 or count >= len(present) - 1:
        return None
    shown = present[np.unique(np.round(np.linspace(0.04, 0.96, count) * (len(present) - 1)).astype(int))]
    prompts = [
        Prompt("mask", True, axis="z", spans=Spans.from_mask(thing.mask[z : z + 1], (int(z), 0, 0)).to_bytes())
        for z in shown
    ]
    mask, seconds = timed(PROPAGATE.open(View(thing.image)), prompts, thing.mask.shape)
    hidden = np.ones(len(mask), np.bool_)
    hidden[shown] = False
    return dice(mask[hidden], thing.mask[hidden]), seconds


def report(name: str, rows: list[tuple[list[float], list[float]]]) -> None:
    """One line: means of Dice, median CPU seconds."""
    means = np.mean([dices for dices, _ in rows], axis=0)
    spent = float(np.median(np.concatenate([seconds for _, seconds in rows])))
    print(f"| {name} | {len(rows)} | {' | '.join(f'{v:.2f}' for v in means)} | {spent:.2f} |", flush=True)


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder with nifti_labels/ and ct_dicom_with_labels/")
    folder = parser.parse_args().data
    things = {name: list(objects(folder / "nifti_labels", *files)) for name, *files in SETS}
    things["CT, 1 x 1 x 2 mm, 20 slices"] = list(dicom_objects(folder / "ct_dicom_with_labels"))
    for box in (False, True):
        first = ["box alone"] if box else []
        print(
            f"\n| {'box, then clicks' if box else 'clicks alone'} | n | {' | '.join([*first, *map(str, CLICKS)])} | CPU s |"
        )
        print("|---" * (len(CLICKS) + len(first) + 3) + "|")
        every: list[tuple[list[float], list[float]]] = []
        for name, these in things.items():
            rows = [clicks(t, box=box) for t in these]
            report(name, rows)
            every += rows
        report("all", every)
    print(f"\n| planes shown | {' | '.join(map(str, PLANES))} |\n{'|---' * (len(PLANES) + 1)}|")
    results = [[r for group in things.values() for t in group if (r := planes(t, k)) is not None] for k in PLANES]
    print("| Dice elsewhere |", " | ".join(f"{np.mean([d for d, _ in r]):.2f} (n {len(r)})" for r in results), "|")
    print("| CPU s |", " | ".join(f"{np.median([s for _, s in r]):.2f}" for r in results), "|")


if __name__ == "__main__":
    main()
