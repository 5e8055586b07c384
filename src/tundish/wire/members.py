"""A request body, its top-level members undecoded: all that a decision needs, at a fraction of the cost."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

import msgspec

from tundish.core.errors import InvalidRequest
from tundish.wire import json_body
from tundish.wire.stream_options import StreamOptions

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
_NUMBER = msgspec.json.Decoder(int)
_OPTIONS = msgspec.json.Decoder(StreamOptions)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_ABSENT = (b"", b"null", b"false")
_EMPTY = (*_ABSENT, b"[]", b"{}")
_BYTES_PER_TOKEN = 4
_KEY_BYTES = 12
_HASHED_BYTES = 4096
"""Of each message: enough to tell conversations apart, and no more work for a long one."""
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Role(msgspec.Struct):
    role: str = ""


class _Format(msgspec.Struct):
    type: str = ""


_ROLE = msgspec.json.Decoder(_Role)
_FORMAT = msgspec.json.Decoder(_Format)


@dataclasses.dataclass(frozen=True, slots=True)
class Members:
    """Name → the member's JSON as it was sent. Of a name that occurs twice the last counts, as with every decoder."""

    fields: Mapping[str, bytes]

    def text(self, name: str) -> str | None:
        """A member that is a string; None when it is absent or null.

        Raises:
            InvalidRequest: it is something else.
        """
        raw = self.fields.get(name, b"null")
        if raw == b"null":
            return None
        try:
            return _STRING.decode(raw)
        except _WRONG:
            raise InvalidRequest(f"'{name}' must be a string, in UTF-8.", param=name) from None

    def whole_number(self, name: str) -> int | None:
        """A member that is a whole number; None when it is anything else, which is for the full decoder to refuse."""
        raw = self.fields.get(name)
        if raw is None:
            return None
        try:
            return _NUMBER.decode(raw)
        except _WRONG:
            return None

    def is_true(self, name: str) -> bool:
        """Whether it is `true`."""
        return self.fields.get(name) == b"true"

    def is_set(self, name: str) -> bool:
        """Whether it says anything: it is there, and neither null, false nor empty."""
        return self.fields.get(name, b"") not in _EMPTY

    def include_usage(self) -> bool:
        """Whether a stream is to end with usage."""
        raw = self.fields.get("stream_options")
        if raw is None or raw == b"null":
            return False
        try:
            return bool(_OPTIONS.decode(raw).include_usage)
        except _WRONG:
            return False  # the full decoder, here or at the provider, says what is wrong

    def wants_json(self) -> bool:
        """Whether `response_format` asks for more than text."""
        raw = self.fields.get("response_format", b"null")
        if raw == b"null":
            return False
        try:
            return _FORMAT.decode(raw).type not in ("", "text")
        except _WRONG:
            return True

    def with_text(self, name: str, value: str) -> Members:
        """The same, but for one member."""
        return Members({**self.fields, name: msgspec.json.encode(value)})

    def encode(self) -> bytes:
        """The body again."""
        return b"{" + b",".join(b"%b:%b" % (msgspec.json.encode(k), v) for k, v in self.fields.items()) + b"}"


def decode_members(body: bytes) -> Members:
    """The members of a JSON object.

    Raises:
        InvalidRequest: it is none.
    """
    return Members({name: bytes(raw) for name, raw in json_body.decode(body, _MEMBERS).items()})


def estimate_tokens(*parts: bytes) -> int:
    """About how many tokens some JSON is: a quarter of its bytes.

    Of prose (about 4.5 bytes a token, its JSON included) that is up to a fifth too many, of dense code and of numbers
    up to a third too few. Whoever runs the model counts exactly, and what it refuses is tried elsewhere.
    """
    return sum(map(len, parts)) // _BYTES_PER_TOKEN + 1


def conversation_key(messages: bytes) -> str | None:
    """What the turns of one conversation have in common: a digest of its messages up to the user's first one.

    None when there is no such message.
    """
    try:
        listed = _LIST.decode(messages)
        digest = hashlib.blake2b(digest_size=_KEY_BYTES)
        for message in listed:
            digest.update(b"%d:" % len(message))
            digest.update(memoryview(message)[:_HASHED_BYTES])
            if _ROLE.decode(message).role == "user":
                return digest.hexdigest()
    except _WRONG:
        pass  # the full decoder says what is wrong
    return None
