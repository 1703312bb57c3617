"""Values that the engine's statements take and return."""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple

from webhooks_app.core.circuit_breaker import Health

#: From this many takeovers from crashed engines on, a queue is suspected of crashing them and runs alone …
SUSPECTED_FROM = 2
#: … if the last of them was not longer ago than this. The suspicion expires, because engines are killed for many reasons.
SUSPICION_LASTS = timedelta(minutes=10)
#: A queue that succeeded within this time, and has not failed since, is trusted to respond.
TRUSTED_FOR = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one transaction, and of the transactions of one kind that an engine runs in a row."""

    #: The events that one fan-out takes, the deliveries that it creates, and the tenants that it serves.
    events: int
    deliveries: int
    tenants: int
    #: The subscriptions read for it. A batch that would need more is processed one event at a time, in keyset pages.
    subscriptions: int
    #: Finished requests recorded.
    results: int
    in_a_row: int


#: More at once blocked heartbeats and releases for seconds.
LARGE = Limits(events=500, deliveries=2000, tenants=100, subscriptions=8000, results=1600, in_a_row=1)
#: For a database with one writer at a time, for which the host's requests have to wait: about 50 ms.
SMALL = Limits(events=100, deliveries=200, tenants=16, subscriptions=1000, results=100, in_a_row=8)


#: An event with a new callback URL takes as long as so many deliveries: its endpoint and queue are created.
_CALLBACK_COUNTS_AS = 10
#: Comparing an event with so many endpoints takes as long as creating one delivery.
MATCHES_A_DELIVERY = 8


class QueueClass(Enum):
    """Classes by which queues are leased; each class has its own capacity in an engine."""

    TRUSTED = "trusted"  # succeeded recently, and has not failed since
    NEW = "new"  # neither
    FAILING = "failing"
    SUSPECTED = "suspected"  # of crashing engines


class LeaseCapacity(NamedTuple):
    """How many queues of one class to lease: at most `limit`, at most `share` of one tenant, none of the `full` tenants, and
    none of the `refused` queues, whose rows the database refused to change for this engine."""

    limit: int
    full: frozenset[uuid.UUID]
    share: int
    refused: frozenset[uuid.UUID] = frozenset()

    @property
    def looked_at(self) -> int:
        """Return how many of the oldest queues to examine, to find some of every tenant."""
        return max(4 * self.limit, 400) if self.limit else 0

    def admits_more(self, than: LeaseCapacity) -> bool:
        """Return whether a queue that did not fit before may fit now. `than`: the earlier capacity."""
        opened = self.limit > 0 and than.limit == 0
        return opened or not (than.full <= self.full and than.refused <= self.refused)

    def narrowed(
        self, *, limit: int, share: int, full: Collection[uuid.UUID], refused: Collection[uuid.UUID]
    ) -> LeaseCapacity:
        """Return the capacity with the stricter of these limits and its own."""
        return LeaseCapacity(
            min(self.limit, limit), self.full.union(full), min(self.share, share), self.refused.union(refused)
        )


class PendingTenant(NamedTuple):
    """A tenant with pending events."""

    id: uuid.UUID
    uid: str
    #: Whether its row exists.
    exists: bool
    #: It has no FIFO endpoint and no filters: its events can be fanned out in one statement, once its row exists.
    plain: bool
    fifo: bool
    #: The tenant's endpoints that may get an event, counted up to a limit.
    endpoints: int
    #: Its pending events, counted up to a limit.
    events: int
    #: Whether one of the counted events has a callback URL.
    callbacks: bool
    #: How many deliveries an event of it has created recently; None if unknown.
    each: float | None = None

    @property
    def is_slow(self) -> bool:
        """Return whether its events need a transaction of their own, or several."""
        return self.fifo or self.callbacks

    @property
    def deliveries_each(self) -> int:
        """Return how many deliveries an event counts as in the tenant's share: at least one, and as many as its events have
        created recently. If that is unknown: as many as it may create."""
        expected = self.endpoints
        if self.each is not None:
            expected = min(expected, max(math.ceil(self.each), self.endpoints // MATCHES_A_DELIVERY))
        return max(expected, _CALLBACK_COUNTS_AS if self.callbacks else 1)


class NewDelivery(NamedTuple):
    """A delivery to insert, pending."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    event_id: uuid.UUID
    endpoint_id: uuid.UUID
    next_attempt_at: datetime
    expires_at: datetime
    sequence: int


class Wanted(NamedTuple):
    """What to read of one queue: the next `limit` due deliveries after `cursor` (FIFO: from the head)."""

    endpoint_id: uuid.UUID
    fifo: bool
    cursor: tuple[datetime, uuid.UUID] | None
    limit: int


class Taken(NamedTuple):
    """A queue that was just leased."""

    endpoint_id: uuid.UUID
    #: Takeovers from crashed engines, unless the suspicion has expired.
    crash_takeovers: int
    health: Health
    #: When its circuit breaker last closed.
    recovered_at: datetime | None

    def is_trusted(self, now: datetime) -> bool:
        """Return whether it succeeded recently and has not failed since."""
        succeeded_at = self.health.last_success_at
        return not self.health.consecutive_failures and succeeded_at is not None and succeeded_at > now - TRUSTED_FOR

    def queue_class(self, now: datetime) -> QueueClass:
        if self.crash_takeovers >= SUSPECTED_FROM:
            return QueueClass.SUSPECTED
        if self.health.consecutive_failures:
            return QueueClass.FAILING
        return QueueClass.TRUSTED if self.is_trusted(now) else QueueClass.NEW


class DueRow(NamedTuple):
    """A pending delivery that is due, as read from the database."""

    endpoint_id: uuid.UUID
    id: uuid.UUID
    event_id: uuid.UUID
    attempts: int
    retry_step: int
    next_attempt_at: datetime
    sequence: int
    size: int
    #: When it has waited for its maximum age.
    expires_at: datetime
    #: How many engines crashed just after they had started a request of it; see `engine.crash_guard`.
    crashes: int


class EventRow(NamedTuple):
    """An event's content, as read from the database."""

    id: uuid.UUID
    type: str
    occurred_at: datetime
    #: As stored: `payload_field().open` returns the text.
    data: Any


class Settlement(NamedTuple):
    """A delivery's new values, written if it is still pending and still has `attempts` attempts (a success: if still pending)."""

    id: uuid.UUID
    attempts: int
    status: str
    new_attempts: int
    retry_step: int
    next_attempt_at: datetime
    completed_at: datetime | None
    outcome: str
    http_status: int | None


class AttemptRow(NamedTuple):
    """One row of Attempt, in the column order of COPY."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    delivery_id: uuid.UUID
    endpoint_id: uuid.UUID
    number: int
    started_at: datetime
    duration_ms: float
    outcome: str
    status: int | None
    detail: str
    address: str
    http_version: str
    secret_id: uuid.UUID | None
    url: str
    response_headers: str
    response_body: bytes
    response_truncated: bool


class Release(NamedTuple):
    """A queue to release. `not_before` None: unchanged."""

    endpoint_id: uuid.UUID
    not_before: datetime | None
    succeeded_at: datetime | None


class HealthRow(NamedTuple):
    """An endpoint's health to write. `cleared`: it crashes no engine, so its takeovers are reset. `recovered_at`: set if its
    circuit breaker has just closed."""

    endpoint_id: uuid.UUID
    health: Health
    cleared: bool
    recovered_at: datetime | None


@dataclass(slots=True)
class StatRow:
    """The values to add to one endpoint's hour. `counts` are in the order of STAT_COUNTS."""

    endpoint_id: uuid.UUID
    hour: datetime
    counts: list[int]
    latency_sum_ms: float = 0.0
    latency_max_ms: float = 0.0


STAT_COUNTS = (
    "succeeded",
    "redirect",
    "client_error",
    "server_error",
    "timeout",
    "unreachable",
    "exhausted",
    *(f"latency_{bucket}" for bucket in range(10)),
)
