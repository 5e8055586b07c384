"""A grammar at work: checked before an engine sees it, and followed while the engine draws.

llama.cpp goes on *without* a constraint when llguidance refuses a grammar, and when it gives up half-way because a
state became too complex; it tells only its log. So a grammar is compiled here first, against the same tokens, and then
each drawn token is checked against it. Following costs a microsecond a token, since no mask is computed.

Both need the llguidance that llama.cpp is built with: releases differ in what they accept, and in how long they take.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence

import llguidance

from tundish.core.errors import BackendError
from tundish.harmony.bounded_cache import BoundedCache
from tundish.harmony.tokens import CHANNEL, CONSTRAIN, END, FIRST_SPECIAL, MESSAGE, RETURN, START, STOP_TOKENS
from tundish.harmony.vocabulary import O200K_HARMONY

_QUIET = 0
_ORDINARY_TO_LLAMA_CPP = frozenset({CONSTRAIN, CHANNEL, START, MESSAGE})
_TRIED_TOKENS = 4
_MEANINGS = {
    "NoExtension": "no JSON satisfies it",
    "Regex is empty": "no text satisfies its pattern, format and lengths at once",
    "oneOf constraints": "the cases of 'oneOf' overlap; use 'anyOf'",
    "Current row has": "too many optional properties or alternatives in one place; require or nest some",
    "lexer precomputation failed": "its patterns are too complex",
    "too many expressions": "its patterns are too complex",
    "grammar size": "it is too large",
    "grammar.symbols": "it is too large",
    "initial lexer configuration": "it has too many alternatives or too much text",
}
_COMPILED_BYTES = 16
"""Roughly, what a compiled grammar takes for each of its characters."""
_compiled: BoundedCache[bytes, llguidance.LLMatcher | str] = BoundedCache(64 * 1024 * 1024)


class _Tokens:
    """The vocabulary in the shape that llguidance asks for, special where llama.cpp has it special."""

    eos_token_id = RETURN
    bos_token_id = None

    def __init__(self) -> None:
        vocabulary = O200K_HARMONY()
        self.tokens = [vocabulary.token_bytes(token) for token in range(vocabulary.size)]
        self.special_token_ids = [
            token for token in range(FIRST_SPECIAL, vocabulary.size) if token not in _ORDINARY_TO_LLAMA_CPP
        ]

    def __call__(self, text: str | bytes) -> list[int]:
        return O200K_HARMONY().encode(text if isinstance(text, str) else text.decode("utf-8", "replace"))


@functools.cache
def _tokenizer() -> llguidance.LLTokenizer:
    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Tokens()), slices=[])


def warm_up() -> None:
    """Do now, for half a second, what the first constrained request would wait for."""
    _tokenizer()


def problem(grammar: str, ways_in: Sequence[Sequence[int]] = ()) -> str:
    """Why `grammar` cannot be enforced; empty when it can.

    Args:
        grammar: llguidance's Lark.
        ways_in: token sequences that lead to where the grammar is at its most complex; the next token is tried there.
    """
    matcher = _matcher(grammar, ways_in)
    return matcher if isinstance(matcher, str) else ""


class ConstraintFollower:
    """Sees to it that one turn obeys its grammar."""

    def __init__(self, grammar: str) -> None:
        """
        Raises:
            BackendError: the grammar is not one that `problem` approved.
        """
        matcher = _matcher(grammar)
        if isinstance(matcher, str):
            raise BackendError(f"The grammar of this request cannot be enforced: {matcher}")
        self._matcher = matcher.deep_copy()
        self._over = False

    def feed(self, tokens: Sequence[int]) -> None:
        """Check what was drawn.

        Raises:
            BackendError: the engine has left the grammar.
        """
        for token in tokens:
            if self._over:
                break
            if token in STOP_TOKENS or (token == END and self._ends_with_end()):
                self.finish()
            elif not self._matcher.consume_token(token):
                self._refuse(self._matcher.get_error())

    @property
    def over(self) -> bool:
        """Whether all that the grammar allows has been said."""
        return self._over

    def _ends_with_end(self) -> bool:
        """llama.cpp takes `<|end|>` for an end of text: where a turn may end, it allows that too."""
        return self._matcher.is_accepting() and not self._matcher.validate_tokens([END])

    def finish(self) -> None:
        """Check that the turn may end here.

        Raises:
            BackendError: what the grammar demands is not all there.
        """
        if not self._over and not self._matcher.is_accepting():
            self._refuse("the turn ended too early")
        self._over = True

    def _refuse(self, why: str) -> None:
        raise BackendError(
            "The engine stopped enforcing the JSON Schema of this request, so its answer cannot be trusted "
            f"({_reason(why)}). Simplify the schema, its patterns first."
        )


def _matcher(grammar: str, ways_in: Sequence[Sequence[int]] = ()) -> llguidance.LLMatcher | str:
    """A fresh matcher to be copied, or why there is none."""
    key = hashlib.blake2b(grammar.encode("utf-8", "replace"), digest_size=16).digest()
    known = _compiled.get(key)
    if known is None:
        known = _compile(grammar, ways_in)
        _compiled.put(key, known, _COMPILED_BYTES * len(grammar) + 10_000)
    return known


def _compile(grammar: str, ways_in: Sequence[Sequence[int]]) -> llguidance.LLMatcher | str:
    matcher = llguidance.LLMatcher(_tokenizer(), grammar, log_level=_QUIET)
    for tokens in ways_in:
        matcher.consume_tokens(list(tokens))
        for _ in range(_TRIED_TOKENS):
            allowed = _first_allowed(matcher.compute_bitmask())
            if allowed is None or matcher.is_stopped() or not matcher.consume_token(allowed):
                break
        if matcher.is_error():
            break
        matcher.reset()
    return _reason(matcher.get_error()) if matcher.is_error() else matcher


def _first_allowed(mask: bytes) -> int | None:
    """The lowest token of a mask that has one bit for each, least significant first."""
    for at, eight in enumerate(mask):
        if eight:
            return 8 * at + (eight & -eight).bit_length() - 1
    return None


def _reason(told: str) -> str:
    """llguidance's message as one sentence for the author of a schema."""
    first = told.split("\n", 1)[0]
    for sign, meaning in _MEANINGS.items():
        if sign in first:
            return meaning
    if "regex parse error" in first:
        detail = re.search(r"^error: (.*)", told, re.MULTILINE)
        return f"a pattern is not understood: {detail[1] if detail else 'syntax error'}"
    return (first.partition("failed to compile JSON schema: ")[2] or first)[:300]
