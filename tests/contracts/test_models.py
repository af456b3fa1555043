"""Our own models pass the contract that plug-in authors get."""

from __future__ import annotations

import pytest

from models.phantoms import bend, mask_prompt, organs, slick
from specimg.models.base import Model, Prompt
from specimg.models.click import CLICK
from specimg.models.propagate import PROPAGATE
from specimg.plugins import plugins
from specimg.testing.model_contract import Case, ModelContract


class TestClickOnVolumes(ModelContract):
    @pytest.fixture
    def model(self) -> Model:
        return CLICK

    @pytest.fixture
    def case(self) -> Case:
        image, _, _ = organs()
        return Case(
            image,
            (Prompt("point", True, ((15, 40, 38),)),),
            (
                Prompt("point", False, ((20, 50, 78),)),
                Prompt("point", True, ((11, 40, 25),)),
                Prompt("scribble", False, ((15, 5, 5), (15, 5, 60))),
            ),
        )


class TestClickOnOnePlane(ModelContract):
    @pytest.fixture
    def model(self) -> Model:
        return CLICK

    @pytest.fixture
    def case(self) -> Case:
        image, _, _ = organs()
        return Case(
            image,
            (Prompt("box", True, ((15, 8, 10), (15, 72, 66)), "z"), Prompt("point", True, ((15, 40, 38),), "z")),
            (Prompt("point", False, ((15, 70, 60),), "z"),),
        )


class TestClickOnRadar(ModelContract):
    @pytest.fixture
    def model(self) -> Model:
        return CLICK

    @pytest.fixture
    def case(self) -> Case:
        image, _ = slick()
        return Case(image, (Prompt("point", True, ((0, 120, 260),)),), (Prompt("point", False, ((0, 250, 60),)),))


class TestPropagate(ModelContract):
    @pytest.fixture
    def model(self) -> Model:
        return PROPAGATE

    @pytest.fixture
    def case(self) -> Case:
        image, tube = bend()
        return Case(
            image,
            (mask_prompt(tube, 2), mask_prompt(tube, 20)),
            (mask_prompt(tube, 11), Prompt("point", False, ((23, 30, 30),), "z")),
        )


def test_installed_models_are_these() -> None:
    assert {p.name: p.value for p in plugins("specimg.models")} == {"click": CLICK, "propagate": PROPAGATE}
