"""The tokens of an assistant's turn as events, as they come, whatever they are.

A model's output is never an error here: about one turn in twenty-five of gpt-oss-20b is malformed, and its user still
wants the answer. What was repaired is named in `ChoiceFinished.recovered`.
"""

from __future__ import annotations

import codecs
import enum
from collections.abc import Callable, Sequence

from tundish.core.events import (
    ChoiceFinished,
    FinishReason,
    GenerationEvent,
    ReasoningDelta,
    TextPhase,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
)
from tundish.harmony.constraint import ConstraintFollower
from tundish.harmony.header import Channel, Header, HeaderDraft, Origin, match_tool
from tundish.harmony.json_strings import JsonStrings
from tundish.harmony.tokens import CALL, CHANNEL, CONSTRAIN, END, END_OF_TEXT, FIRST_SPECIAL, MESSAGE, RETURN, START
from tundish.harmony.visible_text import VisibleText
from tundish.harmony.vocabulary import O200K_HARMONY

_MESSAGE_ENDS = frozenset({END, RETURN, CALL, END_OF_TEXT})
_TURN_ENDS = frozenset({RETURN, END_OF_TEXT})
_TEXT_TO_LLAMA_CPP = frozenset({CONSTRAIN, CHANNEL, START, MESSAGE})
"""Under a grammar llama.cpp takes these for ordinary text inside a JSON string."""
_LONGEST_HEADER = 64
"""Tokens after which what looks like a header is content whose `<|message|>` is missing."""


class _Kind(enum.Enum):
    HEADER = "header"
    REASONING = "reasoning"
    PREAMBLE = "preamble"
    ANSWER = "answer"
    CALL = "call"
    IGNORED = "ignored"


_PHASES = {_Kind.PREAMBLE: TextPhase.PREAMBLE, _Kind.ANSWER: TextPhase.ANSWER}


class HarmonyParser:
    """Parses one choice. Begins after `<|start|>assistant`, which the prompt ends with."""

    def __init__(
        self,
        *,
        new_call_id: Callable[[], str],
        tools: Sequence[str] = (),
        stop: Sequence[str] = (),
        parallel_calls: bool = True,
        grammar: str | None = None,
        json_answer: bool = False,
        choice: int = 0,
    ) -> None:
        """
        Args:
            new_call_id: makes the ids of tool calls.
            tools: names of the offered functions.
            stop: strings before which the visible text ends.
            parallel_calls: whether a turn may have more than one call.
            grammar: what the turn is generated under; it is checked that the engine obeys, and arguments are JSON.
            json_answer: the answer must be JSON, so a preamble is no part of what the user sees.
            choice: the index that events carry.
        """
        self._new_call_id = new_call_id
        self._tools = tools
        self._parallel_calls = parallel_calls
        self._choice = choice
        self._follower = ConstraintFollower(grammar) if grammar is not None else None
        self._json_kinds = {_Kind.CALL: grammar is not None, _Kind.ANSWER: grammar is not None and json_answer}
        self._json_answer = json_answer
        self._json: JsonStrings | None = None
        self._token_bytes = O200K_HARMONY().token_bytes
        self._visible = VisibleText(stop, choice)
        self._kind = _Kind.HEADER
        self._header = HeaderDraft(Origin.PROMPT)
        self._incomplete = b""
        """Bytes of a character that more tokens will complete."""
        self._reasoned = False
        self._reasoning_separator = ""
        self._answered = False
        self._calls = 0
        self._arguments_seen = False
        self._recovered: dict[str, None] = {}
        self._ended = False
        self.reasoning_tokens = 0

    @property
    def ended(self) -> bool:
        """Nothing that comes can matter any more: generation should be cancelled."""
        return self._ended

    def feed(self, tokens: Sequence[int], logprobs: Sequence[TokenLogprob] = ()) -> list[GenerationEvent]:
        """Events that `tokens` make; `logprobs` is empty or has one entry for each token.

        Raises:
            BackendError: the engine has left the grammar.
        """
        if self._follower is not None:
            self._follower.feed(tokens)
        events: list[GenerationEvent] = []
        at, count = 0, len(tokens)
        while at < count and not self._ended:
            token = tokens[at]
            at += 1
            if self._kind is _Kind.HEADER:
                self._header_token(token, events)
            elif token >= FIRST_SPECIAL:
                self._marker(token, events)
            elif logprobs:
                self._content(self._token_bytes(token), 1, events, logprobs[at - 1 : at])
            elif at == count or tokens[at] >= FIRST_SPECIAL:
                self._content(self._token_bytes(token), 1, events)
            else:  # what came together is told together
                begun = at - 1
                while at < count and tokens[at] < FIRST_SPECIAL:
                    at += 1
                self._content(b"".join(map(self._token_bytes, tokens[begun:at])), at - begun, events)
        if self._follower is not None and self._follower.over:
            self._ended = True
        return events

    def finish(self, *, cut: bool) -> list[GenerationEvent]:
        """The last events. `cut`: the token limit ended the turn, and not the model.

        Raises:
            BackendError: the engine ended the turn before the grammar did.
        """
        if self._follower is not None and not cut and not self._ended:
            self._follower.finish()
        events: list[GenerationEvent] = []
        if not self._ended:
            if self._kind is _Kind.HEADER:
                self._headless(events, cut=cut)
            else:
                self._end_message(events, cut=cut)
        events.append(ChoiceFinished(self._reason(cut=cut), self._choice, tuple(self._recovered)))
        return events

    def _reason(self, *, cut: bool) -> FinishReason:
        if self._visible.stopped:
            return FinishReason.STOP
        if cut and not self._ended:
            return FinishReason.LENGTH
        return FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP

    def _repaired(self, what: str) -> None:
        self._recovered[what] = None

    # --- markers and headers ---

    def _marker(self, token: int, events: list[GenerationEvent]) -> None:
        """A special token inside a message."""
        if token in _MESSAGE_ENDS:
            self._end_message(events)
            self._begin_header(Origin.NONE)
            self._end_turn(token)
        elif self._json is not None and self._json.inside and token in _TEXT_TO_LLAMA_CPP:
            self._content(self._token_bytes(token), 1, events)
        elif token in (START, CHANNEL):
            self._repaired("missing end of message")
            self._end_message(events)
            self._begin_header(Origin.NONE)
            self._header_token(token, events)
        else:
            self._repaired("marker inside a message")

    def _end_turn(self, token: int) -> None:
        if token in _TURN_ENDS or (self._calls and not self._parallel_calls):
            self._ended = True

    def _begin_header(self, origin: Origin) -> None:
        self._kind = _Kind.HEADER
        self._header = HeaderDraft(origin)

    def _header_token(self, token: int, events: list[GenerationEvent]) -> None:
        header = self._header
        header.tokens += 1
        if token == MESSAGE:
            self._open_message(header.read(), events)
        elif token == START:
            self._restart_header(events)
        elif token in _MESSAGE_ENDS:
            self._headless(events)
            self._begin_header(Origin.NONE)
            self._end_turn(token)
        elif token in (CHANNEL, CONSTRAIN):
            if header.origin is Origin.NONE and token == CHANNEL and not header.has_channel:
                self._repaired("missing start of message")
            header.add_marker(token)
        elif token < FIRST_SPECIAL:
            header.add_text(self._token_bytes(token))
        else:
            self._repaired("marker inside a header")
        if self._kind is _Kind.HEADER and self._header.tokens > _LONGEST_HEADER:
            self._headless(events, goes_on=True)

    def _restart_header(self, events: list[GenerationEvent]) -> None:
        """`<|start|>` inside a header: what was there so far was cut, or junk."""
        if self._header.has_channel:
            self._headless(events)
        elif self._header.text.strip():
            self._repaired("junk between messages")
        self._begin_header(Origin.START)

    def _open_message(self, header: Header, events: list[GenerationEvent]) -> None:
        if header.repaired:
            self._repaired(header.repaired)
        if header.foreign_role:
            self._speak_for_another()
        elif header.recipient is not None:
            self._open_addressed(header, header.recipient, events)
        elif header.channel is Channel.ANALYSIS:
            self._open_text(_Kind.REASONING)
        elif header.channel is Channel.FINAL:
            self._open_text(_Kind.ANSWER)
        else:
            # A preamble is for the user's eyes, but not where a program reads JSON.
            self._open_text(_Kind.REASONING if self._json_answer else _Kind.PREAMBLE)

    def _speak_for_another(self) -> None:
        self._repaired("spoke for another role")
        self._kind = _Kind.IGNORED
        self._ended = True

    def _open_addressed(self, header: Header, recipient: str, events: list[GenerationEvent]) -> None:
        """A call to an offered tool, or to one that was made up; a call that nobody can answer is reasoning."""
        name = match_tool(recipient, self._tools)
        if name is None:
            self._repaired("call of an unknown tool")
            if not self._tools or not (header.namespaced or header.channel is Channel.COMMENTARY):
                self._open_text(_Kind.REASONING)
                return
        elif name != recipient:
            self._repaired("misspelt tool name")
        if self._calls and not self._parallel_calls:
            self._kind = _Kind.IGNORED
            self._ended = True
            return
        self._open_text(_Kind.CALL)
        self._arguments_seen = False
        events.append(
            ToolCallStarted(self._calls, self._new_call_id(), name or recipient.replace(".", "_"), self._choice)
        )
        self._calls += 1

    def _open_text(self, kind: _Kind) -> None:
        self._kind = kind
        self._incomplete = b""
        self._json = JsonStrings() if self._json_kinds.get(kind) else None
        if kind is _Kind.REASONING:
            self._reasoning_separator = "\n\n" if self._reasoned else ""
        elif kind is not _Kind.CALL:
            self._visible.begin_message()

    def _headless(self, events: list[GenerationEvent], *, cut: bool = False, goes_on: bool = False) -> None:
        """A header that never got its `<|message|>`: what it says beyond a header is content.

        Between two messages that is junk, unless the turn would otherwise have no answer.
        """
        draft, header = self._header, self._header.read()
        content = draft.content(header, cut=cut)
        junk = draft.origin is Origin.NONE and not draft.has_channel
        if header.foreign_role:
            self._speak_for_another()
        elif content and not (junk and (self._answered or self._calls)):
            self._repaired("missing start of content")
            self._open_message(header, events)
            self._content(content.encode(), 1, events)
            if not goes_on:
                self._end_message(events, cut=cut)
        else:
            if not cut and draft.text.strip():
                self._repaired("junk between messages" if junk else "cut header")
            if goes_on:
                self._kind = _Kind.IGNORED

    # --- content ---

    def _content(
        self, content: bytes, tokens: int, events: list[GenerationEvent], logprobs: Sequence[TokenLogprob] = ()
    ) -> None:
        """`content`: the bytes of `tokens` tokens."""
        if self._incomplete:
            content, self._incomplete = self._incomplete + content, b""
        text, complete = codecs.utf_8_decode(content, "replace", False)
        if complete < len(content):
            self._incomplete = content[complete:]
        kind = self._kind
        if kind is _Kind.REASONING:
            self.reasoning_tokens += tokens
        if text or logprobs:
            self._say(kind, text, events, logprobs)

    def _say(
        self, kind: _Kind, text: str, events: list[GenerationEvent], logprobs: Sequence[TokenLogprob] = ()
    ) -> None:
        if self._json is not None:
            self._json.feed(text)
        if kind is _Kind.ANSWER or kind is _Kind.PREAMBLE:
            delta = self._visible.feed(text, _PHASES[kind], logprobs)
            if delta is not None:
                events.append(delta)
            self._answered = self._answered or kind is _Kind.ANSWER
            self._ended = self._visible.stopped
        elif not text or kind is _Kind.IGNORED:
            return
        elif kind is _Kind.REASONING:
            if self._reasoning_separator:
                text, self._reasoning_separator = self._reasoning_separator + text, ""
            self._reasoned = True
            events.append(ReasoningDelta(text, self._choice))
        else:
            self._arguments_seen = self._arguments_seen or not text.isspace()
            events.append(ToolCallDelta(self._calls - 1, text, self._choice))

    def _end_message(self, events: list[GenerationEvent], *, cut: bool = False) -> None:
        kind = self._kind
        if self._incomplete and not cut:
            self._repaired("invalid UTF-8")
            self._say(kind, "\N{REPLACEMENT CHARACTER}", events)
        self._incomplete = b""
        phase = _PHASES.get(kind)
        if phase is not None and (delta := self._visible.flush(phase)) is not None:
            events.append(delta)
        if kind is _Kind.CALL and not self._arguments_seen and not cut:
            self._repaired("no arguments")
            events.append(ToolCallDelta(self._calls - 1, "{}", self._choice))
