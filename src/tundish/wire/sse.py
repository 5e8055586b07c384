"""Server-sent events: framing for the server, an incremental and bounded reader for the client."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tundish.core.errors import BackendError

DONE = b"data: [DONE]\n\n"
"""How OpenAI's streams end when they are complete."""
PING = b": ping\n\n"
"""A comment: every client skips it, and every proxy on the way sees that the connection is alive."""
CONTENT_TYPE = "text/event-stream; charset=utf-8"

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


def encode(data: bytes) -> bytes:
    """One event. `data` must not contain line breaks, which JSON never does."""
    return b"data: " + data + b"\n\n"


class SseDecoder:
    """Bytes as they arrive → the data of each event. Lines may end in LF, CRLF or CR, wherever the bytes are cut."""

    def __init__(self, *, limit_bytes: int = 16 * 1024 * 1024) -> None:
        """`limit_bytes`: the largest event that is put together."""
        self._limit_bytes = limit_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of every event that `chunk` completes; an unfinished event is never given.

        Raises:
            BackendError: an event is larger than the limit.
        """
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of a CRLF that was cut
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        start = 0
        for end in _LINE_END.finditer(chunk):
            self._line += chunk[start : end.start()]
            start = end.end()
            line = bytes(self._line)
            self._line.clear()
            data = self._read_line(line)
            if data is not None:
                yield data
        self._line += chunk[start:]
        self._check_size()

    def _read_line(self, line: bytes) -> bytes | None:
        if self._at_start:
            line = line.removeprefix(_BOM)
            self._at_start = False
        if not line:
            data, self._data, self._data_bytes = self._data, [], 0
            return b"\n".join(data) if data else None
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
            self._data_bytes += len(value)
            self._check_size()
        return None  # `event`, `id` and `retry` say nothing that OpenAI's formats need; comments have an empty field

    def _check_size(self) -> None:
        if self._data_bytes + len(self._line) > self._limit_bytes:
            raise BackendError(f"The server sent an event of more than {self._limit_bytes} bytes.")
