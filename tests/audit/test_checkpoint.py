"""Signed notes and checkpoints against the published examples of C2SP, in the writer and in the verifier."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from specimg.audit.checkpoint import Checkpoint, SigningKey, VerifierKey, open_note, proof_text
from specimg.audit.verify import note as verifier
from specimg.audit.verify import verify_proof
from specimg.errors import InvalidInput

# https://c2sp.org/signed-note, "Example"
C2SP_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n"
    "\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# golang.org/x/mod/sumdb/note, package documentation: another implementation's key and note
GO_SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    GO_TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
KEY = SigningKey("specimg.local/test", bytes(range(32)))
ROOT = bytes(range(32, 64))


def test_the_published_note_is_accepted_by_both() -> None:
    assert open_note(C2SP_NOTE, VerifierKey.parse(C2SP_KEY)) == "This is an example message.\n"
    key = verifier.parse_key(C2SP_KEY)
    with pytest.raises(verifier.BadNote, match="exactly three lines"):  # signed, but no checkpoint
        verifier.open_checkpoint(C2SP_NOTE, key)


def test_the_published_signer_makes_the_published_note() -> None:
    signer = SigningKey.parse(GO_SIGNER)
    assert str(signer.verifier) == GO_KEY
    assert signer.sign(GO_TEXT) == GO_NOTE
    assert signer.to_text() == GO_SIGNER
    assert GO_SIGNER[-20:] not in repr(signer)


def test_a_checkpoint_reads_as_it_was_signed() -> None:
    checkpoint = Checkpoint.sign(KEY, 1342, ROOT)
    body, _, _ = checkpoint.note.partition("\n\n")
    assert body == f"specimg.local/test\n1342\n{base64.b64encode(ROOT).decode()}"
    assert Checkpoint.parse(checkpoint.note, KEY.verifier) == checkpoint
    read = verifier.open_checkpoint(checkpoint.note, verifier.parse_key(str(KEY.verifier)))
    assert (read.origin, read.size, read.root) == ("specimg.local/test", 1342, ROOT)


@pytest.mark.peer
def test_openssl_accepts_our_signature(tmp_path: Path) -> None:
    """Nothing of ours checks here: the body, the key and the 64 bytes are handed to openssl as they are."""
    checkpoint = Checkpoint.sign(KEY, 7, ROOT)
    body, _, line = checkpoint.note.partition("\n\n")
    (tmp_path / "body").write_text(body + "\n")
    (tmp_path / "signature").write_bytes(base64.b64decode(line.split(" ")[2])[4:])
    spki = bytes.fromhex("302a300506032b6570032100") + base64.b64decode(str(KEY.verifier).split("+", 2)[2])[1:]
    (tmp_path / "key.der").write_bytes(spki)
    arguments = ["-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der", "-rawin", "-in", "body", "-sigfile"]
    try:
        done = subprocess.run(
            ["openssl", "pkeyutl", *arguments, "signature"], cwd=tmp_path, capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("needs the openssl program (Debian package openssl)")
    assert (done.returncode, done.stdout) == (0, b"Signature Verified Successfully\n"), done.stderr


def _with_signatures(count: int) -> str:
    note = Checkpoint.sign(KEY, 7, ROOT).note
    stranger = SigningKey("witness.example/w", b"\x05" * 32)
    body = note.partition("\n\n")[0] + "\n"
    return note + "".join(stranger.sign(body).rpartition("\n\n")[2] for _ in range(count))


def test_signatures_of_strangers_are_passed_over() -> None:
    """The format demands it: witnesses may add theirs. Sixteen in all must be accepted."""
    for parse in (_writer, _verifier):
        parse(_with_signatures(15))
        with pytest.raises(ValueError):
            parse(_with_signatures(16))


def test_a_strangers_signature_does_not_do() -> None:
    note = SigningKey("specimg.local/test", b"\x09" * 32).sign(f"specimg.local/test\n7\n{'A' * 43}=\n")
    with pytest.raises(InvalidInput, match="not signed by the given key"):
        Checkpoint.parse(note, KEY.verifier)
    with pytest.raises(verifier.UnknownKey):
        verifier.open_checkpoint(note, verifier.parse_key(str(KEY.verifier)))


def _writer(note: str) -> None:
    try:
        Checkpoint.parse(note, KEY.verifier)
    except InvalidInput as error:
        raise ValueError(str(error)) from error


def _verifier(note: str) -> None:
    verifier.open_checkpoint(note, verifier.parse_key(str(KEY.verifier)))


@pytest.mark.parametrize("parse", [_writer, _verifier])
@pytest.mark.parametrize(
    "body",
    [
        "specimg.local/other\n7\n{root}\n",
        "specimg.local/test\n07\n{root}\n",
        "specimg.local/test\n-7\n{root}\n",
        "specimg.local/test\n+7\n{root}\n",
        "specimg.local/test\n٧\n{root}\n",
        "specimg.local/test\n7\n{root}\nextension\n",
        "specimg.local/test\n7\n",
        "specimg.local/test\n7\n" + "A" * 42 + "B=\n",
        "specimg.local/test\n7\n AAAA\n",
        "specimg.local/test\n7\nAAAA\n",
    ],
)
def test_a_signed_note_that_is_no_checkpoint(body: str, parse: Callable[[str], None]) -> None:
    note = KEY.sign(body.format(root=base64.b64encode(ROOT).decode()))
    with pytest.raises(ValueError):
        parse(note)


@pytest.mark.parametrize("parse", [_writer, _verifier])
@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.replace("\n7\n", "\n8\n"),
        lambda note: note.replace("\n\n", "\n"),
        lambda note: note.rstrip("\n"),
        lambda note: note + "\n",
        lambda note: note + "junk\n",
        lambda note: note.replace("— ", "—  "),
        lambda note: note.replace("=\n", "\n") if "=" in note[-4:] else note[:-2] + "*\n",
        lambda note: note.replace("\n7\n", "\n7\r\n"),
        lambda note: note + "x" * 65536,
        lambda note: "",
        lambda note: "\n\n",
    ],
)
def test_a_note_in_another_spelling(change: Callable[[str], str], parse: Callable[[str], None]) -> None:
    note = Checkpoint.sign(KEY, 7, ROOT).note
    parse(note)
    assert change(note) != note
    with pytest.raises(ValueError):
        parse(change(note))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+AAAA",
        C2SP_KEY.replace("530d903a", "530d903b"),
        C2SP_KEY.replace("example.com/foo", "example.com/bar"),
        C2SP_KEY.replace("AekyeR", "AukyeR"),
        C2SP_KEY + "A",
    ],
)
def test_a_mistyped_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        VerifierKey.parse(text)
    with pytest.raises(verifier.BadNote):
        verifier.parse_key(text)


def test_a_proof_of_another_log_is_not_accepted() -> None:
    stranger = SigningKey("specimg.local/other", bytes(32))
    text = proof_text(0, [], Checkpoint.sign(stranger, 1, ROOT), b"{}")
    assert verify_proof(text, str(KEY.verifier)).exit_code == 2
