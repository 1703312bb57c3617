"""The heartbeat: one row an engine, renewed while it lives. Whoever finds one that has stopped frees what it held."""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from datetime import UTC, datetime, timedelta

from django.db.models import Exists, F, OuterRef

from webhooks_app.conf import settings
from webhooks_app.models import EndpointQueue, Engine, database_now
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import for_change
from webhooks_app.pipeline.transactions import in_fresh_transaction

logger = logging.getLogger(__name__)

#: Beats in the life of one heartbeat.
_BEATS = 6


class Heartbeat:
    """This engine's row, and the engine's only clock: the database's time, carried on between beats by the monotonic one."""

    def __init__(self, using: str, kind: str) -> None:
        self._using = using
        self._kind = kind
        self.engine_id = new_id()
        #: The database's time, and the monotonic one when that was told: a pair, since two threads read it. This first one
        #: is replaced before anything is asked for it.
        self._told = datetime.now(UTC), time.monotonic()
        self._next_beat = 0.0
        self._good_until = 0.0
        #: True when the row says that this engine takes nothing more.
        self.retired = False
        #: True after the row was found reaped: everything that was held is somebody else's.
        self.lost_everything = False
        #: Its ids before that. Between its end and its learning of it, such a one may have taken queues.
        self._former: list[uuid.UUID] = []

    def now(self) -> datetime:
        """The database's clock, as well as it is known here. Aware, UTC."""
        base, told_at = self._told
        return base + timedelta(seconds=time.monotonic() - told_at)

    def covers(self, seconds: float) -> bool:
        """Can something that takes so long end before the heartbeat does? Told by this machine's monotonic clock alone."""
        return time.monotonic() + seconds < self._good_until

    def start(self) -> None:
        """Make the row. Nothing may be held before it exists."""
        self._beat(create=True)

    def beat_if_due(self) -> None:
        """Renew the row a few times in each life, and free the queues of engines that have stopped."""
        if time.monotonic() < self._next_beat:
            return
        self._beat(create=False)
        if self._former:
            in_fresh_transaction(lambda: _free(self._using, self._former), self._using)
            self._former = []
        free_dead_engines(self._using, self.now())

    def retire(self) -> None:
        """Mark the row once: this engine finishes what it has and takes nothing more."""
        if not self.retired:
            Engine.objects.using(self._using).filter(id=self.engine_id).update(retiring=True)
            self.retired = True

    def stop(self) -> None:
        Engine.objects.using(self._using).filter(id=self.engine_id).delete()

    def _beat(self, *, create: bool) -> None:
        asked_at = time.monotonic()
        now = database_now(self._using)
        self._told = now, time.monotonic()
        life = settings().HEARTBEAT_SECONDS
        alive_until = now + timedelta(seconds=life)
        engines = Engine.objects.using(self._using)
        if not create and not engines.filter(id=self.engine_id).update(alive_until=alive_until):
            logger.warning("webhooks: engine %s was taken for dead; it goes on as a new one", self.engine_id)
            self.lost_everything = True
            self._former.append(self.engine_id)
            self.engine_id = new_id()
            create = True
        if create:
            engines.create(
                id=self.engine_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                kind=self._kind,
                alive_until=alive_until,
                retiring=self.retired,
            )
        # Counted from before the question: the true end of this life cannot be earlier.
        self._good_until = asked_at + life
        self._next_beat = asked_at + life / _BEATS


def free_dead_engines(using: str, now: datetime) -> int:
    """Free every queue whose holder's heartbeat has stopped, count the takeover, and remove the dead engines' rows.

    Returns the number of queues freed. A freed queue is due at once: what its holder had in flight is not known.
    """
    dead = list(Engine.objects.using(using).filter(alive_until__lt=now).values_list("id", flat=True))
    freed = in_fresh_transaction(lambda: _free(using, dead), using) if dead else 0
    if dead:
        logger.warning("webhooks: %d engine(s) died without a word; %d queue(s) were freed", len(dead), freed)
    return freed


def free_orphans(using: str) -> int:
    """Free the queues whose holder has no row at all (somebody deleted it). Run by `sweep`."""
    queues = EndpointQueue.objects.using(using)
    alive = Engine.objects.using(using).filter(id=OuterRef("holder_id"))
    ownerless = queues.filter(holder_id__isnull=False).exclude(Exists(alive))
    orphans = sorted({holder for holder in ownerless.values_list("holder_id", flat=True) if holder is not None})
    return in_fresh_transaction(lambda: _free(using, orphans), using) if orphans else 0


def _free(using: str, holders: list[uuid.UUID]) -> int:
    """Free what these hold, but for those whose heartbeat came after all: seen under the lock that it needs, too."""
    rows = for_change(Engine.objects.using(using).filter(id__in=holders).order_by("id"))
    now = database_now(using)
    living = {row.id for row in rows if row.alive_until >= now}
    holders = [holder for holder in holders if holder not in living]
    queues = EndpointQueue.objects.using(using)
    locked = list(queues.filter(holder_id__in=holders).locked().values_list("endpoint_id", flat=True))
    freed = queues.filter(endpoint_id__in=locked, holder_id__in=holders).update(
        holder_id=None, takeovers=F("takeovers") + 1, due_at=F("not_before")
    )
    Engine.objects.using(using).filter(id__in=holders).delete()
    return freed
