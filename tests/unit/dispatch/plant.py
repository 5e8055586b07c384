"""A small site for the dispatcher's tests: deployments that fail as they are told, and remember what was asked."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from tundish.catalog.price import Price
from tundish.core.backend import BackendStatus, Capabilities, Health
from tundish.core.errors import TundishError
from tundish.core.events import ChoiceFinished, Finished, FinishReason, GenerationEvent, TextDelta, Usage
from tundish.core.place import Place, Reach
from tundish.core.rate_limits import RateLimits
from tundish.core.relay import RawRequest, RelayedWhole
from tundish.core.request import AssistantMessage, CompletionRequest, Request, UserMessage
from tundish.dispatch.dispatcher import Dispatcher
from tundish.dispatch.observer import RequestRecord
from tundish.dispatch.rules import Rules
from tundish.dispatch.said import Said
from tundish.dispatch.settlement import Settlement
from tundish.dispatch.site import Site
from tundish.dispatch.work import Events, Work
from tundish.ledger.receipt import Receipt
from tundish.policy.policy import Rule, policy
from tundish.routing.decide import decide
from tundish.routing.decision import Ask, Decision
from tundish.routing.table import Deployment, Member, Mode, Route, RoutingTable, Snapshot

PLACES = {
    "device": Place(name="device", reach=Reach.DEVICE, owner="acme"),
    "rack": Place(name="rack", reach=Reach.SITE, owner="acme"),
    "cloud": Place(name="cloud", reach=Reach.GLOBAL, owner="else"),
}
CLASSES = ("public", "internal", "restricted")
POLICY = policy(
    classes=CLASSES,
    rules=(
        Rule(data_class="public", places=("*",)),
        Rule(data_class="internal", places=("owner:acme",)),
        Rule(data_class="restricted", places=("device",)),
    ),
    default_class="public",
)
USAGE = Usage(prompt_tokens=100, completion_tokens=2)
ANSWER: tuple[Step, ...] = ("Hello", " there")


@dataclasses.dataclass(frozen=True)
class Hang:
    """Never goes on by itself."""


Step: TypeAlias = str | TundishError | Hang


class JumpingClock:
    """Whoever sleeps is woken at once, that much later."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(1_790_000_000 + self.at_s, tz=datetime.UTC)

    def monotonic_s(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds
        await asyncio.sleep(0)


class Played:
    """A backend that plays a script for each request, the last one again and again; text, an error or a hang a step."""

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self.scripts = scripts or (ANSWER,)
        self.asked: list[Request | CompletionRequest | RawRequest] = []
        self.active = 0
        self.health = Health.READY

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(context_length=None)

    def status(self) -> BackendStatus:
        return BackendStatus(health=self.health)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        return self._events(request)

    def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        return self._events(request)

    async def _events(self, request: Request | CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        self.active += 1
        try:
            async for text in self.play(request):
                yield TextDelta(text)
            yield ChoiceFinished(FinishReason.STOP)
            yield Finished(USAGE)
        finally:
            self.active -= 1

    async def play(self, request: Request | CompletionRequest | RawRequest) -> AsyncGenerator[str, None]:
        self.asked.append(request)
        for step in self.scripts[min(len(self.asked), len(self.scripts)) - 1]:
            await asyncio.sleep(0)
            if isinstance(step, TundishError):
                raise step
            if isinstance(step, Hang):
                await asyncio.Event().wait()
            else:
                yield str(step)


class PlayedRelay(Played):
    """The same, over bytes."""

    def rate_limits(self) -> RateLimits | None:
        return None

    def can_relay(self, raw: RawRequest) -> bool:
        return raw.surface == "chat_completions"

    @asynccontextmanager
    async def relay(self, raw: RawRequest) -> AsyncGenerator[PlayedBytes, None]:
        self.active += 1
        texts = self.play(raw)
        try:
            yield PlayedBytes(texts, raw)
        finally:
            await texts.aclose()
            self.active -= 1

    async def relay_whole(self, raw: RawRequest) -> RelayedWhole:
        self.active += 1
        texts = self.play(raw)
        try:
            body = b"".join([chunk(text) async for text in texts])
            return RelayedWhole(body, "application/json", USAGE)
        finally:
            await texts.aclose()
            self.active -= 1


class PlayedBytes:
    """One answer of a `PlayedRelay`."""

    content_type = "text/event-stream"

    def __init__(self, texts: AsyncGenerator[str, None], raw: RawRequest) -> None:
        self._texts = texts
        self._raw = raw
        self._over = False
        self.usage: Usage | None = None

    async def next_chunk(self) -> bytes:
        if self._over:
            return b""
        text = await anext(self._texts, None)
        if text is not None:
            return chunk(text)
        self._over, self.usage = True, USAGE
        return b"data: [DONE]\n\n"


def chunk(text: str) -> bytes:
    """A chunk of a relayed stream."""
    head = {"id": "chatcmpl-theirs", "object": "chat.completion.chunk", "created": 7, "model": "theirs"}
    return b"data: " + json.dumps({**head, "choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


class Asked(Work):
    """A request for a route."""

    def __init__(self, route: str = "r", *, raw: bool = False, **fields: object) -> None:
        surface = "chat_completions"
        sent = RawRequest(surface=surface, fields={}, stream=True, include_usage=False) if raw else None
        super().__init__(route=route, surface=surface, request_id="req_1", body=b"{}", raw=sent, **fields)  # type: ignore[arg-type]
        self.request = Request(model=route, messages=(UserMessage(text="Hi"),))

    def events(self, backend: Played) -> Events:  # type: ignore[override]
        return backend.generate(self.request)

    def read(self, said: Said) -> Said | None:
        if said.chunks:
            texts = [json.loads(part[6:])["choices"][0]["delta"]["content"] for part in said.chunks]
            return Said(text="".join(texts), tokens=len(texts))
        return said

    def continued(self, backend: Played, said: Said) -> Events:  # type: ignore[override]
        messages = (*self.request.messages, AssistantMessage(text=said.text))
        return backend.generate(dataclasses.replace(self.request, messages=messages))


class Seen:
    """An observer and a receipt log that keep everything."""

    def __init__(self) -> None:
        self.running = 0
        self.records: list[RequestRecord] = []
        self.receipts: list[Receipt] = []
        self.accepting: str | None = None

    def request_started(self, model: str) -> None:
        self.running += 1

    def request_ended(self, record: RequestRecord) -> None:
        self.running -= 1
        self.records.append(record)

    def record(self, receipt: Receipt, salt: bytes) -> None:
        assert len(salt) == 16
        self.receipts.append(receipt)


@dataclasses.dataclass(kw_only=True)
class Plant:
    dispatcher: Dispatcher
    seen: Seen
    clock: JumpingClock
    backends: dict[str, Played]
    decisions: list[tuple[Snapshot, Ask, Decision]]

    @property
    def receipt(self) -> Receipt:
        (receipt,) = self.seen.receipts
        return receipt


def deployment(name: str, place: str = "cloud", price: Price | None = None) -> Deployment:
    return Deployment(
        name=name,
        model="gpt-oss-120b",
        place=PLACES[place],
        capabilities=Capabilities(context_length=None),
        quality=0.5,
        price=price,
    )


def table(
    places: Mapping[str, str], route: Route | None = None, prices: Mapping[str, Price] | None = None
) -> RoutingTable:
    known = prices or {}
    members = tuple(Member(deployment=name) for name in places)
    return RoutingTable(
        version="v1",
        policy=POLICY,
        routes={"r": route or Route(name="r", mode=Mode.ORDER, members=members)},
        deployments={name: deployment(name, place, known.get(name)) for name, place in places.items()},
    )


def route(*names: str, **fields: object) -> Route:
    members = tuple(Member(deployment=name) for name in names)
    return Route(**{"name": "r", "mode": Mode.ORDER, "members": members, **fields})  # type: ignore[arg-type]


def plant(
    backends: dict[str, Played],
    places: Mapping[str, str] | None = None,
    *,
    by: Route | None = None,
    rules: Rules | None = None,
    prices: Mapping[str, Price] | None = None,
) -> Plant:
    """A dispatcher over these; each deployment is in the cloud unless `places` says otherwise."""
    seen, clock = Seen(), JumpingClock()
    site = Site(
        table=table({name: (places or {}).get(name, "cloud") for name in backends}, by, prices),
        backends=backends,
        rules=rules or Rules(),
    )
    decisions: list[tuple[Snapshot, Ask, Decision]] = []

    def decide_and_tell(snapshot: Snapshot, ask: Ask) -> Decision:
        decision = decide(snapshot, ask)
        decisions.append((snapshot, ask, decision))
        return decision

    dispatcher = Dispatcher(
        site=site,
        settlement=Settlement(observer=seen, receipts=seen),
        clock=clock,
        decide=decide_and_tell,
    )
    return Plant(dispatcher=dispatcher, seen=seen, clock=clock, backends=backends, decisions=decisions)


async def answer(plant: Plant, work: Work) -> str:
    """The text of a streamed answer, failed over and continued as need be."""
    run = plant.dispatcher.begin(work)
    failure: BaseException | None = None
    texts: list[str] = []
    try:
        got = await run.open()
        while True:
            try:
                while piece := await got.next():
                    if isinstance(piece, bytes):
                        run.journal.wrote(piece)
                        if piece.startswith(b"data: {"):
                            texts.append(json.loads(piece[6:])["choices"][0]["delta"]["content"])
                    elif isinstance(piece, TextDelta):
                        texts.append(piece.text)
            except TundishError as error:
                got = await run.resume(error)
            else:
                break
        run.complete()
    except BaseException as error:
        failure = error
        raise
    finally:
        await run.close(failure)
    return "".join(texts)
