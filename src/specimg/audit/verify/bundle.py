"""Verify what was handed out: a bundle (zip or folder) of the whole log or of one label, or a single proof."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from .canonical import Malformed
from .labels import digest_of
from .leaf import LABEL_TYPES, MAX_LEAF, Leaf, read_leaf
from .note import MAX_NOTE, MAX_PROOF, BadNote, Checkpoint, Key, UnknownKey, open_checkpoint, open_proof, parse_key
from .report import Progress, Report
from .tree import leaf_hash, node_hash, root_from_path, root_of

MAX_MEMBERS = 1_000_000
_PROOFS = "proofs/"
_FIXED = frozenset({"README.txt", "log.vkey", "checkpoint.txt", "checkpoints.jsonl", "entries.jsonl"})


class Files(Protocol):
    """The members of a bundle."""

    def names(self) -> list[str]:
        """Every member."""

    def open(self, name: str) -> IO[bytes]:
        """One member's bytes; ``KeyError`` or ``OSError`` if it is not there."""


def verify_bundle(
    path: Path,
    vkey_text: str,
    *,
    checkpoint: str | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Report:
    """Check a bundle with nothing but the verifier key.

    A bundle is the log (or one label's part of it) as of its own ``checkpoint.txt``; that it is the newest state, only a
    ``checkpoint`` from elsewhere can say. Only a bundle of the whole log can be compared with one.
    """
    report = Report()
    key = parse_key(vkey_text)
    report.origin = key.name
    try:
        with _open(path) as files:
            names = files.names()
            if len(set(names)) != len(names) or len(names) > MAX_MEMBERS:
                report.add("invalid", "bundle", "the bundle names a file twice, or too many files")
                return report
            strange = [name for name in names if name not in _FIXED and not name.startswith(_PROOFS)]
            if strange:
                report.add("invalid", "bundle", f"the bundle holds {len(strange)} files that no bundle has")
            newest = _newest(files, key, report)
            if newest is None:
                return report
            report.size, report.root = newest.size, base64.b64encode(newest.root).decode()
            if "entries.jsonl" in names:
                _Whole(files, key, report, progress).verify(newest, checkpoint)
            else:
                _Part(files, key, report, progress).verify(newest, checkpoint)
    except (OSError, zipfile.BadZipFile, KeyError, EOFError) as error:
        report.add("invalid", "bundle", f"the bundle cannot be read: {type(error).__name__}")
    return report


def verify_proof(text: str, vkey_text: str, *, leaf: bytes | None = None) -> Report:
    """Check one tlog-proof. ``leaf``: the entry's bytes, if not those in the proof's own ``extra`` line."""
    report = Report()
    key = parse_key(vkey_text)
    report.origin = key.name
    read = _proof(text, key, report, leaf)
    if read is not None:
        _, _, newest = read
        report.size, report.root = newest.size, base64.b64encode(newest.root).decode()
        report.count("entries")
    return report


class _Versions:
    """The chain of digests inside each label, as the leaves go by in order. One short string a segmentation."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._heads: dict[str, tuple[int, str]] = {}

    def add(self, index: int, leaf: Leaf) -> None:
        if leaf.kind != "segmentation" or leaf.object is None or leaf.version is None:
            return
        if leaf.type not in LABEL_TYPES and leaf.type != "segmentation.create":
            return
        head = self._heads.get(leaf.object)
        first = digest_of({"segmentation": leaf.object})
        if leaf.type == "segmentation.create":
            good = head is None and leaf.version == 0 and leaf.new == first
        else:
            good = head is not None and (leaf.version, leaf.old) == (head[0] + 1, head[1])
        if not good:
            self._report.add(
                "invalid",
                "label-gap",
                "this version does not continue the one before it",
                index=index,
                entry_id=leaf.id,
                segmentation=leaf.object,
                version=leaf.version,
            )
        if leaf.version > 0:
            self._report.count("label versions")
        self._heads[leaf.object] = (leaf.version, leaf.new or "")


class _Whole:
    """A bundle of the whole log: the tree is computed from its leaves."""

    def __init__(self, files: Files, key: Key, report: Report, progress: Progress) -> None:
        self._files = files
        self._key = key
        self._report = report
        self._progress = progress
        self._peaks: list[bytes] = []
        self._size = 0
        self._good = 0
        self._seen = ""

    def verify(self, newest: Checkpoint, given: str | None) -> None:
        marks = self._checkpoints(newest, given)
        versions = _Versions(self._report)
        mark = next(marks, None)
        with self._files.open("entries.jsonl") as file:
            while line := file.readline(MAX_LEAF + 2):
                while mark is not None and mark.size <= self._size:
                    self._compare(mark)
                    mark = next(marks, None)
                self._line(line, versions)
                if self._size % 4096 == 0:
                    self._progress("entries", self._size, newest.size)
        while mark is not None and mark.size <= self._size:
            self._compare(mark)
            mark = next(marks, None)
        if mark is not None:
            self._report.add(
                "invalid",
                "log-shorter",
                f"the bundle is shorter than its checkpoint of size {mark.size}",
                index=self._size,
                last=mark.size - 1,
            )
        if self._size > newest.size:
            self._report.add("invalid", "unsigned", "entries beyond the newest checkpoint", index=newest.size)
        self._report.count("entries", self._size)

    def _line(self, line: bytes, versions: _Versions) -> None:
        index = self._size
        data = line.removesuffix(b"\n")
        try:
            if data == line:
                raise Malformed("the line does not end, or is too long")
            leaf = read_leaf(data)
        except Malformed as error:
            self._report.add("invalid", "leaf-form", f"malformed leaf: {error}", index=index)
        else:
            versions.add(index, leaf)
        hash, count = leaf_hash(data), index
        while count & 1:
            hash, count = node_hash(self._peaks.pop(), hash), count >> 1
        self._peaks.append(hash)
        self._size += 1

    def _checkpoints(self, newest: Checkpoint, given: str | None) -> Iterator[Checkpoint]:
        outside = [newest]
        if given is not None:
            read = _checkpoint(given, self._key, self._report, "the checkpoint given")
            outside += [read] if read is not None else []
        outside.sort(key=lambda mark: mark.size)
        with self._files.open("checkpoints.jsonl") as file:
            size = -1
            while line := file.readline(2 * MAX_NOTE):
                try:
                    note = json.loads(line)
                except ValueError:
                    note = None
                read = _checkpoint(note if isinstance(note, str) else "", self._key, self._report, "a checkpoint")
                if read is None:
                    continue
                if read.size <= size:
                    self._report.add("invalid", "bundle", "checkpoints are not in order", index=read.size)
                    continue
                size = read.size
                while outside and outside[0].size <= size:
                    yield outside.pop(0)
                yield read
                self._report.count("checkpoints")
        yield from outside

    def _compare(self, mark: Checkpoint) -> None:
        if mark.size == self._size and root_of(self._peaks) != mark.root:
            self._report.add(
                "invalid",
                "checkpoint-root",
                f"the entries do not have the root that checkpoint {mark.size} signed",
                index=self._good,
                last=mark.size - 1,
            )
        elif mark.size == self._size:
            self._good = mark.size


class _Part:
    """A bundle of one label: a proof for each of its entries, under one checkpoint."""

    def __init__(self, files: Files, key: Key, report: Report, progress: Progress) -> None:
        self._files = files
        self._key = key
        self._report = report
        self._progress = progress

    def verify(self, newest: Checkpoint, given: str | None) -> None:
        names = [name for name in self._files.names() if name.startswith(_PROOFS)]
        versions = _Versions(self._report)
        last = -1
        for number, name in enumerate(sorted(names)):
            with self._files.open(name) as file:
                text = file.read(MAX_PROOF + 1).decode("utf-8", "replace")
            read = _proof(text, self._key, self._report, None)
            if read is None:
                continue
            index, leaf, checkpoint = read
            if checkpoint != newest or name != f"{_PROOFS}{index:012d}.tlog-proof" or index <= last:
                self._report.add("invalid", "bundle", "a proof is not of this bundle", index=index, entry_id=leaf.id)
            last = index
            versions.add(index, leaf)
            self._report.count("entries")
            self._progress("proofs", number + 1, len(names))
        if not names:
            self._report.add("incomplete", "bundle", "the bundle holds no entries")
        if given is not None:
            self._part_against(given, newest)

    def _part_against(self, given: str, newest: Checkpoint) -> None:
        other = _checkpoint(given, self._key, self._report, "the checkpoint given")
        if other is None or other == newest:
            return
        if other.size == newest.size:
            self._report.add("invalid", "anchor-root", "the checkpoint given is of another history of this log")
        else:
            self._report.add(
                "incomplete", "anchor", "a bundle of one label cannot be compared with a checkpoint of another size"
            )


def _proof(text: str, key: Key, report: Report, given: bytes | None) -> tuple[int, Leaf, Checkpoint] | None:
    try:
        proof = open_proof(text, key)
        data = given if given is not None else proof.leaf
        if data is None:
            report.add("incomplete", "proof", "the proof does not carry its entry; give the entry's bytes")
            return None
        leaf = read_leaf(data)
    except UnknownKey as error:
        report.add("incomplete", "unknown-key", f"proof: {error}")
        return None
    except (BadNote, Malformed) as error:
        report.add("invalid", "proof", f"malformed proof: {error}")
        return None
    newest = proof.checkpoint
    if root_from_path(leaf_hash(data), proof.index, newest.size, proof.path) != newest.root:
        report.add(
            "invalid",
            "proof",
            f"the proof does not lead from this entry to the root of checkpoint {newest.size}",
            index=proof.index,
            entry_id=leaf.id,
        )
        return None
    return proof.index, leaf, newest


def _newest(files: Files, key: Key, report: Report) -> Checkpoint | None:
    with files.open("checkpoint.txt") as file:
        note = file.read(MAX_NOTE + 1).decode("utf-8", "replace")
    return _checkpoint(note, key, report, "checkpoint.txt")


def _checkpoint(note: str, key: Key, report: Report, name: str) -> Checkpoint | None:
    try:
        return open_checkpoint(note, key)
    except UnknownKey as error:
        report.add("incomplete", "unknown-key", f"{name}: {error}")
    except BadNote as error:
        report.add("invalid", "checkpoint-note", f"{name}: {error}")
    return None


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        return [str(file.relative_to(self._path).as_posix()) for file in self._path.rglob("*") if file.is_file()]

    def open(self, name: str) -> IO[bytes]:
        return (self._path / name).open("rb")


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def names(self) -> list[str]:
        return self._archive.namelist()

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(name)


@contextmanager
def _open(path: Path) -> Iterator[Files]:
    if path.is_dir():
        yield _Folder(path)
        return
    with zipfile.ZipFile(path) as archive:
        yield _Zip(archive)
