"""Dialogues as token ids: the prompt is what the server renders, the turn is what its parser reads."""

from __future__ import annotations

import datetime

from dialogue import Turn

from tundish.core.request import Request
from tundish.harmony import render as harmony
from tundish.harmony.tokens import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START
from tundish.harmony.vocabulary import O200K_HARMONY


def prompt_ids(request: Request, today: datetime.date) -> list[int]:
    """Everything up to and with `<|start|>assistant`."""
    return harmony.render(request, today=today)


def turn_ids(turn: Turn) -> list[int]:
    """What the assistant generates after `<|start|>assistant`, the token that ends it included."""
    encode = O200K_HARMONY().encode
    content = turn.answer if turn.call is None else turn.call[1]
    return [*_opening(turn), *encode(content), RETURN if turn.call is None else CALL]


def given_length(turn: Turn) -> int:
    """Tokens at the start of `turn_ids` that are not the model's choice."""
    return len(_opening(turn)) if turn.forced else 0


def _opening(turn: Turn) -> list[int]:
    encode = O200K_HARMONY().encode
    ids: list[int] = []
    if turn.reasoning:
        ids += [CHANNEL, *encode("analysis"), MESSAGE, *encode(turn.reasoning), END, START, *encode("assistant")]
    if turn.call is not None:
        name, _ = turn.call
        return [*ids, CHANNEL, *encode(f"commentary to=functions.{name} "), CONSTRAIN, *encode("json"), MESSAGE]
    header = [*encode("final "), CONSTRAIN, *encode("json")] if turn.constrained else encode("final")
    return [*ids, CHANNEL, *header, MESSAGE]
