"""What a training dialogue is, and the draws that make one."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence

import pools

from tundish.core.request import (
    AssistantMessage,
    FunctionTool,
    Message,
    ReasoningEffort,
    Request,
    ResponseFormat,
    TextFormat,
    UserMessage,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the assistant should generate: reasoning, then an answer or a call."""

    reasoning: str = ""
    answer: str = ""
    call: tuple[str, str] | None = None
    """Function name and JSON arguments; then there is no answer."""
    constrained: bool = False
    """The answer's header says that it is JSON."""
    forced: bool = False
    """The endpoint demanded this call: only its arguments are the model's own."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """A request, the turn that should follow it, and the skill it shows."""

    skill: str
    request: Request
    turn: Turn


@dataclasses.dataclass(slots=True, kw_only=True)
class Draft:
    """A dialogue before effort, instructions and history are drawn around it."""

    messages: list[Message]
    answer: str = ""
    call: tuple[str, str] | None = None
    reasoning: str
    """What it thinks at medium effort."""
    needs_reasoning: bool = False
    """Thinks the same at low effort, because the answer is worked out there."""
    tools: tuple[FunctionTool, ...] = ()
    response_format: ResponseFormat = TextFormat()
    effort: ReasoningEffort | None = None
    forced: bool = False
    """The client demands the call, whatever was said."""
    embellishable: bool = False
    """A plain text answer, to which instructions and earlier turns may be added."""


_CHOICE = re.compile(r"\[([^\[\]]*)\]")


class Draws:
    """Seeded randomness over the pools. `rare`: further words, so that copying is learnt for words and not for the pools."""

    def __init__(self, seed: int | str, rare: Sequence[str]) -> None:
        self.random = random.Random(seed)
        self._rare = rare

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def of(self, *choices: str) -> str:
        """One of `choices`, each of which may have further choices inside: `[Hi|Hello] [|there]`."""
        text = self.random.choice(choices)
        while found := _CHOICE.search(text):
            text = text[: found.start()] + self.random.choice(found[1].split("|")) + text[found.end() :]
        return " ".join(text.split(" ")).strip()

    def one_of(self, lines: str) -> str:
        """One of the choices in `lines`, which are separated by line ends or `;`."""
        return self.of(*_lines(lines))

    def word(self) -> str:
        return self.random.choice(self._rare if self.chance(0.6) else pools.WORDS)

    def words(self, low: int, high: int) -> list[str]:
        return [self.word() for _ in range(self.random.randint(low, high))]

    def phrase(self, low: int, high: int) -> str:
        return " ".join(self.words(low, high))

    def person(self) -> str:
        name = self.random.choice(self._rare).capitalize() if self.chance(0.25) else self.random.choice(pools.NAMES)
        return f"{name} {self.random.choice(pools.SURNAMES)}" if self.chance(0.07) else name

    def people(self, low: int, high: int) -> list[str]:
        people: list[str] = []
        for _ in range(self.random.randint(low, high)):
            person = self.person()
            if person not in people:
                people.append(person)
        return people

    def place(self) -> str:
        place = self.random.choice(self._rare).capitalize() if self.chance(0.2) else self.random.choice(pools.CITIES)
        return f"{place}, {self.random.choice(pools.REGIONS)}" if self.chance(0.1) else place

    def number(self, *limits: int) -> int:
        return self.random.randint(0, self.random.choice(limits))

    def typed(self, text: str) -> str:
        """`text` as people type: capitals and punctuation vary."""
        kind = self.random.random()
        if kind < 0.15:
            text = text[:1].lower() + text[1:]
        elif kind < 0.25:
            text = text.lower()
        elif kind < 0.27:
            text = text.upper()
        return self.punctuated(text)

    def punctuated(self, text: str) -> str:
        """`text`, its last punctuation varied."""
        if self.chance(0.25):
            return text.rstrip("?.!") or text
        if self.chance(0.08):
            return text.rstrip("?.!") + self.random.choice(["!", "...", "??", "!!", " ?", ".", "?", " :)"])
        return text

    def said(self, text: str) -> list[Message]:
        """A user's message, as people type."""
        if self.chance(0.06):
            text = f"{self.of(*_BEFORE)} {text[0].lower()}{text[1:]}"
        if self.chance(0.04):
            text = text.rstrip("?.!") + self.random.choice(_AFTER)
        return [UserMessage(text=self.typed(text))]

    def misspelt(self, text: str) -> str:
        """`text` with two letters swapped, one lost or one doubled in one of its longer words."""
        words = text.split(" ")
        places = [place for place, word in enumerate(words) if len(word) > 3 and word.isalpha()]
        if not places:
            return text
        place = self.random.choice(places)
        word = words[place]
        at = self.random.randrange(1, len(word) - 1)
        swapped, lost = word[:at] + word[at + 1] + word[at] + word[at + 2 :], word[:at] + word[at + 1 :]
        words[place] = self.random.choice((swapped, lost, word[:at] + word[at] + word[at:]))
        return " ".join(words)


_BEFORE = (
    "[So|Well|Ok|Okay|Now|And|But|Hey|Um|Hmm|Oh|Please|Hi|Hello|Alright|Right|Listen|Sorry]",
    "[So|Well|Ok|Okay|Now|Hey|Um|Hi|Hello|Alright|Right|Listen|Sorry|Again|First|Quick question|One more question|Question|By the way][,|:|...| -]",
    "[Hey|Hi|Hello|Ok|Dear] [there|nano|gpt-oss|Tundish|bot|friend|assistant|computer][,|!|.]",
    "[I want to know|Let me ask|I was wondering|My question is|I would like to know|Tell me][:|,]",
)
_AFTER = (
    ", please", ", please?", " please", " pls", ", thanks", " thanks.", " thank you", ", thank you.", ", ok?", ", my friend", ", bot",
    " now", " again", " lol", " :)", " then?",
)  # fmt: skip

_LINES: dict[str, list[str]] = {}


def _lines(text: str) -> list[str]:
    if text not in _LINES:
        _LINES[text] = [line.strip() for line in re.split(r"[\n;]", text) if line.strip()]
    return _LINES[text]


def letters(text: str) -> str:
    """What is left when capitals, spaces and punctuation do not count."""
    return "".join(character for character in text.lower() if character.isalnum())


def set_phrases(lines: str) -> list[str]:
    """Those choices in `lines` that have no parts: whole lines, and lines that are one bracket."""
    phrases: list[str] = []
    for line in _lines(lines):
        if "[" not in line:
            phrases.append(line)
        elif line.count("[") == 1 and line.startswith("[") and line.rstrip("?.!").endswith("]"):
            phrases += line[1:].rstrip("?.!").removesuffix("]").split("|")
    return phrases


def exactly(text: str) -> list[Message]:
    """A user's message as it stands."""
    return [UserMessage(text=text)]


def exchange(draft: Draft) -> list[Message]:
    """A draft as history."""
    return [*draft.messages, AssistantMessage(text=draft.answer)]


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def both_ways(couples: Sequence[str]) -> list[tuple[str, str]]:
    """`hot cold` → (hot, cold) and (cold, hot)."""
    split = [couple.split() for couple in couples]
    return [(a, b) for a, b in split] + [(b, a) for a, b in split]
