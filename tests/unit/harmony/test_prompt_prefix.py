"""What of a prompt is the same for every conversation of an application."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from tundish.core.request import AssistantMessage, DeveloperMessage, FunctionTool, Request, SystemMessage, UserMessage
from tundish.harmony.render import render, render_prompt
from tundish.harmony.tokens import START

TODAY = datetime.date(2026, 11, 24)
TOOL = FunctionTool(name="weather", description="of a city", parameters={"type": "object", "properties": {}})


def prompt(*messages, tools=()):
    return render_prompt(Request(model="m", messages=messages, tools=tools), today=TODAY)


@given(st.text(max_size=40), st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_it_does_not_depend_on_what_is_said(instructions: str, one: str, two: str) -> None:
    said = DeveloperMessage(text=instructions)
    first = prompt(said, UserMessage(text=one), tools=(TOOL,))
    second = prompt(said, UserMessage(text=two), AssistantMessage(text=one), UserMessage(text=one), tools=(TOOL,))
    length = first.prefix_tokens
    assert second.prefix_tokens == length
    assert first.tokens[:length] == second.tokens[:length]
    assert first.tokens[length] == second.tokens[length] == START  # a whole number of messages


def test_it_has_all_instructions_and_tools() -> None:
    question = UserMessage(text="hi")
    plain, instructed = prompt(question), prompt(question, SystemMessage(text="Be brief."))
    assert prompt(question, tools=(TOOL,)).prefix_tokens > plain.prefix_tokens
    assert instructed.prefix_tokens > plain.prefix_tokens  # wherever in the conversation they stand
    assert len(instructed.tokens) - instructed.prefix_tokens == len(plain.tokens) - plain.prefix_tokens


def test_the_prompt_is_what_render_gives() -> None:
    request = Request(model="m", messages=(UserMessage(text="hi"),))
    assert render_prompt(request, today=TODAY).tokens == render(request, today=TODAY)
