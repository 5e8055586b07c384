"""Score gpt-oss-nano on dialogues that training never drew: greedy answers, exactly as expected, by skill.

    python evaluate.py                     the installed model: expanded, run by llama.cpp, driven by Tundish itself
    python evaluate.py --model FILE.gguf   another file
    python evaluate.py --show 20           … and print so many wrong answers

Needs Tundish and nothing else: neither torch nor numpy.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

import rendering
from dialogue import Dialogue, Draws
from generator import SKILLS, skill_dialogue
from rare_words import rare_words

from tundish.catalog.fit.plan import Wishes
from tundish.core.clock import SystemClock
from tundish.core.errors import BackendError
from tundish.core.events import ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStarted
from tundish.core.request import NamedTool, Request, Sampling
from tundish.engines import embedded
from tundish.engines.embedded.packed import Pack
from tundish.engines.local import LocalModel

SEED = "held out"
_STREAMS = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: text, or the name and arguments of a call."""

    reasoning: str
    text: str
    call: tuple[str, str] | None


def held_out(count: int) -> Iterator[Dialogue]:
    """`count` dialogues of each skill whose answers the model has the tokens for, as in training."""
    draws = Draws(SEED, rare_words())
    sayable = frozenset(Pack.installed().payload().kept_ids)
    for skill in SKILLS:
        asked = 0
        while asked < count:
            dialogue = skill_dialogue(draws, skill, held_out=True)
            if sayable.issuperset(rendering.turn_ids(dialogue.turn)):
                asked += 1
                yield dialogue


def as_sent(dialogue: Dialogue) -> Request:
    """The request as a client would send it: greedy, and a call that the dialogue forces is demanded."""
    choice = dialogue.request.tool_choice
    if dialogue.turn.forced and dialogue.turn.call is not None:
        choice = NamedTool(name=dialogue.turn.call[0])
    return dataclasses.replace(dialogue.request, tool_choice=choice, sampling=Sampling(temperature=0, max_tokens=300))


async def answer(model: LocalModel, request: Request) -> Answer:
    """One turn, assembled from its events; one that cannot be ended is a wrong answer, not the end of the test."""
    reasoning, text, name, arguments = "", "", None, ""
    try:
        async for event in model.generate(request):
            match event:
                case ReasoningDelta():
                    reasoning += event.text
                case TextDelta():
                    text += event.text
                case ToolCallStarted():
                    name = event.name
                case ToolCallDelta():
                    arguments += event.arguments
                case _:
                    pass
    except BackendError as error:
        text += f" [{error}]"
    return Answer(reasoning=reasoning, text=text, call=None if name is None else (name, arguments))


def is_right(dialogue: Dialogue, given: Answer) -> bool:
    """The expected answer, character for character; JSON may be spaced otherwise."""
    turn = dialogue.turn
    if turn.call is None:
        return given.call is None and (given.text == turn.answer or _same_json(given.text, turn.answer))
    return given.call is not None and given.call[0] == turn.call[0] and _same_json(given.call[1], turn.call[1])


def _same_json(one: str, other: str) -> bool:
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


@contextlib.asynccontextmanager
async def running(path: Path) -> AsyncGenerator[LocalModel, None]:
    """The model, loaded as `tundish serve` loads it."""
    model = LocalModel(
        name="gpt-oss-nano",
        find=lambda: path,
        wishes=Wishes(slots=_STREAMS, threads=1),
        queue_limit=10_000,
        load_timeout_s=120,
        clock=SystemClock(),
    )
    await model.start()
    try:
        yield model
    finally:
        await model.stop()


async def score(path: Path, dialogues: Sequence[Dialogue], *, show: int) -> float:
    """Print the share of right answers by skill; the mean over skills."""
    right: Counter[str] = Counter()
    asked = Counter(dialogue.skill for dialogue in dialogues)
    gate = asyncio.Semaphore(_STREAMS)
    async with running(path) as model:

        async def ask(dialogue: Dialogue) -> Answer:
            async with gate:
                return await answer(model, as_sent(dialogue))

        given = await asyncio.gather(*map(ask, dialogues))
    for dialogue, got in zip(dialogues, given, strict=True):
        if is_right(dialogue, got):
            right[dialogue.skill] += 1
        elif show > 0:
            show -= 1
            _print_wrong(dialogue, got)
    for skill, count in asked.items():
        print(f"{skill:20} {right[skill] / count:6.3f}")
    mean = sum(right[skill] / count for skill, count in asked.items()) / len(asked)
    print(f"{'mean':20} {mean:6.3f}   {sum(right.values())} of {len(dialogues)} dialogues")
    return mean


def _print_wrong(dialogue: Dialogue, given: Answer) -> None:
    last = dialogue.request.messages[-1]
    print(f"[{dialogue.skill}, {dialogue.request.reasoning_effort.value}] {last}")
    print(f"   expected {dialogue.turn.reasoning!r} {dialogue.turn.call or dialogue.turn.answer!r}")
    print(f"   answered {given.reasoning!r} {given.call or given.text!r}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF; default: the embedded model, expanded afresh")
    parser.add_argument("--count", type=int, default=20, help="dialogues of each skill (default 20)")
    parser.add_argument("--show", type=int, default=0, help="wrong answers to print")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model or embedded.expand(Path(folder))
        began = time.monotonic()
        asyncio.run(score(path, list(held_out(arguments.count)), show=arguments.show))
        print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
