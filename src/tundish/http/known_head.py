"""The head of a connection's last request: clients send the same one again and again, but for the body's length.

What stands in such a head was parsed and judged when it came first, byte for byte, so there is nothing to find out.
"""

from __future__ import annotations

import re

import msgspec

from tundish.http.message import HttpRequest

_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]{1,10})\r\n", re.IGNORECASE)
_MAX_BYTES = 4096
"""Longer ones are not worth keeping, one for each connection."""
_DIGITS = 10


class KnownHead:
    """Recognises whole requests that begin with it."""

    __slots__ = ("_after", "_before", "_body_limit", "_length", "_request")

    def __init__(self, before: bytes, length: bytes, after: bytes, request: HttpRequest, body_limit: int) -> None:
        """`before`, `length`, `after`: the head, cut at the digits of its content-length."""
        self._before = before
        self._length = length
        self._after = after
        self._request = request
        self._body_limit = body_limit

    @classmethod
    def of(cls, data: bytes, request: HttpRequest, body_limit: int) -> KnownHead | None:
        """The head of `request`, when `data` is that request and nothing else, and may be followed by others like it.

        `body_limit`: longer bodies are left to be refused as usual.
        """
        size = len(data) - len(request.body)
        if not 0 < size <= _MAX_BYTES or data.find(b"\r\n\r\n") != size - 4:
            return None
        if not request.keep_alive:
            return None
        found = _LENGTH.search(data, 0, size)
        if found is None or int(found[1]) != len(request.body):
            return None
        begin, end = found.span(1)
        return cls(
            data[:begin], data[begin:end], data[end:size], msgspec.structs.replace(request, body=b""), body_limit
        )

    def request(self, data: bytes) -> HttpRequest | None:
        """The request that `data` is; None: its head is another, or it is not whole, or there is more behind it."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        begin = len(before)
        end = data.find(b"\r", begin, begin + _DIGITS + 1)
        length = data[begin:end]
        if not length.isdigit() or not data.startswith(after, end):
            return None
        body = data[end + len(after) :]
        size = len(body)
        if int(length) != size or size > self._body_limit:
            return None
        like = self._request
        headers = like.headers if length == self._length else {**like.headers, "content-length": length.decode("ascii")}
        return HttpRequest(
            method=like.method,
            target=like.target,
            path=like.path,
            query=like.query,
            headers=headers,
            body=body,
            peer=like.peer,
            version=like.version,
            keep_alive=True,
            admission=like.admission,
        )
