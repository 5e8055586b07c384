"""The doctor on other model servers of this machine. They are only named: nothing is added without being asked for."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

import msgspec

from tundish.cli.doctor.finding import Finding, ok
from tundish.http.client import HttpClient, Origin, Timeouts
from tundish.http.errors import HttpError

_TIME_LIMIT_S = 1.5
_SHOWN = 5
_LARGEST_ANSWER = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbour:
    """A kind of server and the port that it usually has."""

    name: str
    port: int


USUAL = (
    Neighbour("Ollama", 11434),
    Neighbour("LM Studio", 1234),
    Neighbour("llama-server", 8080),
    Neighbour("vLLM", 8000),
    Neighbour("Foundry Local", 5273),
)


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] | None = None
    """Ollama says null when it has none."""


async def examine(neighbours: Sequence[Neighbour] = USUAL, *, own_port: int = 0) -> Sequence[Finding]:
    """Who answers on the usual ports, on loopback alone; silence is no finding."""
    others = [neighbour for neighbour in neighbours if neighbour.port != own_port]
    found = await asyncio.gather(*(_ask(neighbour) for neighbour in others))
    answers = [finding for finding in found if finding is not None]
    return answers or [ok("neighbours", "no other model server answers on its usual port")]


async def _ask(neighbour: Neighbour) -> Finding | None:
    where = f"http://127.0.0.1:{neighbour.port}"
    limits = Timeouts(connect_s=_TIME_LIMIT_S, first_byte_s=_TIME_LIMIT_S, between_bytes_s=_TIME_LIMIT_S)
    client = HttpClient(Origin.of(where), timeouts=limits)
    try:
        async with asyncio.timeout(2 * _TIME_LIMIT_S), client.stream("GET", "/v1/models") as response:
            body = await response.read(_LARGEST_ANSWER)
            models = msgspec.json.decode(body, type=_Models).data if response.status == 200 else None
    except (HttpError, TimeoutError, msgspec.DecodeError):
        return None
    finally:
        client.close()
    if response.status in (401, 403):
        return ok("neighbours", f"a server at {where} (usually {neighbour.name}) wants a key")
    if response.status != 200:
        return None
    names = [model.id for model in models or ()]
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return ok("neighbours", f"{where}/v1 (usually {neighbour.name}) has {shown or 'no models yet'}")
