"""Cut off connections whose data keeps libcurl from returning.

OpenSSL reads on as long as handshake messages come (HelloRequest, NewSessionTicket, KeyUpdate), within one call. A receiver
that sends them without end would stop every request, and no deadline is looked at meanwhile.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Collection
from typing import Any

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = termios = None  # type: ignore[assignment]

#: A call is looked at this often (seconds). Where the system does not tell what is read meanwhile, it is too long when it was
#: seen so many times. They are counted, not timed: this process may have stood still.
_LOOK_EVERY = 0.02
_TOO_OFTEN = 10
#: A connection is cut off if so much was read from it (bytes) since a call was first seen, and also if so much is unread when
#: another one is: an honest response is shorter, and a receiver may have opened many.
_FLOOD = 32 * 1024
#: Linux tells in TCP_INFO how many bytes a connection has received (`tcpi_bytes_received`).
_TELLS = sys.platform == "linux"
_RECEIVED_AT = 128


class CallGuard:
    """Watches the calls of one transport from a separate thread."""

    def __init__(self, watched: Collection[int], *, direct: bool) -> None:
        """`watched`: the descriptors of all connections; changed by the thread that makes the calls only. `direct`: they
        lead to receivers and not to an egress proxy."""
        self._watched = watched
        self._direct = direct
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
                self._cut(call, found.union(self._same_server(found)))
            elif times >= _TOO_OFTEN and not _TELLS:
                self._cut(call, call)
                times = 0

    def _read(self) -> dict[int, int]:
        """Return how many bytes were read from each connection since it was opened. In a call for one, libcurl may read from
        any."""
        return {fd: received - _unread(fd) for fd in list(self._watched) if (received := _received(fd))}

    def _same_server(self, found: Collection[int]) -> list[int]:
        """Return the connections that lead to the same servers as these: each would take as long."""
        servers = {_peer(fd) for fd in found} - {None}
        return [fd for fd in list(self._watched) if _peer(fd) in servers] if self._direct and servers else []

    def _cut(self, call: list[int], found: Collection[int]) -> None:
        """Shut down these connections, and those that are flooded as they are."""
        flooded = {fd for fd in list(self._watched) if _unread(fd) >= _FLOOD}
        taken = [sock for fd in flooded.union(found) if fd >= 0 and (sock := _duplicate(fd)) is not None]
        for sock in taken:
            # Checked after duplicating: as long as the call lasts, nobody closes a descriptor and uses its number anew.
            if self._call is call:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def _peer(fd: int) -> tuple[Any, ...] | None:
    """Return the address and port of the server that a connection leads to."""
    sock = _duplicate(fd)
    if sock is None:
        return None
    with sock, contextlib.suppress(OSError):
        return tuple(sock.getpeername()[:2])
    return None


def _received(fd: int) -> int:
    """Return how many bytes this connection has received since it was opened; 0 where the system does not tell."""
    if not _TELLS:
        return 0
    sock = None
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)  # nothing asks for the family
        information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED_AT + 8)
        return int.from_bytes(information[_RECEIVED_AT:], sys.byteorder)
    except OSError:  # closed just now
        return 0
    finally:
        if sock is not None:
            sock.detach()


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
