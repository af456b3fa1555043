"""Ontologies: classes that keep their meaning, and codes other programs know."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from pydicom.sr._concepts_dict import concepts

from label_world import PROJECT, TIME, World
from specimg.errors import InvalidInput, NotFound, TooLarge
from specimg.labels import ontology
from specimg.labels.ontology import LabelClass, Ontology, organs, radar_scene

LIVER = LabelClass(1, "Liver", "#dd8265", "1", ("10200004", "SCT", "Liver"))
# Not in pydicom's dictionary, which holds the codes of PS3.16's context groups: SNOMED CT itself, and dcmqi's
# TotalSegmentator and general anatomy lists.
LATERAL = {"18639004": "Left kidney", "9846003": "Right kidney", "44029006": "Left lung", "3341006": "Right lung"}


def test_codes_are_those_of_the_standard() -> None:
    known = {code: meaning for entry in concepts["SCT"].values() for code, (meaning, _) in entry.items()}
    for found in itertools.chain.from_iterable((c.code, c.category) for c in organs("o").classes):
        assert found is not None
        value, scheme, meaning = found
        assert scheme == "SCT"
        if value in LATERAL:
            assert meaning == LATERAL[value]
        else:
            names = {m for entry in concepts["SCT"].values() for code, (m, _) in entry.items() if code == value}
            assert value in known
            assert meaning in names


@pytest.mark.parametrize("made", [organs("o"), radar_scene("o")], ids=lambda made: made.name)
def test_what_we_start_with_is_valid_and_can_be_told_apart(made: Ontology) -> None:
    for a, b in itertools.combinations(made.classes, 2):
        assert sum(abs(p - q) for p, q in zip(a.rgb, b.rgb, strict=True)) >= 40, f"{a.name} looks like {b.name}"
    assert tuple(LabelClass.from_json(c) for c in made.to_json()["classes"]) == made.classes


@pytest.mark.parametrize(
    "wrong",
    [
        {"label": 0},
        {"label": 65_536},
        {"label": "1"},
        {"label": True},
        {"name": ""},
        {"name": "   "},
        {"name": "a\tb"},
        {"name": "x" * 65},
        {"color": "red"},
        {"color": "#12345"},
        {"hotkey": "F1"},
        {"hotkey": "ä"},
        {"code": ["1", "SCT"]},
        {"code": ["1" * 17, "SCT", "x"]},
        {"code": ["1\\2", "SCT", "x"]},
        {"code": [1, "SCT", "x"]},
        {"category": ["", "SCT", "x"]},
    ],
    ids=str,
)
def test_what_is_no_class(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        LabelClass.from_json(LIVER.to_json() | wrong)


@pytest.mark.parametrize(
    "second",
    [
        LabelClass(1, "Spleen", "#000000"),
        LabelClass(2, "liver", "#000000"),
        LabelClass(2, "Spleen", "#000000", "1"),
    ],
    ids=["label", "name", "hotkey"],
)
def test_classes_are_told_apart(second: LabelClass) -> None:
    with pytest.raises(InvalidInput):
        Ontology("o", 1, "Organs", (LIVER, second))


def test_there_is_an_end() -> None:
    many = tuple(LabelClass(i, f"class {i}", "#000000") for i in range(1, ontology.MAX_CLASSES + 2))
    with pytest.raises(TooLarge):
        Ontology("o", 1, "Organs", many)


def test_a_label_keeps_its_meaning() -> None:
    first = Ontology("o", 1, "Organs", (LIVER,))
    renamed = LabelClass(1, "Whole liver", "#00ff00", "l", LIVER.code)
    first.require_successor(Ontology("o", 2, "Organs", (renamed, LabelClass(2, "Spleen", "#000000"))))
    with pytest.raises(InvalidInput, match="cannot be dropped"):
        first.require_successor(Ontology("o", 2, "Organs", (LabelClass(2, "Spleen", "#000000"),)))
    spleen = Ontology("o", 2, "Organs", (LabelClass(1, "Spleen", "#00ff00", None, ("78961009", "SCT", "Spleen")),))
    with pytest.raises(InvalidInput, match="another label"):
        first.require_successor(spleen)


def test_the_newest_version_counts(world: World) -> None:
    with world.database.transaction() as connection:
        for version in (1, 2):
            made = Ontology("versioned", version, f"Name {version}", (LIVER,))
            ontology.append(connection, made, project_id=PROJECT, actor_id="ada", time=TIME)
    with world.database.reading() as connection:
        assert ontology.latest(connection, "versioned").name == "Name 2"
        assert [o.id for o in ontology.of_project(connection, PROJECT)] == ["versioned", "organs"]
        assert ontology.project_of(connection, "versioned") == PROJECT
        assert ontology.of_project(connection, "other") == []
        for look in (ontology.latest, ontology.project_of):
            with pytest.raises(NotFound):
                look(connection, "missing")
