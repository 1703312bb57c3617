"""EndpointQueue and Engine: who is sending what, right now. HourlyStat: what charts are drawn from."""

from __future__ import annotations

from django.db import models

from webhooks_app.core.health import Health
from webhooks_app.models.endpoint import Endpoint
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import for_change
from webhooks_app.models.times import IDLE, Now


class Engine(models.Model):
    """One running delivery loop. Its heartbeat is how a dead one is known."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    kind = models.CharField(max_length=32, blank=True)  # "celery" or "command"
    started_at = models.DateTimeField(db_default=Now())
    alive_until = models.DateTimeField(db_index=True)
    #: Finishes what it has in flight and takes nothing more: another may start in its place.
    retiring = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class EndpointQueueQuerySet(models.QuerySet["EndpointQueue"]):
    def locked(self) -> EndpointQueueQuerySet:
        """In the one order that every writer uses; without it, two writers of the same rows deadlock."""
        return for_change(self.order_by("endpoint_id"))


class EndpointQueue(models.Model):
    """The working side of an endpoint, apart from its configuration. One row an endpoint, updated often.

    `due_at` is the later of `not_before` and the queue's earliest work; IDLE where there is none. It is never NULL.
    """

    endpoint = models.OneToOneField(Endpoint, on_delete=models.CASCADE, primary_key=True, related_name="queue")
    #: Rate limit, Retry-After, breaker; IDLE while the endpoint is paused, disabled or deleted.
    not_before = models.DateTimeField()
    due_at = models.DateTimeField(default=IDLE, db_index=True)
    #: The engine that sends for this endpoint; NULL: nobody. Not indexed, so that taking and freeing stay cheap.
    holder_id = models.UUIDField(null=True)
    #: The endpoint's own flag, kept here too so that queue statements need no join.
    fifo = models.BooleanField(default=False)
    #: How often it was taken over from a dead engine since its last success.
    takeovers = models.PositiveIntegerField(default=0)
    #: The last number given in a FIFO endpoint's order.
    sequence = models.PositiveBigIntegerField(default=0)
    streak = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    last_failure_at = models.DateTimeField(null=True)
    last_success_at = models.DateTimeField(null=True)

    objects = EndpointQueueQuerySet.as_manager()

    def __str__(self) -> str:
        return f"queue of {self.endpoint_id}"

    @property
    def health(self) -> Health:
        return Health(self.streak, self.failing_since, self.last_failure_at, self.last_success_at)


#: Upper edges, in milliseconds, of the latency histogram; the last bucket is everything slower.
LATENCY_EDGES_MS = (10, 25, 50, 100, 250, 500, 1000, 2500, 5000)


class HourlyStat(models.Model):
    """Requests of one endpoint in one hour, written with the attempts themselves, so that charts never scan attempts."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = models.ForeignKey(
        Endpoint, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="stats"
    )
    hour = models.DateTimeField()
    succeeded = models.PositiveIntegerField(default=0)
    redirect = models.PositiveIntegerField(default=0)
    client_error = models.PositiveIntegerField(default=0)
    server_error = models.PositiveIntegerField(default=0)
    timeout = models.PositiveIntegerField(default=0)
    #: No connection, no name, no TLS, no valid answer, address not allowed, or not sent at all.
    unreachable = models.PositiveIntegerField(default=0)
    #: Deliveries given up.
    exhausted = models.PositiveIntegerField(default=0)
    latency_sum_ms = models.FloatField(default=0)
    latency_max_ms = models.FloatField(default=0)
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

    class Meta:
        constraints = [models.UniqueConstraint(fields=["endpoint", "hour"], name="webhooks_stat_once")]

    def __str__(self) -> str:
        return f"{self.endpoint_id} {self.hour:%Y-%m-%d %H}h"
