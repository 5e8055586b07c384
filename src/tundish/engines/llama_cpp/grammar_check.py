"""llama.cpp ignores a grammar that it cannot parse and generates without one: it must not see it."""

from __future__ import annotations

import functools

import llguidance

from tundish.core.errors import InvalidRequest


def check(grammar: str) -> None:
    """Look at a grammar before llama.cpp does.

    Raises:
        InvalidRequest: it cannot be used, with the reason.
    """
    problem = "" if grammar.startswith("%llguidance") else "it does not begin with %llguidance"
    problem = problem or _problem(grammar)
    if problem:
        raise InvalidRequest(f"The grammar cannot be used: {problem}")


@functools.lru_cache(maxsize=64)
def _problem(grammar: str) -> str:
    told: str = llguidance.LLMatcher.validate_grammar(grammar)
    return told
