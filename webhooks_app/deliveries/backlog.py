"""The backlog of a paused or disabled endpoint: drop deliveries beyond the limits, and notify before and after.

No engine leases the queue of such an endpoint, so nothing else ends these deliveries. `prune` calls this every hour.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from functools import partial

from django.db import connections
from django.db.models import Exists, F, OuterRef

from webhooks_app.conf import backlog_age, settings
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.db import in_fresh_transaction
from webhooks_app.locking import chunks
from webhooks_app.models import (
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Notification,
    NotificationKind,
    database_now,
)
from webhooks_app.models.database import database_alias
from webhooks_app.models.delivery import DeliveryQuerySet
from webhooks_app.models.ids import first_id
from webhooks_app.models.lookups import count_up_to, for_change
from webhooks_app.models.notification import NotificationQuerySet

logger = logging.getLogger(__name__)

#: In these states nothing is sent, and the pending deliveries are kept within the limits.
OFF = (EndpointStatus.PAUSED, EndpointStatus.DISABLED)
#: The largest number of deliveries that one transaction ends.
_CHUNK = 500
#: The share of a limit at which the tenant and staff are notified.
_WARN_AT = 0.8
#: How often to try a queue row that another transaction has locked, and the pause between tries in seconds.
_TRIES, _PAUSE = 3, 0.05
#: Hold the notification at most this long for the last chunk, so that its count is complete. A crash delays only this
#: notification, by the same time.
_COUNTING = timedelta(minutes=15)


def trim_backlogs(now: datetime) -> int:
    """Drop the deliveries beyond the limits, endpoint by endpoint; return how many were dropped.

    An endpoint that fails is logged and does not stop the others.
    """
    waiting = Delivery.objects.pending().filter(endpoint_id=OuterRef("pk"))
    off = Endpoint.objects.filter(Exists(waiting), status__in=OFF)
    dropped = 0
    for keys in chunks(off, size=500):
        for row in Endpoint.objects.filter(pk__in=keys).order_by("pk"):
            try:
                dropped += trim_backlog(row, now)
            except Exception:
                if not is_usable():
                    raise
                logger.exception("webhooks: the backlog of endpoint %s could not be trimmed", row.public_id)
    return dropped


def trim_backlog(row: Endpoint, now: datetime, *, warn: bool = True) -> int:
    """Drop this endpoint's pending deliveries beyond the limits; return how many. Uses its own transactions.

    `warn`: notify the tenant and staff if more will be dropped later; pass False if the endpoint is about to be enabled. Does
    nothing unless the endpoint is paused or disabled. Leaves a locked queue row to the next call.
    """
    dropped = sum(_drop(row, beyond, reason) for reason, beyond in _beyond(row, now))
    if dropped:
        logger.warning("webhooks: dropped %d pending deliveries of endpoint %s", dropped, row.public_id)
    if warn:
        _warn(row, now)
    return dropped


def end_pending(
    key: uuid.UUID,
    ids: Collection[uuid.UUID],
    *,
    states: Collection[EndpointStatus],
    **values: object,
) -> int | None:
    """End those of the endpoint's deliveries that are pending, and set these values; return how many.

    Needs a transaction, and does not wait for row locks: locked deliveries stay unchanged. Returns None if the queue row is
    locked or the endpoint is in none of `states` any more.
    """
    if not _lock_queue(key, states):
        return None
    pending = Delivery.objects.pending().filter(pk__in=ids)
    free = list(for_change(pending, skip_locked=True).order_by("pk").values_list("pk", flat=True))
    return pending.filter(pk__in=free).update(completed_at=database_now(), **values)


def cancel_for_deleted() -> int:
    """Cancel the pending deliveries of deleted endpoints; return how many.

    A fan-out that was running while the endpoint was deleted may have created more deliveries for it.
    """
    waiting = Delivery.objects.pending().filter(endpoint_id=OuterRef("pk"))
    deleted = Endpoint.objects.filter(Exists(waiting), status=EndpointStatus.DELETED)
    end = partial(end_pending, states=(EndpointStatus.DELETED,), status=DeliveryStatus.CANCELLED)
    total = 0
    for key in list(deleted.values_list("pk", flat=True)):
        for ids in chunks(_pending(key), size=_CHUNK):
            total += in_fresh_transaction(partial(end, key, ids)) or 0
    return total


def is_usable() -> bool:
    """Return whether the database connection is still usable after an error."""
    connection = connections[database_alias()]
    return connection.connection is not None and connection.is_usable()


# --- drop ----------------------------------------------------------------------------------------------------------------


def _beyond(row: Endpoint, now: datetime) -> Iterator[tuple[str, DeliveryQuerySet]]:
    """Yield the pending deliveries beyond each limit, with the limit's name.

    Age is the age of the event, by the database's clock.
    """
    pending = _pending(row.pk)
    oldest = now - backlog_age()
    yield "age", pending.filter(event_id__lt=first_id(oldest), event__created_at__lt=oldest)
    most = settings().BACKLOG.MAX_DELIVERIES
    if most and count_up_to(pending.by_queue(), most + 1) > most:
        newest = pending.order_by("-event_id").values_list("event_id", flat=True)
        for event_id in newest[most : most + 1]:
            yield "count", pending.filter(event_id__lte=event_id)


def _pending(key: uuid.UUID) -> DeliveryQuerySet:
    return Delivery.objects.pending().filter(endpoint_id=key)


def _drop(row: Endpoint, beyond: DeliveryQuerySet, reason: str) -> int:
    total = 0
    counting_until = database_now() + _COUNTING
    for ids in chunks(beyond, size=_CHUNK):
        ended = _drop_chunk(row, ids, reason, counting_until)
        if ended is None:
            logger.info("webhooks: the backlog of endpoint %s is busy; the next prune goes on", row.public_id)
            break
        total += ended
    if total:
        mine = _notifications(row).unsent().filter(kind=NotificationKind.BACKLOG_DROPPED, claimed_until=counting_until)
        mine.update(claimed_until=None)
    return total


def _drop_chunk(row: Endpoint, ids: list[uuid.UUID], reason: str, counting_until: datetime) -> int | None:
    work = partial(_drop_now, row, ids, reason, counting_until)
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        ended = in_fresh_transaction(work)
        if ended is not None:
            return ended
    return None


def _drop_now(row: Endpoint, ids: list[uuid.UUID], reason: str, counting_until: datetime) -> int | None:
    expired = {"status": DeliveryStatus.EXHAUSTED, "last_outcome": OutcomeKind.EXPIRED.value, "last_status": None}
    ended = end_pending(row.pk, ids, states=OFF, **expired)
    if ended and not _is_silent(row):
        notifications = _notifications(row).filter(kind=NotificationKind.BACKLOG_DROPPED)
        if not notifications.exists():
            _notify(row, NotificationKind.BACKLOG_DROPPED, ended, reason, ids[0], claimed_until=counting_until)
        else:
            notifications.unsent().update(count=F("count") + ended)
    return ended


# --- notify --------------------------------------------------------------------------------------------------------------


def _warn(row: Endpoint, now: datetime) -> None:
    """Notify once that deliveries will be dropped, unless some already were: that notification says the same."""
    if _is_silent(row) or _notifications(row).exists():
        return
    age, most = backlog_age(), settings().BACKLOG.MAX_DELIVERIES
    pending = _pending(row.pk)
    old = now - _WARN_AT * age
    aging = pending.filter(event_id__lt=first_id(old), event__created_at__lt=old).order_by("event_id")
    oldest = aging.values_list("pk", "event__created_at").first()
    if oldest is not None:
        work = partial(_warn_now, row, "age", oldest[0], oldest[1] + age)
    elif most and count_up_to(pending.by_queue(), most) >= math.ceil(_WARN_AT * most):
        work = partial(_warn_now, row, "count", None, None)
    else:
        return
    in_fresh_transaction(work)


def _warn_now(row: Endpoint, reason: str, delivery_id: uuid.UUID | None, drop_at: datetime | None) -> None:
    if _lock_queue(row.pk, OFF) and not _notifications(row).exists():
        count = _pending(row.pk).count()
        _notify(row, NotificationKind.BACKLOG_EXPIRING, count, reason, delivery_id, drop_at=drop_at)


def _notify(
    row: Endpoint,
    kind: NotificationKind,
    count: int,
    reason: str,
    delivery_id: uuid.UUID | None,
    **values: datetime | None,
) -> None:
    Notification.objects.create(
        tenant_id=row.tenant_id,
        endpoint_id=row.pk,
        kind=kind,
        count=count,
        reason=reason,
        delivery_id=delivery_id,
        **values,
    )


def _notifications(row: Endpoint) -> NotificationQuerySet:
    """Return the notifications sent to the tenant and staff since the endpoint was paused or disabled.

    The result is reliable only under the lock of the queue row.
    """
    since = row.status_changed_at or row.created_at
    return Notification.objects.filter(
        tenant_id=row.tenant_id, endpoint_id=row.pk, kind__in=NotificationKind.about_backlogs(), created_at__gte=since
    )


def _is_silent(row: Endpoint) -> bool:
    """Return whether to skip notifications: nobody sees the endpoints behind callback URLs, and playgrounds need none."""
    return row.is_callback or row.is_playground


def _lock_queue(key: uuid.UUID, states: Collection[EndpointStatus]) -> bool:
    """Lock the queue row, which every change of the endpoint's status locks first.

    Returns False if another transaction holds the lock or the endpoint is in none of these states.
    """
    queues = EndpointQueue.objects.filter(endpoint_id=key)
    if not for_change(queues, skip_locked=True).values_list("pk", flat=True).first():
        return False
    return Endpoint.objects.filter(pk=key, status__in=states).exists()
