"""What every model must do. Subclass in a test module and give the fixtures; see ``tests/contracts/test_models.py``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from specimg.digest import parse_digest
from specimg.errors import Cancelled, InvalidInput
from specimg.models.base import KINDS, Answer, Card, Model, Prompt, View
from specimg.testing.array_image import ArrayImage


@dataclass(frozen=True, slots=True)
class Case:
    """An image and prompts that the model is meant for. ``corrections`` are further prompts, added one by one."""

    image: ArrayImage
    prompts: tuple[Prompt, ...]
    corrections: tuple[Prompt, ...] = ()


def never() -> bool:
    """Nobody takes the request back."""
    return False


def holds(answer: Answer, point: Sequence[float]) -> bool:
    """Whether the sample that a level-0 point lies in belongs to the answer."""
    index = [int(np.floor(v + 0.5)) - s for v, s in zip(point, answer.start, strict=True)]
    inside = all(0 <= i < n for i, n in zip(index, answer.mask.shape, strict=True))
    return inside and bool(answer.mask[tuple(index)])


def same(a: Answer, b: Answer) -> bool:
    """Whether two answers are the same voxels."""
    a, b = a.trimmed(), b.trimmed()
    return a.start == b.start and np.array_equal(a.mask, b.mask)


class ModelContract:
    """The tests. Fixtures ``model`` and ``case`` come from the subclass."""

    def test_card_is_complete(self, model: Model) -> None:
        card = model.card
        assert isinstance(model, Model)
        assert all((card.id, card.name, card.version, card.licence, card.intended_use))
        assert parse_digest(card.digest) == card.digest
        assert set(card.dims) <= {2, 3}
        assert card.dims
        assert set(card.prompts) <= set(KINDS)
        assert card.prompts
        assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card

    def test_answer_lies_in_the_grid_and_is_not_empty(self, model: Model, case: Case) -> None:
        answer = model.open(View(case.image)).step(case.prompts, never)
        assert answer.mask.dtype == np.bool_
        assert all(s >= 0 for s in answer.start)
        assert all(b <= n for b, n in zip(answer.stop, case.image.grid.shape, strict=True))
        assert answer.mask.any()
        assert answer.score is None or 0 <= answer.score <= 1

    def test_positive_points_are_inside_and_negative_ones_outside(self, model: Model, case: Case) -> None:
        session = model.open(View(case.image))
        for count in range(len(case.corrections) + 1):
            prompts = case.prompts + case.corrections[:count]
            answer = session.step(prompts, never)
            for prompt in prompts:
                if prompt.kind in ("point", "scribble"):
                    assert all(holds(answer, point) == prompt.positive for point in prompt.points), (count, prompt)

    def test_positive_masks_are_in_the_answer(self, model: Model, case: Case) -> None:
        answer = model.open(View(case.image)).step(case.prompts, never)
        for prompt in case.prompts:
            if prompt.kind == "mask" and prompt.positive:
                for z, y, x, length in prompt.runs.tolist():
                    assert holds(answer, (z, y, x))
                    assert holds(answer, (z, y, x + length - 1))

    def test_answer_depends_on_the_image_and_the_prompts_alone(self, model: Model, case: Case) -> None:
        used, everything = model.open(View(case.image)), case.prompts + case.corrections
        for count in range(len(case.prompts), len(everything) + 1):
            used.step(everything[:count], never)
        again = used.step(case.prompts, never)
        fresh = model.open(View(case.image)).step(case.prompts, never)
        assert same(again, fresh)
        assert same(used.step(everything, never), model.open(View(case.image)).step(everything, never))

    def test_prompts_survive_the_way_over_json(self, model: Model, case: Case) -> None:
        everything = case.prompts + case.corrections
        sent = [Prompt.from_json(json.loads(json.dumps(p.to_json()))) for p in everything]
        session = model.open(View(case.image))
        assert same(session.step(everything, never), session.step(sent, never))

    def test_cancel_is_honoured_and_leaves_the_session_usable(self, model: Model, case: Case) -> None:
        session = model.open(View(case.image))
        with pytest.raises(Cancelled):
            session.step(case.prompts, lambda: True)
        assert same(session.step(case.prompts, never), model.open(View(case.image)).step(case.prompts, never))

    def test_cancel_is_asked_more_than_once(self, model: Model, case: Case) -> None:
        asked = 0

        def late() -> bool:
            nonlocal asked
            asked += 1
            return asked > 2

        with pytest.raises(Cancelled):
            model.open(View(case.image)).step(case.prompts, late)

    def test_prompts_outside_the_image_are_refused(self, model: Model, case: Case) -> None:
        beyond = float(case.image.grid.shape[0] + 5)
        outside = [
            replace(p, points=tuple((beyond, y, x) for _, y, x in p.points), axis=None)
            if p.points
            else replace(p, spans=np.array([[int(beyond), 0, 0, 1]], "<i4").tobytes(), axis=None)
            for p in case.prompts
        ]
        with pytest.raises(InvalidInput):
            model.open(View(case.image)).step(outside, never)

    def test_no_prompt_is_refused(self, model: Model, case: Case) -> None:
        with pytest.raises(InvalidInput):
            model.open(View(case.image)).step((), never)

    def test_kinds_it_does_not_take_are_refused(self, model: Model, case: Case) -> None:
        foreign = {
            "point": Prompt("point", True, ((0, 0, 0),)),
            "box": Prompt("box", True, ((0, 0, 0), (1, 1, 1))),
            "scribble": Prompt("scribble", True, ((0, 0, 0), (1, 1, 1))),
            "mask": Prompt("mask", True, spans=np.array([[0, 0, 0, 1]], "<i4").tobytes()),
        }
        session = model.open(View(case.image))
        for kind in set(KINDS) - set(model.card.prompts):
            with pytest.raises(InvalidInput):
                session.step([foreign[kind]], never)
