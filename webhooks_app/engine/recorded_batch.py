"""The announcements of one batch of results: the public signals, and the notifications of tenants and staff."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial

from django.dispatch import Signal

from webhooks_app import signals
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.core.retry import DeliveryVerdict
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.types import Result
from webhooks_app.models import Delivery, Endpoint, Notification, NotificationKind

Call = Callable[[], object]

#: Limits logs of failing receivers, which may fail at every signal.
_faults = FaultLog()


@dataclass(slots=True)
class RecordedBatch:
    """The results of one batch that are announced after its commit. Each field has its entry in `ANNOUNCEMENTS`."""

    succeeded: list[Result] = field(default_factory=list)
    exhausted: list[Result] = field(default_factory=list)
    disabled: list[Result] = field(default_factory=list)
    recovered: list[Result] = field(default_factory=list)

    def without_playgrounds(self) -> RecordedBatch:
        """Return the batch without the results of playgrounds, whose users watch the page."""
        return RecordedBatch(
            *(
                [result for result in getattr(self, each.name) if result.config.kind is not EndpointKind.PLAYGROUND]
                for each in fields(self)
            )
        )

    @property
    def has_listeners(self) -> bool:
        """Return whether any signal to send has a receiver."""
        return any(each.results(self) and each.has_listeners for each in ANNOUNCEMENTS)


def sort_results(
    results: Sequence[Result], settled: Collection[uuid.UUID], recovered: Sequence[Result]
) -> RecordedBatch:
    """Sort the results of one batch by kind of announcement. `settled`: the deliveries that have changed."""
    batch = RecordedBatch(recovered=list(recovered))
    for result in results:
        if result.decision and result.delivery.delivery_id in settled:
            if result.decision.verdict is DeliveryVerdict.SUCCEEDED:
                batch.succeeded.append(result)
            elif result.decision.verdict is DeliveryVerdict.GIVE_UP:
                batch.exhausted.append(result)
        if result.disable:
            batch.disabled.append(result)
    return batch


def signals_of(batch: RecordedBatch) -> list[Call]:
    """Return the calls that send the batch's public signals. Nothing is computed for signals without receivers."""
    return [
        partial(_send, each.signal.signal, each.signal.sender, each.signal.arguments(result))
        for each in ANNOUNCEMENTS
        if each.signal is not None and each.has_listeners
        for result in each.results(batch)
    ]


def notifications_of(batch: RecordedBatch) -> list[Notification]:
    """Return one notification for each endpoint and kind, regardless of the number of deliveries."""
    return [
        Notification(
            tenant_id=last.config.tenant_id,
            endpoint_id=last.delivery.endpoint_id,
            kind=each.kind,
            count=count,
            delivery_id=last.delivery.delivery_id,
            reason=each.reason(last),
        )
        for each in ANNOUNCEMENTS
        if each.kind is not None
        for last, count in _by_endpoint(each.results(batch))
    ]


def _by_endpoint(results: Iterable[Result]) -> list[tuple[Result, int]]:
    """Return the last result of each endpoint, and the number of its results."""
    found: dict[uuid.UUID, tuple[Result, int]] = {}
    for result in results:
        _, before = found.get(result.delivery.endpoint_id, (result, 0))
        found[result.delivery.endpoint_id] = (result, before + 1)
    return list(found.values())


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
    given_up = result.decision is not None and result.decision.verdict is DeliveryVerdict.GIVE_UP
    return about | {"outcome": result.outcome.kind.value} if given_up else about


def _send(signal: Signal, sender: type, arguments: dict[str, object]) -> None:
    for receiver, response in signal.send_robust(sender=sender, **arguments):
        if isinstance(response, Exception):
            _faults.report(f"receiver {receiver!r}", "the signal receiver %r failed", receiver, error=response)


@dataclass(frozen=True, slots=True)
class SignalToSend:
    """A public signal, its sender, and its keyword arguments for one result."""

    signal: Signal
    sender: type
    arguments: Callable[[Result], dict[str, object]]


@dataclass(frozen=True, slots=True)
class Announcement:
    """How one field of a batch is announced: by a public signal, by notifications of a kind, or by both."""

    results: Callable[[RecordedBatch], list[Result]]
    signal: SignalToSend | None = None
    kind: NotificationKind | None = None
    #: The notification's.
    reason: Callable[[Result], str] = lambda result: ""

    @property
    def has_listeners(self) -> bool:
        return self.signal is not None and self.signal.signal.has_listeners(self.signal.sender)


#: In the order of sending and writing.
ANNOUNCEMENTS = (
    Announcement(lambda batch: batch.succeeded, SignalToSend(signals.delivery_succeeded, Delivery, _about_delivery)),
    Announcement(
        lambda batch: batch.exhausted,
        SignalToSend(signals.delivery_exhausted, Delivery, _about_delivery),
        NotificationKind.EXHAUSTED,
        lambda result: result.outcome.kind.value,
    ),
    Announcement(
        lambda batch: batch.disabled,
        SignalToSend(
            signals.endpoint_disabled,
            Endpoint,
            lambda result: {**_about_endpoint(result), "reason": result.disable},
        ),
        NotificationKind.DISABLED,
        lambda result: result.disable,
    ),
    Announcement(
        lambda batch: batch.recovered,
        SignalToSend(
            signals.endpoint_recovered,
            Endpoint,
            lambda result: {**_about_endpoint(result), "failing_since": result.was.failing_since},
        ),
        NotificationKind.RECOVERED,
    ),
)
