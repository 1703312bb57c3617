"""Cutting off connections whose data keeps libcurl from returning.

OpenSSL reads on as long as handshake messages come (HelloRequest, NewSessionTicket, KeyUpdate), within one call. A receiver
that sends them without end would stop every request, and no deadline is looked at meanwhile.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import threading
from collections.abc import Collection

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = termios = None  # type: ignore[assignment]

#: A call is looked at this often (seconds), and is too long when it was seen so many times. They are counted, not timed: this
#: process may have stood still.
_LOOK_EVERY = 0.05
_TOO_OFTEN = 4
#: A connection with so much unread data (bytes) is cut off with the one in the call: an honest response is shorter, and a
#: receiver may have opened many.
_FLOOD = 32 * 1024


class CallGuard:
    """Watches the calls of one transport from a thread of its own."""

    def __init__(self, watched: Collection[int]) -> None:
        """`watched`: the descriptors of all connections; changed by the thread that makes the calls only."""
        self._watched = watched
        #: The descriptor that the present call is for (-1: none in particular), as an object of its own for each call.
        self._call: list[int] | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="webhooks-curl-guard", daemon=True)
        self._thread.start()

    def enter(self, fd: int) -> None:
        self._call = [fd]

    def leave(self) -> None:
        self._call = None

    def close(self) -> None:
        self._closed.set()

    def _watch(self) -> None:
        seen: list[int] | None = None
        times = 0
        while not self._closed.wait(_LOOK_EVERY):
            call = self._call
            times = times + 1 if call is not None and call is seen else 0
            seen = call
            if call is not None and times >= _TOO_OFTEN:
                self._cut(call)
                times = 0

    def _cut(self, call: list[int]) -> None:
        """Shut down the connection of the call, and those that are flooded as it is."""
        flooded = {fd for fd in list(self._watched) if _unread(fd) >= _FLOOD}
        taken = [sock for fd in flooded.union(call) if fd >= 0 and (sock := _duplicate(fd)) is not None]
        for sock in taken:
            # Checked after duplicating: as long as the call lasts, nobody closes a descriptor and uses its number anew.
            if self._call is call:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def _unread(fd: int) -> int:
    """Return how many bytes the system has received for this descriptor and nobody has read."""
    if fcntl is None:
        return 0
    count = array.array("i", [0])
    try:
        fcntl.ioctl(fd, termios.FIONREAD, count)
    except OSError:
        return 0
    return count[0]


def _duplicate(fd: int) -> socket.socket | None:
    with contextlib.suppress(OSError):
        copy = os.dup(fd)
        try:
            return socket.socket(fileno=copy)
        except OSError:  # no socket
            os.close(copy)
    return None
