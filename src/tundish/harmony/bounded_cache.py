"""A cache that cannot grow beyond its bytes."""

from __future__ import annotations

import collections
import threading
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class BoundedCache(Generic[_Key, _Value]):
    """Remembers what was used last, up to `limit_bytes`. Safe to share between threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._entries: collections.OrderedDict[_Key, tuple[_Value, int]] = collections.OrderedDict()
        self.size_bytes = 0

    def get(self, key: _Key) -> _Value | None:
        """What was put under `key`, if it is still there."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: _Key, value: _Value, size_bytes: int) -> None:
        """Remember `value`; what was used least recently makes room. A value that needs it all is not remembered."""
        with self._lock:
            if size_bytes > self._limit_bytes or key in self._entries:
                return
            self._entries[key] = (value, size_bytes)
            self.size_bytes += size_bytes
            while self.size_bytes > self._limit_bytes:
                _, (_, freed) = self._entries.popitem(last=False)
                self.size_bytes -= freed
