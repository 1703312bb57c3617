"""The fast transport: one event loop on libcurl, many requests at once from one thread.

libcurl tells us which sockets and which timer it waits for; we block in `select` on those, and never spin. Names are
resolved by `Resolver` and handed to libcurl with the request. Every address is checked in libcurl's open-socket
callback, so whatever a name or a literal turned into is seen before one packet goes there; the host name stays for
Host, SNI and the certificate. Reused connections passed that check when they were opened, under the same policy: a
transport keeps one policy for its life.
"""

from __future__ import annotations

import contextlib
import heapq
import selectors
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import certifi
import pycurl

from webhooks_app.core.addresses import refusal, usable_addresses
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import Request, Response, TransportOptions
from webhooks_app.transport.curl_handle import Handle
from webhooks_app.transport.resolver import Answer, Resolver
from webhooks_app.transport.wire import Place, failed, place_of

_EVENTS = {
    pycurl.POLL_IN: selectors.EVENT_READ,
    pycurl.POLL_OUT: selectors.EVENT_WRITE,
    pycurl.POLL_INOUT: selectors.EVENT_READ | selectors.EVENT_WRITE,
}
#: Bits for `socket_action`, by the selector's event mask.
_READY = (0, pycurl.CSELECT_IN, pycurl.CSELECT_OUT, pycurl.CSELECT_IN | pycurl.CSELECT_OUT)
#: Idle connections that are kept beyond one for each request in flight.
_SPARE_CONNECTIONS = 128


@dataclass(slots=True, order=True)
class _Lookup:
    """A request that waits for its name, until `until`. Ordered by that, for the heap."""

    until: float
    request: Request = field(compare=False)
    deadline: float = field(compare=False)
    place: Place = field(compare=False)
    open: bool = field(compare=False, default=True)


class CurlTransport:
    """See `base.Transport`. Speaks HTTP/2 where TLS offers it, else HTTP/1.1."""

    name = "curl"

    def __init__(self, options: TransportOptions) -> None:
        self.options = options
        self.capacity = options.concurrency
        self._ca_bundle = options.ca_bundle or certifi.where()
        self._running: dict[Any, Handle] = {}
        self._idle: list[Handle] = []
        self._lookups: dict[str, list[_Lookup]] = {}
        self._lookup_times: list[_Lookup] = []
        self._looking_up = 0
        self._queued: deque[tuple[Request, float]] = deque()
        self._finished: list[Response] = []
        self._timer: float | None = None
        self._raised: BaseException | None = None
        self._selector = selectors.DefaultSelector()
        self._watched: set[int] = set()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._resolver = Resolver(on_answer=lambda: self._poke(b"n"))
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, options.concurrency + _SPARE_CONNECTIONS)

    @property
    def in_flight(self) -> int:
        return len(self._running) + self._looking_up + len(self._queued) + len(self._finished)

    def start(self, request: Request) -> None:
        deadline = monotonic() + request.total_timeout
        if len(self._running) + self._looking_up < self.capacity:
            self._admit(request, deadline)
        else:
            self._queued.append((request, deadline))

    def wait(self, timeout: float) -> list[Response]:
        until = monotonic() + timeout
        pause = 0.0 if self._finished else timeout
        while not self._turn(pause) and not self._finished:
            pause = until - monotonic()
            if pause <= 0:
                break
        finished, self._finished = self._finished, []
        return finished

    def wake(self) -> None:
        self._poke(b"w")

    def close(self) -> None:
        self._resolver.close()
        for handle in self._running.values():
            self._multi.remove_handle(handle.curl)
        for handle in (*self._running.values(), *self._idle):
            handle.close()
        self._multi.close()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()
        for kept in (self._running, self._idle, self._lookups, self._lookup_times, self._queued, self._finished):
            kept.clear()
        self._looking_up = 0

    # A request's way: admitted, perhaps waiting for its name, on libcurl, finished.

    def _admit(self, request: Request, deadline: float) -> None:
        now = monotonic()
        try:
            place = place_of(request.url)
        except ValueError as error:
            self._finished.append(failed(request, OutcomeKind.NOT_SENT, str(error)))
            return
        if deadline <= now:
            detail = "no connection was free before the deadline"
            self._finished.append(failed(request, OutcomeKind.NOT_SENT, detail, request.total_timeout))
        elif detail := refusal(place.scheme, place.host, place.port, self.options.addresses):
            self._finished.append(failed(request, OutcomeKind.ADDRESS_NOT_ALLOWED, detail))
        elif place.literal or self.options.proxy:  # the egress proxy resolves names, and must check them
            self._begin(request, deadline, "")
        elif (answer := self._resolver.lookup(place.host)) is not None:
            self._begin_at(answer, place, request, deadline)
        else:
            lookup = _Lookup(min(deadline, now + request.connect_timeout), request, deadline, place)
            self._lookups.setdefault(place.host, []).append(lookup)
            heapq.heappush(self._lookup_times, lookup)
            self._looking_up += 1

    def _begin_at(self, answer: Answer, place: Place, request: Request, deadline: float) -> None:
        addresses = usable_addresses(answer.addresses, self.options.addresses)
        if answer.error:
            self._finished.append(failed(request, OutcomeKind.NAME_ERROR, answer.error))
        elif not addresses:
            detail = f"{place.host} is {', '.join(answer.addresses)}, which is not sent to"
            self._finished.append(failed(request, OutcomeKind.ADDRESS_NOT_ALLOWED, detail))
        else:
            written = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
            self._begin(request, deadline, f"+{place.host}:{place.port}:{written}")

    def _begin(self, request: Request, deadline: float, resolve: str) -> None:
        handle = self._idle.pop() if self._idle else Handle(self.options, self._ca_bundle, self._keep_error)
        seconds = deadline - monotonic()
        if request.total_timeout - seconds < 0.01:  # begun at once: the option need not change from request to request
            seconds = request.total_timeout
        try:
            handle.prepare(request, seconds, resolve)
        except (ValueError, pycurl.error) as error:
            self._idle.append(handle)
            self._finished.append(failed(request, OutcomeKind.NOT_SENT, str(error)))
            return
        self._running[handle.curl] = handle
        self._multi.add_handle(handle.curl)

    def _take_names(self) -> None:
        for host in list(self._lookups):
            answer = self._resolver.lookup(host)
            if answer is None:
                continue
            for lookup in self._lookups.pop(host):
                if lookup.open:
                    self._settle(lookup)
                    self._begin_at(answer, lookup.place, lookup.request, lookup.deadline)

    def _drop_late_lookups(self) -> None:
        now = monotonic()
        while self._lookup_times and (not self._lookup_times[0].open or self._lookup_times[0].until <= now):
            lookup = heapq.heappop(self._lookup_times)
            if lookup.open:
                self._settle(lookup)
                seconds = now - lookup.deadline + lookup.request.total_timeout
                detail = f"resolving {lookup.place.host} timed out"
                self._finished.append(failed(lookup.request, OutcomeKind.TIMEOUT, detail, seconds))

    def _settle(self, lookup: _Lookup) -> None:
        lookup.open = False
        self._looking_up -= 1

    # The loop.

    def _turn(self, pause: float) -> bool:
        """One turn of the loop: block for at most `pause` seconds, let libcurl act, gather. True if woken."""
        woken = False
        now = monotonic()
        if self._timer is not None:
            pause = min(pause, self._timer - now)
        if self._lookup_times:
            pause = min(pause, self._lookup_times[0].until - now)
        for key, mask in self._selector.select(max(pause, 0.0)):
            if key.fileobj is self._wake_in:
                pokes = self._pokes()
                woken = b"w" in pokes
                self._take_names()
            elif key.fd in self._watched:  # not closed by an event handled just before
                self._multi.socket_action(key.fd, _READY[mask])
        if self._timer is not None and self._timer <= monotonic():
            self._timer = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        if self._lookup_times:
            self._drop_late_lookups()
        self._gather()
        if self._raised is not None:
            error, self._raised = self._raised, None
            raise error
        return woken

    def _gather(self) -> None:
        for curl, code, message in self._results():
            handle = self._running.pop(curl)
            self._multi.remove_handle(curl)
            self._finished.append(handle.finish(code, message))
            self._idle.append(handle)
        while self._queued and len(self._running) + self._looking_up < self.capacity:
            self._admit(*self._queued.popleft())

    def _results(self) -> Iterator[tuple[Any, int, str]]:
        more = 1
        while more:
            more, good, bad = self._multi.info_read()
            for curl in good:
                yield curl, pycurl.E_OK, ""
            yield from bad

    def _poke(self, why: bytes) -> None:
        with contextlib.suppress(OSError):  # full: a poke is under way; or closed
            self._wake_out.send(why)

    def _pokes(self) -> bytes:
        received = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := self._wake_in.recv(4096):
                received += chunk
        return received

    # libcurl's callbacks. pycurl would print an exception and forget it; it is kept, and raised by `wait`.

    def _watch(self, what: int, fd: int, _multi: object, _data: object) -> None:
        try:
            if what == pycurl.POLL_REMOVE:
                if fd in self._watched:
                    self._watched.discard(fd)
                    self._selector.unregister(fd)
            elif fd in self._watched:
                self._selector.modify(fd, _EVENTS[what])
            elif what in _EVENTS:
                self._selector.register(fd, _EVENTS[what])
                self._watched.add(fd)
        except BaseException as error:  # noqa: BLE001 - raised by `_turn`
            self._keep_error(error)

    def _keep_error(self, error: BaseException) -> None:
        self._raised = self._raised or error

    def _set_timer(self, milliseconds: int) -> None:
        self._timer = None if milliseconds < 0 else monotonic() + milliseconds / 1000
