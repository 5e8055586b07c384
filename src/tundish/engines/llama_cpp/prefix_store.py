"""Saved prefixes on disk: found, checked, added, evicted. Files that other processes may change at any time.

`FOLDER/FINGERPRINT/NAME.kv` is llama.cpp's file and `NAME.json` what is known of it. They hold what the prompts said:
only their owner may read them. Several endpoints may share the folder: whoever changes it holds its lock, and whoever
reads checks what he reads.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import filelock
import msgspec

from tundish.catalog import durable_file
from tundish.engines.llama_cpp import prefix_files
from tundish.engines.llama_cpp.prefix_entry import (
    Entry,
    decode_entry,
    encode_entry,
    holds,
    name_of,
    packed,
    sha256_of,
)

_log = logging.getLogger("tundish.engines.prefixes")

_DRAFT = ".part"
_TOUCH_AFTER_S = 60.0


class PrefixStore:
    """What is saved for one model, run in one way. All but `longest` and `entries` read or write files."""

    def __init__(self, root: Path, model: str, *, limit_bytes: int) -> None:
        """
        Args:
            root: the folder of all models' prefixes.
            model: a fingerprint, see `model_fingerprint`.
            limit_bytes: what all models' prefixes together may take.
        """
        self.folder = root / model
        self._root = root
        self._model = model
        self._limit_bytes = limit_bytes
        self._entries: dict[str, Entry] = {}
        self._checked: dict[str, tuple[str, int, int, int]] = {}
        """Which version of a state was found to be what was saved: digest, inode, size, time of the last change."""

    def open(self) -> None:
        """Make the folder and learn what is there; what is half or of another model is removed.

        Raises:
            OSError: it cannot be made or read, or belongs to somebody else.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._root, self.folder):
            prefix_files.require_own(folder)
        with self._locked() as owned:
            if owned:
                prefix_files.sweep(self.folder)
        self._entries = {entry.name: entry for path in self.folder.glob("*.json") if (entry := self._read(path))}

    @property
    def entries(self) -> Sequence[Entry]:
        """What is saved, the most used first."""
        return sorted(self._entries.values(), key=lambda entry: (entry.hits, entry.last_used_s), reverse=True)

    def longest(self, ids: bytes) -> Entry | None:
        """The longest saved prefix of these packed ids."""
        view = memoryview(ids)
        for tokens in sorted({entry.tokens for entry in self._entries.values()}, reverse=True):
            if tokens * 4 <= len(ids) and (entry := self._entries.get(name_of(view[: tokens * 4]))):
                return entry
        return None

    def state_file(self, entry: Entry) -> Path:
        """llama.cpp's file."""
        return self.folder / f"{entry.name}.kv"

    def usable(self, entry: Entry) -> Entry | None:
        """The entry, when its state is what was saved, byte for byte; else it is dropped. Read anew only when changed.

        Another endpoint may have dropped it and saved it again: then that is what there is.
        """
        if self._is_whole(entry):
            return entry
        newer = self._read(self._entry_file(entry.name))
        if newer is not None and self._is_whole(newer):
            self._entries[newer.name] = newer
            return newer
        self.drop(entry, "it is damaged or gone")
        return None

    def _is_whole(self, entry: Entry) -> bool:
        path = self.state_file(entry)
        try:
            seen = path.stat()
            version = (entry.sha256, seen.st_ino, seen.st_size, seen.st_mtime_ns)
            if version != self._checked.get(entry.name):
                if seen.st_size != entry.file_bytes or sha256_of(path) != entry.sha256:
                    return False
                self._checked[entry.name] = version
        except OSError:
            return False
        return True

    def drop(self, entry: Entry, reason: str) -> None:
        """Forget an entry and remove its files, so that it is made anew."""
        _log.warning("a saved prefix of %d tokens is dropped: %s", entry.tokens, reason)
        self._entries.pop(entry.name, None)
        with self._locked(wait_s=1.0) as owned:
            if owned:
                prefix_files.remove(self._entry_file(entry.name))

    def new_draft(self) -> str:
        """A file name for llama.cpp to save to. The folder is made again if somebody removed it."""
        with contextlib.suppress(OSError):  # then saving fails, and says so
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return f"{secrets.token_hex(8)}{_DRAFT}"

    def discard(self, draft: str) -> None:
        """Remove a draft, if there is one."""
        with contextlib.suppress(OSError):
            (self.folder / draft).unlink(missing_ok=True)

    def adopt(self, draft: str, state: Sequence[int], tokens: int) -> Entry | None:
        """Make an entry of a draft that holds the state after `state`, of which the first `tokens` are the prefix.

        None when the draft is not that, is larger than the limit, or another endpoint is changing the folder.

        Raises:
            OSError: there is no room, or the folder cannot be written.
        """
        path, ids = self.folder / draft, packed(state)
        with self._locked() as owned:
            try:
                if not owned or not holds(path, ids):
                    return None
                name = name_of(memoryview(ids)[: tokens * 4])
                if (there := self._read(self._entry_file(name))) is not None:  # another endpoint was sooner
                    self._entries[name] = there
                    return there
                file_bytes = path.stat().st_size
                if file_bytes > self._limit_bytes:
                    return None
                self._evict(self._limit_bytes - file_bytes)
                if sys.platform != "win32":
                    path.chmod(0o600)
                entry = Entry(
                    name=name,
                    model=self._model,
                    tokens=tokens,
                    file_bytes=file_bytes,
                    sha256=sha256_of(path),
                    last_used_s=time.time(),
                )
                # Without its entry a state is never used: from here on there is the old, then none, then the new.
                self._entry_file(name).unlink(missing_ok=True)
                path.replace(self.state_file(entry))
                self._write(entry)
            finally:
                self.discard(draft)
        self._entries[entry.name] = entry
        return entry

    def used(self, entry: Entry) -> None:
        """Note that it was of use, now and then on disk."""
        known = self._entries.get(entry.name)
        if known is None:
            return
        now_s = time.time()
        newer = msgspec.structs.replace(known, hits=known.hits + 1)
        if now_s - known.last_used_s > _TOUCH_AFTER_S or known.hits == 0:
            newer = msgspec.structs.replace(newer, last_used_s=now_s)
            with contextlib.suppress(OSError), self._locked() as owned:
                if owned and self.state_file(entry).exists():
                    self._write(newer)
        self._entries[entry.name] = newer

    def make_room(self) -> bool:
        """Remove the least recently used entry, of any model; False when there is none to remove."""
        with contextlib.suppress(OSError), self._locked() as owned:
            return owned and self._evict_oldest()
        return False

    # --- on disk ---

    def _read(self, path: Path) -> Entry | None:
        try:
            entry = decode_entry(path.read_bytes())
            whole = (self.folder / f"{entry.name}.kv").stat().st_size == entry.file_bytes
        except (OSError, msgspec.DecodeError):
            whole, entry = False, None
        if entry is not None and whole and entry.model == self._model and entry.name == path.stem and entry.tokens > 0:
            return entry
        with self._locked() as owned:
            if owned:
                prefix_files.remove(path)
        return None

    def _entry_file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _write(self, entry: Entry) -> None:
        durable_file.write(self._entry_file(entry.name), encode_entry(entry), private=True)

    def _evict(self, room_bytes: int) -> None:
        """Remove the least recently used entries until the others take no more than `room_bytes`."""
        while sum(size for _, size, _ in prefix_files.states(self._root)) > room_bytes and self._evict_oldest():
            pass

    def _evict_oldest(self) -> bool:
        for _, _, path in sorted(prefix_files.states(self._root)):
            if prefix_files.remove(path.with_suffix(".json")):
                if path.parent == self.folder:
                    self._entries.pop(path.stem, None)
                else:
                    with contextlib.suppress(OSError):  # the last of a model that is run otherwise now
                        path.parent.rmdir()
                return True
        return False

    @contextlib.contextmanager
    def _locked(self, *, wait_s: float = 0.0) -> Generator[bool]:
        """Whether the folder may be changed: nobody else is changing it, and it can be written."""
        lock = filelock.FileLock(self._root / ".lock", timeout=wait_s, mode=0o600, thread_local=False)
        try:
            lock.acquire()
        except (filelock.Timeout, OSError, NotImplementedError):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()
