"""Apply an outcome to its delivery, to its queue and to the endpoint's health."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime

from webhooks_app.core.circuit_breaker import breaker_is_open, disable_reason, queue_blocked_until, record_outcome
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.core.retry import (
    SLOWING_KINDS,
    DeliveryVerdict,
    Outcome,
    OutcomeKind,
    RetryPolicy,
    decide,
    unsent_attempts,
)
from webhooks_app.engine.access_tokens import without_content
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.new_result import new_result
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.requests import age_of, outcome_of
from webhooks_app.engine.result_buffer import ResultBuffer
from webhooks_app.engine.send_faults import send_faults
from webhooks_app.engine.types import EndpointConfig, QueuedDelivery
from webhooks_app.engine.window import Window
from webhooks_app.transport import OurFault, Response

#: Requests that fail for a lack of these make the window shrink.
_SCARCE = frozenset({OurFault.DESCRIPTORS, OurFault.THREADS, OurFault.MEMORY, OurFault.PORTS})
#: Faults of the whole process: whatever the receiver, no request could be sent. A tenant must not be able to cause them.
_OF_THE_PROCESS = _SCARCE | {OurFault.PROXY, OurFault.CA_BUNDLE}
#: After this many requests in a row that could not be built, the queue is held.
_BUILD_FAULTS = 3


def _unsent_attempts(delivery: QueuedDelivery, queue: LeasedQueue, now: datetime) -> int:
    return unsent_attempts(delivery.attempts, delivery.retry_step, age_of(delivery, queue.config, now))


def _is_of_the_process(response: Response, config: EndpointConfig) -> bool:
    own_authorities = config.tls is not None and bool(config.tls.authorities)
    if response.our_fault == OurFault.CA_BUNDLE and own_authorities:
        return False
    return response.our_fault in _OF_THE_PROCESS


class Settler:
    """Settles deliveries. Used by the sending thread only."""

    def __init__(
        self, window: Window, results: ResultBuffer, heartbeat: Heartbeat, options: EngineOptions, faults: FaultLog
    ) -> None:
        self._window = window
        self._results = results
        self._heartbeat = heartbeat
        self._fault_hold, self._lost_hold = options.fault_hold, options.lost_hold
        self._faults = faults

    def settle(
        self,
        delivery: QueuedDelivery,
        queue: LeasedQueue,
        outcome: Outcome,
        response: Response | None,
        policy: RetryPolicy,
    ) -> None:
        """Decide what the outcome means, add the result to the buffer, and notify the window."""
        now, was = self._heartbeat.now(), queue.health
        decision = decide(
            outcome,
            delivery.retry_step,
            now,
            policy,
            random.random(),
            unsent=0 if outcome.succeeded else _unsent_attempts(delivery, queue, now),
            # Without its event it can never be sent.
            expires_at=delivery.expires_at if delivery.event else now,
        )
        health = record_outcome(was, outcome, delivery.started_at or now, now)
        hold = queue_blocked_until(health, outcome, now, policy)
        if queue.build_faults >= _BUILD_FAULTS:
            hold = now + self._fault_hold  # it is the endpoint, not one event
        # Never behind a callback URL: each event names it again.
        never = queue.config.kind is EndpointKind.CALLBACK
        disable = "" if never else decision.disable or disable_reason(health, now, policy, outcome)
        recovered = outcome.succeeded and breaker_is_open(was, policy)
        queue.health = health
        result = new_result(delivery, queue, outcome, response, decision, was=was, began=delivery.started_at or now)
        result.disable, result.recovered = disable, recovered
        self._results.put(result)
        delivery.event = None  # many results may wait for a slow database, and bodies are large
        self._window.finish(
            delivery,
            succeeded_at=now if outcome.succeeded else None,
            slowed=outcome.kind in SLOWING_KINDS,
            hold_until=hold,
            # A FIFO queue must not continue past a head that has to wait; a disabled queue must not continue at all.
            stop=bool(disable) or (queue.config.fifo and decision.verdict is DeliveryVerdict.RETRY),
            ramp_since=time.monotonic() if recovered else None,
        )

    def settle_by_status(self, delivery: QueuedDelivery, queue: LeasedQueue, response: Response) -> None:
        """Settle a delivery whose response could not be handled, by its status and the default policy only."""

        def settle() -> None:
            bare = Response(delivery, response.status, b"", b"", response.duration, response.failure)
            policy = RetryPolicy()
            self.settle(delivery, queue, outcome_of(bare, self._heartbeat.now, policy), bare, policy)

        self._settle_or_abandon(settle, delivery, "delivery %s is sent again later")

    def settle_unsent(self, delivery: QueuedDelivery, queue: LeasedQueue, detail: str) -> None:
        """Settle a delivery whose request was not sent because of a fault on this side."""

        def settle() -> None:
            self.settle(delivery, queue, Outcome(OutcomeKind.NOT_SENT, detail=detail[:500]), None, RetryPolicy())

        self._settle_or_abandon(settle, delivery, "delivery %s is sent later")

    def note_end(self, response: Response, config: EndpointConfig) -> None:
        """Note whether this process could send the request."""
        if response.our_fault in _SCARCE:
            self._window.shrink()
        if _is_of_the_process(response, config):
            send_faults.note_fault()
        elif response.status is not None and config.kind is not EndpointKind.PLAYGROUND:  # that is not on the network
            send_faults.note_response()

    def leave_to_others(self, delivery: QueuedDelivery, response: Response, config: EndpointConfig) -> bool:
        """Return whether the delivery stays due, for another engine to send, because this process cannot. What has expired is
        settled: the others may not be able to send either."""
        now = self._heartbeat.now()
        is_expired = delivery.expires_at is not None and delivery.expires_at <= now
        if is_expired or not send_faults.others_alive or not _is_of_the_process(response, config):
            return False
        # Until it is certain that this process cannot send, it would lease the queue again at once.
        self._window.abandon(delivery, None if send_faults.are_many else now + self._lost_hold)
        return True

    def settle_without_token(
        self, delivery: QueuedDelivery, queue: LeasedQueue, outcome: Outcome, response: Response
    ) -> None:
        """Settle a delivery that was not sent because there is no access token. `response`: that of the token server."""

        def settle() -> None:
            policy = queue.config.wire_format.retry
            self.settle(delivery, queue, outcome, without_content(response), policy)

        self._settle_or_abandon(settle, delivery, "delivery %s is sent later")

    def _settle_or_abandon(self, settle: Callable[[], None], delivery: QueuedDelivery, otherwise: str) -> None:
        try:
            settle()
        except Exception as error:  # noqa: BLE001 - the last resort
            self._faults.report("settle", otherwise, delivery.delivery_id, error=error)
            self._window.abandon(delivery, self._heartbeat.now() + self._fault_hold)
