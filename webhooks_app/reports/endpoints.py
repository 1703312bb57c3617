"""What customers want to know of their endpoints: how each is doing, what waits, what was delivered last."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from django.db.models import OuterRef, QuerySet, Subquery
from django.utils.translation import gettext as _

from webhooks_app.core.health import is_open
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.models import IDLE, Delivery, Endpoint, EndpointStatus, Secret
from webhooks_app.reports.health import off_at, policy_of
from webhooks_app.reports.hours import Hour, hours_of_each, requests_of

#: More deliveries that wait are not counted one by one.
MOST_COUNTED = 1000
#: The deliveries that an endpoint's own page shows.
RECENT = 10


@dataclass(frozen=True, slots=True)
class Line:
    """One endpoint in a list: its last delivery (None: none yet), and the last 24 hours."""

    endpoint: Endpoint
    last: Delivery | None
    hours: Sequence[Hour]

    @property
    def requests(self) -> int:
        return requests_of(self.hours)

    @property
    def success_percent(self) -> int | None:
        """Of the requests; None where there were none. 100 only where all of them succeeded."""
        if not self.requests:
            return None
        return sum(hour.succeeded for hour in self.hours) * 100 // self.requests


@dataclass(frozen=True, slots=True)
class Condition:
    """How an endpoint is doing now.

    `waiting`: deliveries that are pending, at most MOST_COUNTED + 1. `next_at`: when the next of them may be sent, None where
    that is not known or none is. `slowed`: one request at a time is tried, the others wait. `disables_at`: a failure after
    this time switches it off; `disables_after`: so many more failures in a row do. None: never for this reason.
    """

    waiting: int
    next_at: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    slowed: bool = False
    disables_at: datetime | None = None
    disables_after: int | None = None

    @property
    def is_failing(self) -> bool:
        return self.failing_since is not None

    @property
    def waiting_in_words(self) -> str:
        return f"{MOST_COUNTED}+" if self.waiting > MOST_COUNTED else str(self.waiting)


def name_of(endpoint: Endpoint) -> str:
    """What customers know it by: its URL; the playground's is ours, and leads nowhere."""
    return _("Playground") if endpoint.is_playground else endpoint.url


def lines_of(endpoints: Sequence[Endpoint], now: datetime, *, using: str) -> list[Line]:
    """The endpoints of one page of a list, in their order: three queries, however many they are."""
    keys = [endpoint.pk for endpoint in endpoints]
    last, hours = _last_deliveries(keys, using), hours_of_each(keys, now, using=using)
    return [Line(endpoint, last.get(endpoint.pk), hours[endpoint.pk]) for endpoint in endpoints]


def condition_of(endpoint: Endpoint, *, using: str) -> Condition:
    """Reads the endpoint's queue, and counts what waits."""
    health = endpoint.queue.health
    policy = policy_of(endpoint)
    due_at = endpoint.queue.due_at
    judged = endpoint.status == EndpointStatus.ACTIVE and health.failing_since is not None and policy is not None
    return Condition(
        waiting=waiting(endpoint, using=using),
        next_at=due_at if endpoint.status == EndpointStatus.ACTIVE and due_at != IDLE else None,
        failures=health.streak,
        failing_since=health.failing_since,
        last_success_at=health.last_success_at,
        last_failure_at=health.last_failure_at,
        slowed=judged and is_open(health, cast(RetryPolicy, policy)),
        disables_at=off_at(endpoint.queue, policy) if judged else None,
        disables_after=_disables_after(health.streak, policy) if judged else None,
    )


def waiting(endpoint: Endpoint, *, using: str) -> int:
    """Deliveries that are pending, at most MOST_COUNTED + 1."""
    rows = Delivery.objects.using(using).filter(endpoint_id=endpoint.pk).pending()
    return rows.order_by()[: MOST_COUNTED + 1].count()


def recent_deliveries(endpoint: Endpoint, *, using: str) -> QuerySet[Delivery]:
    """The newest, each with its event but not the event's data."""
    rows = Delivery.objects.using(using).filter(endpoint_id=endpoint.pk).select_related("event")
    return rows.defer("event__data").order_by("-id")[:RECENT]


def live_secrets(endpoint: Endpoint, *, using: str) -> list[Secret]:
    """Those that requests are signed with, the current one first. Their values are not read."""
    rows = Secret.objects.using(using).filter(endpoint_id=endpoint.pk).live().defer("value")
    return sorted(rows, key=lambda row: (row.expires_at is not None, -row.pk.int))


def _last_deliveries(keys: Sequence[uuid.UUID], using: str) -> dict[uuid.UUID, Delivery]:
    newest = Delivery.objects.using(using).filter(endpoint_id=OuterRef("pk")).order_by("-id").values("pk")[:1]
    endpoints = Endpoint.objects.using(using).filter(pk__in=keys).order_by()
    found = endpoints.values_list(Subquery(newest), flat=True)
    rows = Delivery.objects.using(using).filter(pk__in=[key for key in found if key is not None])
    return {row.endpoint_id: row for row in rows}


def _disables_after(streak: int, policy: RetryPolicy | None) -> int | None:
    if policy is None or policy.disable_after_failures is None:
        return None
    return max(policy.disable_after_failures - streak, 1)
