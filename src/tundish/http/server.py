"""An HTTP/1.1 server for few routes and long answers, on asyncio protocols and llhttp.

A request costs one task and one write, an idle connection neither a task nor a timer. What a client may do is bounded
by `Limits`; what it sends wrongly is answered in the API's own shape (`refuse`). Which file does what:

    reader              bytes → requests, strictly, within the limits
    known_head          the same, for a client that repeats itself
    server_connection   whose turn it is; notices at once when the client goes
    exchange            the response side, as handlers see it
    outbox              what many connections write in one turn, sent together
    head                the response's head
    listener            the port
    tls                 its certificate
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from tundish.http.exchange import Exchange
from tundish.http.limits import Limits
from tundish.http.listener import Address, Listener, bind
from tundish.http.message import HttpRequest
from tundish.http.reader import Admit, BodyMemory
from tundish.http.server_connection import Handler, Refuse, ServerConnection, Service
from tundish.http.tls import ServerTls

__all__ = ["Admit", "Exchange", "Handler", "HttpRequest", "HttpServer", "Limits", "Refuse", "ServerTls"]

_log = logging.getLogger("tundish.http")

_DEFAULT_LIMITS = Limits()
_LOOKS_AT_ONCE = 250
_LOOK_ON_S = 0.01
_LAST_CANCELLATION_S = 5.0
"""For cancelled handlers to put their things away."""


class HttpServer:
    """Listens, and calls `handler` with each request in a task of its own; the task is cancelled when the client goes.

    Args:
        handler: answers through the exchange it is given.
        limits: what clients may take.
        refuse: an error in the API's shape: status, headers, body.
        admit: asked with the head of each request that has a body, before any of the body is kept; what it raises is
            answered with `refuse`, and the connection ends. Without it every body is received.
        tls: the certificate; without it the server speaks plain HTTP.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        limits: Limits = _DEFAULT_LIMITS,
        refuse: Refuse,
        admit: Admit | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        self._tls = tls
        self._service = Service(
            handler=handler,
            refuse=refuse,
            limits=limits,
            memory=BodyMemory(limits.all_bodies_bytes),
            changed=self._wake,
            admit=admit,
        )
        self._listeners: list[Listener] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._to_look_at: list[ServerConnection] = []

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._service.connections)

    @property
    def requests_running(self) -> int:
        """In their handlers now."""
        return len(self._service.running)

    async def listen(self, host: str, port: int, *, shared: bool = False) -> int:
        """Accept connections on every address that `host` stands for; returns the port, which 0 leaves to the system.

        `shared`: together with other processes; see `listener.bind`.

        Raises:
            AddressInUse, CannotListen: with what to do about it.
        """
        for sock in await bind(host, port, shared=shared):
            port = sock.getsockname()[1]
            listener = Listener(sock, self._connect)
            listener.start()
            self._listeners.append(listener)
        if self._timer is None:
            self._look_around()
        return port

    def stop_accepting(self) -> None:
        """Refuse new connections and close those without a request; what runs goes on, its connection ends with it."""
        self._service.stopping = True
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for connection in list(self._service.connections):
            connection.close_if_waiting()

    async def wait_idle(self, timeout_s: float | None) -> bool:
        """Whether, within the time, the requests that run now have ended and their answers have been sent.

        What comes meanwhile is served and not waited for, so probes may go on; after `stop_accepting` nothing comes.
        """
        running, connections = set(self._service.running), set(self._service.connections)

        def is_idle() -> bool:
            if not running.isdisjoint(self._service.running):
                return False
            return not any(connection.unsent_bytes for connection in connections & self._service.connections)

        return await self._wait_until(is_idle, timeout_s)

    async def close(self) -> None:
        """End everything that is left."""
        self.stop_accepting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tls is not None:
            for task in self._connecting:
                task.cancel()  # a handshake takes as long as the client likes
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in list(self._service.connections):
            connection.end()
        if not await self._wait_until(self._is_over, _LAST_CANCELLATION_S):
            _log.warning("%d cancelled requests have not ended", self.requests_running)

    # --- connections ---

    def _connect(self, sock: socket.socket, address: Address) -> None:
        if self._tls is not None and len(self._connecting) >= self._service.limits.handshakes:
            sock.close()  # nothing can be said before TLS is agreed on
            return
        task = asyncio.get_running_loop().create_task(self._open(sock, address[0]))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self, sock: socket.socket, peer: str) -> None:
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            loop = asyncio.get_running_loop()
            if self._tls is None:
                await loop.connect_accepted_socket(lambda: ServerConnection(self._service, peer), sock)
            else:
                await self._shake_hands(sock, peer, self._tls)
        except OSError:
            sock.close()  # the client has gone meanwhile

    async def _shake_hands(self, sock: socket.socket, peer: str, tls: ServerTls) -> None:
        limits = self._service.limits
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: ServerConnection(self._service, peer),
                sock,
                ssl=tls.context(),
                ssl_handshake_timeout=limits.head_s,
                ssl_shutdown_timeout=limits.linger_s,
            )
        except ssl.SSLError as error:
            advice = ": it must call https://" if error.reason == "HTTP_REQUEST" else ""
            _log.info("no TLS with %s (%s)%s", peer, error.reason or error, advice)
            raise

    # --- the timer ---

    def _look_around(self) -> None:
        """Look at every connection about once a second, in portions too small to hold up a token."""
        loop = asyncio.get_running_loop()
        connections, to_look_at = self._service.connections, self._to_look_at
        if not to_look_at:
            to_look_at.extend(connections)
        now_s = loop.time()
        for _ in range(min(_LOOKS_AT_ONCE, len(to_look_at))):
            connection = to_look_at.pop()
            if connection in connections:
                connection.look(now_s)
        self._wake()  # nobody tells when the last unsent byte of a connection that stays has gone
        pause_s = _LOOK_ON_S if to_look_at else min(1.0, self._service.limits.shortest_s / 4)
        self._timer = loop.call_later(pause_s, self._look_around)

    # --- ending ---

    def _is_over(self) -> bool:
        return not self._service.running and not self._service.connections

    async def _wait_until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
