"""The tamper list: each way to change history is found, and the place is named.

An intruder here has the files but not the signing key. Where the whole tree was recomputed over a changed leaf, only the
signatures are left to tell, and they can name no more than the stretch between two checkpoints; ``exact`` says which.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import rfc8785

from audit.recording import (
    PROJECT,
    PROPOSAL,
    READER,
    SEGMENTATION,
    Intruder,
    Recorder,
    edit_json,
    fill,
    image_of,
    sha,
    vkey,
)
from specimg.audit import entry as entries
from specimg.audit import private
from specimg.audit.checkpoint import Checkpoint, SigningKey
from specimg.audit.log import Log
from specimg.audit.merkle import Edge, leaf_hash
from specimg.audit.verify import Finding, Report, verify_home
from specimg.digest import Digest
from specimg.errors import StoreError
from specimg.store.database import Database


def verify(home: Path, checkpoint: str | None = None) -> Report:
    return verify_home(home, vkey(home), checkpoint=checkpoint, patience=0)


def first_bad(report: Report) -> Finding:
    assert report.exit_code == 1, report.render()
    assert report.first_bad is not None
    return report.first_bad


def found(report: Report, code: str) -> Finding:
    """The finding with this code; the report must be invalid."""
    assert report.exit_code == 1, report.render()
    matching = [finding for finding in report.findings if finding.code == code]
    assert matching, report.render()
    return matching[0]


def test_an_untouched_log_is_valid(home: Path) -> None:
    report = verify(home)
    assert report.exit_code == 0, report.render()
    assert report.findings == []
    assert report.counts["label versions"] == 7
    assert report.counts["image files"] == 2


# --- leaves ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 5, 11, 18])
def test_a_flipped_bit_in_a_leaf(home: Path, intruder: Intruder, index: int) -> None:
    leaf = bytearray(intruder.leaf(index))
    leaf[-20] ^= 1
    intruder.set_leaf(index, bytes(leaf))
    bad = first_bad(verify(home))
    assert (bad.index, bad.code) == (index, "leaf-hash")


def test_a_leaf_rewritten_with_its_hash(home: Path, intruder: Intruder) -> None:
    index = 8
    leaf = edit_json(intruder.leaf(index), project="someone-elses")
    intruder.set_leaf(index, leaf)
    intruder.run("UPDATE entry SET project_id = 'someone-elses' WHERE \"index\" = ?", index)
    intruder.run('UPDATE node SET hash = ? WHERE level = 0 AND "index" = ?', leaf_hash(leaf), index)
    bad = found(verify(home), "tree-node")
    assert bad.index is not None
    assert bad.index <= index <= (bad.last or 0) <= bad.index + 1


def test_a_leaf_rewritten_with_the_whole_tree(home: Path, intruder: Intruder) -> None:
    index = 8
    intruder.set_leaf(index, edit_json(intruder.leaf(index), detail={"tool": "x"}))
    intruder.rebuild_tree()
    report = verify(home)
    bad = found(report, "checkpoint-root")
    before, after = _checkpoints_around(intruder, index)
    assert (bad.index, bad.last) == (before, after - 1)
    assert found(report, "checkpoint-columns").index is not None


@pytest.mark.parametrize("tree", ["kept", "rebuilt"])
def test_a_deleted_middle_leaf(home: Path, intruder: Intruder, tree: str) -> None:
    intruder.run('DELETE FROM entry WHERE "index" = 9')
    if tree == "rebuilt":
        intruder.run('UPDATE entry SET "index" = "index" - 1 WHERE "index" > 9')
        intruder.rebuild_tree()
        bad = found(verify(home), "checkpoint-root")
        assert bad.index is not None
        assert bad.index <= 9 <= (bad.last or 0)
    else:
        bad = first_bad(verify(home))
        assert (bad.index, bad.code) == (9, "entry-missing")


def _cut_tail(intruder: Intruder, keep: int) -> None:
    """Back to the checkpoint of size ``keep``, leaving no trace in the log's own tables."""
    intruder.run('DELETE FROM entry WHERE "index" >= ?', keep)
    intruder.run('DELETE FROM node WHERE ("index" + 1) << level > ?', keep)
    intruder.run("DELETE FROM checkpoint WHERE size > ?", keep)


def test_the_last_leaves_deleted_is_seen_with_an_anchor(home: Path, intruder: Intruder) -> None:
    size = intruder.size()
    kept = _checkpoints_around(intruder, size - 1)[0]
    _cut_tail(intruder, kept)
    bad = found(verify(home), "log-shorter")
    assert (bad.index, bad.last) == (kept, size - 1)


def test_the_last_leaves_deleted_without_an_anchor_is_not_called_valid(recorder: Recorder) -> None:
    for number in range(4):
        recorder.view(number)
        recorder.log.sequence()
    recorder.close()
    with Intruder(recorder.home) as intruder:
        _cut_tail(intruder, 2)
    key, anchor = vkey(recorder.home), recorder.home / "keys" / "checkpoint.txt"
    witness = anchor.read_text()
    anchor.unlink()
    assert verify_home(recorder.home, key).exit_code == 2
    assert verify_home(recorder.home, key).findings[0].code == "no-anchor"
    assert first_bad(verify_home(recorder.home, key, checkpoint=witness)).index == 2


@pytest.mark.parametrize("keep", ["ids", "leaves only"])
def test_two_leaves_swapped(home: Path, intruder: Intruder, keep: str) -> None:
    first, second = intruder.leaf(6), intruder.leaf(10)
    if keep == "ids":
        intruder.set_leaf(6, second)
        intruder.set_leaf(10, first)
    else:
        intruder.run('UPDATE entry SET "index" = -1 WHERE "index" = 6')
        intruder.run('UPDATE entry SET "index" = 6 WHERE "index" = 10')
        intruder.run('UPDATE entry SET "index" = 10 WHERE "index" = -1')
    bad = first_bad(verify(home))
    assert (bad.index, bad.code) == (6, "leaf-hash")


def test_an_inserted_leaf(home: Path, intruder: Intruder) -> None:
    forged = entries.image_view(READER, "2026-11-21T10:00:00.100000Z", project=PROJECT, image="0" * 32)
    for index in range(intruder.size() - 1, 6, -1):
        intruder.run('UPDATE entry SET "index" = ? WHERE "index" = ?', index + 1, index)
    _insert_entry(intruder, 7, forged)
    bad = first_bad(verify(home))
    assert (bad.index, bad.code) == (7, "leaf-hash")


def test_an_appended_leaf_is_covered_by_no_checkpoint(home: Path, intruder: Intruder) -> None:
    forged = entries.image_view(READER, "2026-11-21T10:00:01.000000Z", project=PROJECT, image="0" * 32)
    size = intruder.size()
    _insert_entry(intruder, size, forged)
    intruder.rebuild_tree()
    bad = found(verify(home), "unsigned")
    assert (bad.index, bad.last) == (size, size)


def test_an_entry_under_another_index(home: Path, intruder: Intruder) -> None:
    intruder.run('UPDATE entry SET "index" = 1000 WHERE "index" = 18')
    assert first_bad(verify(home)).index == 18


@pytest.mark.parametrize("column", ["type", "actor_id", "object_id", "project_id", "time"])
def test_a_search_column_that_contradicts_its_leaf(home: Path, intruder: Intruder, column: str) -> None:
    intruder.run(f"UPDATE entry SET {column} = 'x' WHERE \"index\" = 8")
    bad = first_bad(verify(home))
    assert (bad.index, bad.code) == (8, "entry-columns")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda leaf: leaf[:-1] + b',"v":1}', "appears twice"),
        (lambda leaf: leaf.replace(b'"v":1}', b'"v":1.0}'), "canonical form"),
        (lambda leaf: leaf.replace(b'"version":1}', b'"version":1e0}'), "canonical form"),
        (lambda leaf: leaf.replace(b'"version":1}', b'"version":9007199254740993}'), "canonical form"),
        (lambda leaf: leaf.replace(b'"v":1}', b'"v": 1}'), "canonical form"),
        (lambda leaf: leaf.replace(b"segmentation", b"\\u0073egmentation", 1), "canonical form"),
        (lambda leaf: leaf.replace(b'"v":1}', b'"v":2}'), "newer release"),
        (lambda leaf: leaf.replace(b'"v":1}', b'"v":NaN}'), "NaN"),
        (lambda leaf: leaf + b"\n", "canonical form"),
        (lambda leaf: b"\xff" + leaf, "UTF-8"),
        (lambda leaf: b"[" * 50_000, "nested"),
        (lambda leaf: b'"' + b"a" * 70_000 + b'"', "64 KiB"),
    ],
)
def test_a_leaf_that_is_not_canonical_is_refused_even_if_it_was_signed(
    recorder: Recorder, change: Callable[[bytes], bytes], reason: str
) -> None:
    """The writer cannot make these; a broken or hostile one could, and sign them."""
    recorder.view()
    entry = entries.image_view(READER, recorder.database.clock(), project=PROJECT, image="0" * 32)
    entry = entries.entry(
        entries.EntryType.EXPORT_WRITE,
        READER,
        recorder.database.clock(),
        project=PROJECT,
        object=entries.EntryObject("segmentation", SEGMENTATION, 1),
    )
    leaf = change(entry.leaf())
    assert leaf != entry.leaf()
    recorder.log.sequence()
    _sign_anything(recorder, leaf)
    report = verify_home(recorder.home, recorder.log.vkey)
    bad = first_bad(report)
    assert (bad.index, bad.code) == (1, "leaf-form")
    assert reason in bad.message


# --- labels ---------------------------------------------------------------------------------------------------------


def test_a_label_blob_in_the_database(home: Path, intruder: Intruder) -> None:
    """One byte, the size kept: the digest tells, and the version that wrote it first is named."""
    intruder.run("UPDATE blob SET bytes = ? WHERE digest = ?", b"thirD", sha(b"third"))
    bad = first_bad(verify(home))
    assert (bad.code, bad.segmentation, bad.version) == ("blob", SEGMENTATION, 2)
    assert bad.index == intruder.index_of(2)


@pytest.mark.parametrize("act", ["change", "truncate", "append", "remove"])
def test_a_label_blob_in_a_file(home: Path, intruder: Intruder, act: str) -> None:
    (path,) = (file for file in (home / "blobs").rglob("*") if file.is_file())
    data = path.read_bytes()
    if act == "remove":
        path.unlink()
    else:
        path.write_bytes({"change": b"\x01" + data[1:], "truncate": data[:-1], "append": data + b"\0"}[act])
    bad = first_bad(verify(home))
    assert (bad.code, bad.segmentation, bad.version) == ("blob", SEGMENTATION, 4)
    assert bad.index == intruder.index_of(4)


def test_a_label_blob_swapped_for_another_with_its_digest(home: Path, intruder: Intruder) -> None:
    other = b"somebody else's liver"
    intruder.run("INSERT INTO blob VALUES (?, ?, ?)", sha(other), len(other), other)
    intruder.run("UPDATE chunk_version SET blob = ? WHERE version = 2", sha(other))
    bad = first_bad(verify(home))
    assert (bad.code, bad.version, bad.index) == ("label-digest", 2, intruder.index_of(2))


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("actor_id", "someone-else", "label-entry"),
        ("time", "2026-11-21T09:00:00.000000Z", "label-entry"),
        ("digest", "sha256:" + "0" * 64, "label-digest"),
        ("base", 0, "label-digest"),
        ("tool", "eraser", "label-digest"),
        ("params", '{"radius":3.5}', "label-digest"),
        ("params", '{"radius":2.5', "label-row"),
        ("reason", "because", "label-digest"),
        ("entry_id", "01a00000-0000-7000-8000-000000000000", "label-no-entry"),
    ],
)
def test_a_changed_edit_row(home: Path, intruder: Intruder, column: str, value: object, code: str) -> None:
    version = 3
    index = intruder.index_of(version)
    intruder.run(f"UPDATE edit SET {column} = ? WHERE version = ?", value, version)
    report = verify(home)
    bad = found(report, code)
    assert (bad.segmentation, bad.version) == (SEGMENTATION, version)
    assert bad.index == (None if column == "entry_id" else index)
    assert first_bad(report).index == index  # also where the row lost its entry: the entry lost its row


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE chunk_version SET chunk = '9/9/9' WHERE version = 2",
        "DELETE FROM chunk_version WHERE version = 2",
        "UPDATE chunk_version SET blob = NULL WHERE version = 2",
        "UPDATE shape_version SET shape = replace(shape, '4.25', '4.5') WHERE first_version = 2",
        "UPDATE shape_version SET shape_id = 's2' WHERE first_version = 2",
        "DELETE FROM shape_version WHERE first_version = 2",
        "INSERT INTO chunk_version SELECT segmentation_id, '5/5/5', 2, blob FROM chunk_version WHERE version = 1 LIMIT 1",
    ],
)
def test_changed_chunk_and_shape_rows(home: Path, intruder: Intruder, sql: str) -> None:
    intruder.run("PRAGMA foreign_keys=OFF")
    intruder.run(sql)
    bad = first_bad(verify(home))
    assert (bad.segmentation, bad.version, bad.index) == (SEGMENTATION, 2, intruder.index_of(2))


def test_a_shape_taken_out_of_the_newest_version(home: Path, intruder: Intruder) -> None:
    intruder.run("UPDATE shape_version SET last_version = 3 WHERE first_version = 3")
    report = verify(home)
    assert {f.version for f in report.findings if f.severity == "invalid"} == {
        4,
        5,
    }  # it now ends in 4, and no longer in 5
    assert first_bad(report).index == intruder.index_of(4)


def test_a_version_that_uses_another_versions_entry(home: Path, intruder: Intruder) -> None:
    index = intruder.index_of(3)
    intruder.run("UPDATE edit SET entry_id = (SELECT entry_id FROM edit WHERE version = 2) WHERE version = 3")
    report = verify(home)
    assert found(report, "label-entry").version == 3
    assert found(report, "label-gone").index == index


def test_a_label_version_deleted(home: Path, intruder: Intruder) -> None:
    index = intruder.index_of(4)
    for table in ("edit", "chunk_version"):
        intruder.run(f"DELETE FROM {table} WHERE version = 4")
    report = verify(home)
    assert (found(report, "label-gone").version, found(report, "label-gone").index) == (4, index)
    assert found(report, "label-gap").version == 5


def test_the_newest_label_version_deleted(home: Path, intruder: Intruder) -> None:
    index = intruder.index_of(7)
    intruder.run("DELETE FROM edit WHERE version = 7")
    intruder.run("DELETE FROM chunk_version WHERE version = 7")
    intruder.run("UPDATE segmentation SET head = 6, head_digest = (SELECT digest FROM edit WHERE version = 6)")
    bad = first_bad(verify(home))
    assert (bad.code, bad.version, bad.index) == ("label-gone", 7, index)


def test_a_whole_segmentation_deleted(home: Path, intruder: Intruder) -> None:
    intruder.run("PRAGMA foreign_keys=OFF")
    for table in ("edit", "chunk_version", "shape_version", "proposal"):
        intruder.run(f"DELETE FROM {table}")
    intruder.run("DELETE FROM segmentation")
    report = verify(home)
    assert found(report, "label-gone").segmentation == SEGMENTATION
    assert found(report, "proposal-gone").entry_id is not None


def test_a_label_version_smuggled_in(home: Path, intruder: Intruder) -> None:
    intruder.run(
        "INSERT INTO edit SELECT segmentation_id, 8, 7, digest, time, actor_id, tool, params, reason, voxels, box, NULL, "
        "NULL, '01a00000-0000-7000-8000-000000000000' FROM edit WHERE version = 7"
    )
    intruder.run("UPDATE segmentation SET head = 8")
    bad = found(verify(home), "label-no-entry")
    assert (bad.segmentation, bad.version) == (SEGMENTATION, 8)


def test_a_smuggled_version_that_waits_in_the_outbox_is_not_called_valid(home: Path, intruder: Intruder) -> None:
    """Whoever can write the database can leave an entry there; until the server signs it, it proves nothing."""
    forged = entries.image_view(READER, "2026-11-21T10:00:02.000000Z", project=PROJECT, image="0" * 32)
    intruder.run("INSERT INTO outbox (id, leaf) VALUES (?, ?)", forged.id, forged.leaf())
    report = verify(home)
    assert report.exit_code == 2
    assert [finding.code for finding in report.findings if finding.severity != "note"] == ["outbox"]


def test_rows_of_no_edit(home: Path, intruder: Intruder) -> None:
    intruder.run("INSERT INTO chunk_version VALUES (?, '0/0/0', 99, ?)", SEGMENTATION, sha(b"first"))
    assert found(verify(home), "label-orphan").version == 99


@pytest.mark.parametrize("column", ["head", "head_digest"])
def test_a_head_set_back(home: Path, intruder: Intruder, column: str) -> None:
    value = 6 if column == "head" else "sha256:" + "0" * 64
    intruder.run(f"UPDATE segmentation SET {column} = ?", value)
    assert found(verify(home), "label-head").segmentation == SEGMENTATION


@pytest.mark.parametrize("column", ["created_by", "created_at", "ontology_id"])
def test_a_segmentation_that_is_not_the_one_created(home: Path, intruder: Intruder, column: str) -> None:
    intruder.run(f"UPDATE segmentation SET {column} = 'x'")
    assert found(verify(home), "label-entry").version == 0


def test_a_clock_set_back_is_noted_and_named(recorder: Recorder) -> None:
    """Not a proof of tampering: clocks do go back. But no one should miss it."""
    late = entries.image_view(READER, "2026-11-21T12:00:00.000000Z", project=PROJECT, image="0" * 32)
    early = entries.image_view(READER, "2026-11-21T11:00:00.000000Z", project=PROJECT, image="0" * 32)
    with recorder.database.transaction() as connection:
        recorder.log.append(connection, late)
        recorder.log.append(connection, early)
    recorder.close()
    report = verify(recorder.home)
    assert report.exit_code == 0
    assert [(f.severity, f.code, f.index, f.entry_id) for f in report.findings] == [
        ("note", "time-backwards", 1, early.id)
    ]


# --- images, ontologies, proposals ----------------------------------------------------------------------------------


def test_an_original_file_changed(home: Path) -> None:
    (path,) = (file for file in (home / "originals").rglob("*") if file.is_file())
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    bad = first_bad(verify(home))
    assert (bad.code, bad.index) == ("original", 3)


@pytest.mark.parametrize("act", ["change", "remove", "add"])
def test_an_image_file_changed(home: Path, act: str) -> None:
    (voxels,) = (home / "images").glob("*/0/c/0/0/0")
    if act == "change":
        voxels.write_bytes(b"Voxels")
    elif act == "remove":
        voxels.unlink()
    else:
        voxels.with_name("1").write_bytes(b"more")
    bad = first_bad(verify(home))
    assert (bad.code, bad.index) == ("image-files", 3)
    assert verify_home(home, vkey(home), images=False).exit_code == 0  # asked not to look, it says so
    assert verify_home(home, vkey(home), images=False).findings[0].code == "images-skipped"


def test_the_same_image_brought_again_from_other_files(recorder: Recorder) -> None:
    """Another compression of the same pixels, into another project: one image, two entries."""
    fill(recorder)
    image = image_of(recorder.home)
    with recorder.database.reading() as connection:
        digest = Digest(str(connection.exec_driver_sql("SELECT digest FROM image").scalar()))
    recorder.act(
        lambda time: entries.image_ingest(
            READER, time, project="another", image=image, digest=digest, originals=[sha(b"other file")]
        )
    )
    recorder.close()
    assert verify(recorder.home).exit_code == 0


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("UPDATE image SET digest = 'sha256:00'", "image-entry"),
        ("DELETE FROM image_original", "image-entry"),
        ("DELETE FROM image", "image-gone"),
        ("UPDATE image SET series = replace(series, '-1024', '0')", "image-row"),
        ("UPDATE image SET levels = '[]'", "image-row"),
        ("UPDATE image SET series = 'not JSON'", "image-row"),
        ("UPDATE ontology SET classes = replace(classes, 'liver', 'spleen')", "ontology-entry"),
        ("UPDATE ontology SET created_by = 'x'", "ontology-entry"),
        ("UPDATE proposal SET spans = x'00'", "proposal-digest"),
        ("UPDATE proposal SET prompts = '[]'", "proposal-entry"),
        ("UPDATE proposal SET model = replace(model, 'click', 'other')", "proposal-entry"),
        ("UPDATE proposal SET state = 'rejected'", "proposal-decision"),
        ("UPDATE proposal SET state = 'open'", "proposal-decision"),
        ("UPDATE proposal SET state = 'superseded'", "proposal-decision"),
        ("UPDATE proposal SET state = 'open'", "proposal-digest"),
        ("DELETE FROM proposal", "proposal-gone"),
    ],
)
def test_other_rows_the_log_speaks_of(home: Path, intruder: Intruder, sql: str, code: str) -> None:
    intruder.run("PRAGMA foreign_keys=OFF")
    intruder.run(sql)
    bad = found(verify(home), code)
    assert bad.entry_id is not None


def test_a_proposal_called_accepted_that_nobody_accepted(home: Path, intruder: Intruder) -> None:
    intruder.run("UPDATE proposal SET id = 'other' WHERE id = ?", PROPOSAL)
    assert found(verify(home), "proposal-no-entry").severity == "invalid"


# --- words that may be erased ---------------------------------------------------------------------------------------


def test_erased_words_leave_the_log_valid(home: Path) -> None:
    database = Database.open(home)
    log = Log(database, home)
    with database.transaction() as connection:
        (words,) = connection.exec_driver_sql("SELECT commitment FROM private_value").scalars()
        assert private.erase(connection, [words]) == 1
        log.append(
            connection,
            entries.private_erase(None, database.clock(), commitments=[Digest(words)], basis="gdpr.17"),
        )
    log.sequence()
    database.close()
    report = verify(home)
    assert report.exit_code == 0, report.render()
    assert report.findings == []
    assert report.counts["erased values"] == 1
    assert "private values" not in report.counts


def test_words_erased_behind_the_logs_back_are_counted_and_noted(home: Path, intruder: Intruder) -> None:
    intruder.run("DELETE FROM private_value")
    report = verify(home)
    assert report.exit_code == 0
    assert report.counts["erased values"] == 1
    assert [(finding.code, finding.index) for finding in report.findings if finding.code == "erased"] == [
        ("erased", intruder.index_of(2))
    ]


def test_no_dictionary_finds_erased_words(home: Path, intruder: Intruder) -> None:
    words = "seen by Müller, Jürgen, born 1950"
    (row,) = intruder.run("SELECT commitment, salt, value FROM private_value")
    assert row[0] == private.commitment(words, row[1])
    intruder.run("PRAGMA secure_delete=ON")
    intruder.run("DELETE FROM private_value")
    intruder.run("VACUUM")
    intruder.run("PRAGMA wal_checkpoint(TRUNCATE)")
    everything = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    assert row[1] not in everything  # without the salt a guess cannot be checked
    assert words.encode() not in everything
    assert row[0].encode() in everything


def test_other_words_put_in_place(home: Path, intruder: Intruder) -> None:
    intruder.run("UPDATE private_value SET value = 'nothing to see'")
    bad = first_bad(verify(home))
    assert (bad.code, bad.index) == ("private-value", intruder.index_of(2))


# --- the database as a whole ----------------------------------------------------------------------------------------


def test_an_older_backup_put_back(recorder: Recorder, tmp_path: Path) -> None:
    recorder.view()
    recorder.log.sequence()
    recorder.database.close()
    backup = tmp_path / "backup.db"
    shutil.copyfile(recorder.home / "specimg.db", backup)
    again = Recorder.open(recorder.home)
    again.view()
    again.view()
    again.close()
    _put_back(recorder.home, backup)
    bad = first_bad(verify(recorder.home))
    assert (bad.code, bad.index, bad.last) == ("log-shorter", 1, 2)
    with pytest.raises(StoreError, match=r"specimg audit recover"):
        Recorder.open(recorder.home).view()


def test_two_histories_from_one_backup(recorder: Recorder, tmp_path: Path) -> None:
    recorder.view(0)
    recorder.close()
    other = tmp_path / "other"
    shutil.copytree(recorder.home, other)
    ours, theirs = Recorder.open(recorder.home), Recorder.open(other)
    for number in range(3):
        ours.view(number)
        theirs.view(number + 10)
    theirs.view(99)
    ours.close()
    theirs.close()
    seen_elsewhere = (recorder.home / "keys" / "checkpoint.txt").read_text()
    assert verify(other).exit_code == 0  # alone, it looks like any log
    bad = first_bad(verify(other, checkpoint=seen_elsewhere))
    assert (bad.code, bad.index, bad.last) == ("anchor-root", 1, 3)


def test_the_wrong_key(home: Path, tmp_path: Path) -> None:
    stranger = Recorder.open(tmp_path / "stranger")
    report = verify_home(home, stranger.log.vkey)
    stranger.database.close()
    assert report.exit_code == 2
    assert {finding.code for finding in report.findings} == {"unknown-key", "unsigned"}


def test_the_log_signed_by_another_key_of_the_same_name(home: Path, intruder: Intruder) -> None:
    """A forger keeps the origin but has another key: its key id differs, so the true key has signed nothing."""
    true = vkey(home)
    forger = SigningKey(true.split("+")[0], b"\x07" * 32)
    for size, root in intruder.run("SELECT size, root FROM checkpoint"):
        intruder.run("UPDATE checkpoint SET note = ? WHERE size = ?", Checkpoint.sign(forger, size, root).note, size)
    report = verify_home(home, true)
    assert report.exit_code == 2
    assert report.first_bad is None


def test_a_signature_with_our_key_id_that_we_did_not_make(home: Path, intruder: Intruder) -> None:
    (note,) = intruder.run("SELECT note FROM checkpoint WHERE size = 6")[0]
    intruder.run("UPDATE checkpoint SET note = ? WHERE size = 6", note.replace("\n6\n", "\n7\n"))
    bad = first_bad(verify(home))
    assert (bad.code, bad.index) == ("checkpoint-note", 5)
    assert "signature" in bad.message


def test_a_checkpoint_of_another_origin(home: Path, intruder: Intruder) -> None:
    """Signed with our own key, about another log: keys can be misused, so the origin is compared."""
    key = SigningKey.parse((home / "keys" / "log.key").read_text())
    note = key.sign("specimg.local/another\n6\n" + "A" * 43 + "=\n")
    intruder.run("UPDATE checkpoint SET note = ? WHERE size = 6", note)
    bad = first_bad(verify(home))
    assert (bad.code, bad.index) == ("checkpoint-note", 5)
    assert "another log" in bad.message


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note + "x" * 70_000,
        lambda note: note.replace("\n\n", f"\nmore\n\n{'— a.example/x aGVsbG8gd29ybGQ=' + chr(10)}" * 1, 1)[:-1],
        lambda note: note.replace("\n\n", "\n"),
        lambda note: note.replace("— ", "- "),
        lambda note: note[:-3] + "\n",
        lambda note: note.replace("\n6\n", "\n06\n"),
        lambda note: note + "\t",
        lambda note: "",
    ],
)
def test_a_malformed_note(home: Path, intruder: Intruder, change: Callable[[str], str]) -> None:
    (note,) = intruder.run("SELECT note FROM checkpoint WHERE size = 6")[0]
    intruder.run("UPDATE checkpoint SET note = ? WHERE size = 6", change(note))
    bad = first_bad(verify(home))
    assert (bad.code, bad.index) == ("checkpoint-note", 5)


def test_a_damaged_anchor(home: Path) -> None:
    anchor = home / "keys" / "checkpoint.txt"
    anchor.write_text(anchor.read_text().replace("\n19\n", "\n18\n"))
    assert "signature" in found(verify(home), "anchor-note").message


def test_a_trigger_removed_then_an_update(home: Path) -> None:
    connection = sqlite3.connect(home / "specimg.db", isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("UPDATE entry SET leaf = x'00' WHERE \"index\" = 4")
    connection.execute("DROP TRIGGER entry_no_update")
    connection.execute("UPDATE entry SET leaf = x'00' WHERE \"index\" = 4")
    connection.close()
    report = verify(home)
    assert first_bad(report).index == 4
    assert "entry_no_update" in next(f for f in report.findings if f.code == "triggers").message


def test_a_tree_node_changed(home: Path, intruder: Intruder) -> None:
    intruder.run('UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND "index" = 3')
    bad = first_bad(verify(home))
    assert (bad.code, bad.index, bad.last) == ("tree-node", 6, 7)


def test_a_tree_node_removed(home: Path, intruder: Intruder) -> None:
    intruder.run('DELETE FROM node WHERE level = 0 AND "index" = 10')
    bad = first_bad(verify(home))
    assert (bad.code, bad.index) == ("tree-node", 10)


def test_all_checkpoints_removed(home: Path, intruder: Intruder) -> None:
    intruder.run("DELETE FROM checkpoint")
    (home / "keys" / "checkpoint.txt").unlink()
    assert found(verify(home), "unsigned").index == 0


def test_a_database_that_is_not_one(home: Path) -> None:
    data = bytearray((home / "specimg.db").read_bytes())
    data[100:4096] = bytes(3996)
    (home / "specimg.db").write_bytes(bytes(data))
    assert found(verify(home), "database-damaged").index is None


def test_no_database_at_all(home: Path) -> None:
    (home / "specimg.db").unlink()
    assert verify(home).exit_code == 2


def _put_back(home: Path, backup: Path) -> None:
    for name in ("specimg.db-wal", "specimg.db-shm"):
        (home / name).unlink(missing_ok=True)
    shutil.copyfile(backup, home / "specimg.db")


def _checkpoints_around(intruder: Intruder, index: int) -> tuple[int, int]:
    """Sizes of the checkpoints between which this entry came in."""
    sizes = [0] + [size for (size,) in intruder.run("SELECT size FROM checkpoint ORDER BY size")]
    after = next(size for size in sizes if size > index)
    return sizes[sizes.index(after) - 1], after


def _insert_entry(intruder: Intruder, index: int, entry: entries.Entry) -> None:
    target = entry.object.id if entry.object else None
    intruder.run(
        "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        index, entry.id, entry.leaf(), entry.type.value, entry.actor.id, target, entry.project, entry.time,
    )  # fmt: skip


def _sign_anything(recorder: Recorder, leaf: bytes) -> None:
    """Put bytes into the log as entry 1 and sign them with the real key, as a broken writer would."""
    key = SigningKey.parse((recorder.home / "keys" / "log.key").read_text())
    recorder.database.close()
    with Intruder(recorder.home) as intruder:
        edge = Edge(0, [])
        list(edge.append(leaf_hash(intruder.leaf(0))))
        for node in edge.append(leaf_hash(leaf)):
            intruder.run("INSERT INTO node VALUES (?, ?, ?)", node.level, node.index, node.hash)
        said = json.loads(rfc8785.dumps({"id": "x", "time": "x"}))
        intruder.run("INSERT INTO entry VALUES (1, ?, ?, '', NULL, NULL, NULL, ?)", said["id"], leaf, said["time"])
        checkpoint = Checkpoint.sign(key, 2, edge.root())
        intruder.run("INSERT INTO checkpoint VALUES (2, ?, ?, '')", checkpoint.root, checkpoint.note)
