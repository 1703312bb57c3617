"""The delivery log of one tenant: newest first, filtered, in pages whose cost does not grow with the log.

Filters with an index (tenant, endpoint, time; on PostgreSQL also the statuses exhausted and cancelled) are read straight from
it. For all other filters, one page examines at most LOOKED_AT rows and then reports that older rows may match.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from django.db.models import OuterRef, QuerySet, Subquery

from webhooks_app.db import is_postgresql
from webhooks_app.exceptions import NotFound
from webhooks_app.models import Delivery, DeliveryStatus, Endpoint, EndpointStatus, Event, EventChannel
from webhooks_app.models.delivery import of_real_events
from webhooks_app.models.ids import first_id
from webhooks_app.models.lookups import any_of

#: The most rows that one page examines: about 50 ms if all of them are scattered.
LOOKED_AT = 5_000
PAGE = 25
#: A channel with at most this many events is looked up by its events, however old they are.
_FEW_EVENTS = 500
#: Rows that an export, or one part of a bulk action, reads at a time.
_AT_ONCE = 500
#: Stop after this many scans of LOOKED_AT rows without enough matches.
_MOST_LOOKS = 100
_FAILED = (DeliveryStatus.EXHAUSTED, DeliveryStatus.CANCELLED)
_COLUMNS = (
    *("id", "tenant_id", "event_id", "endpoint_id", "status", "attempts", "next_attempt_at", "created_at"),
    *(
        "completed_at",
        "last_outcome",
        "last_status",
        "event__type",
        "event__subject",
        "event__is_test",
        "endpoint__url",
        "endpoint__status",
        "endpoint__kind",
        "endpoint__wire_format",
    ),
    # For the reason why a delivery is pending.
    *(
        "endpoint__queue__not_before",
        "endpoint__queue__consecutive_failures",
        "endpoint__queue__failing_since",
        "endpoint__queue__last_failure_at",
        "endpoint__queue__last_success_at",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Filters of the log; an empty field matches everything.

    `status` is a DeliveryStatus, times are aware. `tests`: include test events.
    """

    endpoint_id: uuid.UUID | None = None
    event_id: uuid.UUID | None = None
    type: str = ""
    status: str = ""
    channel: str = ""
    since: datetime | None = None
    until: datetime | None = None
    tests: bool = True


@dataclass(frozen=True, slots=True)
class LogPage:
    """Deliveries with their event's type and endpoint's URL, newest first.

    `older` and `newer`: the values to pass next as `before` and `after`; None if there is nothing in that direction.
    """

    rows: list[Delivery]
    newer: uuid.UUID | None = None
    older: uuid.UUID | None = None
    #: False if the search stopped after LOOKED_AT rows: further back (`older`) more may match.
    looked_at_all: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """Deliveries to act on, and the position reached; `position` is None if no more match."""

    keys: list[uuid.UUID]
    position: uuid.UUID | None


class DeliveryLog:
    """The deliveries of one tenant that match a filter. Raises NotFound if the endpoint is not the tenant's."""

    def __init__(self, tenant_id: uuid.UUID, wanted: LogFilter) -> None:
        self.tenant_id = tenant_id
        self.wanted = wanted
        if wanted.endpoint_id is not None:
            mine = Endpoint.objects.filter(pk=wanted.endpoint_id, tenant_id=tenant_id)
            if not mine.exists():
                raise NotFound()
        self._events = self._few_events()

    def page(self, *, before: uuid.UUID | None = None, after: uuid.UUID | None = None, size: int = PAGE) -> LogPage:
        """Return the newest deliveries, those just before the delivery `before`, or those just after the delivery `after`."""
        if after is not None:
            page = self._newer_page(after, size)
            # Show a full newest page instead of only the few rows that happen to be newer.
            return page if page.newer else self.page(size=size)
        rows = self._indexed().order_by("-pk")
        if before is not None:
            rows = rows.filter(pk__lt=before)
        floor = self._end_of_look(rows)
        found = self._read(rows.filter(pk__gte=floor) if floor else rows, size + 1)
        more = len(found) > size
        found = found[:size]
        newest = found[0].pk if found else before and _next_to(before, -1)
        return LogPage(
            rows=found,
            newer=newest if before is not None else None,
            older=found[-1].pk if more else floor,
            looked_at_all=more or floor is None,
        )

    def newest_first(self, most: int, *, before: uuid.UUID | None = None) -> Iterator[Delivery]:
        """Yield up to `most` deliveries. Reads a few hundred at a time, on demand."""
        return islice(self._walk(before), most)

    def count(self) -> tuple[int, bool]:
        """Return how many deliveries match, and whether more may match. Examines at most LOOKED_AT rows.

        Does not count deliveries of deleted endpoints.
        """
        rows = self._indexed().order_by("-pk")
        beyond = rows.values_list("pk", flat=True)[LOOKED_AT : LOOKED_AT + 1].first()
        fitting = _of_living(self._sieved(rows.filter(pk__gt=beyond) if beyond else rows))
        return fitting.order_by().count(), beyond is not None

    def part(self, *, after: uuid.UUID | None, until: datetime, size: int) -> Part:
        """Return the next deliveries completed before `until`, oldest first, at most `size`.

        Leaves out deliveries of deleted endpoints. Returns each delivery once, even if it fails again in the meantime.
        """
        rows = self._indexed().order_by("pk").filter(pk__lt=first_id(until + timedelta(seconds=1)))
        if after is not None:
            rows = rows.filter(pk__gt=after)
        end = self._end_of_look(rows)
        fitting = self._sieved(rows.filter(pk__lte=end) if end else rows).filter(completed_at__lte=until)
        keys = list(_of_living(fitting).values_list("pk", flat=True)[:size])
        return Part(keys, keys[-1] if len(keys) == size else end)

    # --- steps ---------------------------------------------------------------------------------------------------------

    def _newer_page(self, after: uuid.UUID, size: int) -> LogPage:
        rows = self._indexed().order_by("pk").filter(pk__gt=after)
        ceiling = self._end_of_look(rows)
        found = self._read(rows.filter(pk__lte=ceiling) if ceiling else rows, size + 1)
        more = len(found) > size
        found = found[:size][::-1]
        return LogPage(
            rows=found,
            newer=found[0].pk if more else ceiling,
            older=found[-1].pk if found else _next_to(after, 1),
            looked_at_all=more or ceiling is None,
        )

    def _walk(self, before: uuid.UUID | None) -> Iterator[Delivery]:
        looks = 0
        while looks < _MOST_LOOKS:
            page = self.page(before=before, size=_AT_ONCE)
            yield from page.rows
            if page.older is None:
                return
            before = page.older
            looks += not page.looked_at_all

    def _read(self, rows: QuerySet[Delivery], most: int) -> list[Delivery]:
        """Return the first matching rows. Reads the ids first: with the joins in one statement, a planner may scan whole
        tables."""
        keys = list(self._sieved(rows).values_list("pk", flat=True)[:most])
        found = Delivery.objects.filter(any_of("id", keys))
        by_key = {row.pk: row for row in found.select_related("event", "endpoint__queue").only(*_COLUMNS)}
        return [by_key[key] for key in keys if key in by_key]

    def _end_of_look(self, rows: QuerySet[Delivery]) -> uuid.UUID | None:
        """Return the last row to examine; None if all rows are, or if an index finds exactly the matching rows."""
        if not self._needs_sieve:
            return None
        return rows.values_list("pk", flat=True)[LOOKED_AT - 1 : LOOKED_AT].first()

    # --- conditions ----------------------------------------------------------------------------------------------------

    def _indexed(self) -> QuerySet[Delivery]:
        """Return the rows filtered by the conditions that an index in the order of ids covers."""
        wanted, rows = self.wanted, Delivery.objects.all()
        if wanted.endpoint_id is not None:
            # Leave out the tenant, which the endpoint implies: a planner that multiplies both selectivities underestimates the
            # rows.
            rows = rows.filter(endpoint_id=wanted.endpoint_id)
        else:
            rows = rows.filter(tenant_id=self.tenant_id)
        if wanted.since is not None:
            rows = rows.filter(pk__gte=first_id(wanted.since))
        if wanted.until is not None:
            rows = rows.filter(pk__lt=first_id(wanted.until))
        if wanted.event_id is not None:
            rows = rows.filter(event_id=wanted.event_id)
        elif self._events is not None:
            rows = rows.filter(any_of("event_id", self._events))
        return rows.filter(status=wanted.status) if self._finds_status else rows

    def _sieved(self, rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Apply the other conditions row by row, in the order of the rows, so that the scan ends with the first matches.

        If they were joins, the planner would go by the total number of events of a type.
        """
        wanted, event = self.wanted, OuterRef("event_id")
        if wanted.status:
            rows = rows.filter(status=wanted.status)
        if not wanted.tests:
            rows = rows.filter(of_real_events())
        if wanted.type:
            events = Event.objects.filter(pk=event)
            rows = rows.alias(type=Subquery(events.values("type"))).filter(type=wanted.type)
        if wanted.channel and (self._events is None or wanted.event_id is not None):
            channels = EventChannel.objects.filter(event_id=event, channel=wanted.channel)
            rows = rows.alias(channel=Subquery(channels.values("channel"))).filter(channel=wanted.channel)
        return rows

    @property
    def _finds_status(self) -> bool:
        """Return whether an index covers this status. Databases other than PostgreSQL have none, or do not use it here."""
        return self.wanted.status in _FAILED and is_postgresql()

    @property
    def _needs_sieve(self) -> bool:
        wanted = self.wanted
        if self._events is not None or wanted.event_id is not None:
            return False
        return bool(wanted.type or wanted.channel or (wanted.status and not self._finds_status))

    def _few_events(self) -> list[uuid.UUID] | None:
        """Return the events of the filter's channel if there are few, else None."""
        if not self.wanted.channel:
            return None
        rows = EventChannel.objects.filter(tenant_id=self.tenant_id, channel=self.wanted.channel)
        events = list(rows.order_by("-event_id").values_list("event_id", flat=True)[: _FEW_EVENTS + 1])
        return events if len(events) <= _FEW_EVENTS else None


def _of_living(rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
    return rows.exclude(endpoint__status=EndpointStatus.DELETED)


def _next_to(key: uuid.UUID, step: int) -> uuid.UUID:
    """Return the id just before (-1) or after (1) this one, so that a page that ends there includes it."""
    return uuid.UUID(int=min(max(key.int + step, 0), 2**128 - 1))
