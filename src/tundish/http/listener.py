"""Listening sockets, and connections accepted from them.

Our own accepting, because asyncio's does not survive running out of files: it gives up the listener (Windows) or floods
the log (selectors).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable

from tundish.http.errors import AddressInUse, CannotListen

_log = logging.getLogger("tundish.http")

_BACKLOG = 2048
_ACCEPTED_AT_ONCE = 128
_RETRY_S = 0.25

Address = tuple[str, int]


class Listener:
    """Calls `accepted` with each connection's socket and the client's address, from `start` until `close`."""

    def __init__(self, sock: socket.socket, accepted: Callable[[socket.socket, Address], None]) -> None:
        self._socket = sock
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._warned = False

    def start(self) -> None:
        """Accept from now on."""
        try:
            self._loop.add_reader(self._socket, self._readable)
        except NotImplementedError:  # Windows' loop knows of operations, not of sockets that are ready
            self._task = self._loop.create_task(self._accept_one_by_one())

    def close(self) -> None:
        """Refuse whoever comes from now on."""
        if self._retry is not None:
            self._retry.cancel()
        if self._task is None:
            self._loop.remove_reader(self._socket)
        else:
            self._task.cancel()
        self._socket.close()

    def _readable(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, address = self._socket.accept()
            except BlockingIOError:
                self._warned = False
                return
            except ConnectionError:
                continue  # that one has gone before it was accepted
            except OSError as error:
                self._warn(error)
                self._loop.remove_reader(self._socket)
                self._retry = self._loop.call_later(_RETRY_S, self.start)
                return
            self._accepted(connection, address)

    async def _accept_one_by_one(self) -> None:
        while True:
            try:
                connection, address = await self._loop.sock_accept(self._socket)
            except ConnectionError:
                continue
            except OSError as error:
                self._warn(error)
                await asyncio.sleep(_RETRY_S)
                continue
            self._warned = False
            self._accepted(connection, address)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            advice = ": raise `ulimit -n`" if error.errno in (errno.EMFILE, errno.ENFILE) else ""
            _log.warning("connections cannot be accepted for now (%s)%s", error.strerror or error, advice)
        self._warned = True


async def reserve(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen to nothing and keep a port for the processes that `bind` it as shared; 0 takes a free one.

    Raises:
        AddressInUse, CannotListen: with what to do about it; a port that others share among themselves is in use, too.
    """
    alone = await bind(host, port)
    addresses = [(sock.family, sock.getsockname()) for sock in alone]
    for sock in alone:
        sock.close()
    reserved: list[socket.socket] = []
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        reserved.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform != "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind(address)
        except OSError as error:
            for earlier in reserved:
                earlier.close()
            raise _cannot_listen(host, address[1], error) from error
    return reserved


async def bind(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """A listening socket for each address that `host` stands for, all on the same port; 0 takes a free one.

    `shared`: other processes of this user may listen on it, too, and the system deals connections out (not on Windows).

    Raises:
        AddressInUse, CannotListen: with what to do about it.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise CannotListen(f"'{host}' is not an address of this machine: {error.strerror or error}.") from error
    listening: list[socket.socket] = []
    missing: OSError | None = None
    for family, address in dict.fromkeys((family, address[0]) for family, _, _, _, address in found):
        try:
            sock = _open(family, str(address), port, shared=shared)
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                missing = error  # as ::1 of `localhost` where IPv6 is off; the others will do
                continue
            for earlier in listening:
                earlier.close()
            raise _cannot_listen(host, port, error) from error
        sock.setblocking(False)
        port = sock.getsockname()[1]
        listening.append(sock)
    if not listening:
        raise _cannot_listen(host, port, missing or OSError("it has no address")) from missing
    return listening


def _open(family: socket.AddressFamily, address: str, port: int, *, shared: bool) -> socket.socket:
    if sys.platform != "win32":
        return socket.create_server((address, port), family=family, backlog=_BACKLOG, reuse_port=shared)
    # There another program may otherwise bind the same port and get the connections, keys and all.
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _cannot_listen(host: str, port: int, error: OSError) -> CannotListen:
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(
            f"Port {port} of {host} is in use. "
            "Stop the program that has it, or choose another port (0 takes a free one)."
        )
    if error.errno == errno.EACCES:
        return CannotListen(f"Port {port} of {host} may not be opened by this user. Choose another, above 1023.")
    return CannotListen(f"Port {port} of {host} cannot be opened: {error.strerror or error}.")
