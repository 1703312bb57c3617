"""Find connections that never stop sending data: handshake messages (NewSessionTicket, KeyUpdate), frames, chunk extensions.

Each of them costs processor time for a few bytes, and no library limits them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable
from time import monotonic
from typing import TypeVar

from webhooks_app.transport.base import TransportOptions
from webhooks_app.transport.validation import HEADER_ABORT_BYTES, MAX_BYTES_BESIDE_BODY

#: Seconds between two checks. Requests that end within this time, which most do, are not checked.
_LOOK_EVERY = 0.25

Connection = TypeVar("Connection")
Request = TypeVar("Request")


class FloodWatch:
    """Checks requests that take longer than one interval. Only for the thread of the transport's loop."""

    def __init__(self, options: TransportOptions) -> None:
        self._most = options.body_limit + MAX_BYTES_BESIDE_BODY
        #: How much each further request on the same connection (HTTP/2) may add (bytes).
        self._most_further = options.body_limit + HEADER_ABORT_BYTES
        self._seen: Collection[Hashable] = ()
        #: The connection of a request when it was seen first, how much that had brought, and how many requests had ended on it.
        self._before: dict[Hashable, tuple[Hashable, int, int]] = {}
        self._ended: Counter[Hashable] = Counter()
        #: When to call `find` again (`time.monotonic`).
        self.next_look = 0.0

    def ended(self, connection: Hashable) -> None:
        """Count a request that has ended on this connection. Needed where several may be open at once (HTTP/2)."""
        self._ended[connection] += 1

    def find(
        self,
        requests: Collection[Request],
        connection_of: Callable[[Request], Connection],
        bytes_received: Callable[[Connection], int],
        bytes_read: Callable[[Connection], int],
    ) -> list[Connection]:
        """Return the connections from which too much data was read for their open requests, since these were seen first. What was
        unread at that time does not count.

        `bytes_received` returns how many bytes a connection has received in total, which is cheaper to ask than how many of them
        were read (`bytes_read`).
        """
        self.next_look = monotonic() + _LOOK_EVERY
        longer = {request: connection_of(request) for request in requests if request in self._seen}
        self._seen = frozenset(requests)
        sizes = {connection: bytes_received(connection) for connection in set(longer.values())}
        before: dict[Hashable, tuple[Hashable, int, int]] = {}
        allowed: dict[Connection, int] = {}
        for request, connection in longer.items():
            size, ended = sizes[connection], self._ended[connection]
            then, start, ended_then = self._before.get(request, (connection, size, ended))
            if then != connection or size < start:  # it is on a new connection now
                start, ended_then = size, ended
            before[request] = connection, start, ended_then
            most = start + self._most + (ended - ended_then) * self._most_further
            # Counted from when the newest request was seen: what came before may have been for those that have ended.
            older = allowed.get(connection)
            allowed[connection] = most if older is None else max(older, most) + self._most_further
        self._before = before
        too_large = [connection for connection, most in allowed.items() if sizes[connection] > most]
        return [connection for connection in too_large if bytes_read(connection) > allowed[connection]]
