"""openai_harmony 0.0.8 is the reference: the same ids wherever it is right, and here is where it is not.

It would download its vocabulary; it gets ours, written in its format, which proves ours intact on the way.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Sequence
from typing import Any

import openai_harmony as reference
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.core.events import ChoiceFinished, ReasoningDelta, TextDelta, TextPhase, ToolCallDelta, ToolCallStarted
from tundish.core.request import (
    AssistantMessage,
    DeveloperMessage,
    FunctionTool,
    Message,
    ReasoningEffort,
    Request,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from tundish.harmony.render import render
from tundish.harmony.tokens import STOP_TOKENS
from tundish.harmony.vocabulary import O200K_HARMONY

from .conftest import Ids, merged, new_parser

PUBLISHED_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
TODAY = datetime.date(2025, 6, 28)


@pytest.fixture(scope="module")
def published_file() -> bytes:
    """`o200k_base.tiktoken`, made from the packaged vocabulary."""
    token_bytes = O200K_HARMONY().token_bytes
    lines = (base64.b64encode(token_bytes(rank)) + b" %d\n" % rank for rank in range(199_998))
    return b"".join(lines)


@pytest.fixture(scope="module")
def encoding(published_file: bytes, tmp_path_factory: pytest.TempPathFactory) -> reference.HarmonyEncoding:
    folder = tmp_path_factory.mktemp("encodings")
    (folder / "o200k_base.tiktoken").write_bytes(published_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_ENCODINGS_BASE", str(folder))
        return reference.load_harmony_encoding("HarmonyGptOss")


def test_the_packaged_vocabulary_is_the_published_one(published_file: bytes) -> None:
    assert hashlib.sha256(published_file).hexdigest() == PUBLISHED_SHA256


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=200))
def test_text_encodes_the_same(encoding: reference.HarmonyEncoding, text: str) -> None:
    assert O200K_HARMONY().encode(text) == encoding.encode(text, disallowed_special=())


# --- rendering ---


def rendered_by_reference(encoding: reference.HarmonyEncoding, request: Request) -> list[int]:
    asked = request.reasoning_effort or ReasoningEffort.MEDIUM
    effort = reference.ReasoningEffort(asked.value.capitalize())
    system = reference.SystemContent.new().with_conversation_start_date("2025-06-28").with_reasoning_effort(effort)
    messages = [reference.Message.from_role_and_content(reference.Role.SYSTEM, system)]
    instructions = "\n\n".join(message.text for message in request.messages if isinstance(message, DeveloperMessage))
    if instructions or request.tools:
        developer = reference.DeveloperContent.new()
        if instructions:
            developer = developer.with_instructions(instructions)
        if request.tools:
            developer = developer.with_function_tools([described(tool) for tool in request.tools])
        messages.append(reference.Message.from_role_and_content(reference.Role.DEVELOPER, developer))
    names: dict[str, str] = {}
    for message in request.messages:
        messages += as_reference(message, names)
    conversation = reference.Conversation.from_messages(messages)
    return encoding.render_conversation_for_completion(conversation, reference.Role.ASSISTANT)


def described(tool: FunctionTool) -> reference.ToolDescription:
    parameters: Any = tool.parameters
    return reference.ToolDescription.new(tool.name, tool.description or "", parameters=parameters)


def as_reference(message: Message, names: dict[str, str]) -> list[reference.Message]:
    def assistant(text: str, channel: str) -> reference.Message:
        return reference.Message.from_role_and_content(reference.Role.ASSISTANT, text).with_channel(channel)

    if isinstance(message, UserMessage):
        return [reference.Message.from_role_and_content(reference.Role.USER, message.text)]
    if isinstance(message, ToolMessage):
        author = reference.Author.new(reference.Role.TOOL, f"functions.{names[message.call_id]}")
        result = reference.Message.from_author_and_content(author, message.text)
        return [result.with_recipient("assistant").with_channel("commentary")]
    if not isinstance(message, AssistantMessage):
        return []
    made = [assistant(message.reasoning, "analysis")] if message.reasoning else []
    if message.text:
        made.append(assistant(message.text, "commentary" if message.tool_calls else "final"))
    for call in message.tool_calls:
        names[call.call_id] = call.name
        made.append(
            assistant(call.arguments, "commentary")
            .with_recipient(f"functions.{call.name}")
            .with_content_type("<|constrain|>json")
        )
    return made


WEATHER = FunctionTool(
    name="get_weather",
    description="The weather now.",
    parameters={
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where", "examples": ["Bonn", "Paris"]},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "days": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "exact": {"type": "boolean", "title": "Exact", "description": "To the decimal"},
            "level": {"type": ["number", "null"], "default": 3},
        },
        "required": ["city"],
    },
)
TOOLS = st.sampled_from([(), (WEATHER,), (FunctionTool(name="noop"), WEATHER), (FunctionTool(name="get-it"),)])

words = st.text(min_size=1, max_size=30)
calls = st.integers(0, 10**6).map(lambda number: ToolCall(call_id=str(number), name="get_weather", arguments="{}"))


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """A turn in progress, or a finished one and a new question: beyond that the reference errs (see below)."""
    messages: list[Message] = [DeveloperMessage(text=text) for text in draw(st.lists(words, max_size=2))]
    finished = draw(st.booleans())
    for turn in range(2 if finished else 1):
        messages.append(UserMessage(text=draw(words)))
        loop = st.lists(calls, max_size=3, unique_by=lambda call: call.call_id)
        for call in draw(loop) if turn == 0 else ():
            reasoning, preamble = draw(st.none() | words), draw(st.none() | words)
            messages.append(AssistantMessage(reasoning=reasoning, text=preamble, tool_calls=(call,)))
            messages.append(ToolMessage(call_id=call.call_id, text=draw(words)))
        if finished and turn == 0:
            messages.append(AssistantMessage(reasoning=draw(st.none() | words), text=draw(words)))
    return messages


@settings(max_examples=200, deadline=None)
@given(messages=conversations(), tools=TOOLS, effort=st.sampled_from(ReasoningEffort))
def test_conversations_render_the_same(
    encoding: reference.HarmonyEncoding,
    messages: list[Message],
    tools: tuple[FunctionTool, ...],
    effort: ReasoningEffort,
) -> None:
    request = Request(model="m", messages=tuple(messages), tools=tools, reasoning_effort=effort)
    assert render(request, today=TODAY) == rendered_by_reference(encoding, request)


def test_differs_where_two_turns_are_finished(encoding: reference.HarmonyEncoding, ids: Ids) -> None:
    """It drops what was thought before the *first* final answer only; the format's guide says: in all past turns."""
    request = Request(
        model="m",
        messages=(
            UserMessage(text="1?"),
            AssistantMessage(reasoning="think 1", text="1."),
            UserMessage(text="2?"),
            AssistantMessage(reasoning="think 2", text="2."),
            UserMessage(text="3?"),
        ),
    )
    kept = "<|start|>assistant<|channel|>analysis<|message|>think 2<|end|>"
    theirs = encoding.decode(rendered_by_reference(encoding, request))
    assert kept in theirs
    assert O200K_HARMONY().decode(render(request, today=TODAY)) == theirs.replace(kept, "")


def test_differs_in_a_tool_loop_after_a_finished_turn(encoding: reference.HarmonyEncoding) -> None:
    """It drops nothing at all while a call is the last thing said; we keep what was thought since the final answer."""
    call = AssistantMessage(
        reasoning="think 2", tool_calls=(ToolCall(call_id="1", name="get_weather", arguments="{}"),)
    )
    request = Request(
        model="m",
        messages=(
            UserMessage(text="1?"),
            AssistantMessage(reasoning="think 1", text="1."),
            UserMessage(text="2?"),
            call,
            ToolMessage(call_id="1", text="x"),
        ),
    )
    kept = "<|start|>assistant<|channel|>analysis<|message|>think 1<|end|>"
    theirs = encoding.decode(rendered_by_reference(encoding, request))
    assert kept in theirs
    assert O200K_HARMONY().decode(render(request, today=TODAY)) == theirs.replace(kept, "")


@pytest.mark.parametrize(
    ("schema", "theirs", "ours"),
    [
        ({"const": "a"}, "any", '"a"'),
        ({"enum": [1, 2]}, "any", "1 | 2"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "any", "string | null"),
        ({"$ref": "#/$defs/Unit"}, "any", '"c" | "f"'),
        ({"type": "array"}, "Array<any>", "any[]"),
    ],
)
def test_differs_where_it_degrades_a_type(
    encoding: reference.HarmonyEncoding, schema: dict[str, Any], theirs: str, ours: str
) -> None:
    tool = FunctionTool(
        name="f",
        parameters={
            "type": "object",
            "properties": {"x": schema},
            "required": ["x"],
            "$defs": {"Unit": {"type": "string", "enum": ["c", "f"]}},
        },
    )
    request = Request(model="m", messages=(), tools=(tool,))
    assert f"\nx: {theirs},\n" in encoding.decode(rendered_by_reference(encoding, request))
    assert f"\nx: {ours},\n" in O200K_HARMONY().decode(render(request, today=TODAY))


def test_differs_in_what_stops_a_turn(encoding: reference.HarmonyEncoding) -> None:
    """`<|end|>` ends the analysis; stopping there cuts the answer off."""
    assert set(encoding.stop_tokens()) - STOP_TOKENS == {200_007}
    assert set(encoding.stop_tokens_for_assistant_actions()) == STOP_TOKENS - {199_999}


# --- parsing ---


def parsed_by_reference(encoding: reference.HarmonyEncoding, tokens: Sequence[int]) -> list[tuple[str, str]]:
    messages = encoding.parse_messages_from_completion_tokens(tokens, reference.Role.ASSISTANT)
    found: list[tuple[str, str]] = []
    for message in messages:
        content = message.content[0]
        assert isinstance(content, reference.TextContent)
        if message.recipient not in (None, "assistant"):
            found.append((f"call {message.recipient}", content.text))
        else:
            found.append((message.channel or "", content.text))
    return [(kind, text) for kind, text in found if text]


def parsed(tokens: Sequence[int], *, well_formed: bool = True) -> list[tuple[str, str]]:
    parser = new_parser(tools=["get_weather"])
    events = merged([*parser.feed(tokens), *parser.finish(cut=False)])
    found: list[tuple[str, str]] = []
    for event in events:
        match event:
            case ReasoningDelta():
                found.append(("analysis", event.text))
            case TextDelta():
                found.append(("final" if event.phase is TextPhase.ANSWER else "commentary", event.text))
            case ToolCallStarted():
                found.append((f"call functions.{event.name}", ""))
            case ToolCallDelta():
                found[-1] = (found[-1][0], event.arguments)
            case ChoiceFinished():
                assert bool(event.recovered) is not well_formed
            case _:
                pass
    return [(kind, text.removeprefix("\n\n")) for kind, text in found if text]


ENDINGS = {
    "answer": "<|channel|>final<|message|>{}<|return|>",
    "call": "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{}<|call|>",
    "call by role": " to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>{}<|call|>",
    "call without a type": " to=functions.get_weather<|channel|>commentary<|message|>{}<|call|>",
}


# `parsed` takes an empty line before a text for the separator between two messages.
said = words.filter(lambda text: not text.startswith("\n\n"))


@settings(max_examples=200, deadline=None)
@given(
    analysis=st.none() | said,
    preamble=st.none() | said,
    ending=st.sampled_from(sorted(ENDINGS)),
    content=said.filter(lambda text: not text.isspace()),
)
def test_well_formed_turns_parse_the_same(
    encoding: reference.HarmonyEncoding,
    ids: Ids,
    analysis: str | None,
    preamble: str | None,
    ending: str,
    content: str,
) -> None:
    messages: list[list[int]] = []
    for channel, text in (("analysis", analysis), ("commentary", preamble)):
        if text is not None:
            opening = ids(f"<|channel|>{channel}<|message|>")
            messages.append([*opening, *O200K_HARMONY().encode(text), *ids("<|end|>")])
    before, _, after = ENDINGS[ending].partition("{}")
    messages.append([*ids(before), *O200K_HARMONY().encode(content), *ids(after)])
    tokens = [
        token
        for index, message in enumerate(messages)
        for token in (*(ids("<|start|>assistant") if index else ()), *message)
    ]
    assert parsed(tokens) == parsed_by_reference(encoding, tokens)


@pytest.mark.parametrize(
    ("turn", "theirs", "ours"),
    [
        (
            "<|channel|>final <|constrain|>json<|message|>{}<|return|>",
            ("call <|constrain|>json", "{}"),
            ("final", "{}"),
        ),
        (
            " to=to=functions.get_weather<|channel|>commentary<|message|>{}<|call|>",
            ("call to=functions.get_weather", "{}"),
            ("call functions.get_weather", "{}"),
        ),
        (
            "<|channel|>commentary to=functions.get_weather<|channel|>commentary<|message|>{}<|call|>",
            ("call functions.get_weather<|channel|>commentary", "{}"),
            ("call functions.get_weather", "{}"),
        ),
        ("<|channel|>analysis<|channel|>final<|message|>4<|return|>", ("call <|channel|>final", "4"), ("final", "4")),
        ("<|channel|>final<|message|>a<|message|>b<|return|>", ("final", "a<|message|>b"), ("final", "ab")),
    ],
)
def test_differs_where_it_misreads(
    encoding: reference.HarmonyEncoding, ids: Ids, turn: str, theirs: tuple[str, str], ours: tuple[str, str]
) -> None:
    assert parsed_by_reference(encoding, ids(turn)) == [theirs]
    assert parsed(ids(turn), well_formed="final <|constrain|>" in turn) == [ours]


@pytest.mark.parametrize(
    "malformed",
    [
        "<|channel|>analysis<|message|>Hm.<|end|>junk<|start|>assistant<|channel|>final<|message|>4<|return|>",
        "<|channel|>analysis<|message|>Hm.<|end|>assistant<|channel|>final<|message|>4<|return|>",
        "<|channel|>commentary to=functions.get_weather <|constrain|>json{}<|call|>",
        "4<|return|>",
    ],
)
def test_survives_what_it_raises_at(encoding: reference.HarmonyEncoding, ids: Ids, malformed: str) -> None:
    with pytest.raises(reference.HarmonyError):
        encoding.parse_messages_from_completion_tokens(ids(malformed), reference.Role.ASSISTANT)
    assert parsed(ids(malformed), well_formed=False)[-1][1] in ("4", "{}")
