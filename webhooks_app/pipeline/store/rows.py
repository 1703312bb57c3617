"""The rows that the store's statements take and give."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from webhooks_app.core.health import Health

#: From this many takeovers from dead engines on, a queue is suspected of killing them and runs alone.
POISON_SUSPECTED = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one transaction does at most, and how many of them an engine makes before it looks at the rest."""

    #: Events claimed, and deliveries made, by one fan-out.
    events: int
    deliveries: int
    #: Subscriptions read for it. A batch that would need more is done one event at a time, in keyset pages.
    subscriptions: int
    #: Finished requests recorded.
    results: int
    in_a_row: int


#: More at once blocked heartbeats and releases for seconds.
LARGE = Limits(events=500, deliveries=2000, subscriptions=8000, results=1600, in_a_row=1)
#: For a database with one writer at a time, where the host's requests wait meanwhile: some 50 ms.
SMALL = Limits(events=100, deliveries=200, subscriptions=1000, results=100, in_a_row=8)


class QueueState(Enum):
    """By which queues are taken: each kind has room of its own in an engine."""

    HEALTHY = "healthy"
    FAILING = "failing"
    SUSPECT = "suspect"


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
    """A queue that was just taken."""

    endpoint_id: uuid.UUID
    takeovers: int
    health: Health


class DueRow(NamedTuple):
    """A pending delivery that is due, as read."""

    endpoint_id: uuid.UUID
    id: uuid.UUID
    event_id: uuid.UUID
    attempts: int
    step: int
    next_attempt_at: datetime
    sequence: int
    size: int
    #: Has waited beyond its maximum age.
    late: bool
    #: Was marked before an earlier request; see `pipeline.poison`.
    marked: bool


class EventRow(NamedTuple):
    """An event's content, as read."""

    id: uuid.UUID
    type: str
    occurred_at: datetime
    data: str


class Settlement(NamedTuple):
    """What a delivery becomes, if it is still pending and still has `attempts` attempts (a success: if still pending)."""

    id: uuid.UUID
    attempts: int
    status: str
    new_attempts: int
    step: int
    next_attempt_at: datetime
    completed_at: datetime | None
    outcome: str
    http_status: int | None


class AttemptRow(NamedTuple):
    """One row of Attempt, in the order of the columns that COPY writes."""

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
    """A queue to give back. `not_before` None: as it is."""

    endpoint_id: uuid.UUID
    not_before: datetime | None
    succeeded_at: datetime | None


class HealthRow(NamedTuple):
    endpoint_id: uuid.UUID
    health: Health
    #: Set the takeovers back to none: it has succeeded.
    trusted: bool


@dataclass(slots=True)
class StatRow:
    """What to add to one endpoint's hour. `counts` are in the order of STAT_COLUMNS."""

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
