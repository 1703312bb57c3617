"""Requests of the curl transport that wait until their host name is resolved."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import Request, Response
from webhooks_app.transport.faults import not_resolved_in_time
from webhooks_app.transport.resolver import Resolution, Resolver
from webhooks_app.transport.validation import Place, failed


@dataclass(slots=True, order=True)
class Lookup:
    """A request that waits for its name until `until`. Ordered by `until`, for the heap."""

    until: float
    request: Request = field(compare=False)
    deadline: float = field(compare=False)
    place: Place = field(compare=False)
    open: bool = field(compare=False, default=True)


@dataclass(slots=True)
class _Name:
    """The requests that wait for one name. `open` is the number of those that have not timed out."""

    lookups: list[Lookup] = field(default_factory=list)
    open: int = 0


class Lookups:
    """Requests that wait for their names. Call all methods in the transport's thread; `on_resolved` is called in others."""

    def __init__(self, on_resolved: Callable[[], None], max_threads: int) -> None:
        self.count = 0
        self._on_resolved = on_resolved
        self._resolved: deque[str] = deque()
        self._names: dict[str, _Name] = {}
        self._times: list[Lookup] = []
        self._resolver = Resolver(self._note, max_threads)
        #: See `Resolver.lookup`.
        self.ask = self._resolver.lookup

    @property
    def next_until(self) -> float | None:
        """Return when the next request stops waiting; None if no request waits."""
        while self._times and not self._times[0].open:
            heapq.heappop(self._times)
        return self._times[0].until if self._times else None

    def add(self, lookup: Lookup) -> None:
        name = self._names.setdefault(lookup.place.host, _Name())
        name.lookups.append(lookup)
        name.open += 1
        heapq.heappush(self._times, lookup)
        self.count += 1

    def take_resolved(self) -> list[tuple[Lookup, Resolution]]:
        """Return the requests whose lookups have ended since the last call, with the results."""
        taken: list[tuple[Lookup, Resolution]] = []
        while self._resolved:
            host = self._resolved.popleft()
            name = self._names.get(host)
            if name is None:
                continue
            waiting = [lookup for lookup in name.lookups if lookup.open]
            resolution = self.ask(host, waiting[0].request.owner)
            if resolution is not None:
                del self._names[host]
                for lookup in waiting:
                    lookup.open = False
                    self.count -= 1
                    taken.append((lookup, resolution))
        return taken

    def take_late(self, now: float) -> list[Response]:
        """Return the responses of the requests that have timed out."""
        taken = []
        while self._times and (not self._times[0].open or self._times[0].until <= now):
            lookup = heapq.heappop(self._times)
            if lookup.open:
                taken.append(self._end(lookup, now))
        return taken

    def close(self) -> None:
        self._resolver.close()
        self._names.clear()
        self._times.clear()
        self.count = 0

    def _end(self, lookup: Lookup, now: float) -> Response:
        host, seconds = lookup.place.host, now - lookup.deadline + lookup.request.total_timeout
        if self._resolver.has_started(host):
            response = failed(lookup.request, OutcomeKind.TIMEOUT, f"resolving {host} timed out", seconds)
        else:
            kind, detail, fault = not_resolved_in_time(host)
            response = failed(lookup.request, kind, detail, seconds, fault)
        lookup.open = False
        self.count -= 1
        name = self._names[host]
        name.open -= 1
        if not name.open:
            del self._names[host]
            self._resolver.give_up(host)
        return response

    def _note(self, host: str) -> None:
        self._resolved.append(host)
        self._on_resolved()
