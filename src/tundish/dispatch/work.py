"""A request as the dispatcher takes it: what is asked, by whom, and how to put it to a backend."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import AsyncGenerator, Callable

from tundish.access.keys import ANYONE, Principal
from tundish.core.backend import Backend
from tundish.core.errors import TundishError
from tundish.core.events import GenerationEvent
from tundish.core.relay import RawRequest
from tundish.dispatch.said import Said
from tundish.routing.decision import Needs

Events = AsyncGenerator[GenerationEvent, None]

Begin = Callable[[Backend], Events]

NO_NEEDS = Needs()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The conversation of a request, by keys."""

    earlier: tuple[str, ...] = ()
    """What it goes on from: its class is at least theirs."""
    own: tuple[str, ...] = ()
    """What remembers its class for those that go on from it."""
    opening: str | None = None
    """Its key when nothing of the model's precedes it: it becomes a conversation by its answer."""


NO_LINEAGE = Lineage()


class Work(abc.ABC):
    """One request. The surfaces say how it is put to a backend, in one way or in both."""

    __slots__ = (
        "affinity",
        "body",
        "caller",
        "claimed_class",
        "conversations",
        "max_output_tokens",
        "needs",
        "prompt_tokens",
        "raw",
        "request_id",
        "route",
        "surface",
    )

    def __init__(
        self,
        *,
        route: str,
        surface: str,
        request_id: str = "",
        caller: Principal = ANYONE,
        claimed_class: str | None = None,
        conversations: tuple[str, ...] = (),
        affinity: str | None = None,
        needs: Needs = NO_NEEDS,
        prompt_tokens: int = 0,
        max_output_tokens: int | None = None,
        body: bytes = b"",
        raw: RawRequest | None = None,
    ) -> None:
        """
        Args:
            route: what the client named.
            surface: the wire format it speaks.
            request_id: the id of its receipt.
            caller: who asks.
            claimed_class: what the request itself says its data is.
            conversations: what its conversation is called: all of the names remember its class.
            affinity: requests with the same are best answered by the same deployment; None: the first of those names.
            needs: what a deployment must be able to do.
            prompt_tokens: an estimate.
            max_output_tokens: as the client limits them.
            body: what the client sent, for its digest.
            raw: its members, when it may travel as bytes.
        """
        self.route = route
        self.surface = surface
        self.request_id = request_id
        self.caller = caller
        self.claimed_class = claimed_class
        self.conversations = conversations
        self.affinity = affinity if affinity is not None or not conversations else conversations[0]
        self.needs = needs
        self.prompt_tokens = prompt_tokens
        self.max_output_tokens = max_output_tokens
        self.body = body
        self.raw = raw

    async def prepare(self) -> None:  # noqa: B027 - many requests are understood from the beginning
        """Understand the request wholly; called before `events`, perhaps again.

        Raises:
            InvalidRequest: it cannot be understood.
        """

    def lineage(self) -> Lineage:
        """The conversation that it belongs to."""
        return Lineage(earlier=self.conversations, own=self.conversations)

    def ends_answer(self, data: bytes) -> bool:
        """Whether `data`, a piece of the answer, is its last."""
        del data
        return False

    def answered(self, given: bytes) -> tuple[str, ...] | None:
        """The keys of its conversation with this answer behind it; None: nobody can tell."""
        del given
        return None

    @abc.abstractmethod
    def events(self, backend: Backend) -> Events:
        """Ask `backend`; see `Backend.generate`."""

    def refused(self, error: TundishError) -> bytes:
        """The body that the client is given when nobody was asked, for its digest."""
        del error
        return b""

    def read(self, said: Said) -> Said | None:
        """`said` with its text, wherever that has to be read from; None: this answer cannot be continued."""
        del said
        return None

    def continued(self, backend: Backend, said: Said) -> Events:
        """Ask `backend` to go on after what `read` gave; the request has been prepared."""
        del said
        return self.events(backend)


class ReadyWork(Work):
    """A request that is understood already."""

    __slots__ = ("_begin",)

    def __init__(self, route: str, surface: str, begin: Begin) -> None:
        super().__init__(route=route, surface=surface)
        self._begin = begin

    def events(self, backend: Backend) -> Events:
        return self._begin(backend)
