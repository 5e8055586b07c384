"""Which keys open an endpoint, from its settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tundish.access import key_file
from tundish.access.keys import KeyRing
from tundish.settings import InvalidSetting, Settings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Which keys open the endpoint, and where its owner finds them."""

    ring: KeyRing
    key: str | None
    """The one to show to whoever started the endpoint; None when none is needed."""
    kept_in: Path | None
    """None: it is in the environment, or only in this process."""
    key_id: str = "anonymous"
    """What the owner's key is called in receipts."""


def open_access(settings: Settings) -> Access:
    """The key ring that the settings ask for; a key is generated when they name none."""
    if not settings.auth:
        return Access(ring=KeyRing.open(), key=None, kept_in=None)
    if settings.api_key is not None:
        key = settings.api_key.reveal()
        return _owned("environment", key, kept_in=None)
    try:
        key = key_file.load_or_create(settings.key_file)
    except OSError as error:
        raise InvalidSetting(
            f"The key cannot be kept in {settings.key_file} ({error.strerror or error}). "
            "Set TUNDISH_DATA_DIR to a folder that can be written, or TUNDISH_API_KEY to a key of your own."
        ) from error
    return _owned("generated", key, kept_in=settings.key_file)


def _owned(key_id: str, key: str, *, kept_in: Path | None) -> Access:
    return Access(ring=KeyRing.of_owner(key, key_id=key_id), key=key, kept_in=kept_in, key_id=key_id)
