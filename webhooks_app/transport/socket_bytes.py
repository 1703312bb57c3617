"""What socket a descriptor stands for, how much it has received, and how much of that was read. Only Linux reports these."""

from __future__ import annotations

import array
import os
import socket
import sys
from typing import NamedTuple

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = termios = None  # type: ignore[assignment]

#: Linux reports in TCP_INFO how many bytes a connection has received (`tcpi_bytes_received`).
TELLS_RECEIVED = sys.platform == "linux"
_RECEIVED_AT = 128
#: Linux reports in this option how much memory a socket uses, beginning with that of unread data.
_SO_MEMINFO = 55
_QUEUED_BYTES = 4
_NOTHING = bytes(_QUEUED_BYTES)
_DROPPED_AT_ONCE = 256 * 1024


class OpenSocket(NamedTuple):
    """A socket that was open when it was noted. Another one may get its descriptor after it is closed, but not its inode."""

    fd: int
    inode: int

    @classmethod
    def of(cls, fd: int) -> OpenSocket:
        return cls(fd, _inode(fd))

    @property
    def is_open(self) -> bool:
        """Return whether the descriptor still stands for this socket."""
        return self.fd >= 0 and _inode(self.fd) == self.inode

    def bytes_read(self) -> int:
        """Return how many bytes were read from this socket; 0 if it is closed, or if the system does not report it."""
        return bytes_read(self.fd) if self.is_open else 0


#: Stands for a socket that does not exist.
NO_SOCKET = OpenSocket(-1, 0)


def _inode(fd: int) -> int:
    """Return the inode of a descriptor's file; 0 if it is closed, or if the system does not report it (Windows)."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0


class BorrowedSocket(socket.SocketType):
    """A socket object for a descriptor that belongs to a library: it never closes it. Raises OSError if it is closed already."""

    def __init__(self, fd: int) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)  # the family does not matter here

    def __del__(self) -> None:
        self.detach()

    @property
    def has_unread(self) -> bool:
        """Whether there may be unread bytes. Asked first, because it keeps the interpreter's lock: `_ask_unread` gives it to
        another thread."""
        return self.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _QUEUED_BYTES) != _NOTHING


def bytes_read(fd: int) -> int:
    """Return how many bytes were read from this connection since it was opened; 0 if the system does not report it."""
    return _received(fd, unread_too=False)


def bytes_received(fd: int) -> int:
    """Return the same and what is unread. This is cheaper to ask while data is unread."""
    return _received(fd, unread_too=True)


def _received(fd: int, *, unread_too: bool) -> int:
    if not TELLS_RECEIVED:
        return 0
    try:
        sock = BorrowedSocket(fd)
        information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED_AT + 8)
        received = int.from_bytes(information[_RECEIVED_AT:], sys.byteorder)
        if received and not unread_too and sock.has_unread:
            received -= _ask_unread(fd)
    except (OSError, ValueError):  # closed just now
        return 0
    return max(received, 0)


def bytes_unread(fd: int) -> int:
    """Return how many received bytes of this connection are unread; 0 if the system does not report it."""
    try:
        return unread_of(BorrowedSocket(fd))
    except (OSError, ValueError):  # closed just now
        return 0


def unread_of(sock: BorrowedSocket) -> int:
    """Do the same for a socket object that is kept, which is cheaper."""
    try:
        if TELLS_RECEIVED and not sock.has_unread:
            return 0
    except OSError:  # closed just now
        return 0
    return _ask_unread(sock.fileno())


def _ask_unread(fd: int) -> int:
    if fcntl is None:
        return 0
    count = array.array("i", [0])
    try:
        fcntl.ioctl(fd, termios.FIONREAD, count)
    except (OSError, ValueError):  # closed just now
        return 0
    return count[0]


#: Both ends of a connection: local address and port, remote address and port. Connections to different servers may have the same
#: local port.
Ends = tuple[str, int, str, int]


def ends_of(sock: socket.SocketType) -> Ends:
    """Return the ends of a connection. Raises OSError if it is not connected."""
    host, port, *_ = sock.getsockname()
    peer, peer_port, *_ = sock.getpeername()
    return host, port, peer, peer_port


def is_connected(fd: int) -> bool:
    """Return whether this connection is established."""
    try:
        BorrowedSocket(fd).getpeername()
    except OSError:
        return False
    return True


def drop_unread(sock: socket.socket) -> None:
    """Drop the received bytes that are unread: a socket that was shut down would still return them to its reader.

    Raises OSError when nothing is left.
    """
    if TELLS_RECEIVED:
        while sock.recv(_DROPPED_AT_ONCE, socket.MSG_DONTWAIT | socket.MSG_TRUNC):  # Linux does not copy the bytes
            pass
