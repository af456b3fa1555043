"""Archives: a zip is unpacked into a private folder, or refused before a byte of it is written.

Names in an archive are an attacker's: nothing of them is used for paths but what passes the checks here. Limits are those of
every other reader of files from outside; a ratio of 1:100 is far beyond what images compress to.
"""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

from specimg.errors import TooLarge, UnreadableFile

MAX_MEMBERS = 50_000
MAX_RATIO = 100
SMALL = 16 * 2**20
"""An archive that unpacks to less is harmless whatever its ratio."""
MAX_NAME = 512
ZIP = b"PK\x03\x04"


def unpack(path: Path, folder: Path, *, limit: int) -> None:
    """Unpack ``path`` into the new ``folder``. Raises ``UnreadableFile`` or ``TooLarge``; ``limit`` in bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = _checked(path, archive, limit)
            folder.mkdir(parents=True, mode=0o700)
            for member in members:
                _write(path, archive, member, folder)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError, ValueError) as error:
        # RuntimeError: encrypted; NotImplementedError: an unknown compression.
        raise _refused(path, "contents", f"it cannot be unpacked ({type(error).__name__})") from error


def _checked(path: Path, archive: zipfile.ZipFile, limit: int) -> list[zipfile.ZipInfo]:
    members = [m for m in archive.infolist() if not m.is_dir()]
    if len(members) > MAX_MEMBERS:
        raise TooLarge(f"{path.name}: the archive has more than {MAX_MEMBERS} members; split it")
    total = sum(m.file_size for m in members)
    if total > limit:
        raise TooLarge(f"{path.name}: the archive unpacks to more than {limit / 2**30:.3g} GiB; split it")
    packed = sum(m.compress_size for m in members)
    if total > SMALL and total > MAX_RATIO * max(packed, 1):
        raise TooLarge(f"{path.name}: the archive unpacks to more than {MAX_RATIO} times its size; no image does")
    seen: set[str] = set()
    for member in members:
        _check_name(path, member)
        folded = member.filename.casefold()
        if folded in seen:
            raise _refused(path, "member names", "two members have the same name")
        seen.add(folded)
    return members


def _check_name(path: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    parts = PurePosixPath(name).parts
    bad = (
        not parts
        or len(name) > MAX_NAME
        or name.startswith("/")
        or "\\" in name
        or ":" in parts[0]
        or ".." in parts
        or any(ord(c) < 32 for c in name)
    )
    if bad:
        raise _refused(path, "member names", "a member's name leads outside the archive")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _refused(path, "members", "a member is a link or a device, not a file")
    if member.flag_bits & 1:
        raise _refused(path, "members", "a member is encrypted")


def _write(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    target = folder.joinpath(*PurePosixPath(member.filename).parts)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    left = member.file_size
    with archive.open(member) as source, target.open("xb") as sink:
        # The directory at the end of the archive may lie about sizes: count what really comes.
        while block := source.read(1 << 20):
            left -= len(block)
            if left < 0:
                raise _refused(path, "members", "a member is larger than the archive says")
            sink.write(block)
    if left:
        raise _refused(path, "members", "a member is smaller than the archive says")


def _refused(path: Path, field: str, problem: str) -> UnreadableFile:
    return UnreadableFile(
        file=path.name, field=field, problem=problem, remedy="Pack the files again with plain names and no links."
    )
