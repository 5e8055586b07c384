"""What was decided for one request, and why."""

from __future__ import annotations

import dataclasses

import msgspec

from tundish.policy.label import Label


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks of whoever answers it. Hashable, so that judgements can be shared."""

    tools: bool = False
    structured_output: bool = False
    reasoning_effort: bool = False
    logprobs: bool = False
    completions: bool = False


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision depends on beside the snapshot. A struct, as what follows: each request makes one of each."""

    route: str
    label: Label
    needs: Needs
    prompt_tokens: int
    """Counted or estimated, never below the truth by more than the estimate's stated error."""
    max_output_tokens: int | None
    expected_output_tokens: int
    conversation: str | None = None
    """Its key; what the stickiness hangs on."""
    stuck_to: str | None = None
    """The deployment that answered this conversation last."""
    draw: float = 0.0
    """0 … 1, drawn once per request: what weighted routes and shadows decide by, so that a decision can be repeated."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a deployment may not answer."""

    constraint: str
    """`place`, `capability`, `context`, `health`, `circuit`, `capacity`, `rate`, `price`."""
    reason: str
    """In one sentence, for people."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One deployment of the route, judged. A struct, because a decision over fifty deployments makes fifty of them."""

    deployment: str
    place: str
    refusal: Refusal | None = None
    score: float | None = None
    """Higher is better; None for the refused."""
    estimate_usd: float | None = None
    expected_s: float | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """For one request: who may answer, in which order, and why not the others."""

    route: str
    label: Label
    policy_version: str
    table_version: str
    mode: str
    order: tuple[str, ...]
    """Deployments to try, the first first. Empty: nobody may answer."""
    judged: tuple[Judgement, ...]
    shadow: str | None = None
    """Asked too, and never returned; inside the allowed places like everything else."""

    @property
    def chosen(self) -> str | None:
        """The first of the order."""
        return self.order[0] if self.order else None
