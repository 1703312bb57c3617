"""Explain what a pending delivery waits for: for customers, for staff, and as a short label."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from webhooks_app.conf import backlog_age
from webhooks_app.core.circuit_breaker import breaker_is_open
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.deliveries.outcomes import Text
from webhooks_app.models import (
    BLOCKED,
    Attempt,
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
)
from webhooks_app.wire_formats import find_retry_policy


class WaitReason(Enum):
    """What a pending delivery waits for."""

    REMOVED = "removed"  # nothing: its endpoint was removed
    PAUSED = "paused"
    DISABLED = "disabled"
    FAILING = "failing"  # the end of its endpoint's backoff
    HELD = "held"  # its endpoint's rate limit
    BEHIND = "behind"  # earlier deliveries of a FIFO endpoint
    LATER = "later"  # the time of its own retry
    PROBED = "probed"  # its turn at a failing endpoint, which gets one request at a time
    DUE = "due"  # only a free engine


#: The endpoint causes the wait, and the end of the wait is known.
HELD_BACK = frozenset({WaitReason.FAILING, WaitReason.HELD})
#: Not sent until a user takes an action.
OFF = frozenset({WaitReason.REMOVED, WaitReason.PAUSED, WaitReason.DISABLED})
NOW = frozenset({WaitReason.PROBED, WaitReason.DUE})


@dataclass(frozen=True, slots=True)
class DeliveryOutlook:
    """What a pending delivery waits for, and until when.

    `at`: the earliest time of the next request; None if none will follow while things stay as they are.
    """

    kind: WaitReason
    at: datetime | None = None

    @property
    def is_held_back(self) -> bool:
        return self.kind in HELD_BACK

    @property
    def is_off(self) -> bool:
        return self.kind in OFF


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """The state of a delivery.

    `outlook`: None unless the delivery is pending. `accepted_at`: when the receiver last accepted a delivery that was resent
    since; None if it never did.
    """

    outlook: DeliveryOutlook | None
    accepted_at: datetime | None = None


def state_of(
    delivery: Delivery, endpoint: Endpoint | None, queue: EndpointQueue | None, now: datetime
) -> DeliveryState:
    """Return the state of a delivery for its own page. Reads its attempts and, for a FIFO endpoint, the deliveries before it.

    `endpoint` and `queue`: None if they were removed.
    """
    attempts = Attempt.objects.filter(delivery_id=delivery.pk, outcome=OutcomeKind.SUCCEEDED)
    sent_since = delivery.attempts > 0 and delivery.status != DeliveryStatus.SUCCEEDED
    accepted_at = attempts.order_by("-pk").values_list("started_at", flat=True).first() if sent_since else None
    outlook = outlook_of(delivery, endpoint, queue, now)
    is_waiting = outlook is not None and outlook.kind in (WaitReason.LATER, *NOW)
    if outlook and is_waiting and endpoint and endpoint.fifo and not Delivery.objects.is_head(delivery):
        outlook = DeliveryOutlook(WaitReason.BEHIND, outlook.at)
    return DeliveryState(outlook, accepted_at)


def outlook_of(
    delivery: Delivery, endpoint: Endpoint | None, queue: EndpointQueue | None, now: datetime
) -> DeliveryOutlook | None:
    """Return the outlook of a delivery in a list, without queries; None unless the delivery is pending."""
    if delivery.status != DeliveryStatus.PENDING:
        return None
    if endpoint is None or queue is None or endpoint.is_deleted:
        return DeliveryOutlook(WaitReason.REMOVED)
    if endpoint.status != EndpointStatus.ACTIVE:
        return DeliveryOutlook(WaitReason.PAUSED if endpoint.status == EndpointStatus.PAUSED else WaitReason.DISABLED)
    at = delivery.next_attempt_at
    if max(now, at) < queue.not_before < BLOCKED:
        return DeliveryOutlook(WaitReason.FAILING if queue.failing_since else WaitReason.HELD, queue.not_before)
    if at > now:
        return DeliveryOutlook(WaitReason.LATER, at)
    policy = find_retry_policy(endpoint.wire_format) if queue.failing_since else None
    return DeliveryOutlook(
        WaitReason.PROBED if policy and breaker_is_open(queue.health, policy) else WaitReason.DUE, at
    )


def outlook_in_list(delivery: Delivery, now: datetime) -> DeliveryOutlook | None:
    """Return the outlook of a delivery whose endpoint and queue are loaded, without queries; None unless it is pending."""
    return outlook_of(delivery, delivery.endpoint, getattr(delivery.endpoint, "queue", None), now)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Counts of pending deliveries: `off` wait for a paused or disabled endpoint, `held` for one that is rate-limited or
    failing."""

    off: int = 0
    held: int = 0


NONE_WAITS = Waiting()


def waiting_of(deliveries: QuerySet[Delivery], now: datetime) -> Waiting:
    """Count those of the deliveries that are pending, in one query."""
    queue, off = "endpoint__queue__", ~Q(endpoint__status=EndpointStatus.ACTIVE)
    held = ~off & (Q(**{f"{queue}not_before__gt": now}) | Q(**{f"{queue}failing_since__isnull": False}))
    pending = deliveries.filter(status=DeliveryStatus.PENDING).order_by()
    return Waiting(**pending.aggregate(off=Count("pk", filter=off), held=Count("pk", filter=held)))


# --- in words ----------------------------------------------------------------------------------------------------------

_TO_CUSTOMER: dict[WaitReason, Text] = {
    WaitReason.REMOVED: gettext_lazy("Its endpoint was deleted; it will not be sent."),
    WaitReason.PAUSED: gettext_lazy("It waits: the endpoint is paused. It is sent once that is resumed."),
    WaitReason.DISABLED: gettext_lazy(
        "It waits: the endpoint is switched off. It is sent once that is switched on again."
    ),
    WaitReason.FAILING: gettext_lazy(
        "It waits: the endpoint is failing, and gets one request at a time until one of them succeeds."
    ),
    WaitReason.HELD: gettext_lazy("It waits for its turn: the endpoint is held back for a moment."),
    WaitReason.BEHIND: gettext_lazy("It waits for those before it: the endpoint gets its events in their order."),
    WaitReason.PROBED: gettext_lazy(
        "It is due. The endpoint is failing, and gets one request at a time until one of them succeeds."
    ),
}
_SHORTLY: dict[WaitReason, Text] = {
    WaitReason.PAUSED: gettext_lazy("waits: endpoint paused"),
    WaitReason.DISABLED: gettext_lazy("waits: endpoint off"),
    WaitReason.FAILING: gettext_lazy("waits: endpoint failing"),
    WaitReason.PROBED: gettext_lazy("waits: endpoint failing"),
    WaitReason.HELD: gettext_lazy("waits: endpoint held back"),
}


def to_customer(delivery: Delivery, state: DeliveryState) -> str:
    """Return the state of a delivery in one or two sentences. Its event must be loaded."""
    why = str(_TO_CUSTOMER.get(state.outlook.kind, "")) if state.outlook else ""
    words = [*_how_long(delivery, state.outlook), *_where_it_stands(delivery, state), why]
    return " ".join(filter(None, words))


def waiting_in_words(waiting: Waiting) -> str:
    """Return how many of the deliveries still wait, and for what; empty if none does."""
    off = ngettext(
        "%(count)s waits until its endpoint, which is paused or switched off, is switched on again.",
        "%(count)s wait until their endpoints, which are paused or switched off, are switched on again.",
        waiting.off,
    )
    held = ngettext(
        "%(count)s waits for its turn at an endpoint that is failing or held back.",
        "%(count)s wait for their turn at endpoints that are failing or held back.",
        waiting.held,
    )
    words = [text % {"count": count} for text, count in ((off, waiting.off), (held, waiting.held)) if count]
    return " ".join(words)


def short_label(outlook: DeliveryOutlook | None) -> str:
    """Return in two or three words why it waits; empty if it does not, or only for its own time."""
    return str(_SHORTLY.get(outlook.kind, "")) if outlook else ""


def _where_it_stands(delivery: Delivery, state: DeliveryState) -> list[str]:
    if delivery.status == DeliveryStatus.SUCCEEDED:
        return [_("Your server has accepted it.")]
    if state.outlook is not None:
        return _so_far(delivery, state, state.outlook)
    accepted = [_("Your server had accepted it before.")] if state.accepted_at else []
    if delivery.status == DeliveryStatus.CANCELLED:
        return [*accepted, _("It was cancelled, and is not sent any more.")]
    if delivery.last_outcome == OutcomeKind.EXPIRED:
        return [*accepted, _("It was pending for too long, and is not sent any more.")]
    given_up = ngettext(
        "It was given up after %(attempts)s attempt.",
        "It was given up after %(attempts)s attempts.",
        delivery.attempts,
    )
    return [*accepted, given_up % {"attempts": delivery.attempts}]


def _so_far(delivery: Delivery, state: DeliveryState, outlook: DeliveryOutlook) -> list[str]:
    if state.accepted_at:
        return [_("Your server has accepted it before; it is to be sent once more.")]
    if not delivery.attempts:
        return [_("It is on its way.")] if outlook.kind in (WaitReason.DUE, WaitReason.LATER) else []
    if outlook.is_off:
        return [_("It has not been accepted yet.")]
    if delivery.event.is_test and not delivery.endpoint.is_playground:
        return [_("It is tried once more; a test is not repeated by itself.")]
    return [_("It has not been accepted yet, and is tried again by itself.")]


def _how_long(delivery: Delivery, outlook: DeliveryOutlook | None) -> list[str]:
    """Return until when a pending delivery of a paused or disabled endpoint is kept; see `deliveries.backlog`."""
    if outlook is None or outlook.kind not in (WaitReason.PAUSED, WaitReason.DISABLED):
        return []
    until = timezone.localtime(delivery.event.created_at + backlog_age())
    return [_("It is kept until %(date)s.") % {"date": date_format(until, "DATE_FORMAT")}]
