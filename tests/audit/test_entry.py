"""Leaves: their bytes, their ids, and what may not be in them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
import rfc8785

from audit.recording import NOW_TEXT, PROJECT, READER, SEGMENTATION, sha
from specimg.audit import entry as entries
from specimg.audit.entry import EntryActor, EntryObject, EntryType, new_id, uuid7
from specimg.digest import JSON, Digest
from specimg.errors import InvalidInput, TooLarge

ROOT = Path(__file__).resolve().parents[2]


def test_the_uuid_of_the_standard() -> None:
    """RFC 9562 appendix A.6: 2022-02-22T19:22:22.00Z, rand_a 0xCC3, rand_b 0b01 and 0x8C4DC0C0C07398F."""
    rand = (0xCC3 << 68) | 0x18C4DC0C0C07398F  # six bits between the two are not used
    assert uuid7(0x017F22E279B0, rand.to_bytes(10, "big")) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


def test_an_id_tells_the_time_of_its_entry() -> None:
    one = uuid.UUID(new_id("2026-11-21T10:15:00.999999Z", lambda count: b"\xff" * count))
    assert (one.version, one.variant) == (7, uuid.RFC_4122)
    assert one.int >> 80 == 1795256100_999  # date -u -d 2026-11-21T10:15:00Z +%s


@pytest.mark.parametrize(("milliseconds", "random"), [(-1, bytes(10)), (2**48, bytes(10)), (0, bytes(9))])
def test_no_uuid_of_less(milliseconds: int, random: bytes) -> None:
    with pytest.raises(ValueError, match="UUIDv7"):
        uuid7(milliseconds, random)


def test_a_leaf_is_the_bytes_of_the_document() -> None:
    """The example in docs/audit.md, byte for byte."""
    edit = entries.Entry(
        id="01a1fd9c-e3c0-7cc3-98c4-dc0c0c07398f",
        type=EntryType.SEGMENTATION_EDIT,
        time="2026-11-21T10:18:00.000000Z",
        actor=EntryActor("0b9c4a52-7a0e-4d53-9f0a-3f8f2ad0c001", "sha256:" + "5e" * 32),
        project="77aa2f0e-0000-4000-8000-000000000001",
        object=EntryObject("segmentation", "5f1e2d3c-0000-4000-8000-000000000002", 1),
        old_digest=sha(rfc8785.dumps({"segmentation": "5f1e2d3c-0000-4000-8000-000000000002"})),
        new_digest=sha(b"what the edit did"),
        detail={"model": "click@1", "voxels": 512},
    )
    leaf = edit.leaf()
    assert leaf.decode() in (ROOT / "docs" / "audit.md").read_text()
    assert set(json.loads(leaf)) == {
        "v", "id", "type", "time", "actor", "project", "object", "old_digest", "new_digest", "reason", "detail"
    }  # fmt: skip


def test_no_name_gets_into_an_entry() -> None:
    entry = entries.image_view(READER, NOW_TEXT, project=PROJECT, image="0" * 32)
    assert READER.name.encode() not in entry.leaf()
    assert READER.id.encode() in entry.leaf()


@pytest.mark.parametrize(
    "detail",
    [
        {"file": "Müller^Jürgen"},
        {"file": "MUELLER^JUERGEN"},
        {"note": "two words"},
        {"path": "/srv/patients/1950"},
        {"path": "a\\b"},
        {"x": ["fine", {"deep": "not fine"}]},
        {"key with spaces": 1},
        {"long": "x" * 257},
        {"line": "a\nb"},
    ],
)
def test_words_are_refused_in_detail(detail: dict[str, JSON]) -> None:
    with pytest.raises(InvalidInput, match="identifiers, numbers and digests"):
        entries.entry(EntryType.IMAGE_REFUSE, READER, NOW_TEXT, detail=detail)


def test_words_are_refused_as_an_object() -> None:
    with pytest.raises(InvalidInput):
        entries.entry(EntryType.IMAGE_VIEW, READER, NOW_TEXT, object=EntryObject("image", "Müller, CT"))


def test_a_leaf_stays_below_64_kib() -> None:
    many = entries.entry(EntryType.AUDIT_READ, READER, NOW_TEXT, detail={"ids": ["x" * 256] * 300})
    with pytest.raises(TooLarge):
        many.leaf()


@pytest.mark.parametrize(
    "time", ["2026-11-21T10:15:00Z", "2026-11-21 10:15:00.000000Z", "2026-11-21T10:15:00.000000+01:00"]
)
def test_a_time_has_one_spelling(time: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|match format"):
        entries.entry(EntryType.AUDIT_READ, READER, time)


def test_a_digest_has_one_spelling() -> None:
    with pytest.raises(ValueError, match="digest"):
        entries.entry(EntryType.AUDIT_READ, READER, NOW_TEXT, new=Digest("sha256:ABC"))


def test_every_type_of_the_contract_exists() -> None:
    contract = (ROOT / "docs" / "architecture.md").read_text()
    listed = contract.partition("Entry types: `")[2].partition("`")[0].split()
    assert {str(name) for name in EntryType} == set(listed)


def test_an_accepted_proposal_names_it() -> None:
    entry = entries.proposal_accept(
        READER,
        NOW_TEXT,
        project=PROJECT,
        segmentation=SEGMENTATION,
        version=1,
        old=sha(b"old"),
        new=sha(b"new"),
        proposal="p",
        spans=sha(b"s"),
    )
    leaf = json.loads(entry.leaf())
    assert leaf["detail"] == {"proposal": "p", "spans": sha(b"s")}
    assert leaf["object"] == {"kind": "segmentation", "id": SEGMENTATION, "version": 1}
