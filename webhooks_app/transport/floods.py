"""Find connections that bring data without end: handshake messages (NewSessionTicket, KeyUpdate), frames, chunk extensions.

Each of them costs time of a processor for a few bytes, and no library counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from time import monotonic
from typing import TypeVar

from webhooks_app.transport.base import TransportOptions
from webhooks_app.transport.validation import HEADER_ABORT_BYTES, MAX_BYTES_BESIDE_BODY

#: Seconds between two looks. Requests that end within that are not looked at: most requests.
_LOOK_EVERY = 0.05

Channel = TypeVar("Channel", bound=Hashable)
Request = TypeVar("Request", bound=Hashable)


class FloodWatch:
    """Looks at requests that take longer. Used by the thread of the transport's loop only."""

    def __init__(self, options: TransportOptions) -> None:
        self._most = options.body_limit + MAX_BYTES_BESIDE_BODY
        #: What each further request on the same connection (HTTP/2) may add.
        self._most_further = options.body_limit + HEADER_ABORT_BYTES
        self._seen: Collection[Hashable] = ()
        self._before: dict[Hashable, int] = {}
        #: When to call `find` again (`time.monotonic`).
        self.next_look = 0.0

    def find(self, requests: Mapping[Request, Channel], bytes_read: Callable[[Channel], int]) -> list[Channel]:
        """Return the connections that have brought too much for the requests that are open on them.

        `requests`: the connection of each open request. `bytes_read`: how many bytes a connection has brought in all.
        """
        self.next_look = monotonic() + _LOOK_EVERY
        longer = {request: connection for request, connection in requests.items() if request in self._seen}
        self._seen = requests.keys()
        sizes = {connection: bytes_read(connection) for connection in set(longer.values())}
        before: dict[Hashable, int] = {}
        allowed: dict[Channel, int] = {}
        for request, connection in longer.items():
            size = sizes[connection]
            before[request] = start = min(size, self._before.get(request, size))  # less: it is on a new connection now
            # Counted from when the newest request was seen: what came before may have been for those that have ended.
            older = allowed.get(connection)
            allowed[connection] = (
                start + self._most if older is None else max(older, start + self._most) + self._most_further
            )
        self._before = before
        return [connection for connection, most in allowed.items() if sizes[connection] > most]
