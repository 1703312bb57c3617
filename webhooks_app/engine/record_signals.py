"""The public signals of recorded batches, sent on a thread of their own: a receiver of the host may take its time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from django.db import connections
from django.dispatch import Signal

from webhooks_app import signals
from webhooks_app.core.retry import Verdict
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.types import Result
from webhooks_app.log_thread import EngineThread, engine_logger
from webhooks_app.models import Delivery, Endpoint

logger = engine_logger(__name__)

#: Signals that may wait for slow receivers; further ones are not sent.
_MOST_WAITING = 10_000


@dataclass(slots=True)
class RecordedBatch:
    """What one batch came to, for the signals that are sent after its commit."""

    succeeded: list[Result] = field(default_factory=list)
    exhausted: list[Result] = field(default_factory=list)
    disabled: list[Result] = field(default_factory=list)
    recovered: list[Result] = field(default_factory=list)

    def without_playgrounds(self) -> RecordedBatch:
        """Return it without the playgrounds: whoever tries things there looks on."""
        return RecordedBatch(
            *(
                [result for result in results if not result.config.playground]
                for results in (self.succeeded, self.exhausted, self.disabled, self.recovered)
            )
        )

    @property
    def has_listeners(self) -> bool:
        """Whether any signal is to be sent that somebody receives."""
        return bool(
            (self.succeeded and signals.delivery_succeeded.has_listeners(Delivery))
            or (self.exhausted and signals.delivery_exhausted.has_listeners(Delivery))
            or (self.disabled and signals.endpoint_disabled.has_listeners(Endpoint))
            or (self.recovered and signals.endpoint_recovered.has_listeners(Endpoint))
        )


Call = Callable[[], object]

#: Of receivers, which may fail at every signal.
_faults = FaultLog()


class SignalThread:
    """Sends signals, in order. The thread starts with the first one.

    What waits is small, and bounded: the signals' arguments, no responses and no bodies.
    """

    def __init__(self) -> None:
        self._waiting: queue.Queue[list[Call] | None] = queue.Queue()
        self._lock = threading.Lock()
        self._number = 0
        self._thread: threading.Thread | None = None
        self._ended = False
        self._faults = FaultLog()

    def announce(self, batch: RecordedBatch) -> None:
        """Send the signals of a batch soon. Returns at once."""
        if batch.has_listeners:
            self._put(signals_of(batch))

    def send(self, call: Call) -> None:
        """Make this call, which sends a signal, on the thread. Returns at once."""
        self._put([call])

    def end(self, timeout: float) -> None:
        """Send what is waiting, for at most `timeout` seconds, and end the thread."""
        with self._lock:
            thread, self._ended = self._thread, True
        if thread is not None:
            self._waiting.put(None)
            thread.join(timeout)

    def _put(self, calls: list[Call]) -> None:
        with self._lock:
            if self._ended:
                return
            if self._number + len(calls) > _MOST_WAITING and self._number:
                self._faults.report(
                    "signals", "receivers of its signals are too slow; %d signals are not sent", len(calls)
                )
                return
            if (self._thread is None or not self._thread.is_alive()) and not self._start(len(calls)):
                return
            self._number += len(calls)
            self._waiting.put(calls)

    def _start(self, number: int) -> bool:
        thread = EngineThread(self._run, "webhooks-signals")
        try:
            thread.start()
        except Exception as error:  # noqa: BLE001 - costs these signals, and not the recording; the next ones try again
            self._faults.report(
                "signals thread", "no thread can be started for signals; %d signals are not sent", number, error=error
            )
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        try:
            while (calls := self._waiting.get()) is not None:
                try:
                    for call in calls:
                        self._make(call)
                finally:
                    with self._lock:
                        self._number -= len(calls)
                self._make(_tidy_connections)
        finally:
            self._make(connections.close_all)

    @staticmethod
    def _make(call: Call) -> None:
        try:
            call()
        except BaseException:  # a receiver that calls sys.exit ends neither this thread nor the engine
            logger.exception("webhooks: a receiver of a signal failed, or what is cleaned up after it")


def _tidy_connections() -> None:
    """Do what Django does after a request. A receiver may have left a transaction open, whose locks would last as long as the
    engine; and on a connection that the server has ended, every receiver after it would fail."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            connection.close()
            del connections[connection.alias]  # inside the block that nobody has left, it could not connect again
        elif connection.connection is not None:
            if not connection.get_autocommit():
                connection.close()
            if connection.errors_occurred:
                connection.close_if_unusable_or_obsolete()


def signals_of(batch: RecordedBatch) -> list[Call]:
    """Return the calls that send the batch's public signals; nothing is computed where nobody listens."""
    calls: list[Call] = []
    for signal, results in (
        (signals.delivery_succeeded, batch.succeeded),
        (signals.delivery_exhausted, batch.exhausted),
    ):
        if signal.has_listeners(Delivery):
            calls += [partial(_send, signal, Delivery, _about_delivery(result)) for result in results]
    for result in batch.disabled:
        about = {**_about_endpoint(result), "reason": result.disable}
        calls.append(partial(_send, signals.endpoint_disabled, Endpoint, about))
    for result in batch.recovered:
        about = {**_about_endpoint(result), "failing_since": result.was.failing_since}
        calls.append(partial(_send, signals.endpoint_recovered, Endpoint, about))
    return calls


def _about_endpoint(result: Result) -> dict[str, object]:
    return {"endpoint_id": result.delivery.endpoint_id, "tenant_id": result.config.tenant_id}


def _about_delivery(result: Result) -> dict[str, object]:
    delivery = result.delivery
    about = _about_endpoint(result) | {
        "delivery_id": delivery.delivery_id,
        "event_id": delivery.event_id,
        "status": result.outcome.status,
        "attempts": delivery.number if result.was_sent else delivery.attempts,
    }
    given_up = result.decision is not None and result.decision.verdict is Verdict.GIVE_UP
    return about | {"outcome": result.outcome.kind.value} if given_up else about


def _send(signal: Signal, sender: type, arguments: dict[str, object]) -> None:
    for receiver, answer in signal.send_robust(sender=sender, **arguments):
        if isinstance(answer, Exception):
            _faults.report(f"receiver {receiver!r}", "the signal receiver %r failed", receiver, error=answer)
