"""How many tokens a second harmony renders and parses on one core, beside openai-harmony on the same conversations.

    python -m benchmarks harmony
    python -m benchmarks harmony --repetitions 51

The texts are this repository's own documents and code. "Cold" has never seen the instructions and the tools, "warm" has
(what people say is never remembered, so it is encoded each time). Time is the processor's, so a busy machine disturbs
little; ours and the reference's runs take turns. Needs the `test` extra.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import openai_harmony as reference

from tundish.core.request import (
    AssistantMessage,
    DeveloperMessage,
    FunctionTool,
    JsonObjectFormat,
    Message,
    Request,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from tundish.harmony.grammar import turn_grammar
from tundish.harmony.parse import HarmonyParser
from tundish.harmony.render import render
from tundish.harmony.tokens import CHANNEL, END, MESSAGE, RETURN, START
from tundish.harmony.vocabulary import O200K_HARMONY

ROOT = Path(__file__).parents[1]
TODAY = datetime.date(2025, 6, 28)
NAMES = (f"call_{number}" for number in itertools.count())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversation:
    """What is rendered: fresh instructions and tools make it cold."""

    name: str
    tools: int
    messages: tuple[Message, ...]

    def request(self, salt: int) -> Request:
        """The conversation; another `salt` shares no instructions and no tools with it."""
        tools = tuple(
            FunctionTool(
                name=f"search_{salt}_{index}",
                description="Finds documents.\nReturns the best first.",
                parameters={
                    "type": "object",
                    "properties": {
                        "query": {"type": "string", "description": "What to look for"},
                        "limit": {"type": "integer", "default": 10},
                        "kind": {"type": "string", "enum": ["page", "code", "issue"]},
                    },
                    "required": ["query"],
                },
            )
            for index in range(self.tools)
        )
        instructions = DeveloperMessage(text=f"[{salt}] Answer briefly and name your sources.\n" + prose()[0])
        return Request(model="gpt-oss-20b", messages=(instructions, *self.messages), tools=tools)


def prose() -> list[str]:
    """The documents' paragraphs."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))]
    return [part for text in texts for part in text.split("\n\n") if len(part) > 200]


def code() -> list[str]:
    """The package's own modules, in pieces of 2 000 characters."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "src/tundish/harmony").glob("*.py"))]
    return [text[at : at + 2_000] for text in texts for at in range(0, len(text), 2_000)]


def conversations() -> list[Conversation]:
    """A chat, a chat about code, and an agent's loop with tools."""
    paragraphs, pieces = prose(), code()

    def chat(name: str, texts: Sequence[str]) -> Conversation:
        pairs = zip(texts[0::2], texts[1::2], strict=False)
        turns = [(UserMessage(text=asked), AssistantMessage(text=said)) for asked, said in pairs]
        return Conversation(name=name, tools=0, messages=(*itertools.chain(*turns), UserMessage(text="Go on.")))

    loop: list[Message] = [UserMessage(text="Find out how it works.")]
    for index, text in enumerate(pieces[:12]):
        call = ToolCall(call_id=str(index), name="search_0", arguments=json.dumps({"query": text[:80]}))
        loop.append(AssistantMessage(reasoning=paragraphs[index % len(paragraphs)], tool_calls=(call,)))
        loop.append(ToolMessage(call_id=str(index), text=json.dumps({"found": text.split("\n")})))
    return [
        chat("chat", paragraphs[:16]),
        chat("chat about code", pieces[:16]),
        Conversation(name="agent with 20 tools", tools=20, messages=tuple(loop)),
    ]


def turns() -> dict[str, list[int]]:
    """What a model says: reasoning and an answer, in several kinds of text."""
    encode = O200K_HARMONY().encode
    kinds = {
        "prose": prose()[1] * 4,
        "code": code()[3] * 2,
        "JSON": json.dumps({"found": code()[5].split("\n")}, separators=(",", ":")),
        "emoji and CJK": "東京の天気は晴れです 👩‍👩‍👧 – naïve café, " * 60,
    }
    thought = encode(prose()[2])
    return {
        name: [
            *(CHANNEL, *encode("analysis"), MESSAGE, *thought, END, START, *encode("assistant")),
            *(CHANNEL, *encode("final"), MESSAGE, *encode(text), RETURN),
        ]
        for name, text in kinds.items()
    }


# --- what is measured ---


def parse_ours(tokens: Sequence[int], *, run: int, grammar: str | None = None) -> None:
    """Feed `run` tokens at a time, as an engine delivers them."""
    parser = HarmonyParser(new_call_id=lambda: next(NAMES), grammar=grammar, json_answer=grammar is not None)
    for at in range(0, len(tokens), run):
        parser.feed(tokens[at : at + run])
    parser.finish(cut=False)


def parse_reference(encoding: reference.HarmonyEncoding, tokens: Sequence[int]) -> None:
    """Token by token, taking each delta, as a server that streams does."""
    parser = reference.StreamableParser(encoding, reference.Role.ASSISTANT)
    for token in tokens:
        parser.process(token)
        _ = parser.current_channel, parser.last_content_delta


def as_reference(request: Request) -> reference.Conversation:
    """The same conversation in the reference's types (building them is not timed)."""
    role, message = reference.Role, reference.Message
    system = reference.SystemContent.new().with_conversation_start_date(TODAY.isoformat())
    tools = [
        reference.ToolDescription.new(t.name, t.description or "", dict(t.parameters or {})) for t in request.tools
    ]
    developer = reference.DeveloperContent.new()
    out = [message.from_role_and_content(role.SYSTEM, system)]
    for said in request.messages:
        match said:
            case DeveloperMessage():
                developer = developer.with_instructions(said.text)
                developer = developer.with_function_tools(tools) if tools else developer
                out.append(message.from_role_and_content(role.DEVELOPER, developer))
            case UserMessage():
                out.append(message.from_role_and_content(role.USER, said.text))
            case AssistantMessage():
                if said.reasoning:
                    out.append(message.from_role_and_content(role.ASSISTANT, said.reasoning).with_channel("analysis"))
                if said.text:
                    out.append(message.from_role_and_content(role.ASSISTANT, said.text).with_channel("final"))
                out += [
                    message.from_role_and_content(role.ASSISTANT, call.arguments)
                    .with_channel("commentary")
                    .with_recipient(f"functions.{call.name}")
                    .with_content_type("<|constrain|>json")
                    for call in said.tool_calls
                ]
            case ToolMessage():
                author = reference.Author.new(role.TOOL, "functions.search_0")
                result = message.from_author_and_content(author, said.text)
                out.append(result.with_channel("commentary").with_recipient("assistant"))
            case _:
                raise TypeError(said)
    return reference.Conversation.from_messages(out)


def reference_encoding() -> reference.HarmonyEncoding:
    """openai-harmony with our vocabulary in place of a download."""
    token_bytes = O200K_HARMONY().token_bytes
    with tempfile.TemporaryDirectory() as folder:
        lines = (base64.b64encode(token_bytes(rank)) + b" %d\n" % rank for rank in range(199_998))
        (Path(folder) / "o200k_base.tiktoken").write_bytes(b"".join(lines))
        os.environ["TIKTOKEN_ENCODINGS_BASE"] = folder
        return reference.load_harmony_encoding("HarmonyGptOss")


# --- measuring ---


def rates(tokens: int, work: dict[str, Callable[[int], object]], repetitions: int) -> dict[str, list[float]]:
    """Tokens a second of each kind of work; they take turns. Each gets the number of its repetition."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for repetition in range(repetitions):
        for name, do in work.items():
            begun = time.process_time()
            do(repetition)
            found[name].append(tokens / (time.process_time() - begun))
    return found


def report(title: str, found: dict[str, list[float]]) -> None:
    """Median and quartiles, in thousands."""
    for name, values in found.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(f"{title:34} {name:28} {median / 1e3:8.0f}k tok/s   (quartiles {low / 1e3:.0f}k … {high / 1e3:.0f}k)")


def measure_rendering(encoding: reference.HarmonyEncoding, repetitions: int) -> None:
    """Conversations to prompts."""
    config = reference.RenderConversationConfig(auto_drop_analysis=True)
    fresh = itertools.count(1)
    for conversation in conversations():
        cold = [conversation.request(next(fresh)) for _ in range(repetitions)]
        warm = conversation.request(0)
        theirs = as_reference(warm)
        tokens = len(render(warm, today=TODAY))

        def render_reference(_: int, theirs: reference.Conversation = theirs) -> object:
            return encoding.render_conversation_for_completion(theirs, reference.Role.ASSISTANT, config)

        work: dict[str, Callable[[int], object]] = {
            "cold": lambda at, cold=cold: render(cold[at], today=TODAY),
            "warm": lambda _, warm=warm: render(warm, today=TODAY),
            "openai-harmony": render_reference,
        }
        report(f"render: {conversation.name} ({tokens})", rates(tokens, work, repetitions))


def measure_parsing(encoding: reference.HarmonyEncoding, repetitions: int) -> None:
    """Turns to events."""
    grammar = turn_grammar(Request(model="m", messages=(), response_format=JsonObjectFormat()))
    for name, tokens in turns().items():
        work: dict[str, Callable[[int], object]] = {
            "one token at a time": lambda _, tokens=tokens: parse_ours(tokens, run=1),
            "eight at a time": lambda _, tokens=tokens: parse_ours(tokens, run=8),
            "openai-harmony, one at a time": lambda _, tokens=tokens: parse_reference(encoding, tokens),
        }
        if name == "JSON":
            work["one at a time, constrained"] = lambda _, tokens=tokens: parse_ours(tokens, run=1, grammar=grammar)
        report(f"parse: {name} ({len(tokens)})", rates(len(tokens), work, repetitions))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=25)
    repetitions = max(2, parser.parse_args(argv).repetitions)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("tiktoken", "openai-harmony"))
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {versions}")
    begun = time.process_time()
    O200K_HARMONY()
    print(f"vocabulary loaded in {time.process_time() - begun:.2f} s\n")
    encoding = reference_encoding()
    measure_rendering(encoding, repetitions)
    measure_parsing(encoding, repetitions)


if __name__ == "__main__":
    main(sys.argv[1:])
