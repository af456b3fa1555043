"""Settings, built once at the top (``cli``, ``api.app``) and handed down; nothing below imports them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from the environment with the prefix ``SPECIMG_``; ``PORT`` is honoured without it."""

    model_config = SettingsConfigDict(env_prefix="SPECIMG_", extra="ignore", populate_by_name=True)

    home: Path = Path(".specimg")
    """Data folder: database, images, originals, keys."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, validation_alias="PORT", ge=0, le=65535)
    hosts: tuple[str, ...] = ()
    """Names beside loopback under which a reverse proxy is reached, as a JSON list: ``SPECIMG_HOSTS='["img.example"]'``.
    Requests for any other name are refused, so that a page which points its own name at this machine gets nothing."""
    insecure_http: bool = False
    """Allow plain HTTP on an address other than loopback. Passwords and patient data would travel in the clear."""
    child_memory: int = 2 * 2**30
    """Bytes of address space for a child that parses files from outside."""
    child_seconds: int = 600
    """CPU seconds for such a child."""
    max_source_bytes: int = 64 * 2**30
    """Largest source (file, folder or unpacked archive) that ingest accepts."""
    idle_minutes: int = 15
    """A session ends after this long without a request (45 CFR 164.312(a)(2)(iii))."""
    session_hours: int = 12
    """A session ends after this long in any case."""
    checkpoint_seconds: float = 1.0
    """The log is sequenced and its checkpoint signed at least this often while there is anything new."""
    cache_bytes: int = 256 * 2**20
    """Decoded chunks kept for server-rendered slices and tiles."""
