"""Notices a child that hangs, at no cost to each token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from tundish.core.errors import BackendTimeout
from tundish.http.errors import HttpError


async def listen(
    chunks: AsyncIterator[bytes], *, limit_s: float, hung: Callable[[], None]
) -> AsyncGenerator[bytes, None]:
    """Pass `chunks` on. After `limit_s` without one, `hung` is called, which must break their connection.

    One timer for the whole answer, since one for each chunk costs as much as the rest of a token's way. It does not
    run while the reader of the chunks is busy or slow: that is not the child's silence.

    Raises:
        BackendTimeout: the connection broke after `hung` was called.
    """
    loop = asyncio.get_running_loop()
    waiting_since_s: float | None = None
    silent = False

    def check() -> None:
        nonlocal timer, silent
        now_s = loop.time()
        since_s = now_s if waiting_since_s is None else waiting_since_s
        if now_s - since_s >= limit_s:
            silent = True
            hung()
        else:
            timer = loop.call_at(since_s + limit_s, check)

    timer = loop.call_later(limit_s, check)
    iterator = aiter(chunks)
    try:
        while True:
            waiting_since_s = loop.time()
            try:
                chunk = await anext(iterator)
            except StopAsyncIteration:
                return
            waiting_since_s = None
            yield chunk
    except HttpError as error:
        if silent:
            raise BackendTimeout(
                f"The model's engine said nothing for {limit_s:g} s and is being restarted. Send the request again."
            ) from error
        raise
    finally:
        timer.cancel()
