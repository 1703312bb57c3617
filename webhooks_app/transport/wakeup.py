"""A pair of sockets with which any thread can wake the thread that is blocked in a selector."""

from __future__ import annotations

import contextlib
import socket


class Wakeup:
    """A file object for the selector. Only `send` may be called from another thread."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        return self._receiver.fileno()

    def send(self, why: bytes) -> None:
        with contextlib.suppress(OSError):  # full: the thread is about to wake; or it is closed
            self._sender.send(why)

    def take(self) -> bytes:
        """Return everything that was sent since the last call."""
        received = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := self._receiver.recv(4096):
                received += chunk
        return received

    def close(self) -> None:
        self._receiver.close()
        self._sender.close()
