"""Find the requests whose receivers keep libcurl busy: crafted certificates, renegotiations, compressed headers.

While libcurl handles one connection, it also handles others: TLS records that it has read before, idle connections that it
checks or closes. So the connection of a costly call proves nothing. But for most requests, which wait for a response, no TLS
has been read. What is usual for an owner counts less: one with many short connections has always just read some.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from webhooks_app.transport.cpu_budget import CpuBudget
from webhooks_app.transport.curl_handle import Handle
from webhooks_app.transport.curl_outcome import BUSY, NEIGHBOUR_BUSY, Failure
from webhooks_app.transport.socket_bytes import OpenSocket, bytes_read

#: How fast the usual share of an owner follows what is seen, at each look; and below which it is forgotten.
_FOLLOWS = 0.1
_FORGOTTEN = 0.01
#: The least weight of an owner, and the weight of one that has no request open.
_LEAST_WEIGHT = 0.05
_WEIGHT_OF_KEPT = 0.5
_MOST_KEPT = 4096


class _Kept(NamedTuple):
    """A connection without a request."""

    connection: OpenSocket
    owner: object
    size: int


class CostlyRequests:
    """The requests of one transport. Another thread may call `suspects` and `weights` while the transport's is in a call."""

    def __init__(self, running: Mapping[Any, Handle]) -> None:
        self._running = running
        #: Requests whose connection is not known yet.
        self._without_connection: list[Handle] = []
        #: Connections whose requests have ended, by descriptor.
        self._kept: dict[int, _Kept] = {}
        #: The share of looks at which an owner was suspected, although there was no costly call.
        self._usual: dict[object, float] = {}
        self._budget = CpuBudget()
        #: Owners over their budget that were not reported yet, and those whose requests are to be ended.
        self._costly: set[object] = set()
        self._to_end: set[object] = set()

    def begin(self, handle: Handle) -> None:
        """Note that this request has been passed to libcurl."""
        self._without_connection.append(handle)

    def note_connections(self) -> None:
        """Find out which connections the latest requests use."""
        if self._without_connection:
            self._without_connection = [handle for handle in self._without_connection if not handle.note_connection()]

    def end(self, handle: Handle) -> None:
        """Note that a request ends. libcurl may keep its connection, and read from it later."""
        connection = handle.connection
        if connection.fd >= 0:
            if len(self._kept) >= _MOST_KEPT:
                self._kept = {}
            self._kept[connection.fd] = _Kept(connection, handle.owner, bytes_read(connection.fd))

    def look(self, watched: Collection[int]) -> None:
        """Learn which owners are usual suspects, and forget what was read so far. Called four times a second."""
        owners = {handle.owner for handle in self.suspects(watched)}
        usual = {}
        for owner in {*self._usual, *owners}:
            share = self._usual.get(owner, 0.0)
            share += _FOLLOWS * ((owner in owners) - share)
            if share > _FORGOTTEN:
                usual[owner] = share
        self._usual = usual
        for handle in self._running.values():
            handle.forget_reads()

    def suspects(self, watched: Collection[int], removed: Collection[int] = ()) -> list[Handle]:
        """Return the handles that may have caused a costly call. `watched`: the descriptors of open connections; `removed`: of
        those that libcurl has stopped to watch during the call, because a request has ended."""
        # A copy: a thread whose call was given up closes the transport when the call returns.
        return [handle for handle in list(self._running.values()) if handle.has_read_tls(watched, removed)]

    def weights(self, suspects: Collection[Handle]) -> dict[object, float]:
        """Return the owners that may have caused a costly call, each with a weight up to 1: those of these handles, less the more
        usual they are, and those of kept connections that something was read from."""
        used = {handle.connection.fd for handle in list(self._running.values())}
        weights = {
            kept.owner: _WEIGHT_OF_KEPT
            for fd, kept in list(self._kept.items())
            if fd not in used and kept.connection.bytes_read() > kept.size
        }
        for handle in suspects:
            owner = handle.owner
            weights[owner] = max(1.0 - self._usual.get(owner, 0.0), weights.get(owner, _LEAST_WEIGHT))
        return weights

    def charge(self, seconds: float, watched: Collection[int], removed: Collection[int]) -> None:
        """Charge a call that took this much processor time to the owners of the requests that may have caused it."""
        suspects = self.suspects(watched, removed)
        over = self._budget.charge(self.weights(suspects), seconds)
        for handle in suspects:
            handle.kept_busy = handle.kept_busy or handle.owner in over
        self._costly |= over
        self._to_end |= over

    def take_to_end(self) -> list[tuple[Handle, Failure]]:
        """Return the running requests of owners that have spent their budget, because any of them may cost as much: the data of a
        hundred receivers may have arrived at the same moment. Only those that were suspected are failures of their receivers."""
        if not self._to_end:
            return []
        over, self._to_end = self._to_end, set()
        return [
            (handle, BUSY if handle.kept_busy else NEIGHBOUR_BUSY)
            for handle in self._running.values()
            if handle.owner in over and (handle.waits_for_tls or handle.kept_busy)
        ]

    def take_costly(self) -> set[object]:
        """Return the owners that have spent their budget since the last call."""
        costly, self._costly = self._costly, set()
        return costly
