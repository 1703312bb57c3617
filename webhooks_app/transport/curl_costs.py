"""Find the requests whose receivers keep libcurl busy: crafted certificates, renegotiations, compressed headers.

While libcurl handles one connection, it also handles others: TLS records that it has read before, idle connections that it
checks or closes. So the connection of a costly call alone proves nothing, and what was read from each of them counts too. For
most requests, which wait for a response, no TLS has been read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from webhooks_app.core.costly_calls import ConnectionRead, culprits, culprits_of_several, weights
from webhooks_app.transport.cpu_budget import CpuBudget
from webhooks_app.transport.curl_handle import Handle
from webhooks_app.transport.curl_outcome import BUSY, NEIGHBOUR_BUSY, Failure
from webhooks_app.transport.socket_bytes import OpenSocket, bytes_read

_MOST_KEPT = 4096
#: After so many quarters of a second the calls that were counted so far count half.
_HALVED_AFTER = 600


class _Kept(NamedTuple):
    """A connection without a request."""

    connection: OpenSocket
    owner: object
    size: int


class CostlyRequests:
    """The requests of one transport. Another thread may call `suspects` while the transport's is in a call."""

    def __init__(self, running: Mapping[Any, Handle]) -> None:
        self._running = running
        #: Requests whose connection is not known yet.
        self._without_connection: list[Handle] = []
        #: Connections whose requests have ended, by descriptor.
        self._kept: dict[int, _Kept] = {}
        self._budget = CpuBudget()
        #: Owners over their budget that were not reported yet, and those whose requests are to be ended.
        self._costly: set[object] = set()
        self._to_end: set[object] = set()
        #: How many calls there were lately for the connections of each owner, and how many of these were costly.
        self._calls: Counter[Any] = Counter()
        self._costly_calls: Counter[Any] = Counter()
        self._looks = 0

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

    def forget_reads(self, calls: Mapping[Any, int]) -> None:
        """Forget what was read so far. Called four times a second. `calls`: how many calls of libcurl there were since for the
        connections of each owner."""
        self._calls.update(calls)
        self._looks += 1
        if self._looks % _HALVED_AFTER == 0:
            self._calls, self._costly_calls = _halved(self._calls), _halved(self._costly_calls)
        for handle in self._running.values():
            handle.forget_reads()

    def suspects(self, called: int) -> tuple[dict[Any, float], list[Handle]]:
        """Return the owners that may have caused a call that has not returned, each with a weight up to 1, and their requests.
        `called`: the descriptor that the call is for; -1 if it is for none."""
        handles, reads = self._look(called, {})
        found = weights(reads)
        return found, [handle for handle in handles if handle.owner in found]

    def charge(self, seconds: float, called: int, removed: Mapping[int, object], owner: Any) -> None:
        """Charge a call that took this much processor time to the owners whose receiver has caused it.

        `removed`: the descriptors that libcurl has stopped to watch during the call, with their owners. `owner`: that of the
        descriptor `called`, None if there is none. If it is uncertain whose receiver it was, nobody is charged until there is
        evidence from several such calls: others must not pay."""
        handles, reads = self._look(called, removed)
        if owner is not None:
            self._costly_calls[owner] += 1
        found = culprits(reads)
        if not found and any(owner in read.owners for read in reads if read.called):
            found = culprits_of_several(self._costly_calls, self._calls) & {owner}
        over = self._budget.charge(found, seconds)
        for handle in handles:
            handle.kept_busy = handle.kept_busy or handle.owner in over
            handle.forget_reads()
        self._costly |= over
        self._to_end |= over

    def _look(self, called: int, removed: Mapping[int, object]) -> tuple[list[Handle], list[ConnectionRead]]:
        """Return the requests for which TLS was read recently, and what was read from each connection."""
        handles: list[Handle] = []
        sizes: dict[int, int] = {}
        owners: defaultdict[int, set[Any]] = defaultdict(set)
        used = set()
        # Copies: a thread whose call was abandoned closes the transport when the call returns.
        for handle in list(self._running.values()):
            used.add(handle.connection.fd)
            read = handle.tls_read(removed)
            if read:
                handles.append(handle)
            for fd, size in read.items():
                sizes[fd] = max(size, sizes.get(fd, 0))
                owners[fd].add(handle.owner)
        for fd, kept in list(self._kept.items()):
            if fd not in used and (size := kept.connection.bytes_read()) > kept.size:
                sizes[fd] = size - kept.size
                owners[fd].add(kept.owner)
                self._kept[fd] = kept._replace(size=size)
        reads = [
            ConnectionRead(frozenset(owners[fd]), size, called=fd == called, guessed=fd in removed)
            for fd, size in sizes.items()
        ]
        return handles, reads

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


def _halved(counted: Counter[Any]) -> Counter[Any]:
    return Counter({owner: number // 2 for owner, number in counted.items() if number > 1})
