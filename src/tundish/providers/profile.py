"""How providers differ from OpenAI's API: data, one file each in `profiles/`."""

from __future__ import annotations

import functools
import importlib.resources
import tomllib
from collections.abc import Mapping
from typing import Literal

import msgspec

from tundish.providers.errors import SpecInvalid

PARAMETERS_OF: Mapping[str, tuple[str, ...]] = {
    "tools": ("tools",),
    "structured_output": ("response_format",),
    "reasoning_effort": ("reasoning_effort",),
    "logprobs": ("logprobs", "top_logprobs"),
}
"""Capability → the parameters that ask for it."""


class Paths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the operations are, after the base URL. `{model}` and `{api_version}` are replaced."""

    chat_completions: str
    completions: str | None = None
    """None: the provider does not continue raw text."""
    models: str | None = None
    scope: str | None = None
    """What a token of Entra ID must be for; None: there are none here."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is the same for all deployments of one kind of provider."""

    name: str
    title: str
    """For people."""
    paths: Paths
    versioned_paths: Paths | None = None
    """Used when the deployment names an `api_version`; None: there is no such thing here."""
    base_suffixes: tuple[str, ...] = ()
    """Ends of a base URL that people copy along and that the paths repeat."""
    base_url: str | None = None
    """Where everybody's is; None: each has its own."""
    key_header: str = "authorization"
    key_prefix: str = "Bearer "
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The name of the limit on generated tokens."""
    developer_role: bool = True
    """Whether messages may have the role `developer`; else they are sent as `system`."""
    past_reasoning: Literal["reasoning", "reasoning_content"] | None = None
    """How the model's earlier reasoning is called in a message; None: it is not sent."""
    effort_in_template: bool = False
    """Whether the effort goes into `chat_template_kwargs` instead of `reasoning_effort`."""
    stream_usage: bool = True
    """Whether a stream tells usage when `stream_options.include_usage` asks for it."""
    takes_any: bool = True
    """Whether parameters that OpenAI does not publish are the provider's own affair; else they are left out."""
    takes: tuple[str, ...] = ()
    """Parameters beside OpenAI's that are understood where `takes_any` is false."""
    refuses: frozenset[str] = frozenset()
    """Parameters of OpenAI's, or of our sampling, that are an error there, or that are ignored without a word."""


def known() -> tuple[str, ...]:
    """The names of all profiles."""
    folder = importlib.resources.files("tundish.providers") / "profiles"
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")))


@functools.cache
def load(name: str) -> Profile:
    """The profile called `name`.

    Raises:
        SpecInvalid: there is none.
    """
    if name not in known():
        raise SpecInvalid(f"There is no provider profile '{name}'. Known profiles: {', '.join(known())}.")
    file = importlib.resources.files("tundish.providers") / "profiles" / f"{name}.toml"
    return msgspec.convert({"name": name, **tomllib.loads(file.read_text("utf-8"))}, Profile)
