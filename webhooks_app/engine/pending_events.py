"""Select the pending events of one fan-out: tenants take turns, and each has its share.

Rows are claimed inside the caller's transaction and stay locked until it ends; other workers skip them.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from django.db.models import QuerySet

from webhooks_app.db import read
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import Limits, PendingTenant
from webhooks_app.engine.types import PendingEvent
from webhooks_app.models import Event, Tenant
from webhooks_app.models.lookups import any_of, for_change

#: A tenant's pending events are counted up to this: enough to see whether they are few.
_COUNTED = 100
#: How much of a tenant's former number of deliveries an event counts after a fan-out.
_FADES = 0.9
#: With more tenants than this, the times when they were served are dropped.
_MOST_SERVED = 10_000


class Share(NamedTuple):
    """How many of a tenant's events one fan-out takes."""

    tenant: PendingTenant
    events: int

    @property
    def deliveries(self) -> int:
        """Return how many deliveries these events count as."""
        return self.events * self.tenant.deliveries_each

    @property
    def takes_all(self) -> bool:
        """Return whether the tenant has no more pending events than these."""
        return self.events >= self.tenant.events and self.tenant.events < _COUNTED


def shares_of(tenants: Sequence[PendingTenant], limits: Limits) -> list[Share]:
    """Divide the events and deliveries of one fan-out among these tenants. Pure.

    Each tenant gets at least one event; tenants that do not fit wait for the next turn.
    """
    chosen: list[Share] = []
    deliveries = 0
    events_each = max(limits.events // max(len(tenants), 1), 1)
    deliveries_each = max(limits.deliveries // max(len(tenants), 1), 1)
    for tenant in tenants:
        events = min(events_each, max(deliveries_each // tenant.deliveries_each, 1))
        if tenant.events < _COUNTED:
            events = min(events, tenant.events)
        deliveries += events * tenant.deliveries_each
        if chosen and deliveries > limits.deliveries:
            break
        chosen.append(Share(tenant, events))
    return chosen


def part_of(shares: Sequence[Share], deliveries: int) -> list[Share]:
    """Return the first of these shares, with as many events of each as fit into `deliveries` deliveries. Pure.

    The first share has at least one event, which may not fit: it is then fanned out in parts.
    """
    chosen: list[Share] = []
    for share in shares:
        events = min(share.events, deliveries // share.tenant.deliveries_each)
        if not events:
            break
        chosen.append(share._replace(events=events))
        deliveries -= chosen[-1].deliveries
    return chosen or [share._replace(events=1) for share in shares[:1]]


class TenantTurns:
    """A round robin over the tenants with pending events, in the order of their ids."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._store = store_for(using)
        self._after = uuid.UUID(int=0)
        #: Whether the last turn was that of the last tenants.
        self.round_is_over = True
        #: When tenants that cannot all be served in one step had their last turn (monotonic).
        self._served_at: dict[uuid.UUID, float] = {}
        #: How many deliveries an event of a tenant with many endpoints creates.
        self._each: dict[uuid.UUID, float] = {}

    def next(self, paused: Collection[uuid.UUID], floor: uuid.UUID) -> list[Share]:
        """Return the shares of the tenants whose turn it is. Their events with ids below the floor are left out."""
        limits = self._store.limits
        found = self._after_this(self._after, limits.tenants, floor)
        if len(found) < limits.tenants and self._after.int:
            first = self._after_this(uuid.UUID(int=0), limits.tenants - len(found), floor)
            found += [tenant for tenant in first if tenant.id <= self._after]
        chosen = shares_of([tenant for tenant in found if tenant.id not in paused], limits)
        whole_round = len(found) < limits.tenants and len(chosen) == len(found)
        self._after = uuid.UUID(int=0) if whole_round or not chosen else chosen[-1].tenant.id
        if not chosen and found and len(found) == limits.tenants:
            self._after = found[-1].id
        self.round_is_over = not self._after.int
        return chosen

    def last_served(self, share: Share) -> float:
        """Return when this tenant was served last (monotonic), 0.0 if unknown."""
        return self._served_at.get(share.tenant.id, 0.0)

    def note_served(self, shares: Sequence[Share]) -> None:
        if len(self._served_at) > _MOST_SERVED:
            self._served_at.clear()
        self._served_at.update((share.tenant.id, time.monotonic()) for share in shares)

    def note_each(self, each: Mapping[uuid.UUID, float]) -> None:
        """Note how many deliveries the events of these tenants have just created. The estimate rises at once and falls slowly."""
        if len(self._each) > _MOST_SERVED:
            self._each.clear()
        for tenant_id, number in each.items():
            self._each[tenant_id] = max(number, _FADES * self._each.get(tenant_id, 0.0))

    def _after_this(self, after: uuid.UUID, number: int, floor: uuid.UUID) -> list[PendingTenant]:
        endpoints = self._store.limits.deliveries + 1
        found = self._store.pending_tenants(after, number, endpoints=endpoints, events=_COUNTED, floor=floor)
        return [tenant._replace(each=self._each.get(tenant.id)) for tenant in found]


def read_pending(
    shares: Sequence[Share],
    held: Mapping[uuid.UUID, Collection[uuid.UUID]],
    floor: uuid.UUID,
    using: str,
    *,
    in_order: bool,
) -> list[PendingEvent]:
    """Return the oldest pending events of these tenants from the floor on, up to each one's share, by id.

    Those that nobody has locked now; needs a transaction, and the locks that it takes end with it, since what follows takes
    time. `held`: events to leave alone, by tenant. `in_order`: all of them, held ones too, since nothing may overtake another
    event.
    """
    events: list[PendingEvent] = []
    for share in shares:
        # A range and an order of tenant and id, which only one index has: see `sql.fan_out`.
        of_tenant = {"tenant_id__gte": share.tenant.id, "tenant_id__lte": share.tenant.id}
        pending = Event.objects.using(using).pending().filter(**of_tenant, id__gte=floor).order_by("tenant_id", "id")
        left = held.get(share.tenant.id)
        if left and not in_order:
            pending = pending.exclude(any_of("id", left))
        free = pending if in_order else for_change(pending, skip_locked=True)
        events += _rows(free[: share.events])
    return sorted(events, key=lambda event: event.id)


def all_held(
    shares: Sequence[Share], held: Mapping[uuid.UUID, Collection[uuid.UUID]], floor: uuid.UUID, using: str
) -> set[uuid.UUID]:
    """Return the tenants of these shares that have no pending events from the floor on but those that are held, by tenant. Not
    those that have FIFO endpoints, whose held events are the next in their order."""
    tenants = [share.tenant for share in shares if share.tenant.id in held and not share.tenant.fifo]
    # The number alone does not tell: another engine may have fanned out a held event, and a new one has come.
    few = [tenant for tenant in tenants if tenant.events < _COUNTED and tenant.events <= len(held[tenant.id])]
    ids = [key for tenant in few for key in held[tenant.id]]
    if not ids:
        return set()
    pending = Event.objects.using(using).pending().filter(any_of("id", ids), id__gte=floor).order_by()
    counted = Counter(read(lambda: list(pending.values_list("tenant_id", flat=True)), using))
    return {tenant.id for tenant in few if tenant.events == counted[tenant.id]}


def read_these(ids: Sequence[uuid.UUID], using: str) -> list[PendingEvent]:
    """Return those of these events that are still pending."""
    pending = Event.objects.using(using).pending().filter(any_of("id", ids))
    return read(lambda: _rows(pending), using)


def claim(events: Sequence[PendingEvent], using: str) -> set[uuid.UUID]:
    """Lock and return the events that are still pending, unchanged in their position, and not locked by others."""
    rows = Event.objects.using(using).pending().filter(any_of("id", [event.id for event in events])).order_by("id")
    positions = dict(for_change(rows, skip_locked=True).values_list("id", "fan_out_position"))
    return {event.id for event in events if event.id in positions and positions[event.id] == event.fan_out_position}


def is_pending(events: Sequence[PendingEvent], using: str) -> bool:
    """Return whether any of these events is still to be fanned out."""
    rows = Event.objects.using(using).pending().filter(any_of("id", [event.id for event in events]))
    return bool(events) and rows.exists()


def claim_tenant(tenant_id: uuid.UUID, using: str) -> bool:
    """Lock the tenant's row; only its owner may process the tenant's events. Return False if another worker has locked it."""
    rows = Tenant.objects.using(using).filter(id=tenant_id)
    return bool(list(for_change(rows, skip_locked=True).values_list("id")))


def _rows(events: QuerySet[Event]) -> list[PendingEvent]:
    return [PendingEvent(*values) for values in events.values_list(*PendingEvent._fields)]
