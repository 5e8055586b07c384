"""A request's top-level JSON members → the body that one provider wants. Nothing is dropped that changes an answer.

Both lanes go through here: bytes that a client sent, and bytes that were encoded from a `core.Request`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tundish.core.errors import InvalidRequest
from tundish.providers.profile import Profile

CHAT_COMPLETIONS = "chat_completions"
COMPLETIONS = "completions"

# fmt: off
_PUBLISHED: Mapping[str, frozenset[str]] = {
    CHAT_COMPLETIONS: frozenset(
        {
            "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
            "max_completion_tokens", "max_tokens", "messages", "metadata", "modalities", "model", "moderation",
            "n", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
            "prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "response_format",
            "safety_identifier", "seed", "service_tier", "stop", "store", "stream", "stream_options",
            "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
            "web_search_options",
        }
    ),
    COMPLETIONS: frozenset(
        {
            "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "model", "n",
            "presence_penalty", "prompt", "seed", "stop", "stream", "stream_options", "suffix", "temperature",
            "top_p", "user",
        }
    ),
}
# fmt: on
"""What OpenAI publishes for each surface."""
_OURS = frozenset({"top_k", "min_p"})
"""What we publish beside that."""
_NULL = b"null"
_NO_EFFECT: Mapping[str, frozenset[bytes]] = {
    "frequency_penalty": frozenset({b"0", b"0.0"}),
    "logit_bias": frozenset({b"{}"}),
    "logprobs": frozenset({b"false"}),
    "min_p": frozenset({b"0", b"0.0"}),
    "n": frozenset({b"1"}),
    "parallel_tool_calls": frozenset({b"true"}),
    "presence_penalty": frozenset({b"0", b"0.0"}),
    "response_format": frozenset({b'{"type":"text"}', b'{"type": "text"}'}),
    "tool_choice": frozenset({b'"auto"'}),
    "tools": frozenset({b"[]"}),
    "top_k": frozenset({b"0", b"-1"}),
    "top_logprobs": frozenset({b"0"}),
}
"""Values that ask for what happens anyway; null always does."""
_LIMITS = ("max_completion_tokens", "max_tokens")
_ASK_FOR_USAGE = b'{"include_usage":true}'
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_INTEGER = msgspec.json.Decoder(int)


class RequestShape:
    """One deployment's way with one surface."""

    def __init__(self, profile: Profile, surface: str, *, model: str, refuses: frozenset[str]) -> None:
        """`refuses`: the parameters that this deployment does not take, the profile's included."""
        self._profile = profile
        self._refuses = refuses
        self._in_order = tuple(sorted(refuses))
        self._limit_key = _key(profile.max_tokens if surface == CHAT_COMPLETIONS else "max_tokens")
        self._model = msgspec.json.encode(model)
        self._reworked = frozenset({"model", "stream_options", *_LIMITS})
        if profile.effort_in_template:
            self._reworked |= {"reasoning_effort", "chat_template_kwargs"}
        as_they_are = (_PUBLISHED[surface] | _OURS | set(profile.takes)) - self._reworked - refuses
        self._keys: Mapping[str, bytes] = {name: _key(name) for name in as_they_are}

    def refused(self, members: Mapping[str, bytes]) -> str | None:
        """The first member that asks for what this deployment cannot do."""
        if self._refuses.isdisjoint(members):
            return None
        for name in self._in_order:
            value = members.get(name)
            if value is not None and bytes(value) != _NULL and bytes(value) not in _NO_EFFECT.get(name, ()):
                return name
        return None

    def check(self, members: Mapping[str, bytes]) -> None:
        """Refuse what this deployment cannot do.

        Raises:
            InvalidRequest: with the parameter's name.
        """
        name = self.refused(members)
        if name is not None:
            raise InvalidRequest(
                f"'{name}' is not supported by this model where it runs ({self._profile.title}). Leave it out, or "
                "choose another model.",
                param=name,
                code="unsupported_parameter",
            )

    def messages_fit(self, messages: bytes) -> bool:
        """Whether the roles and fields in them are the provider's own, so that they may go as they are.

        Looks for the names and not where they stand: a false alarm costs a decoding, and nothing else.
        """
        profile = self._profile
        if not profile.developer_role and b'"developer"' in messages:
            return False
        if b'"reasoning' not in messages:
            return True
        # With both quotes: a quote within a text has a backslash before it.
        names = {name for name in ("reasoning", "reasoning_content") if b'"%b"' % name.encode() in messages}
        return names <= {profile.past_reasoning}

    def usage_is_told(self, *, asked: bool) -> bool:
        """Whether a client that asked for usage in a stream will get it."""
        return self._profile.stream_usage or not asked

    def body(self, members: Mapping[str, bytes], *, stream: bool, usage_asked: bool) -> bytes:
        """The body to send. Members that only this provider has no name for, and that mean nothing, are left out.

        Raises:
            InvalidRequest: a limit or an option is no such thing.
        """
        parts: list[bytes] = [b'{"model":', self._model]
        keys = self._keys
        for name, value in members.items():
            key = keys.get(name)
            if key is None:
                if name in self._reworked or name in self._refuses or not self._profile.takes_any:
                    continue
                key = _key(name)
            parts += (key, value)
        self._add_limit(parts, members)
        if stream:
            self._add_stream_options(parts, members, usage_asked=usage_asked)
        if self._profile.effort_in_template:
            _add_template_variables(parts, members)
        parts.append(b"}")
        return b"".join(parts)

    def _add_limit(self, parts: list[bytes], members: Mapping[str, bytes]) -> None:
        limit, older = members.get("max_completion_tokens", _NULL), members.get("max_tokens", _NULL)
        if limit == _NULL:
            limit = older
        elif older != _NULL:
            limit = min(limit, older, key=_integer)
        if limit != _NULL:
            parts += (self._limit_key, limit)

    def _add_stream_options(self, parts: list[bytes], members: Mapping[str, bytes], *, usage_asked: bool) -> None:
        if not self._profile.stream_usage:
            return
        given = members.get("stream_options")
        if given is None or bytes(given) == _NULL:
            given = _ASK_FOR_USAGE
        elif not usage_asked:
            given = msgspec.json.encode(_members("stream_options", given) | {"include_usage": msgspec.Raw(b"true")})
        parts += (b',"stream_options":', given)


def _add_template_variables(parts: list[bytes], members: Mapping[str, bytes]) -> None:
    variables = members.get("chat_template_kwargs")
    effort = members.get("reasoning_effort")
    if effort is not None and bytes(effort) != _NULL:
        given = {} if variables is None else _members("chat_template_kwargs", variables)
        variables = msgspec.json.encode(given | {"reasoning_effort": msgspec.Raw(bytes(effort))})
    if variables is not None:
        parts += (b',"chat_template_kwargs":', variables)


def split(body: bytes) -> dict[str, bytes]:
    """The top-level members of a JSON object that we encoded ourselves."""
    return {name: bytes(value) for name, value in _MEMBERS.decode(body).items()}


def _key(name: str) -> bytes:
    return b",%b:" % msgspec.json.encode(name)


def _integer(value: bytes) -> int:
    try:
        return _INTEGER.decode(value)
    except msgspec.DecodeError:
        raise InvalidRequest("'max_tokens' must be a whole number.", param="max_tokens") from None


def _members(name: str, value: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _MEMBERS.decode(value)
    except msgspec.DecodeError:
        raise InvalidRequest(f"'{name}' must be an object.", param=name) from None
