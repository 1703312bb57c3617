"""EndpointQueue and Engine: the current state of sending. HourlyStat: the data of charts."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from webhooks_app.core.circuit_breaker import Health
from webhooks_app.models.database import AppQuerySet
from webhooks_app.models.endpoint import Endpoint, EndpointStatus
from webhooks_app.models.fields import unconstrained_key
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import for_change
from webhooks_app.models.times import BLOCKED, NOT_HELD, NOTHING_DUE, Now

#: A heartbeat that is further in the future than this was written before the database's clock was set back.
CLOCK_SET_BACK = timedelta(seconds=2)


def alive_at(now: datetime | Now) -> Q:
    """Return the condition for engines that are alive: the heartbeat has not expired, and is not in the future. If it is, the
    clock was set back since, and an engine that is alive has written its time anew within one beat. The row of one that died
    before would seem alive until the clock has caught up. So before anything is taken from an engine, `takeover_grace_seconds`
    must have passed since the clock was set back."""
    return Q(alive_until__gt=now, beat_at__lte=now + CLOCK_SET_BACK)


class EngineQuerySet(AppQuerySet["Engine"]):
    def alive(self, now: datetime) -> EngineQuerySet:
        return self.filter(alive_at(now))

    def expired(self, now: datetime) -> EngineQuerySet:
        return self.filter(~alive_at(now))


class Engine(models.Model):
    """One running delivery loop. See `alive_at` for which rows belong to dead engines. All times are the database's."""

    id = models.UUIDField(_("Id"), primary_key=True, default=new_id, editable=False)
    host = models.CharField(_("Host"), max_length=255)
    pid = models.PositiveIntegerField(_("Process"))
    kind = models.CharField(_("Kind"), max_length=32, blank=True)  # "celery" or "command"
    started_at = models.DateTimeField(_("Started"), db_default=Now())
    alive_until = models.DateTimeField(_("Alive until"), db_index=True)
    #: The last heartbeat, and the last completed turns of the two threads: old ones belong to a thread that is stalled.
    beat_at = models.DateTimeField(db_default=Now())
    database_turn_at = models.DateTimeField(db_default=Now())
    sending_turn_at = models.DateTimeField(db_default=Now())
    #: As of the last heartbeat: requests in flight, and finished ones that are not in the database yet.
    in_flight = models.PositiveIntegerField(default=0)
    unrecorded = models.PositiveIntegerField(default=0)
    #: Seconds that the worker's clock is ahead of the database's (negative: behind).
    clock_drift = models.FloatField(default=0.0)
    #: It finishes its requests in flight and takes no more work: another engine may start in its place.
    draining = models.BooleanField(_("Finishing"), default=False)

    objects = EngineQuerySet.as_manager()

    class Meta:
        verbose_name = _("engine")
        verbose_name_plural = _("Engines")
        base_manager_name = "objects"
        permissions = [("view_operations", "Can see the operations page")]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    def is_alive(self, now: datetime) -> bool:
        """Return the same as `alive_at`, of this row."""
        return self.alive_until > now and self.beat_at <= now + CLOCK_SET_BACK


class EndpointQueueQuerySet(AppQuerySet["EndpointQueue"]):
    def locked(self, *, skip_locked: bool = False) -> EndpointQueueQuerySet:
        """Lock the rows in the one order that every writer uses; otherwise two writers of the same rows could deadlock.
        `skip_locked`: skip rows that another transaction has locked, if the database supports that; engines do not wait."""
        return for_change(self.order_by("endpoint_id"), skip_locked=skip_locked)

    def create_for(self, endpoints: Iterable[Endpoint], *, ignore_conflicts: bool = False) -> None:
        """Create the queues of these endpoints. `ignore_conflicts`: queues that already exist are not changed."""
        self.bulk_create(
            [
                EndpointQueue(
                    endpoint_id=endpoint.pk,
                    tenant_id=endpoint.tenant_id,
                    fifo=endpoint.fifo,
                    not_before=NOT_HELD if endpoint.status == EndpointStatus.ACTIVE else BLOCKED,
                )
                for endpoint in endpoints
            ],
            ignore_conflicts=ignore_conflicts,
        )

    def due(self, now: datetime) -> EndpointQueueQuerySet:
        """Return the queues with due work, including leased ones; the longest waiting first."""
        return self.filter(due_at__lte=now).order_by("due_at")

    def failing(self) -> EndpointQueueQuerySet:
        """Return the queues whose last request failed; the longest failing first."""
        return self.filter(failing_since__isnull=False).order_by("failing_since")


class EndpointQueue(models.Model):
    """The delivery state of an endpoint, separate from its configuration. One row per endpoint, updated often.

    `due_at` is the later of `not_before` and the queue's earliest work, but not before its last release: a queue that has had
    its turn goes behind those that wait. It is NOTHING_DUE if there is no work, and never NULL.
    """

    # No constraint: at COMMIT it would read the endpoint's row, which the host may have locked, and all queues released in
    # that transaction would wait for it.
    endpoint = models.OneToOneField(
        Endpoint, on_delete=models.CASCADE, primary_key=True, db_constraint=False, related_name="queue"
    )
    #: The endpoint's tenant, copied here so that an engine can divide its room between tenants without a join.
    tenant_id = models.UUIDField(editable=False)
    #: Rate limit, Retry-After, breaker; BLOCKED while the endpoint is paused, disabled or deleted, NOT_HELD at first.
    not_before = models.DateTimeField()
    due_at = models.DateTimeField(default=NOTHING_DUE, db_index=True)
    #: The engine that holds the lease; NULL: none. Not indexed, so that leasing and releasing stay cheap.
    holder_id = models.UUIDField(null=True)
    #: The endpoint's flag, copied here so that queue statements need no join.
    fifo = models.BooleanField(_("Strict order"), default=False)
    #: How often it was recently taken over from a dead engine (see `crashed_at`), since its last finished request.
    crash_takeovers = models.PositiveIntegerField(_("Taken over"), default=0)
    #: When it was last taken over from a dead engine.
    crashed_at = models.DateTimeField(null=True)
    #: The last sequence number assigned in a FIFO endpoint's order.
    sequence = models.PositiveBigIntegerField(_("Place in the order"), default=0)
    consecutive_failures = models.PositiveIntegerField(_("Failures in a row"), default=0)
    failing_since = models.DateTimeField(_("Failing since"), null=True)
    last_failure_at = models.DateTimeField(_("Last failure"), null=True)
    last_success_at = models.DateTimeField(_("Last success"), null=True)
    #: When the circuit breaker last closed: the endpoint is ramped up from then on.
    recovered_at = models.DateTimeField(null=True)

    objects = EndpointQueueQuerySet.as_manager()

    class Meta:
        verbose_name = _("queue of an endpoint")
        verbose_name_plural = _("Queues of endpoints")
        base_manager_name = "objects"
        indexes = [
            # For the operations page. Only failing endpoints have an entry, so that leasing and releasing stay cheap.
            models.Index(
                fields=["failing_since"], condition=Q(failing_since__isnull=False), name="webhooks_queue_failing"
            ),
        ]

    def __str__(self) -> str:
        return f"queue of {self.endpoint_id}"

    @property
    def health(self) -> Health:
        return Health(self.consecutive_failures, self.failing_since, self.last_failure_at, self.last_success_at)


#: Upper edges, in milliseconds, of the latency histogram; the last bucket is everything slower.
LATENCY_EDGES_MS = (10, 25, 50, 100, 250, 500, 1000, 2500, 5000)


class HourlyStatQuerySet(AppQuerySet["HourlyStat"]):
    def of_endpoint(self, endpoint_id: uuid.UUID) -> HourlyStatQuerySet:
        return self.filter(endpoint_id=endpoint_id)

    def between(self, since: datetime, until: datetime) -> HourlyStatQuerySet:
        """Return the hours that begin at `since` or later, and before `until`."""
        return self.filter(hour__gte=since, hour__lt=until)


class HourlyStat(models.Model):
    """The requests of one endpoint in one hour, written together with the attempts, so that charts never scan attempts."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = unconstrained_key(Endpoint, "stats")
    hour = models.DateTimeField(_("Hour"))
    succeeded = models.PositiveIntegerField(_("Accepted"), default=0)
    redirect = models.PositiveIntegerField(_("Redirect"), default=0)
    client_error = models.PositiveIntegerField(_("Refused by the server"), default=0)
    server_error = models.PositiveIntegerField(_("Server error"), default=0)
    timeout = models.PositiveIntegerField(_("No answer in time"), default=0)
    #: No connection, no name, no TLS, no valid response, address not allowed, or not sent at all.
    unreachable = models.PositiveIntegerField(_("Not reached"), default=0)
    #: Deliveries that failed permanently.
    exhausted = models.PositiveIntegerField(_("Deliveries that failed"), default=0)
    latency_sum_ms = models.FloatField(_("Time to answer, added up (ms)"), default=0)
    latency_max_ms = models.FloatField(_("Longest time to answer (ms)"), default=0)
    latency_0 = models.PositiveIntegerField(default=0)
    latency_1 = models.PositiveIntegerField(default=0)
    latency_2 = models.PositiveIntegerField(default=0)
    latency_3 = models.PositiveIntegerField(default=0)
    latency_4 = models.PositiveIntegerField(default=0)
    latency_5 = models.PositiveIntegerField(default=0)
    latency_6 = models.PositiveIntegerField(default=0)
    latency_7 = models.PositiveIntegerField(default=0)
    latency_8 = models.PositiveIntegerField(default=0)
    latency_9 = models.PositiveIntegerField(default=0)

    objects = HourlyStatQuerySet.as_manager()

    class Meta:
        verbose_name = _("hour of an endpoint")
        verbose_name_plural = _("Statistics by the hour")
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["endpoint", "hour"], name="webhooks_stat_once")]
        # For the report of all endpoints' hours. The key never changes, so that adding to the counts stays cheap.
        indexes = [models.Index(fields=["hour"], name="webhooks_stat_hour")]

    def __str__(self) -> str:
        return f"{self.endpoint_id} {self.hour:%Y-%m-%d %H}h"
