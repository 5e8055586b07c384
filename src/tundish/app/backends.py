"""All backends of an endpoint by their deployments' names: those elsewhere, and those in its own fleet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar, overload

from tundish.core.backend import Backend

T = TypeVar("T")


class Backends(Mapping[str, Backend]):
    """A view of both. What is elsewhere changes with the configuration, the fleet whenever models come and go."""

    def __init__(self, remote: Mapping[str, Backend], local: Mapping[str, Backend]) -> None:
        self._remote = remote
        self._local = local

    def __getitem__(self, name: str) -> Backend:
        found = self._remote.get(name)
        return self._local[name] if found is None else found

    @overload
    def get(self, key: str, /) -> Backend | None: ...
    @overload
    def get(self, key: str, /, default: Backend | T) -> Backend | T: ...
    def get(self, key: str, /, default: Backend | T | None = None) -> Backend | T | None:
        found = self._remote.get(key)
        return self._local.get(key, default) if found is None else found

    def __contains__(self, name: object) -> bool:
        return name in self._remote or name in self._local

    def __iter__(self) -> Iterator[str]:
        yield from self._remote
        yield from (name for name in self._local if name not in self._remote)

    def __len__(self) -> int:
        return sum(1 for _ in self)
