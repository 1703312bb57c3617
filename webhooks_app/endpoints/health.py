"""The health of one endpoint: its failures, its breaker, its backlog, and when it will be disabled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from webhooks_app.core.circuit_breaker import breaker_is_open
from webhooks_app.core.retry import OutcomeKind, RetryPolicy
from webhooks_app.models import BLOCKED, Delivery, Endpoint, EndpointQueue, EndpointStatus
from webhooks_app.models.ids import first_id
from webhooks_app.models.lookups import count_up_to
from webhooks_app.wire_formats import find_retry_policy

#: The number of deliveries examined to find the cause of a failure.
_LOOKED_AT = 100
#: Pending deliveries are counted up to this number.
MOST_COUNTED = 1000


@dataclass(frozen=True, slots=True)
class Condition:
    """The current health of an endpoint; for customers and staff alike.

    `waiting`: pending deliveries, at most MOST_COUNTED + 1. `next_at`: when the next of them may be sent; None if unknown or
    if none is pending. `held_until`: nothing is sent earlier; None if nothing holds the queue. `breaker_open`: requests are tried
    one at a time, the others wait. `disables_at`: a failure after this time disables the endpoint; `disables_after`: so do
    this many more failures in a row. None: it is never disabled for this reason.
    """

    waiting: int
    next_at: datetime | None = None
    held_until: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    last_success_at: datetime | None = None
    breaker_open: bool = False
    disables_at: datetime | None = None
    disables_after: int | None = None

    @property
    def is_failing(self) -> bool:
        return self.failing_since is not None

    @property
    def waiting_in_words(self) -> str:
        return f"{MOST_COUNTED}+" if self.waiting > MOST_COUNTED else str(self.waiting)


def condition_of(endpoint: Endpoint, now: datetime) -> Condition | None:
    """Return the endpoint's health. Reads its queue and counts pending deliveries.

    Returns None for an endpoint without a queue, which is being removed.
    """
    queue: EndpointQueue | None = getattr(endpoint, "queue", None)
    if queue is None:
        return None
    health = queue.health
    is_active = endpoint.status == EndpointStatus.ACTIVE
    is_judged = is_active and health.failing_since is not None
    policy = find_retry_policy(endpoint.wire_format) if is_judged else None
    return Condition(
        waiting=waiting(endpoint),
        next_at=queue.due_at if is_active and queue.due_at < BLOCKED else None,
        held_until=queue.not_before if now < queue.not_before < BLOCKED else None,
        failures=health.consecutive_failures,
        failing_since=health.failing_since,
        last_success_at=health.last_success_at,
        breaker_open=policy is not None and breaker_is_open(health, policy),
        disables_at=off_at(queue, policy),
        disables_after=_disables_after(health.consecutive_failures, policy),
    )


def latest_trouble(endpoint: Endpoint, condition: Condition | None) -> Delivery | None:
    """Return a delivery whose last request failed, to show what is wrong.

    It is one of the newest deliveries or, if none of these was tried yet, one of the first since the failures began. None if
    the endpoint is not failing, or if neither group has one.
    """
    if condition is None or condition.failing_since is None:
        return None
    rows = Delivery.objects.filter(endpoint_id=endpoint.pk).only("id", "last_outcome", "last_status")
    since = rows.filter(pk__gte=first_id(condition.failing_since))
    looked_at = chain(rows.order_by("-id")[:_LOOKED_AT], since.order_by("id")[:_LOOKED_AT])
    return next((row for row in looked_at if row.last_outcome not in ("", OutcomeKind.SUCCEEDED)), None)


def waiting(endpoint: Endpoint) -> int:
    """Return the number of pending deliveries, at most MOST_COUNTED + 1."""
    pending = Delivery.objects.pending().filter(endpoint_id=endpoint.pk).by_queue()
    return count_up_to(pending, MOST_COUNTED + 1)


def off_at(queue: EndpointQueue, policy: RetryPolicy | None) -> datetime | None:
    """Return when a failing endpoint will be disabled unless a request succeeds; None if its policy sets no time."""
    if policy is None or policy.disable_after is None or queue.failing_since is None or queue.not_before == BLOCKED:
        return None
    return queue.failing_since + policy.disable_after


def _disables_after(consecutive_failures: int, policy: RetryPolicy | None) -> int | None:
    if policy is None or policy.disable_after_failures is None:
        return None
    return max(policy.disable_after_failures - consecutive_failures, 1)
