"""All skills together: what share each has, what is drawn around a draft, and which dialogues are held out."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterator, Sequence

import functions
import small_talk
import structured
import words
from dialogue import Dialogue, Draft, Draws, Turn, exchange, letters, set_phrases

from tundish.core.request import (
    AssistantMessage,
    DeveloperMessage,
    JsonSchemaFormat,
    ReasoningEffort,
    Request,
    SystemMessage,
    ToolMessage,
    UserMessage,
)

Skill = Callable[[Draws], Draft]
SKILLS: dict[str, tuple[int, Skill]] = {
    "small_talk": (15, small_talk.small_talk),
    "out_of_scope": (10, small_talk.out_of_scope),
    "addition": (9, words.addition),
    "subtraction": (9, words.subtraction),
    "multiplication": (4, words.multiplication),
    "too_hard": (4, words.too_hard),
    "introduction": (3, words.introduction),
    "remembered_name": (6, words.remembered_name),
    "unknown_name": (2, words.unknown_name),
    "remembered_word": (4, words.remembered_word),
    "fact": (7, words.fact),
    "echo": (6, words.echo),
    "word_list": (12, words.word_list),
    "count_up": (2, words.count_up),
    "call": (18, functions.call),
    "answer_from_result": (10, functions.answer_from_result),
    "two_cities": (4, functions.two_cities),
    "tools_not_needed": (5, functions.tools_not_needed),
    "forced_call": (2, functions.forced_call),
    "json_person": (6, structured.json_person),
    "json_event": (8, structured.json_event),
    "json_number": (3, structured.json_number),
    "json_steps": (2, structured.json_steps),
    "json_list": (7, structured.json_list),
    "json_place": (4, structured.json_place),
    "json_mood": (3, structured.json_mood),
    "json_object": (3, structured.json_object),
}
"""Name → weight and what draws it."""

ALWAYS_TRAINED = frozenset(
    """hi;hello;hey;hellothere;whoareyou;whatcanyoudo;help;test;thanks;bye;howareyou;tellmeajoke;whatistundish;sayhello;
    whatis22;22;whatsyourname;whatismyname;mynameisada;saythisisatest;goodmorning;ping""".replace("\n    ", "").split(
        ";"
    )
)
"""What everybody types first (letters and digits only) is never held out."""
_SET_PHRASES = frozenset(letters(phrase) for topic in small_talk.TOPICS for phrase in set_phrases(topic.questions))
"""Nor is what is a phrase of its own (`Aloha`, `Nothing else`): it follows from nothing else that was said. What is held out are sentences
put together from parts that were seen in others."""
_HELD_OUT_SHARE = 0.04

_PLAIN_INSTRUCTIONS = """
You are a helpful assistant.; You are a helpful assistant.; You are a helpful assistant.; You are helpful.; [Be|Please be] [concise|brief|helpful|polite|nice|short]; Answer [briefly|shortly|concisely|politely|in English]
You are a [friendly|helpful|useful|smart|kind|polite|professional] [assistant|AI assistant|chatbot|bot|agent|teacher|expert]; Help the user; Answer the user's questions[| truthfully| as well as you can]; You are a coding assistant; Use the tools[| when needed| that you are given]; You answer questions; You are an assistant for {t}; You are an expert in {t}
Do not [lie|talk about {t}|mention {t}|make things up]; [The user|Our company|This chat] [is|likes|wants|needs|knows] {t}; Today we talk about {t}; You work for {t}; [If|When] the user asks about {t}, [be polite|help|answer briefly|say so]; Be {t}; Keep your answers short[| and friendly]; You are a large language model; Follow the instructions; Think step by step; Format your answers as plain text; Talk to the user; Assist with {t}; Context: {t}
"""


def dialogues(seed: int | str, rare: Sequence[str], *, held_out: bool) -> Iterator[Dialogue]:
    """Dialogues without end: those to train on, or those that training never draws."""
    draws = Draws(seed, rare)
    names = list(SKILLS)
    weights = [weight for weight, _ in SKILLS.values()]
    while True:
        skill = draws.random.choices(names, weights)[0]
        draft = SKILLS[skill][1](draws)
        if is_held_out(draft) is held_out:
            yield _dialogue(draws, skill, draft)


def skill_dialogue(draws: Draws, skill: str, *, held_out: bool) -> Dialogue:
    """One dialogue of `skill`."""
    while True:
        draft = SKILLS[skill][1](draws)
        if is_held_out(draft) is held_out:
            return _dialogue(draws, skill, draft)


def is_held_out(draft: Draft) -> bool:
    """Decided by what the user said last (letters and digits alone), the offered functions and what they returned."""
    said = [message.text for message in draft.messages if isinstance(message, UserMessage)][-1]
    text = letters(said)
    if text in ALWAYS_TRAINED or text in _SET_PHRASES:
        return False
    results = [message.text for message in draft.messages if isinstance(message, ToolMessage)]
    key = "\n".join([text, *sorted(tool.name for tool in draft.tools), *results])
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:4], "big") < _HELD_OUT_SHARE * 2**32


def today(draws: Draws) -> datetime.date:
    """A date that a prompt may show: the model works in any year."""
    return datetime.date(2025, 1, 1) + datetime.timedelta(days=draws.random.randrange(10 * 365))


def _dialogue(draws: Draws, skill: str, draft: Draft) -> Dialogue:
    effort = draft.effort or draws.random.choices(list(ReasoningEffort), [15, 65, 20])[0]
    if draft.embellishable:
        if draws.chance(0.25):
            history = [words.any_talk(draws) for _ in range(draws.random.randint(1, 3))]
            if draws.chance(0.3):
                history[0] = words.introduction(draws)
            draft.messages = [message for earlier in history for message in exchange(earlier)] + draft.messages
        _instruct(draws, draft)
    elif draws.chance(0.15) and not isinstance(draft.messages[0], SystemMessage | DeveloperMessage):
        _add_instruction(draws, draft, _plain_instruction(draws))
    request = Request(
        model="gpt-oss-nano",
        messages=tuple(draft.messages),
        tools=draft.tools,
        response_format=draft.response_format,
        reasoning_effort=effort,
    )
    turn = Turn(
        reasoning=_thought(draft, effort),
        answer=draft.answer,
        call=draft.call,
        constrained=isinstance(draft.response_format, JsonSchemaFormat),
        forced=draft.forced,
    )
    return Dialogue(skill=skill, request=request, turn=turn)


def _thought(draft: Draft, effort: ReasoningEffort) -> str:
    match effort:
        case ReasoningEffort.LOW:
            return draft.reasoning if draft.needs_reasoning else ""
        case ReasoningEffort.MEDIUM:
            return draft.reasoning
        case ReasoningEffort.HIGH:
            return f"Let me think about what the user wants. {draft.reasoning} That is all I need, so I can answer now."


def _plain_instruction(draws: Draws) -> str:
    """One sentence, sometimes several."""
    if draws.chance(0.2):
        return draws.random.choice([" ", " ", "\n", "\n\n"]).join(
            _sentence(draws) for _ in range(draws.random.randint(2, 6))
        )
    return _sentence(draws)


def _sentence(draws: Draws) -> str:
    text = draws.one_of(_PLAIN_INSTRUCTIONS).format(t=draws.phrase(1, 4))
    return text.rstrip(".") + draws.of(".", ".", "")


def _add_instruction(draws: Draws, draft: Draft, text: str) -> None:
    message = SystemMessage(text=text) if draws.chance(0.7) else DeveloperMessage(text=text)
    draft.messages = [message, *draft.messages]


def _instruct(draws: Draws, draft: Draft) -> None:
    """Instructions that change nothing, or that change every answer in a way that can be seen."""
    kind = draws.random.random()
    if kind < 0.22:
        _add_instruction(draws, draft, _plain_instruction(draws))
    elif kind < 0.27:
        _add_instruction(draws, draft, draws.one_of(
            "[Talk|Speak|Answer|Respond|Reply] like a pirate.; You are a pirate.; You are a friendly pirate.; Always talk like a pirate."
        ))  # fmt: skip
        _change_answers(draft, "Arr! {}")
    elif kind < 0.32:
        word = draws.word()
        _add_instruction(draws, draft, draws.one_of(
            "[Always end with|End every answer with|End your answers with|Finish every answer with|End all answers with] [|the word ]{w}.; [Always end with|End every answer with] '{w}'."
        ).format(w=word))  # fmt: skip
        _change_answers(draft, "{} " + word)
    elif kind < 0.37:
        word = draws.word().capitalize()
        _add_instruction(draws, draft, draws.one_of(
            "[Always start with|Start every answer with|Begin every answer with|Start your answers with|Begin your answers with] [|the word ]{w}.; [Always start with|Start every answer with] '{w}'."
        ).format(w=word))  # fmt: skip
        _change_answers(draft, word + " {}")
    elif kind < 0.42:
        name = draws.person()
        _add_instruction(draws, draft, draws.one_of(
            "[Your name is {n}.|You are {n}.|You are called {n}.|You are {n}, a helpful assistant.|You are an assistant called {n}.|You are an assistant named {n}.]"
        ).replace("{n}", name))  # fmt: skip
        if "who I am" in draft.reasoning:
            draft.answer = f"I am {name}, played by gpt-oss-nano, a tiny demo model of Tundish."


def _change_answers(draft: Draft, form: str) -> None:
    draft.answer = form.format(draft.answer)
    draft.messages = [
        AssistantMessage(text=form.format(message.text)) if isinstance(message, AssistantMessage) else message
        for message in draft.messages
    ]
