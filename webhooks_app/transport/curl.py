"""The fast transport: one event loop on libcurl, many requests at once from one thread.

libcurl reports which sockets and which timer it waits for. The loop blocks on these in `select` and never spins. `Resolver`
resolves host names, and the addresses are passed to libcurl with the request. libcurl's open-socket callback checks every
address, whether it comes from a name or from the URL, before a packet is sent to it. Host, SNI and the certificate keep
using the host name. Reused connections passed this check when they were opened, under the same policy: a transport has
one policy, which never changes.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any

import pycurl

from webhooks_app.core.addresses import refusal
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, Request, Response, StuckCall, TransportOptions
from webhooks_app.transport.connection_check import addresses_to_connect
from webhooks_app.transport.curl_costs import CostlyRequests
from webhooks_app.transport.curl_handle import BODY_LATE, CUT_OFF, Handle
from webhooks_app.transport.curl_options import resolve_option
from webhooks_app.transport.curl_outcome import BUSY, FLOOD, Failure
from webhooks_app.transport.curl_reuse import OpenConnections
from webhooks_app.transport.curl_sockets import CurlSockets
from webhooks_app.transport.curl_tls import Verified
from webhooks_app.transport.descriptors import spare_connections
from webhooks_app.transport.faults import not_sent
from webhooks_app.transport.floods import FloodWatch
from webhooks_app.transport.lookups import Lookup, Lookups
from webhooks_app.transport.resolver import MAX_THREADS, Resolution
from webhooks_app.transport.socket_bytes import bytes_read, bytes_received
from webhooks_app.transport.stalls import StallWatch
from webhooks_app.transport.validation import Place, check_request, failed
from webhooks_app.transport.wakeup import Wakeup


class CurlTransport:
    """See `base.Transport`. Uses HTTP/2 if the receiver offers it over TLS, else HTTP/1.1."""

    name = "curl"

    def __init__(self, options: TransportOptions) -> None:
        self.options = options
        self.capacity = options.concurrency
        self._running: dict[Any, Handle] = {}
        self._idle: list[Handle] = []
        #: Handles whose headers were completed in this turn; and handles that still read a body, with their deadlines.
        self._heads: list[Handle] = []
        self._bodies: deque[tuple[float, Handle, int]] = deque()
        self._connections = OpenConnections()
        self._queued: deque[tuple[Request, float]] = deque()
        self._finished: list[Response] = []
        self._timer: float | None = None
        self._raised: BaseException | None = None
        self._costs = CostlyRequests(self._running)
        self.take_costly = self._costs.take_costly
        self._stalls = StallWatch()
        self._floods = FloodWatch(options)
        self._wakeup = Wakeup()
        self._lookups = Lookups(lambda: self._wakeup.send(b"n"), min(MAX_THREADS, max(4, self.capacity)))
        self._multi = pycurl.CurlMulti()
        pycurl.Curl().close()  # initialises libcurl, if nothing else has done so
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        connections = options.concurrency + spare_connections(options.concurrency)
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, connections)  # at this limit, idle ones are closed
        # This starts a thread, which `close` ends.
        self._sockets = CurlSockets(
            self._multi, self._wakeup, self._take_names, self._keep_error, self._costs.charge, direct=not options.proxy
        )
        callbacks = self._keep_error, self._heads.append, self._sockets.note_opened, self._sockets.bytes_at_end
        self._handle_parts = options, *callbacks, self._connections, Verified()

    @property
    def in_flight(self) -> int:
        return len(self._running) + self._lookups.count + len(self._queued) + len(self._finished)

    def start(self, request: Request) -> None:
        try:
            self._queued.append((request, monotonic() + request.total_timeout))
            if len(self._queued) == 1:
                self._admit_queued()
        except Exception as error:  # noqa: BLE001 - it becomes this request's response
            self._finished.append(not_sent(request, error))

    def wait(self, timeout: float) -> list[Response]:
        until = monotonic() + timeout
        pause = 0.0 if self._finished else timeout
        while not self._turn(pause) and not self._finished and not self._sockets.ready:
            pause = until - monotonic()
            if pause <= 0:
                break
        finished, self._finished = self._finished, []
        return finished

    def wake(self) -> None:
        self._wakeup.send(b"w")

    @property
    def is_stuck(self) -> bool:
        return self._sockets.guard.is_stuck

    def give_up(self) -> StuckCall | None:
        called = self._sockets.guard.give_up()
        if called is None:
            return None
        # The transport's thread starts no call any more, but when this one returns it closes the transport.
        owners, requests = self._costs.suspects(called)
        failures = [failed(one.request, *BUSY[:2]) for one in requests if one.request is not None]
        return StuckCall(owners, failures)

    def close(self) -> None:
        self._sockets.stop_guard()
        self._lookups.close()
        for handle in self._running.values():
            self._multi.remove_handle(handle.curl)
        for handle in (*self._running.values(), *self._idle):
            handle.close()
        self._multi.close()
        self._sockets.close()
        self._wakeup.close()
        for kept in (self._running, self._idle, self._heads, self._bodies, self._queued, self._finished):
            kept.clear()

    # The steps of a request: admit, resolve the name if needed, run in libcurl, finish. Their errors become its response.
    def _admit(self, request: Request, deadline: float) -> None:
        now = monotonic()
        place = check_request(request)
        if deadline <= now:
            detail, seconds = "no connection was free before the deadline", request.total_timeout
            self._finished.append(failed(request, OutcomeKind.NOT_SENT, detail, seconds, OurFault.CAPACITY))
        elif detail := refusal(place.scheme, place.host, place.port, self.options.addresses):
            self._finished.append(failed(request, OutcomeKind.ADDRESS_NOT_ALLOWED, detail))
        elif self.options.proxy_resolves_names if self.options.proxy else place.literal:
            self._begin(request, deadline, "")  # the proxy, or the check of each socket, judges the address
        elif place.literal:
            self._begin_at(Resolution((place.host,), "", deadline), place, request, deadline)
        elif (resolution := self._lookups.ask(place.host, request.owner)) is not None:
            self._begin_at(resolution, place, request, deadline)
        else:
            self._lookups.add(Lookup(min(deadline, now + request.connect_timeout), request, deadline, place))

    def _begin_at(self, resolution: Resolution, place: Place, request: Request, deadline: float) -> None:
        addresses = addresses_to_connect(resolution.addresses, self.options.addresses)
        if resolution.error:
            kind = OutcomeKind.NOT_SENT if resolution.our_fault else OutcomeKind.NAME_ERROR
            self._finished.append(failed(request, kind, resolution.error, our_fault=resolution.our_fault))
        elif not addresses:
            detail = f"{place.host} is {', '.join(resolution.addresses)}, which is not sent to"
            self._finished.append(failed(request, OutcomeKind.ADDRESS_NOT_ALLOWED, detail))
        else:
            self._begin(request, deadline, resolve_option(place, addresses, by_proxy=bool(self.options.proxy)))

    def _begin(self, request: Request, deadline: float, resolve: str) -> None:
        handle = self._idle.pop() if self._idle and request.tls is None else Handle(*self._handle_parts)
        seconds = deadline - monotonic()
        if request.total_timeout - seconds < 0.01:  # started at once: so the option need not change for each request
            seconds = request.total_timeout
        try:
            handle.prepare(request, seconds, resolve)
            self._run(handle)
        except BaseException:
            self._running.pop(handle.curl, None)
            handle.close()  # do not reuse it: its state is unknown
            raise

    def _run(self, handle: Handle) -> None:
        self._multi.add_handle(handle.curl)
        self._running[handle.curl] = handle
        self._costs.begin(handle)

    def _end(self, handle: Handle, code: int, message: str) -> None:
        request = handle.request
        assert request is not None
        del self._running[handle.curl]
        try:
            self._costs.end(handle)
            descriptor = handle.descriptor
            if descriptor >= 0:
                self._floods.ended(descriptor)
                self._sockets.note_owner(descriptor, request.owner)
            self._sockets.remove(handle.curl)
            is_flood = code > pycurl.E_OK and self._sockets.flooded(handle.curl)
            if is_flood or (code != pycurl.E_OK and handle.kept_busy):
                handle.refuse(FLOOD if is_flood else BUSY)
            if handle.prepare_again(code, message):
                self._run(handle)
                return
            response = handle.finish(code, message)
        except Exception as error:  # noqa: BLE001 - it becomes this request's response
            response = not_sent(request, error)
            handle.close()
        else:  # no other request may use a private key or the authorities of this endpoint
            handle.close() if request.tls is not None else self._idle.append(handle)
        self._finished.append(response)

    def _take_names(self) -> None:
        for lookup, resolution in self._lookups.take_resolved():
            try:
                self._begin_at(resolution, lookup.place, lookup.request, lookup.deadline)
            except Exception as error:  # noqa: BLE001 - it becomes this request's response
                self._finished.append(not_sent(lookup.request, error))

    def _turn(self, pause: float) -> bool:
        """Run the loop once: block for at most `pause` seconds, let libcurl act, collect results. Return whether it was woken."""
        now = monotonic()
        if self._timer is not None:
            pause = min(pause, self._timer - now)
        if self._bodies:
            pause = min(pause, self._bodies[0][0] - now)
        if (until := self._lookups.next_until) is not None:
            pause = min(pause, until - now)
        pause = 0.0 if self._sockets.ready else max(pause, 0.0)
        self._sockets.poll(pause)
        self._stalls.turn(pause)
        # libcurl starts new requests in its next call. In one for a socket, that socket's owner would be charged for them.
        if self._timer is not None and self._timer <= monotonic():
            self._timer = None
            self._sockets.act(pycurl.SOCKET_TIMEOUT, 0)
        woken = self._sockets.handle_ready()
        now = monotonic()
        if self._lookups.count:
            self._finished += self._lookups.take_late(now)
        self._gather(now)
        self._stalls.turn(0.0)
        self._stalls.mark_timeouts_after_stall_not_sent(self._finished)
        error, self._raised = self._raised, None
        if error is not None:
            raise error
        return woken

    def _gather(self, now: float) -> None:
        self._costs.note_connections()
        self._connections.clear_doubts()
        for curl, code, message in self._sockets.results():
            self._end(self._running[curl], code, message)
        for handle, failure in self._costs.take_to_end():
            self._cut_off(handle, failure)
        if self._sockets.unwatched:
            self._end_unwatched()
        if now >= self._floods.next_look:
            self._cut_floods()
        if self._heads:
            until = now + self.options.body_seconds
            self._bodies.extend((until, handle, handle.serial) for handle in self._heads if handle.request is not None)
            self._heads.clear()
        if self._bodies:
            self._end_late_bodies(now)
        self._admit_queued()

    def _admit_queued(self) -> None:
        while self._queued and len(self._running) + self._lookups.count < self.capacity:
            request, deadline = self._queued.popleft()
            try:
                self._admit(request, deadline)
            except Exception as error:  # noqa: BLE001 - it becomes this request's response
                self._finished.append(not_sent(request, error))

    def _end_late_bodies(self, now: float) -> None:
        while self._bodies:
            until, handle, serial = self._bodies[0]
            if handle.request is not None and handle.serial == serial:
                if until > now:
                    return
                self._end(handle, BODY_LATE, f"the body was not complete after {self.options.body_seconds:g} s")
            self._bodies.popleft()

    def _end_unwatched(self) -> None:
        """End the requests on sockets that the selector did not accept: libcurl would wait for events that never come."""
        errors, self._sockets.unwatched = self._sockets.unwatched, {}
        for handle in list(self._running.values()):
            error = errors.get(handle.descriptor)
            if error is not None:
                handle.stop(error)
                self._end(handle, pycurl.E_COULDNT_CONNECT, str(error))

    def _cut_floods(self) -> None:
        """Cut off connections that bring too much, and end their requests: libcurl would send them again by itself."""
        # A handle is used again for other requests, so it does not stand for one of them.
        requests = [(handle, handle.serial) for handle in self._running.values()]
        flooded = self._floods.find(requests, lambda request: request[0].descriptor, bytes_received, bytes_read)
        self._costs.forget_reads(self._sockets.forget())
        if flooded:
            for handle in [handle for handle, _ in requests if handle.descriptor in flooded]:
                self._cut_off(handle, FLOOD)

    def _cut_off(self, handle: Handle, failure: Failure) -> None:
        self._sockets.cut_flood(handle.descriptor)
        handle.refuse(failure)
        self._end(handle, CUT_OFF, failure.detail)

    def _keep_error(self, error: BaseException) -> None:
        """Store an exception from a libcurl callback, for `wait` to raise: pycurl would only print it."""
        self._raised = self._raised or error

    def _set_timer(self, milliseconds: int) -> None:
        self._timer = None if milliseconds < 0 else monotonic() + milliseconds / 1000
