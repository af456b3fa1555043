"""The log's key and its anchor: the only audit files outside the database.

``keys/log.key`` (0600) signs, ``keys/log.vkey`` verifies, ``keys/checkpoint.txt`` is the newest checkpoint published.
The anchor is what makes a rolled back database visible: back ``keys/`` up apart from the data.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from specimg.audit.checkpoint import Checkpoint, SigningKey, VerifierKey
from specimg.audit.entry import Random
from specimg.errors import InvalidInput, StoreError
from specimg.store.durable import make_folder, sync_folder


class Keys:
    """The folder ``home/keys``. Every write is complete on disk before its name exists."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "keys"

    def load(self, *, logged: bool, random: Random) -> SigningKey:
        """The signing key, created if there is neither key nor log.

        ``logged``: whether the database holds a log already. Then a missing key is a loss, and never silently replaced:
        a new key over an old log would look like the work of someone else.
        """
        path = self._folder / "log.key"
        if not path.exists():
            if logged:
                raise StoreError(
                    "the log's signing key (keys/log.key) is missing, so nothing can be recorded. Put it back from the "
                    "backup of the keys folder; the log itself can still be verified with the verifier key"
                )
            self._create(random)
        key = self._read(path)
        self._require_verifier(key.verifier)
        return key

    def anchor(self, key: VerifierKey) -> Checkpoint | None:
        """The newest checkpoint that was published, or ``None`` if the file is not there."""
        try:
            note = (self._folder / "checkpoint.txt").read_text("utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise StoreError(
                "keys/checkpoint.txt is not text; put it back from the backup of the keys folder"
            ) from error
        try:
            return Checkpoint.parse(note, key)
        except InvalidInput as error:
            raise StoreError(
                f"keys/checkpoint.txt cannot be trusted: {error}. Put it back from the backup of the keys folder"
            ) from error

    def publish(self, checkpoint: Checkpoint) -> None:
        """Make this the anchor."""
        self._replace("checkpoint.txt", checkpoint.note)

    def set_aside(self, checkpoint: Checkpoint) -> None:
        """Keep an anchor that a recovery abandons: it is the proof of what was there."""
        name = f"abandoned-{checkpoint.size}-{checkpoint.root.hex()[:16]}.txt"
        self._replace(name, checkpoint.note)

    def _create(self, random: Random) -> None:
        make_folder(self._folder)
        seed = random(32)
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        # Every log needs a name of its own, or a checkpoint of one server would do for another.
        name = f"specimg.local/{hashlib.sha256(public).hexdigest()[:16]}"
        temporary = self._write(SigningKey(name, seed).to_text() + "\n")
        try:
            # A link fails if the name exists: of two servers that start at once, both use the first one's key.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, self._folder / "log.key")
        finally:
            temporary.unlink()
        sync_folder(self._folder)

    def _read(self, path: Path) -> SigningKey:
        if path.stat().st_mode & 0o077:
            raise StoreError(
                "the log's signing key (keys/log.key) can be read by other users, so its signatures prove nothing. "
                "Run 'chmod 600' on it, and find out who read it"
            )
        try:
            return SigningKey.parse(path.read_text("utf-8"))
        except (InvalidInput, UnicodeDecodeError) as error:
            raise StoreError(
                "the log's signing key (keys/log.key) is damaged; put it back from the backup of the keys folder"
            ) from error

    def _require_verifier(self, key: VerifierKey) -> None:
        path = self._folder / "log.vkey"
        if not path.exists():
            # Dying between the two files leaves only the key; this line then finishes the job.
            self._replace("log.vkey", f"{key}\n")
        elif path.read_text("utf-8").strip() != str(key):
            raise StoreError("keys/log.vkey does not belong to keys/log.key; put both back from one backup")

    def _replace(self, name: str, text: str) -> None:
        temporary = self._write(text)
        os.replace(temporary, self._folder / name)
        sync_folder(self._folder)

    def _write(self, text: str) -> Path:
        handle, name = tempfile.mkstemp(prefix=".new-", dir=self._folder)  # 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return Path(name)
