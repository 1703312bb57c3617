"""The fallback transport, which is always available: `requests` in a pool of threads.

It implements all of `base.Transport`, but is slower than `curl` and supports only HTTP/1.1. `requests` has no timeout for a
whole request, so the thread that calls `wait` checks the deadlines. It returns a timeout as the response of a late request
and cuts off its connection. The `responses` library can intercept this transport (it replaces the adapter's `send`), so
host projects can use it in tests: `WEBHOOKS["TRANSPORT"] = "requests"`.
"""

from __future__ import annotations

import heapq
import math
import threading
from itertools import count
from queue import SimpleQueue
from time import monotonic

import certifi

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.log_thread import EngineThread
from webhooks_app.transport.base import OurFault, Request, Response, StuckCall, TransportOptions
from webhooks_app.transport.cpu_budget import COSTLY_TIMER_SECONDS, CpuBudget
from webhooks_app.transport.faults import ThreadsExhausted, not_resolved_in_time, not_sent
from webhooks_app.transport.floods import FloodWatch
from webhooks_app.transport.handshakes import HandshakeTurns, SteppedSocket, processors
from webhooks_app.transport.requests_adapter import CheckedAdapter
from webhooks_app.transport.requests_exchange import Exchange
from webhooks_app.transport.requests_job import Job, current
from webhooks_app.transport.resolver import MAX_THREADS as MAX_RESOLVER_THREADS
from webhooks_app.transport.resolver import Resolver
from webhooks_app.transport.stalls import StallWatch
from webhooks_app.transport.validation import FLOODED, KEPT_BUSY, NEIGHBOUR_KEPT_BUSY, check_timeouts, failed

MAX_THREADS = 256
#: If this many threads are stuck, no more are started to replace them.
MAX_STUCK = 256
#: A request that has cost this much processor time (seconds) is ended: a crafted certificate, usually.
_MOST_CPU = 0.25
#: A thread has nothing to do after its job was abandoned. If it uses this much more (seconds), it is still in OpenSSL.
_MOST_CPU_WHEN_OVER = 0.1
#: How long `close` waits for its threads, whose connections are cut off (seconds).
_JOIN_SECONDS = 1.0


class RequestsTransport:
    """See `base.Transport`."""

    name = "requests"

    def __init__(self, options: TransportOptions) -> None:
        self.options = options
        self.capacity = min(options.concurrency, MAX_THREADS)
        self._resolver = Resolver(max_threads=min(MAX_RESOLVER_THREADS, max(4, options.concurrency)))
        self._turns = HandshakeTurns(processors())
        # Not a method of the socket, so it needs no `self`.
        parts = {"turns": self._turns, "charge": staticmethod(self._charge)}
        tls_socket = type("TransportSocket", (SteppedSocket,), parts)
        ca_bundle = options.ca_bundle or certifi.where()
        self._adapter = CheckedAdapter(options, self._resolver, ca_bundle, self.capacity, tls_socket)
        self._exchange = Exchange(options, self._adapter, self._watch_body)
        self._todo: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        #: How many of them still work on an abandoned job: cutting off its connection does not interrupt OpenSSL.
        self._stuck: set[Job] = set()
        self._open: set[Job] = set()
        self._times: list[tuple[float, int, Job]] = []
        self._count = count()
        self._finished: list[Response] = []
        self._budget = CpuBudget()
        #: Owners whose receivers have cost too much processor time.
        self._costly: set[object] = set()
        self._stalls = StallWatch()
        self._floods = FloodWatch(options)
        self._woken = False
        self._raised: BaseException | None = None
        self._changed = threading.Condition()

    @property
    def in_flight(self) -> int:
        with self._changed:
            return len(self._open) + len(self._finished)

    def start(self, request: Request) -> None:
        try:
            check_timeouts(request)
            job = Job(request, monotonic() + request.total_timeout)
        except Exception as error:  # noqa: BLE001 - it becomes this request's response
            with self._changed:
                self._finished.append(not_sent(request, error))
            return
        with self._changed:
            self._open.add(job)
            heapq.heappush(self._times, (job.deadline, next(self._count), job))
            self._todo.put(job)
            self._hire()

    def wait(self, timeout: float) -> list[Response]:
        until = monotonic() + timeout
        pause = 0.0
        with self._changed:
            while True:
                self._stalls.turn(pause)
                self._end_late_jobs()
                self._end_costly()
                if self._finished or self._woken or self._raised is not None:
                    break
                next_deadline = self._times[0][0] if self._times else until
                pause = min(until, next_deadline, self._floods.next_look if self._open else until) - monotonic()
                if monotonic() >= until:
                    break
                pause = max(pause, 0.0)
                self._changed.wait(pause)
            self._woken = False
            if self._raised is not None:
                error, self._raised = self._raised, None
                raise error
            finished, self._finished = self._finished, []
        self._stalls.mark_timeouts_after_stall_not_sent(finished)
        return finished

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    @property
    def is_stuck(self) -> bool:
        return False  # `wait` never runs a request

    def give_up(self) -> StuckCall | None:
        return None

    def take_costly(self) -> set[object]:
        with self._changed:
            costly, self._costly = self._costly, set()
            return costly

    def close(self) -> None:
        with self._changed:
            jobs = list(self._open)
            for job in jobs:
                job.over = True
            self._open.clear()
            self._times.clear()
            self._finished.clear()
        self._resolver.close()
        with self._changed:
            threads = list(self._threads)
        for _ in threads:
            self._todo.put(None)
        for job in jobs:
            job.cut()
            self._turns.end(job)
        self._adapter.close()
        until = monotonic() + _JOIN_SECONDS
        for thread in threads:
            thread.join(max(until - monotonic(), 0.0))

    # Call these with the lock held.

    def _hire(self) -> None:
        """Start one more thread if there is work for it. If that fails, the existing threads do the work."""
        usable = len(self._threads) - len(self._stuck)
        if usable >= min(self.capacity, len(self._open)) or len(self._stuck) >= MAX_STUCK:
            return
        thread = EngineThread(self._work, "webhooks-sender")
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:  # "can't start new thread"
            if not self._threads:
                for job in list(self._open):
                    self._finish(job, not_sent(job.request, ThreadsExhausted(str(error))))
            return
        self._threads.append(thread)

    def _end_late_jobs(self) -> None:
        now = monotonic()
        while self._times and (self._times[0][2].over or self._times[0][0] <= now):
            job = heapq.heappop(self._times)[2]
            if not job.over:
                response = self._late_response(job, now)
                self._give_up(job, response)

    def _end_costly(self) -> None:
        """End jobs whose receivers send too much data, or cost too much processor time."""
        if monotonic() < self._floods.next_look:
            return
        # A connection carries one request at a time, so the job stands for it.
        for job in self._floods.find(self._open, lambda job: job, Job.bytes_read, Job.bytes_read):
            response = failed(job.request, OutcomeKind.PROTOCOL_ERROR, FLOODED)
            response.address = job.address
            self._give_up(job, response)
        for job in [job for job in self._open if job.cpu_seconds() > _MOST_CPU]:
            if not job.over:  # it may have been ended with the one before
                self._end_owner(job)
            job.lower_priority()
        for job in self._stuck:
            if job.cpu_seconds() - job.cost_when_over > _MOST_CPU_WHEN_OVER:
                self._costly.add(job.request.owner)
                job.lower_priority()
                job.cost_when_over = math.inf  # this is noted once

    def _end_owner(self, culprit: Job) -> None:
        """End this job, and those of the same owner whose handshakes may cost as much."""
        self._costly.add(culprit.request.owner)
        self._give_up(culprit, failed(culprit.request, OutcomeKind.PROTOCOL_ERROR, KEPT_BUSY))
        for job in [job for job in self._open if job.request.owner == culprit.request.owner]:
            if job.head is None and job.request.url.startswith("https:"):
                self._give_up(
                    job, failed(job.request, OutcomeKind.NOT_SENT, NEIGHBOUR_KEPT_BUSY, our_fault=OurFault.STALLED)
                )

    def _late_response(self, job: Job, now: float) -> Response:
        if job.resolving and job.begun and job.head is None and not self._resolver.has_started(job.resolving):
            job.late = not_resolved_in_time(job.resolving)
        return job.late_response(now, self.options)

    def _give_up(self, job: Job, response: Response) -> None:
        """Return the response on behalf of the thread that works on the job, if there is one."""
        response.duration = monotonic() - job.deadline + job.request.total_timeout
        if job.begun:
            self._stuck.add(job)
            job.cost_when_over = job.cpu_seconds()
        self._finish(job, response)
        job.cut()
        self._turns.end(job)
        self._hire()  # others may wait for a thread, and no request may start for long

    def _finish(self, job: Job, response: Response) -> None:
        """Return the response, unless the job already has one: then its thread is no longer stuck."""
        if job.over:
            self._stuck.discard(job)
        else:
            job.over = True
            self._open.discard(job)
            self._finished.append(response)
            self._changed.notify_all()

    # These run in the threads.

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            with self._changed:
                job.begun = not job.over and job.deadline > monotonic()
                job.note_thread()
            if job.begun:  # else it already has a response, or is about to get one
                self._carry_out(job)
            if job.has_low_priority:
                break  # and so has this thread, for good
        with self._changed:
            self._threads.remove(threading.current_thread())

    def _carry_out(self, job: Job) -> None:
        current.job = job
        try:
            response = self._exchange.carry_out(job)
            response.address = job.address
        except BaseException as error:  # noqa: BLE001 - `wait` raises it; the thread continues
            response = not_sent(job.request, error)
            if not isinstance(error, Exception):
                with self._changed:
                    self._raised = self._raised or error
        current.job = None
        if (rest := job.cpu_seconds() - job.charged) >= COSTLY_TIMER_SECONDS:
            self._charge(job, rest)
        response.duration = monotonic() - job.deadline + job.request.total_timeout
        if response.our_fault == OurFault.DESCRIPTORS:
            self._adapter.drop_idle()
        with self._changed:
            self._finish(job, response)

    def _charge(self, job: Job, seconds: float) -> None:
        """Charge the job's owner with processor time, and end its requests if that is too much."""
        with self._changed:
            if job.over:  # for costing too much, most probably
                return
            job.charged += seconds
            if self._budget.charge([job.request.owner], seconds):
                self._end_owner(job)

    def _watch_body(self, job: Job) -> None:
        """Set the deadline of a response's body, after its headers are complete."""
        until = monotonic() + self.options.body_seconds
        if until >= job.deadline:
            return
        job.body_until = until
        entry = (until, next(self._count), job)
        with self._changed:
            heapq.heappush(self._times, entry)
            if self._times[0] is entry:
                self._changed.notify_all()  # else `wait` would sleep past it
