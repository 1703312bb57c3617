"""Refuse responses that were received before their request was sent, on connections that libcurl keeps open.

A receiver may send a second response that nobody asked for. The next request on that connection, which may be another tenant's,
must not get it (RFC 9112, section 9.2). libcurl looks at idle connections only once a second, so it would.

On a plain connection, unread bytes before a request are such a response. On a TLS connection they may also be a session
ticket, which is legitimate: then the response is refused if its headers were among these bytes, or may have been, and the
request is sent once more on a new connection. An HTTP/2 response names its request. Only Linux reports what was read:
elsewhere a TLS connection with unread bytes is not used again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from webhooks_app.transport.socket_bytes import BorrowedSocket, Ends, bytes_read, ends_of, unread_of

#: The detail of a response that came before its request.
UNASKED = "the receiver sent a response before it got the request"


class OpenConnections:
    """A transport's connections: their sockets, by both ends, which libcurl reports before each request."""

    def __init__(self) -> None:
        self._sockets: dict[Ends, BorrowedSocket] = {}
        self._ends: dict[int, Ends] = {}
        self._doubtful: list[Reuse] = []

    def add(self, ends: Ends, opened: Iterable[int]) -> None:
        """Note which of these descriptors, just opened for one request, is this connection."""
        for descriptor in opened:
            sock = _socket_of(descriptor, ends)
            if sock is not None:
                self._sockets.pop(self._ends.get(descriptor, ends), None)
                self._sockets[ends] = sock
                self._ends[descriptor] = ends

    def get(self, ends: Ends) -> BorrowedSocket | None:
        """Return the socket of this connection; None if it is unknown."""
        return self._sockets.get(ends)

    def doubt(self, reuse: Reuse) -> None:
        self._doubtful.append(reuse)

    def clear_doubts(self) -> None:
        """Clear doubts. Call this after libcurl has handled connections."""
        for reuse in self._doubtful:
            reuse.clear_doubt()
        if self._doubtful:
            self._doubtful = [reuse for reuse in self._doubtful if reuse.is_doubtful]


class Reuse:
    """Whether the current request of a handle, on a connection that was used before, gets a response of its own."""

    __slots__ = ("_connections", "_descriptor", "_received", "_unread", "unasked")

    def __init__(self, connections: OpenConnections) -> None:
        self._connections = connections
        self.reset()

    def reset(self) -> None:
        self._descriptor = -1
        #: How many bytes had been received when the request was about to be sent, and whether some of them may be a response.
        self._received = 0
        self._unread = False
        #: True: the request was stopped, because the connection had a response that came before it.
        self.unasked = False

    def begin(self, ends: Ends, opened: Collection[int], *, tls: bool) -> bool:
        """Note that the request is about to be sent on this connection. Return False if it must not be.

        `opened`: the descriptors that were opened for it; empty if the connection was kept.
        """
        self.reset()
        if opened:
            self._connections.add(ends, opened)
            return True
        sock = self._connections.get(ends)
        unread = unread_of(sock) if sock is not None else 1
        # A TLS handshake has read something. Some systems that call themselves Linux do not count it.
        read = bytes_read(sock.fileno()) if tls and sock is not None else 0
        if unread and not read:
            self.unasked = True
            return False
        if read and sock is not None:
            self._descriptor = sock.fileno()
            self._received = read + unread
            if unread:
                self._unread = True
                self._connections.doubt(self)
        return True

    @property
    def is_doubtful(self) -> bool:
        """Return whether bytes from before the request are unread, which may be a response."""
        return self._unread

    def clear_doubt(self) -> None:
        """Call this after libcurl has handled the connection: what it has read without finding a response was none."""
        self._unread = self._unread and bytes_read(self._descriptor) < self._received

    def refuses(self, version: str) -> bool:
        """Return whether the response whose status line was just read is refused."""
        if self._descriptor < 0 or version == "2":
            return False
        # TLS reads ahead, so the bytes that were unread may have been read together with the response to the request.
        self.unasked = self._unread or bytes_read(self._descriptor) <= self._received
        self._descriptor = -1
        return self.unasked


def _socket_of(descriptor: int, ends: Ends) -> BorrowedSocket | None:
    """Return the socket of a descriptor if it is this connection."""
    try:
        sock = BorrowedSocket(descriptor)
        return sock if ends_of(sock) == ends else None
    except OSError:  # closed just now
        return None
