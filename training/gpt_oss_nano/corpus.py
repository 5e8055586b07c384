"""Dialogues as arrays of kept-vocabulary indices, and which of the vocabulary's rows are kept."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import multiprocessing
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import rendering
from dialogue import Dialogue
from generator import SKILLS, dialogues
from rare_words import common_tokens, rare_words

from tundish.core.request import ReasoningEffort, Request, UserMessage
from tundish.harmony.tokens import START
from tundish.harmony.vocabulary import O200K_HARMONY

EFFORTS = tuple(ReasoningEffort)
SEPARATOR = O200K_HARMONY().special("<|endofprompt|>")
"""Not a token of harmony: exercises that are no dialogues use it, so that they teach nothing about dialogues."""
_KEPT_FROM = 30
"""Other tokens are kept when the corpus has them as often as this."""
_LONGEST_ROW = 640
_ANY_DAY = datetime.date(2025, 1, 1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Rows end to end: what follows the shared prefix of a prompt, then the turn.

    `kept`: sorted token ids; the row after the last is UNK's. Per token: `tokens` (int32, indices into `kept`) and `content` (bool: a
    user's word that may be replaced by UNK). Per row: `ends` (int64), `turn_lengths` and `unscored` (int32; tokens at the start of the
    turn that are given and not learnt), `efforts` and `skills` (int8, indices into EFFORTS and SKILLS).
    """

    kept: np.ndarray
    tokens: np.ndarray
    ends: np.ndarray
    turn_lengths: np.ndarray
    unscored: np.ndarray
    efforts: np.ndarray
    skills: np.ndarray
    content: np.ndarray

    @property
    def unknown(self) -> int:
        """The index of the row that stands for all tokens that are not kept."""
        return len(self.kept)

    def __len__(self) -> int:
        return len(self.ends)

    def row(self, number: int) -> slice:
        """Where row `number` lies in `tokens`."""
        return slice(int(self.ends[number - 1]) if number else 0, int(self.ends[number]))

    def save(self, path: Path) -> None:
        np.savez(path, **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @staticmethod
    def load(path: Path) -> Corpus:
        with np.load(path) as stored:
            return Corpus(**{name: stored[name] for name in stored.files})


def indices(kept: np.ndarray, ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """Token ids → rows; what is not kept becomes UNK."""
    found = np.searchsorted(kept, ids)
    hit = kept[np.minimum(found, len(kept) - 1)] == ids
    return np.where(hit, found, len(kept)).astype(np.int32)


def prefix_ids(effort: ReasoningEffort, today: datetime.date) -> list[int]:
    """What the prompts of one day and effort begin with, tools or none."""
    request = Request(model="", messages=(UserMessage(text=""),), reasoning_effort=effort)
    ids = rendering.prompt_ids(request, today)
    starts = [place for place, token in enumerate(ids) if token == START]
    return ids[: starts[1] - 2]  # the last word's full stop joins what follows it


def build(seed: int, count: int, workers: int, kept: np.ndarray | None = None) -> Corpus:
    """About `count` training dialogues; the same for the same arguments. `kept`: an earlier corpus's rows; None: its own."""
    shares = [(f"{seed}/{worker}", count // workers) for worker in range(workers)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        parts = pool.starmap(_part, shares)
    rows, turns, unscored, efforts, skills, content = (
        list(itertools.chain(*column)) for column in zip(*parts, strict=True)
    )
    if kept is None:
        ids, counts = np.unique(np.concatenate(rows), return_counts=True)
        kept = np.array(sorted(common_tokens() | set(ids[counts >= _KEPT_FROM].tolist())), np.int32)
    indexed = [indices(kept, row) for row in rows]
    # What the model should say it must have a row for.
    sayable = [place for place, row in enumerate(indexed) if (row[-turns[place] :] < len(kept)).all()]
    return Corpus(
        kept=kept,
        tokens=np.concatenate([indexed[place] for place in sayable]),
        ends=np.cumsum([len(indexed[place]) for place in sayable]),
        turn_lengths=np.array(turns, np.int32)[sayable],
        unscored=np.array(unscored, np.int32)[sayable],
        efforts=np.array(efforts, np.int8)[sayable],
        skills=np.array(skills, np.int8)[sayable],
        content=np.concatenate([content[place] for place in sayable]),
    )


_Columns = tuple[list[np.ndarray], list[int], list[int], list[int], list[int], list[np.ndarray]]


def _part(seed: str, count: int) -> _Columns:
    prefixes = {effort: prefix_ids(effort, _ANY_DAY) for effort in EFFORTS}
    skills = list(SKILLS)
    columns: _Columns = ([], [], [], [], [], [])
    source = dialogues(seed, rare_words(), held_out=False)
    while len(columns[0]) < count:
        dialogue = next(source)
        effort = dialogue.request.reasoning_effort
        prompt = rendering.prompt_ids(dialogue.request, _ANY_DAY)
        prefix = prefixes[effort]
        assert prompt[: len(prefix)] == prefix
        turn = rendering.turn_ids(dialogue.turn)
        row = np.array([*prompt[len(prefix) :], *turn], np.int32)
        if len(row) > _LONGEST_ROW:
            continue
        given = rendering.given_length(dialogue.turn)
        values = (
            row,
            len(turn),
            given,
            EFFORTS.index(effort),
            skills.index(dialogue.skill),
            _replaceable(row, len(turn), dialogue),
        )
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return columns


_WORD = re.compile(rb" ?[A-Za-z]{3,}")


def _replaceable(row: np.ndarray, turn_length: int, dialogue: Dialogue) -> np.ndarray:
    """Words of the last user message whose loss costs no information that the turn needs."""
    allowed = np.zeros(len(row), bool)
    if dialogue.skill not in (
        "out_of_scope",
        "echo",
        "word_list",
        "call",
        "answer_from_result",
        "json_event",
        "json_list",
    ):
        return allowed
    prompt = row[:-turn_length]
    told = {int(token) for token in row[-turn_length:]}
    starts = np.flatnonzero(prompt == START)
    # The last message is the assistant's header; what is before it may be the user's.
    first, last = int(starts[-2]) + 3, len(prompt) - 3
    if dialogue.skill != "out_of_scope" and last - first < 8:
        return allowed
    token_bytes = O200K_HARMONY().token_bytes
    for place in range(first, last):
        token = int(prompt[place])
        allowed[place] = token not in told and bool(_WORD.fullmatch(token_bytes(token)))
    return allowed


def texts(tokens: Iterable[int]) -> str:
    """Token ids as they read, for people."""
    return O200K_HARMONY().decode(list(tokens))
