"""③ lease: take the queues that are due, read ahead what they have to send, give them back.

An engine takes queues, not deliveries. While it holds one, it alone sends for that endpoint.
"""

from __future__ import annotations

import time
import uuid
import weakref
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from webhooks_app.conf import settings
from webhooks_app.core.health import is_open
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.models import IDLE, EndpointQueue, EndpointStatus
from webhooks_app.models.lookups import any_of
from webhooks_app.pipeline.heartbeat import Heartbeat
from webhooks_app.pipeline.held import HeldQueue
from webhooks_app.pipeline.poison import mark_suspect
from webhooks_app.pipeline.routes import load_routes
from webhooks_app.pipeline.store import store_for
from webhooks_app.pipeline.store.rows import DueRow, Release, Taken, Wanted
from webhooks_app.pipeline.transactions import in_fresh_transaction
from webhooks_app.pipeline.window import Window
from webhooks_app.pipeline.work import EventBody, Job

#: Deliveries read ahead for one queue.
READ_AHEAD = 48
#: Seconds after which a queue is given back even if it has more: its configuration is read afresh, others have a turn.
LONGEST_HOLD = 5.0
#: Queues read for in one statement.
_READ_AT_ONCE = 200
#: How long a queue waits whose secret cannot be opened.
FAULT_HOLD = timedelta(seconds=60)

#: How long a queue waits that was lost and found again before the last of its requests had ended.
LOST_HOLD = timedelta(seconds=1)

#: A delivery that is given up without a request, and why.
Refused = tuple[HeldQueue, Job, OutcomeKind]


class Lease:
    """The queues of one engine, on the database's side. Used from the database thread only."""

    def __init__(self, using: str, heartbeat: Heartbeat, window: Window) -> None:
        self._using = using
        self._store = store_for(using)
        self._heartbeat = heartbeat
        self._window = window
        #: Out of the window, but not yet given back in the database.
        self._leaving: list[HeldQueue] = []
        #: Events that some job in memory still needs.
        self._events: weakref.WeakValueDictionary[uuid.UUID, EventBody] = weakref.WeakValueDictionary()

    def look(self) -> tuple[bool, bool]:
        """Is an event pending, and is a queue due that nobody holds? One cheap question, asked at every turn."""
        return self._store.look(self._heartbeat.now())

    # --- take --------------------------------------------------------------------------------------------------------

    def take(self) -> int:
        """Take free queues that are due, as many of each kind as there is room for. Returns their number."""
        room, now, engine_id = self._window.room(), self._heartbeat.now(), self._heartbeat.engine_id
        if not any(room.values()):
            return 0
        found = in_fresh_transaction(lambda: self._store.take(engine_id, now, room), self._using)
        taken = self._without_unfinished(found, now)
        routes = load_routes([row.endpoint_id for row in taken], self._using) if taken else {}
        held = []
        for row in taken:
            if row.endpoint_id not in routes:
                continue  # pruned since it was taken, and its queue with it
            queue = HeldQueue(routes[row.endpoint_id], row.health, time.monotonic(), takeovers=row.takeovers)
            queue.probing = is_open(queue.health, queue.route.profile.retry)
            if queue.route.fault:
                queue.stop(now + FAULT_HOLD)
            held.append(queue)
        self._window.add(held)
        return len(held)

    def _without_unfinished(self, taken: list[Taken], now: datetime) -> list[Taken]:
        """All but those that were lost while requests of ours were in flight, which are so still: they go back for a
        moment, since those requests count against the endpoint's limits and its order."""
        unfinished = set(self._window.held()).intersection(row.endpoint_id for row in taken)
        if unfinished:
            self._give_back([Release(key, now + LOST_HOLD, None) for key in unfinished])
        return [row for row in taken if row.endpoint_id not in unfinished]

    # --- read ahead ----------------------------------------------------------------------------------------------------

    def refill(self) -> tuple[int, list[Refused]]:
        """Read ahead for the queues that run low. Returns how many jobs the window was given, and the deliveries that have
        waited beyond their maximum age or are to be quarantined: those are not sent, only recorded."""
        room = settings().PREFETCH_BYTES - self._window.prefetched_bytes()
        hungry = self._window.hungry(READ_AHEAD)[:_READ_AT_ONCE] if room > 0 else []
        if not hungry:
            return 0, []
        now = self._heartbeat.now()
        by_queue: dict[uuid.UUID, list[DueRow]] = defaultdict(list)
        wanted = {queue.endpoint_id: self._wanted(queue) for queue in hungry}
        for row in self._store.due(list(wanted.values()), now):
            by_queue[row.endpoint_id].append(row)
        refused: list[Refused] = []
        accepted: list[tuple[HeldQueue, list[Job]]] = []
        for queue in hungry:
            rows = by_queue[queue.endpoint_id]
            self._move_cursor(queue, rows, wanted[queue.endpoint_id])
            jobs, late = _sort_out(queue, rows)
            room, jobs = self._within(room, queue, jobs)
            refused += [(queue, job, OutcomeKind.EXPIRED) for job in late]
            if queue.suspect:
                jobs, culprits = mark_suspect(queue.takeovers, jobs, rows, now, self._using)
                refused += [(queue, job, OutcomeKind.QUARANTINED) for job in culprits]
            accepted.append((queue, jobs))
        for queue, job, _ in refused:
            queue.in_memory.add(job.delivery_id)
        self._attach_events([job for _, jobs in accepted for job in jobs])
        for queue, jobs in accepted:
            self._window.feed(queue, jobs)
        return sum(len(jobs) for _, jobs in accepted), refused

    def _wanted(self, queue: HeldQueue) -> Wanted:
        limit = READ_AHEAD
        if queue.cursor is None or queue.route.fifo:
            # From the start, the deliveries in memory come again; read past them.
            limit += len(queue.in_memory)
        return Wanted(queue.endpoint_id, queue.route.fifo, queue.cursor, limit)

    @staticmethod
    def _move_cursor(queue: HeldQueue, rows: Sequence[DueRow], wanted: Wanted) -> None:
        """Go on after what was read. Short of the limit the queue is dry, until something revives it. What was committed
        late and lies before the cursor is found from the start: by the next recheck, or when the queue is given back."""
        queue.dry = len(rows) < wanted.limit
        if rows and not queue.route.fifo:
            queue.cursor = (rows[-1].next_attempt_at, rows[-1].id)

    @staticmethod
    def _within(room: int, queue: HeldQueue, jobs: list[Job]) -> tuple[int, list[Job]]:
        """As many of the jobs as the memory for bodies allows; the rest is read again later."""
        for position, job in enumerate(jobs):
            room -= job.size
            if room < 0 and position > 0:
                queue.dry, queue.cursor = False, None
                return 0, jobs[:position]
        return room, jobs

    def _attach_events(self, jobs: list[Job]) -> None:
        known = {job.event_id: self._events.get(job.event_id) for job in jobs}
        missing = [event_id for event_id, event in known.items() if event is None]
        for row in self._store.events(missing):
            known[row.id] = self._events[row.id] = EventBody(*row)
        for job in jobs:
            job.event = known[job.event_id]

    # --- look again, give back -------------------------------------------------------------------------------------------

    def recheck(self) -> None:
        """Re-read what is held: a queue that was paused, disabled, deleted or taken by another drops what was read ahead."""
        ids = self._window.held()
        if self._heartbeat.lost_everything:
            self._heartbeat.lost_everything = False
            self._window.drop(ids, lost=True)
            return
        if not ids:
            return
        mine = EndpointQueue.objects.using(self._using).filter(holder_id=self._heartbeat.engine_id)
        mine = mine.filter(any_of("endpoint_id", ids))
        on = mine.filter(not_before__lt=IDLE, endpoint__status=EndpointStatus.ACTIVE)
        dropped = set(ids).difference(on.values_list("endpoint_id", flat=True))
        if dropped:
            off = set(mine.filter(any_of("endpoint_id", dropped)).values_list("endpoint_id", flat=True))
            self._window.drop(off, lost=False)
            self._window.drop(dropped - off, lost=True)
        self._window.restart_dry()

    def release(self) -> int:
        """Give back the queues that have nothing left to do here. Returns their number."""
        self._leaving += [q for q in self._window.take_finished(time.monotonic(), LONGEST_HOLD) if not q.lost]
        released = len(self._leaving)
        if released:
            self._give_back([Release(q.endpoint_id, self._not_before(q), q.succeeded_at) for q in self._leaving])
            self._leaving = []
        return released

    def _not_before(self, queue: HeldQueue) -> datetime | None:
        """A rate limit lasts beyond the lease, or each of the events that trickle in would find it new."""
        ahead = queue.next_slot - time.monotonic()
        if ahead <= 0:
            return queue.hold_until
        slot = self._heartbeat.now() + timedelta(seconds=ahead)
        return max(slot, queue.hold_until or slot)

    def reconcile(self) -> int:
        """After a database failure: give back what the database says this engine holds but the engine does not know of (the
        answer to a `take` was lost on its way). Returns the number of such queues."""
        mine = EndpointQueue.objects.using(self._using).filter(holder_id=self._heartbeat.engine_id)
        known = {*self._window.held(), *(queue.endpoint_id for queue in self._leaving)}
        strays = [key for key in mine.values_list("endpoint_id", flat=True) if key not in known]
        if strays:
            self._give_back([Release(key, None, None) for key in strays])
        return len(strays)

    def _give_back(self, rows: list[Release]) -> None:
        rows.sort(key=lambda row: row.endpoint_id)
        in_fresh_transaction(lambda: self._store.release(self._heartbeat.engine_id, rows), self._using)

    @property
    def all_given_back(self) -> bool:
        return not self._leaving


def _sort_out(queue: HeldQueue, rows: Collection[DueRow]) -> tuple[list[Job], list[Job]]:
    """The jobs to send, and those that waited too long behind an open breaker. Ones in memory already are left out."""
    jobs: list[Job] = []
    late: list[Job] = []
    for row in rows:
        if row.id not in queue.in_memory:
            (late if queue.probing and row.late else jobs).append(_job(row))
    if (queue.probing or queue.suspect) and len(jobs) > 1:
        # One probe is enough to know; the others are read again when it has ended well.
        queue.dry, queue.cursor = False, None
        del jobs[1:]
    return jobs, late


def _job(row: DueRow) -> Job:
    return Job(
        delivery_id=row.id,
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        attempts=row.attempts,
        step=row.step,
        next_attempt_at=row.next_attempt_at,
        sequence=row.sequence,
        size=row.size,
    )
