"""Find the requests whose receivers keep libcurl busy: crafted certificates, renegotiations, compressed headers.

While libcurl handles one connection, it also handles others whose TLS records it has read before. So the connection of a
costly call proves nothing. But most requests wait for a response, and no TLS has been read for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from webhooks_app.transport.cpu_budget import CpuBudget
from webhooks_app.transport.curl_handle import Handle
from webhooks_app.transport.curl_outcome import BUSY, NEIGHBOUR_BUSY, Failure


class CostlyRequests:
    """The requests of one transport. Only `suspects` may be called by another thread, while the transport's is in a call."""

    def __init__(self, running: Mapping[Any, Handle]) -> None:
        self._running = running
        #: Requests whose connection is not known yet.
        self._without_connection: list[Handle] = []
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

    def forget_reads(self) -> None:
        """Forget what was read so far. Called four times a second: only what was read since then makes a suspect."""
        for handle in self._running.values():
            handle.forget_reads()

    def suspects(self, watched: Collection[int], removed: Collection[int] = ()) -> list[Handle]:
        """Return the handles that may have caused a costly call. `watched`: the descriptors of open connections; `removed`: of
        those that libcurl has stopped to watch during the call, because a request has ended."""
        # A copy: a thread whose call was given up closes the transport when the call returns.
        return [handle for handle in list(self._running.values()) if handle.has_read_tls(watched, removed)]

    def charge(self, seconds: float, watched: Collection[int], removed: Collection[int]) -> None:
        """Charge a call that took this much processor time to the owners of the requests that may have caused it."""
        suspects = [(one, one.request.owner) for one in self.suspects(watched, removed) if one.request is not None]
        over = self._budget.charge({owner for _, owner in suspects}, seconds)
        for handle, owner in suspects:
            handle.kept_busy = handle.kept_busy or owner in over
        self._costly |= over
        self._to_end |= over

    def take_to_end(self) -> list[tuple[Handle, Failure]]:
        """Return the running requests of owners that have spent their budget, because any of them may cost as much: the data of a
        hundred receivers may have arrived at the same moment. Only those that were suspected are failures of their receivers."""
        if not self._to_end:
            return []
        over, self._to_end = self._to_end, set()
        running = [handle for handle in self._running.values() if handle.waits_for_tls or handle.kept_busy]
        return [
            (handle, BUSY if handle.kept_busy else NEIGHBOUR_BUSY)
            for handle in running
            if handle.request is not None and handle.request.owner in over
        ]

    def take_costly(self) -> set[object]:
        """Return the owners that have spent their budget since the last call."""
        costly, self._costly = self._costly, set()
        return costly
