"""The log: what an append promises, what a checkpoint covers, and when nothing may be written."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert
from sqlalchemy.exc import DBAPIError

from audit.recording import PROJECT, READER, Intruder, Recorder
from specimg.audit import entry as entries
from specimg.audit import private
from specimg.audit.checkpoint import Checkpoint
from specimg.audit.log import BATCH, Log
from specimg.audit.merkle import verify_consistency
from specimg.audit.verify import verify_home, verify_proof
from specimg.errors import NotFound, StoreError
from specimg.store import schema
from specimg.store.database import Database


def view(recorder: Recorder, number: int = 0) -> entries.Entry:
    return entries.image_view(READER, recorder.database.clock(), project=PROJECT, image=f"{number:032x}")


def require_whole(recorder: Recorder) -> int:
    """Verify the whole log from outside, as it is now; returns its size."""
    report = verify_home(recorder.home, recorder.log.vkey, patience=0)
    assert report.exit_code == 0, report.render()
    return report.size


# --- appending and sequencing ---------------------------------------------------------------------------------------


def test_an_empty_log_has_no_checkpoint_and_is_anchored(recorder: Recorder) -> None:
    assert recorder.log.sequence() is None
    assert recorder.log.checkpoint() is None
    assert (recorder.home / "keys" / "checkpoint.txt").read_text().split("\n")[1] == "0"
    assert require_whole(recorder) == 0


def test_an_entry_waits_then_has_an_index_a_proof_and_a_checkpoint(recorder: Recorder) -> None:
    entry_id = recorder.view()
    assert recorder.log.entry(entry_id).index is None
    checkpoint = recorder.log.sequence()
    assert checkpoint is not None
    assert recorder.log.entry(entry_id).index == 0
    assert (recorder.home / "keys" / "checkpoint.txt").read_text() == checkpoint.note
    assert require_whole(recorder) == checkpoint.size == 1


def test_a_rolled_back_act_leaves_no_entry(recorder: Recorder) -> None:
    class Accident(Exception):
        pass

    def act(connection: Connection) -> None:
        recorder.log.append(connection, entry)
        raise Accident

    entry = view(recorder)
    with pytest.raises(Accident), recorder.database.transaction() as connection:
        act(connection)
    assert recorder.log.sequence() is None
    with pytest.raises(NotFound):
        recorder.log.entry(entry.id)


def test_entries_keep_the_order_of_their_commits_whatever_their_ids_and_times(recorder: Recorder) -> None:
    """A clock that goes back, ids that sort the other way: versions of a label must not change places."""
    ids = []
    for number in range(20):
        time = f"2026-11-21T10:15:{59 - number:02d}.000000Z"
        with recorder.database.transaction() as connection:
            ids.append(recorder.log.append(connection, entries.image_view(READER, time, project=PROJECT, image="0")))
        if number % 7 == 3:
            recorder.log.sequence()
    recorder.log.sequence()
    assert ids != sorted(ids)
    assert [recorder.index(one) for one in ids] == list(range(20))


def test_more_entries_than_one_transaction_takes(recorder: Recorder) -> None:
    with recorder.database.transaction() as connection:
        for number in range(BATCH + 5):
            recorder.log.append(connection, view(recorder, number))
    recorder.log.sequence()
    assert recorder.log.checkpoints() == [BATCH, BATCH + 5]
    assert require_whole(recorder) == BATCH + 5


def test_appending_and_sequencing_from_many_threads(recorder: Recorder) -> None:
    acknowledged: list[str] = []

    def append(thread: int) -> None:
        for number in range(25):
            acknowledged.append(recorder.view(100 * thread + number))

    def sequence() -> None:
        for _ in range(20):
            recorder.log.sequence()

    threads = [threading.Thread(target=append, args=(n,)) for n in range(4)]
    threads += [threading.Thread(target=sequence) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.log.sequence()
    assert sorted(recorder.index(one) for one in acknowledged) == list(range(100))
    assert require_whole(recorder) == 100


def test_two_sequencers_on_one_folder(recorder: Recorder) -> None:
    """Fail-over gone wrong: both run. Each index is given once, and each entry has one."""
    other_database = Database.open(recorder.home, clock=recorder.database.clock)
    other = Log(other_database, recorder.home)
    barrier = threading.Barrier(2)

    def sequence(log: Log) -> None:
        for _ in range(15):
            barrier.wait(timeout=30)
            log.sequence()

    for round_ in range(15):
        for number in range(3):
            recorder.view(10 * round_ + number)
    threads = [threading.Thread(target=sequence, args=(log,)) for log in (recorder.log, other)]
    for thread in threads:
        thread.start()
    for number in range(40):
        recorder.view(number)
    for thread in threads:
        thread.join()
    recorder.log.sequence()
    other_database.close()
    assert require_whole(recorder) == 85


def test_an_index_is_given_once_or_the_database_refuses(recorder: Recorder) -> None:
    """The last line of defence against a second sequencer: it fails, and what it wanted to do is undone."""
    recorder.view()
    recorder.log.sequence()
    row = {"index": 0, "id": "other", "leaf": b"{}", "type": "x", "time": "x"}
    with pytest.raises(DBAPIError, match="UNIQUE"), recorder.database.transaction() as connection:
        connection.execute(insert(schema.entry).values(**row))
    assert require_whole(recorder) == 1


def test_the_same_entry_twice_is_refused(recorder: Recorder) -> None:
    entry = view(recorder)
    with recorder.database.transaction() as connection:
        recorder.log.append(connection, entry)
    with pytest.raises(DBAPIError, match="UNIQUE"), recorder.database.transaction() as connection:
        recorder.log.append(connection, entry)


def test_an_error_of_the_database_does_not_quote_peoples_words(recorder: Recorder) -> None:
    def commit(connection: Connection) -> None:
        private.commit(connection, "Müller, Jürgen", random=lambda count: b"\x07" * count)

    with recorder.database.transaction() as connection:
        commit(connection)
    with pytest.raises(DBAPIError) as caught, recorder.database.transaction() as connection:
        commit(connection)
    assert "UNIQUE" in str(caught.value)
    assert "Müller" not in str(caught.value)


# --- proofs ---------------------------------------------------------------------------------------------------------


def test_a_receipt_proves_its_entry_offline(recorder: Recorder) -> None:
    ids = [recorder.view(number) for number in range(11)]
    for number, entry_id in enumerate(ids):
        text = recorder.log.receipt(entry_id)  # the first one sequences
        report = verify_proof(text, recorder.log.vkey)
        assert (report.exit_code, report.size) == (0, 11)
        assert f"index {number}\n" in text
        other = recorder.log.entry(ids[number - 1]).leaf
        assert verify_proof(text, recorder.log.vkey, leaf=other).exit_code == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("index 2", "index 3"),
        ("index 2", "index 02"),
        ("index 2", "index 99"),
        ("\n5\n", "\n6\n"),
        ("tlog-proof@v1", "tlog-proof@v2"),
        ("extra eyJ", "extra eyK"),
        ("index", "junk\nindex"),
        ("\n\n", "\n"),
    ],
)
def test_a_changed_receipt_proves_nothing(recorder: Recorder, old: str, new: str) -> None:
    ids = [recorder.view(number) for number in range(5)]
    text = recorder.log.receipt(ids[2])
    assert verify_proof(text, recorder.log.vkey).exit_code == 0
    assert old in text
    assert verify_proof(text.replace(old, new, 1), recorder.log.vkey).exit_code == 1


def test_checkpoints_are_consistent_with_every_earlier_one(recorder: Recorder) -> None:
    checkpoints = []
    for number in range(13):
        recorder.view(number)
        checkpoint = recorder.log.sequence()
        assert checkpoint is not None
        checkpoints.append(checkpoint)
    for new in checkpoints:
        for old in checkpoints[: new.size]:
            proof = recorder.log.consistency(old.size, new.size)
            assert verify_consistency(old.size, new.size, proof, old.root, new.root)


@pytest.mark.parametrize(("old", "new"), [(2, 1), (0, 3), (-1, 1)])
def test_no_consistency_beyond_the_log(recorder: Recorder, old: int, new: int) -> None:
    recorder.view()
    recorder.log.sequence()
    with pytest.raises(NotFound):
        recorder.log.consistency(old, new)


def test_entries_are_found_by_what_they_speak_of(recorder: Recorder) -> None:
    ids = [recorder.view(number % 2) for number in range(10)]
    assert recorder.log.entries(object=f"{1:032x}") == []  # not sequenced yet
    recorder.log.sequence()
    found = recorder.log.entries(object=f"{1:032x}", limit=3)
    assert [one.id for one in found] == [ids[9], ids[7], ids[5]]
    assert found[-1].index is not None
    more = recorder.log.entries(object=f"{1:032x}", project=PROJECT, before=found[-1].index)
    assert [one.id for one in more] == [ids[3], ids[1]]
    assert recorder.log.entries(project="elsewhere") == []


# --- the background thread ------------------------------------------------------------------------------------------


def test_the_thread_sequences_what_is_committed(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    anchored = threading.Event()
    publish = recorder.log._keys.publish

    def tell(checkpoint: Checkpoint) -> None:
        publish(checkpoint)
        anchored.set()

    monkeypatch.setattr(recorder.log._keys, "publish", tell)  # the real thing, and a bell
    recorder.log.start(0.001)
    for number in range(200):
        # Every wake-up meets a commit under way: an entry overlooked there would wait for the next one.
        anchored.clear()
        entry_id = recorder.view(number)
        assert anchored.wait(timeout=20)
        assert recorder.log.entry(entry_id).index == number
    recorder.log.stop()


def test_stopping_sequences_what_is_left(recorder: Recorder) -> None:
    recorder.log.start(3600)
    ids = [recorder.view(number) for number in range(5)]
    recorder.log.stop()
    recorder.log.stop()
    assert [recorder.index(one) for one in ids] == list(range(5))
    assert require_whole(recorder) == 5


def test_a_sequencer_that_meets_a_changed_log_stops_all_writing(recorder: Recorder) -> None:
    recorder.view()
    recorder.log.sequence()
    with Intruder(recorder.home) as intruder:
        intruder.run("UPDATE node SET hash = zeroblob(32) WHERE level = 0")
    recorder.view()
    recorder.log.start(3600)
    recorder.log.stop()
    assert recorder.log.refusal is not None
    with pytest.raises(StoreError):
        recorder.view()


# --- keys -----------------------------------------------------------------------------------------------------------


def test_the_key_is_ours_alone(recorder: Recorder) -> None:
    keys = recorder.home / "keys"
    assert stat.S_IMODE((keys / "log.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert sorted(path.name for path in keys.iterdir()) == ["checkpoint.txt", "log.key", "log.vkey"]
    assert recorder.log.vkey == (keys / "log.vkey").read_text().strip()


def test_a_key_others_can_read_is_refused(recorder: Recorder) -> None:
    (recorder.home / "keys" / "log.key").chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        Log(recorder.database, recorder.home)


def test_a_lost_key_is_not_replaced(recorder: Recorder) -> None:
    recorder.view()
    recorder.log.sequence()
    (recorder.home / "keys" / "log.key").unlink()
    with pytest.raises(StoreError, match="backup of the keys folder"):
        Log(recorder.database, recorder.home)
    assert not (recorder.home / "keys" / "log.key").exists()


def test_a_damaged_key_is_named_and_not_shown(recorder: Recorder) -> None:
    path = recorder.home / "keys" / "log.key"
    secret = path.read_text()
    path.write_text(secret[:-3])
    with pytest.raises(StoreError, match="damaged") as caught:
        Log(recorder.database, recorder.home)
    assert secret[60:] not in str(caught.value)


def test_dying_between_key_and_verifier_key_is_mended(recorder: Recorder) -> None:
    vkey = recorder.log.vkey
    for name in ("log.vkey", "checkpoint.txt"):
        (recorder.home / "keys" / name).unlink()
    assert Log(recorder.database, recorder.home).vkey == vkey
    assert (recorder.home / "keys" / "log.vkey").read_text().strip() == vkey


def test_a_verifier_key_of_another_log_is_refused(recorder: Recorder) -> None:
    (recorder.home / "keys" / "log.vkey").write_text(
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n"
    )
    with pytest.raises(StoreError, match="one backup"):
        Log(recorder.database, recorder.home)


# --- the rollback rule ----------------------------------------------------------------------------------------------


def rolled_back(recorder: Recorder, tmp_path: Path) -> Recorder:
    """A folder whose database was put back from a backup that lacks the last three of five entries."""
    for number in range(2):
        recorder.view(number)
    recorder.close()
    shutil.copyfile(recorder.home / "specimg.db", tmp_path / "backup.db")
    later = Recorder.open(recorder.home)
    for number in range(3):
        later.view(10 + number)
    later.close()
    for name in ("specimg.db-wal", "specimg.db-shm"):
        (recorder.home / name).unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "backup.db", recorder.home / "specimg.db")
    return Recorder.open(recorder.home)


def test_a_restored_backup_refuses_to_write_until_recovery_is_recorded(recorder: Recorder, tmp_path: Path) -> None:
    restored = rolled_back(recorder, tmp_path)
    witness = (recorder.home / "keys" / "checkpoint.txt").read_text()
    assert restored.log.refusal is not None
    assert "2 audit entries, 5 were recorded" in restored.log.refusal
    with pytest.raises(StoreError, match="specimg audit recover"):
        restored.view()
    with pytest.raises(StoreError):
        restored.log.sequence()
    assert [one.index for one in restored.log.entries()] == [1, 0]  # reading goes on

    restored.log.recover(actor=READER, reason="disk of Dr. Who failed, backup of Friday")

    restored.view()
    restored.log.sequence()
    leaf = json.loads(restored.log.entries(limit=2)[1].leaf)
    assert leaf["type"] == "log.recovery"
    assert leaf["detail"]["lost"]["size"] == 5
    assert leaf["detail"]["found"]["size"] == 2
    assert b"Who" not in restored.log.entries(limit=2)[1].leaf
    assert len(list((recorder.home / "keys").glob("abandoned-5-*.txt"))) == 1
    restored.database.close()

    report = verify_home(recorder.home, restored.log.vkey)
    assert report.exit_code == 0
    assert [(finding.code, finding.index) for finding in report.findings] == [("recovery", 2)]
    # Whoever kept the newer checkpoint still sees that history was lost.
    assert verify_home(recorder.home, restored.log.vkey, checkpoint=witness).exit_code == 1


def test_dying_in_the_middle_of_a_recovery(recorder: Recorder, tmp_path: Path) -> None:
    """The entry is there, the new anchor is not: the refusal stands, and recovering again completes it."""
    restored = rolled_back(recorder, tmp_path)
    anchor = (recorder.home / "keys" / "checkpoint.txt").read_text()
    restored.log.recover(actor=READER, reason="first attempt")
    restored.database.close()
    (recorder.home / "keys" / "checkpoint.txt").write_text(anchor)
    again = Recorder.open(recorder.home)
    assert again.log.refusal is not None
    again.log.recover(actor=READER, reason="second attempt")
    again.view()
    again.close()
    assert verify_home(recorder.home, again.log.vkey).exit_code == 0


def test_a_log_in_order_has_nothing_to_recover(recorder: Recorder) -> None:
    with pytest.raises(StoreError, match="in order"):
        recorder.log.recover(actor=READER, reason="just in case")


def test_a_missing_anchor_is_a_refusal(recorder: Recorder) -> None:
    recorder.view()
    recorder.log.sequence()
    os.unlink(recorder.home / "keys" / "checkpoint.txt")
    assert "checkpoint.txt is missing" in (Log(recorder.database, recorder.home).refusal or "")


def test_a_database_changed_under_a_running_server_is_not_signed(recorder: Recorder) -> None:
    for number in range(4):
        recorder.view(number)
    recorder.log.sequence()
    with Intruder(recorder.home) as intruder:
        intruder.run('DELETE FROM entry WHERE "index" >= 2')
        intruder.run('DELETE FROM node WHERE ("index" + 1) << level > 2')
        intruder.run("DELETE FROM checkpoint WHERE size > 2")
    recorder.view()
    with pytest.raises(StoreError, match="older than its last checkpoint"):
        recorder.log.sequence()
    with pytest.raises(StoreError):
        recorder.view()


def test_a_rewritten_tree_is_not_signed(recorder: Recorder) -> None:
    for number in range(3):
        recorder.view(number)
    recorder.log.sequence()
    with Intruder(recorder.home) as intruder:
        intruder.set_leaf(1, b"{}")
        intruder.rebuild_tree()
    recorder.view()
    with pytest.raises(StoreError, match="not the one of checkpoint 3"):
        recorder.log.sequence()
