"""Cut off connections whose data keeps libcurl from returning, and notice calls that nothing ends.

Within one call, OpenSSL reads as long as handshake messages arrive (HelloRequest, NewSessionTicket, KeyUpdate). A receiver
that never stops sending them would block every request, and no deadline is checked during the call. A crafted certificate
can keep OpenSSL busy for a minute without reading a byte: such a call is stuck, and another thread may abandon it.
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

from webhooks_app.transport.base import StuckCallEnded
from webhooks_app.transport.socket_bytes import TELLS_RECEIVED, Ends, bytes_read, bytes_unread, drop_unread, ends_of

#: The guard checks the current call at this interval (seconds), and at the shorter one once it has seen the same call twice: each
#: check interrupts the thread that makes the calls. If the system does not report how much is read during a call, a call is too
#: long when it was seen this many times. Checks are counted and not timed, because this process may be stalled.
_LOOK_EVERY = 0.05
_LOOK_AGAIN = 0.02
_TOO_OFTEN = 10
#: A call that was seen this many times is stuck: it normally takes less than a millisecond.
_STUCK = 40
#: A connection is cut off if this many bytes were read from it since the call was seen twice, or if this many are unread when
#: another connection is cut off: a normal response is shorter, and a receiver may flood many connections at once.
_FLOOD = 32 * 1024
#: For how long (seconds), and how many, cut-off connections are remembered. Their requests end at once.
_REMEMBERED = 10.0
_MOST_REMEMBERED = 10_000


class CallGuard:
    """Watches the calls of one transport from a separate thread."""

    def __init__(self, watched: Collection[int], *, direct: bool) -> None:
        """`watched`: the descriptors of all connections; only the calling thread changes it. `direct`: the connections lead to
        receivers and not to an egress proxy."""
        self._watched = watched
        self._direct = direct
        #: The descriptor that the current call is for (-1: any), in a new list for each call, so that calls can be distinguished.
        #: The thread that empties the list decides about the call: the caller when it returns, or the thread that abandons it.
        self._call: list[int] | None = None
        #: The last call that was stuck; empty if it has returned or was abandoned.
        self._stuck: list[int] = []
        #: Connection → when it was cut off because it flooded this process.
        self._cut_at: dict[Ends, float] = {}
        #: Released by `close`. Waiting for a lock costs much less than for an event.
        self._until_closed = threading.Lock()
        self._until_closed.acquire()
        self._thread = threading.Thread(target=self._watch, name="webhooks-curl-guard", daemon=True)
        self._thread.start()

    def enter(self, fd: int) -> None:
        self._call = [fd]

    def leave(self) -> None:
        """Note that the call has returned. Raises StuckCallEnded if it was abandoned meanwhile."""
        call, self._call = self._call, None
        assert call is not None
        try:
            call.pop()
        except IndexError:
            raise StuckCallEnded from None

    @property
    def is_stuck(self) -> bool:
        """Return whether the current call has not returned for too long. Thread-safe."""
        return bool(self._stuck)

    def give_up(self) -> int | None:
        """Let `leave` raise when the stuck call returns. Return the descriptor that the call is for (-1: any); None if it has
        returned. Thread-safe."""
        try:
            return self._stuck.pop()
        except IndexError:
            return None

    def cut_flood(self, fd: int) -> None:
        """Cut off a connection that floods this process. Only for the thread that makes the calls, between two of them."""
        sock = _duplicate(fd)
        if sock is not None:
            with sock:
                self._shut_down(sock, flooding=True)

    def has_cut(self, ends: Ends) -> bool:
        """Return whether this connection was recently cut off because it flooded this process."""
        return monotonic() - self._cut_at.get(ends, -math.inf) < _REMEMBERED

    def close(self) -> None:
        if self._until_closed.locked():
            self._until_closed.release()

    def _watch(self) -> None:
        seen: list[int] | None = None
        times = 0
        before: dict[int, int] = {}
        pause = _LOOK_EVERY
        while not self._until_closed.acquire(timeout=pause):
            call = self._call
            if call is None or call is not seen:
                seen, times, before, pause = call, 0, {}, _LOOK_EVERY
                continue
            pause = _LOOK_AGAIN
            times += 1
            read = self._read()
            before = before or read
            found = {fd for fd, size in read.items() if size - before.get(fd, size) >= _FLOOD}
            if found:
                self._cut(call, self._same_server(found), flooding=found)
            elif times % _TOO_OFTEN == 0 and not TELLS_RECEIVED:
                self._cut(call, (), flooding=list(call))
            if times >= _STUCK:
                self._stuck = call

    def _read(self) -> dict[int, int]:
        """Return how many bytes were read from each connection since it was opened. During a call for one connection, libcurl
        may read from any."""
        return {fd: size for fd in list(self._watched) if (size := bytes_read(fd))}

    def _same_server(self, found: Collection[int]) -> list[int]:
        """Return the connections to the same servers as these: each of them would block as long."""
        servers = {_peer(fd) for fd in found} - {None}
        return [fd for fd in list(self._watched) if _peer(fd) in servers] if self._direct and servers else []

    def _cut(self, call: list[int], others: Collection[int], *, flooding: Collection[int]) -> None:
        """Shut down the flooding connections, these others, and those with as much unread data."""
        waiting = [fd for fd in list(self._watched) if bytes_unread(fd) >= _FLOOD]
        # The flooding ones last: the call returns when their data ends.
        descriptors = (*{*others, *waiting}.difference(flooding), *flooding)
        taken = [(fd, sock) for fd in descriptors if fd >= 0 and (sock := _duplicate(fd)) is not None]
        for fd, sock in taken:
            # Checked after duplicating: during the call no descriptor is closed, so no number is reused.
            if self._call is call:
                self._shut_down(sock, fd in flooding)
            sock.close()

    def _shut_down(self, sock: socket.socket, flooding: bool) -> None:
        with contextlib.suppress(OSError):
            if flooding:
                if len(self._cut_at) >= _MOST_REMEMBERED:
                    self._cut_at = {}
                self._cut_at[ends_of(sock)] = monotonic()
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
        except OSError:  # not a socket
            os.close(copy)
    return None
