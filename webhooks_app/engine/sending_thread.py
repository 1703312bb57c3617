"""Sign and POST deliveries, many at once, over one event loop.

The sending thread never uses the database: it takes deliveries from the window and puts results into the buffer. Errors
are caught for each start and each response: an error costs only that delivery its turn. Requests of wire formats that call
host code are built on separate threads, because such code may be slow.
"""

from __future__ import annotations

import time
import uuid
from functools import partial

from webhooks_app import telemetry
from webhooks_app.conf import settings
from webhooks_app.core.retry import Outcome, OutcomeKind
from webhooks_app.engine.access_tokens import TokenFetches
from webhooks_app.engine.build_threads import BuildThreads
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.new_result import new_result
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.requests import (
    another_key_may_help,
    build_request,
    outcome_of,
    traced,
    untried_keys,
)
from webhooks_app.engine.result_buffer import ResultBuffer
from webhooks_app.engine.settle import Settler
from webhooks_app.engine.tenant_pauses import tenant_pauses
from webhooks_app.engine.types import QueuedDelivery, TokenFetch
from webhooks_app.engine.window import Window
from webhooks_app.telemetry.logs import log_ids
from webhooks_app.transport import Request, Response, StuckCall, Transport
from webhooks_app.wire_formats.host import error_text

#: Before a request with a larger body (bytes) the time that was spent on building is checked.
_LARGE = 16 * 1024
#: A request that takes longer to build (seconds) is charged to its tenant: the tenant starts nothing for the same time, and
#: others go first for several times as long.
_CHEAP_TO_BUILD = 0.003
_BUSY_RECEIVERS = "receivers of tenant %s keep this process busy; the tenant pauses"
_BUSY_WIRE_FORMAT = "a wire format's code keeps this process busy with events of tenant %s; the tenant pauses"


class RequestSender:
    """The network side of one engine."""

    def __init__(
        self,
        transport: Transport,
        window: Window,
        results: ResultBuffer,
        heartbeat: Heartbeat,
        options: EngineOptions,
        faults: FaultLog,
    ) -> None:
        self._transport = transport
        self._window = window
        self._results = results
        self._heartbeat = heartbeat
        self._faults = faults
        self._fault_hold, self._stuck_hold = options.fault_hold, options.stuck_hold
        self._start_seconds, self._started_at_once = options.start_seconds, options.started_at_once
        self._most_unrecorded = options.window * options.unrecorded_windows
        self._agent, self._sends_traceparent = settings().USER_AGENT, settings().TRACEPARENT
        #: Each request has a span.
        self._traces = False
        self._settler = Settler(window, results, heartbeat, options, faults)
        self._builds = BuildThreads(options, on_built=transport.wake)
        self._fetches = TokenFetches(transport, window, self._agent)
        window.waits_for_thread = self._builds.must_wait
        #: The last start ended by its time limit or by the limit on unrecorded results.
        self.more_may_start = False

    def start_what_is_due(self) -> int:
        """Start as many requests as the window, the heartbeat and the unrecorded results allow, and return their number."""
        self._traces = telemetry.enabled()
        free = self._most_unrecorded - len(self._results)
        self.more_may_start = False
        if free <= 0 or not self._heartbeat.alive:
            return 0
        end = time.monotonic() + self._start_seconds
        started = 0
        while started < free:
            deliveries = self._window.start(time.monotonic(), min(free - started, self._started_at_once))
            waiting = self._start_until(end, deliveries)
            self._window.put_back(waiting)
            started += len(deliveries) - len(waiting)
            self.more_may_start = len(waiting) < len(deliveries)
            if not self.more_may_start or time.monotonic() > end:
                break
        return started

    def _start_until(self, end: float, deliveries: list[QueuedDelivery]) -> list[QueuedDelivery]:
        """Start these requests. Return those that have to wait for a thread or, because bodies are large, for their turn."""
        waiting: list[QueuedDelivery] = []
        for number, delivery in enumerate(deliveries):
            if number and delivery.size > _LARGE and time.monotonic() > end:
                return waiting + deliveries[number:]
            if not self._start(delivery):
                waiting.append(delivery)
        return waiting

    def wait(self, seconds: float) -> int:
        """Block until there is network activity; handle finished requests, and send those that were built meanwhile.
        Return the number of results."""
        handled = 0
        for response in self._transport.wait(seconds):
            handled += 1
            self._handle(response)
        for tenant_id in self._transport.take_costly():
            if isinstance(tenant_id, uuid.UUID):
                self._pause(tenant_id, _BUSY_RECEIVERS)
        handled += self._take_built()
        for tenant_id in self._builds.take_costly():
            self._pause(tenant_id, _BUSY_WIRE_FORMAT)
        return handled

    def settle_stuck(self, call: StuckCall) -> None:
        """Settle the requests that have made this thread stuck. Called by the thread that replaces it.

        Their endpoints are held for a while, and their tenants start nothing in this process for a moment. If it is
        uncertain which tenant it was, nothing is settled: these requests are sent again."""
        suspects = {owner: weight for owner, weight in call.suspects.items() if isinstance(owner, uuid.UUID)}
        culprits = tenant_pauses.note_stuck_call(suspects)
        for response in call.responses:
            sent = response.token
            queue = self._window.queue_of(sent) if isinstance(sent, (QueuedDelivery, TokenFetch)) else None
            if queue is not None and queue.config.tenant_id in culprits:
                self._handle(response)
                self._window.hold(queue.endpoint_id, self._heartbeat.now() + self._stuck_hold)
        for tenant_id in culprits:
            self._pause(tenant_id, _BUSY_RECEIVERS)

    def _pause(self, tenant_id: uuid.UUID, why: str) -> None:
        tenant_pauses.pause(tenant_id)
        self._window.pause(tenant_id)
        self._faults.report(f"busy {tenant_id}", why, tenant_id, ids=log_ids(tenant=tenant_id))

    # --- one request -------------------------------------------------------------------------------------------------

    def _start(self, delivery: QueuedDelivery) -> bool:
        """Start a request. Return False if it has to wait for a thread that builds it."""
        queue = self._window.queue_of(delivery)
        if queue is None:
            self._faults.report("no queue", "delivery %s has no queue; it is sent later", delivery.delivery_id)
            self._window.abandon(delivery)
            return True
        if self._was_leased_before(queue):
            self._window.abandon(delivery)
            return True
        if queue.runs_host_code and self._builds.must_wait(queue.config):
            return False
        try:
            if queue.runs_host_code and self._builds.are_lost(queue.config):
                self._window.abandon(delivery, self._heartbeat.now() + self._fault_hold)
                return True
            delivery.started_at = self._heartbeat.now()
            if queue.config.wire_format.single_signature and not delivery.tried:
                delivery.tried = queue.config.keys[:1]
            if not self._fetches.is_ready(delivery, queue):
                return True
            build = partial(build_request, delivery, queue.config, self._agent)
            if queue.runs_host_code:
                self._builds.start(delivery, queue.config, build)
            else:
                began = time.monotonic()
                request = build()
                self._send(request, delivery, queue, time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - a wire format or headers of the host: this delivery waits
            self._refuse(delivery, queue, error, error_text(error))
        return True

    def _was_leased_before(self, queue: LeasedQueue) -> bool:
        """Return whether this engine was declared dead after it had leased the queue. Another engine may have it by now, even if
        the database thread has not noticed yet."""
        return queue.engine_id is not None and queue.engine_id != self._heartbeat.engine_id

    def _take_built(self) -> int:
        """Send the requests that threads have built. Return how many could not be built: these have a result already."""
        refused = 0
        for build in self._builds.take():
            delivery, queue = build.delivery, self._window.queue_of(build.delivery)
            if queue is None or queue.sending.stopping or self._was_leased_before(queue) or not self._heartbeat.alive:
                self._window.abandon(delivery)  # it may be another engine's now, or paused; it stays due
                continue
            error, text = build.error, build.error_text
            try:
                if build.request is not None:
                    self._send(build.request, delivery, queue, build.cost)
            except Exception as raised:  # noqa: BLE001 - what the host's code returned cannot be used
                error, text = raised, error_text(raised)
            if error is not None:
                self._refuse(delivery, queue, error, text)
                refused += 1
        return refused

    def _send(self, request: Request, delivery: QueuedDelivery, queue: LeasedQueue, cost: float) -> None:
        if cost > _CHEAP_TO_BUILD:
            self._window.charge(queue, time.monotonic(), cost)
        if delivery.alone:
            self._window.restart_crash_isolation(queue, time.monotonic())
        queue.build_faults = 0
        if self._traces:
            request = traced(request, delivery, tells_receiver=self._sends_traceparent)
        self._transport.start(request)

    def _refuse(self, delivery: QueuedDelivery, queue: LeasedQueue, error: BaseException, text: str) -> None:
        """Settle a delivery whose request could not be built. `text`: that of the error."""
        self._faults.report(
            f"start {delivery.endpoint_id} {type(error).__name__}",
            "the request of delivery %s to endpoint %s could not be built",
            delivery.delivery_id,
            delivery.endpoint_id,
            error=error,
            ids=_ids(delivery),
        )
        queue.build_faults += delivery.event is not None  # without its event it is the delivery, not the endpoint
        self._settler.settle_unsent(delivery, queue, text)

    def _handle(self, response: Response) -> None:
        delivery = response.token
        if isinstance(delivery, TokenFetch):
            self._end_fetch(delivery, response)
            return
        if not isinstance(delivery, QueuedDelivery):
            self._faults.report("token", "a response belongs to no delivery: %r", type(delivery))
            return
        queue = self._window.queue_of(delivery)
        if queue is None:
            self._faults.report("no queue", "delivery %s has no queue; it is sent again", delivery.delivery_id)
            self._window.abandon(delivery)
            return
        try:
            self._settle_response(delivery, queue, response)
        except Exception as error:  # noqa: BLE001 - whatever this response does, it does it to its own delivery
            self._faults.report(
                f"response {delivery.endpoint_id} {type(error).__name__}",
                "the response to delivery %s could not be handled; its status alone is recorded",
                delivery.delivery_id,
                error=error,
                ids=_ids(delivery),
            )
            self._settler.settle_by_status(delivery, queue, response)

    def _settle_response(self, delivery: QueuedDelivery, queue: LeasedQueue, response: Response) -> None:
        self._settler.note_end(response, queue.config)
        outcome = outcome_of(response, self._heartbeat.now, queue.config.wire_format.retry)
        telemetry.end_request_span(delivery.span, outcome.kind.value, outcome.status)
        delivery.span = None
        if outcome.kind is OutcomeKind.NOT_SENT:
            self._faults.report(f"not sent {response.our_fault}", "a request could not be sent: %s", outcome.detail)
            if self._settler.leave_to_others(delivery, response, queue.config):
                return
        new_token = self._fetches.replaces(delivery, outcome)
        new_key = not new_token and another_key_may_help(delivery, queue.config, outcome)
        if self._heartbeat.alive and (new_token or new_key):
            began = delivery.started_at or self._heartbeat.now()
            self._results.put(new_result(delivery, queue, outcome, response, None, was=queue.health, began=began))
            if new_key:
                delivery.tried = (*delivery.tried, *untried_keys(delivery, queue.config)[:1])
            if not self._start(delivery):
                self._window.put_back([delivery])
        else:
            self._settler.settle(delivery, queue, outcome, response, queue.config.wire_format.retry)

    def _end_fetch(self, fetch: TokenFetch, response: Response) -> None:
        """Send the deliveries that have waited for an access token. If there is none, settle them."""
        self._settler.note_end(response, fetch.config)
        try:
            failure = self._fetches.end(fetch, response)
        except Exception as error:  # noqa: BLE001 - whatever this response does, it does it to these deliveries
            self._faults.report(f"token {fetch.endpoint_id}", "the response of a token server failed", error=error)
            failure = Outcome(OutcomeKind.NOT_SENT, detail=error_text(error))
        for delivery in fetch.waiting:
            queue = self._window.queue_of(delivery)
            if queue is not None and failure is not None:
                if not self._settler.leave_to_others(delivery, response, fetch.config):
                    self._settler.settle_without_token(delivery, queue, failure, response)
            elif (
                queue is None or queue.config is not fetch.config or queue.sending.stopping or not self._heartbeat.alive
            ):
                self._window.abandon(delivery)  # as in `_take_built`; and never with the token of another configuration
            elif not self._start(delivery):
                self._window.put_back([delivery])


def _ids(delivery: QueuedDelivery) -> dict[str, dict[str, str]]:
    return log_ids(delivery=delivery.delivery_id, event=delivery.event_id, endpoint=delivery.endpoint_id)
