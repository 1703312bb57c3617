"""Cut off connections whose data keeps libcurl from returning.

OpenSSL reads on as long as handshake messages come (HelloRequest, NewSessionTicket, KeyUpdate), within one call. A receiver
that sends them without end would stop every request, and no deadline is looked at meanwhile.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
from collections.abc import Collection
from time import monotonic
from typing import Any

from webhooks_app.transport.socket_bytes import TELLS_RECEIVED, bytes_read, bytes_unread, drop_unread

#: A call is looked at this often (seconds). Where the system does not tell what is read meanwhile, it is too long when it was
#: seen so many times. They are counted, not timed: this process may have stood still.
_LOOK_EVERY = 0.02
_TOO_OFTEN = 10
#: A connection is cut off if so much was read from it (bytes) since a call was first seen, and also if so much is unread when
#: another one is: an honest response is shorter, and a receiver may have opened many.
_FLOOD = 32 * 1024
#: How long connections that were cut off are remembered (seconds), and how many: their requests end at once.
_REMEMBERED = 10.0
_MOST_REMEMBERED = 10_000


class CallGuard:
    """Watches the calls of one transport from a separate thread."""

    def __init__(self, watched: Collection[int], *, direct: bool) -> None:
        """`watched`: the descriptors of all connections; changed by the thread that makes the calls only. `direct`: they
        lead to receivers and not to an egress proxy."""
        self._watched = watched
        self._direct = direct
        #: The descriptor that the present call is for (-1: none in particular), as an object of its own for each call.
        self._call: list[int] | None = None
        #: When connections were cut off because they flooded this process, by their local address.
        self._cut_at: dict[tuple[str, int], float] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="webhooks-curl-guard", daemon=True)
        self._thread.start()

    def enter(self, fd: int) -> None:
        self._call = [fd]

    def leave(self) -> None:
        self._call = None

    def cut_flood(self, fd: int) -> None:
        """Cut off a connection that floods this process. By the thread that makes the calls, between two of them."""
        sock = _duplicate(fd)
        if sock is not None:
            with sock:
                self._shut_down(sock, flooding=True)

    def has_cut(self, local: tuple[str, int]) -> bool:
        """Return whether the connection from this local address was cut off lately because it flooded this process."""
        return monotonic() - self._cut_at.get(local, -math.inf) < _REMEMBERED

    def close(self) -> None:
        self._closed.set()

    def _watch(self) -> None:
        seen: list[int] | None = None
        times = 0
        read: dict[int, int] = {}
        while not self._closed.wait(_LOOK_EVERY):
            call = self._call
            if call is None or call is not seen:
                seen, times, read = call, 0, {}
                if call is not None:
                    read = self._read()
                continue
            times += 1
            found = {fd for fd, size in self._read().items() if size - read.get(fd, size) >= _FLOOD}
            if found:
                self._cut(call, self._same_server(found), flooding=found)
            elif times >= _TOO_OFTEN and not TELLS_RECEIVED:
                self._cut(call, (), flooding=call)
                times = 0

    def _read(self) -> dict[int, int]:
        """Return how many bytes were read from each connection since it was opened. In a call for one, libcurl may read from
        any."""
        return {fd: size for fd in list(self._watched) if (size := bytes_read(fd))}

    def _same_server(self, found: Collection[int]) -> list[int]:
        """Return the connections that lead to the same servers as these: each would take as long."""
        servers = {_peer(fd) for fd in found} - {None}
        return [fd for fd in list(self._watched) if _peer(fd) in servers] if self._direct and servers else []

    def _cut(self, call: list[int], others: Collection[int], *, flooding: Collection[int]) -> None:
        """Shut down the connections that flood this process, these others, and those that have as much unread."""
        waiting = [fd for fd in list(self._watched) if bytes_unread(fd) >= _FLOOD]
        # The flooding ones last: without their data the call returns.
        descriptors = (*{*others, *waiting}.difference(flooding), *flooding)
        taken = [(fd, sock) for fd in descriptors if fd >= 0 and (sock := _duplicate(fd)) is not None]
        for fd, sock in taken:
            # Checked after duplicating: as long as the call lasts, nobody closes a descriptor and uses its number anew.
            if self._call is call:
                self._shut_down(sock, fd in flooding)
            sock.close()

    def _shut_down(self, sock: socket.socket, flooding: bool) -> None:
        with contextlib.suppress(OSError):
            if flooding:
                if len(self._cut_at) >= _MOST_REMEMBERED:
                    self._cut_at = {}
                self._cut_at[sock.getsockname()[:2]] = monotonic()
            sock.shutdown(socket.SHUT_RDWR)
            drop_unread(sock)


def _peer(fd: int) -> tuple[Any, ...] | None:
    """Return the address and port of the server that a connection leads to."""
    sock = _duplicate(fd)
    if sock is None:
        return None
    with sock, contextlib.suppress(OSError):
        return tuple(sock.getpeername()[:2])
    return None


def _duplicate(fd: int) -> socket.socket | None:
    with contextlib.suppress(OSError):
        copy = os.dup(fd)
        try:
            return socket.socket(fileno=copy)
        except OSError:  # no socket
            os.close(copy)
    return None
