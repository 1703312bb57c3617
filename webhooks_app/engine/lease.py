"""Lease the queues that are due, read their deliveries ahead, and release them.

An engine leases queues, not deliveries. While an engine holds a queue, no other engine sends to that endpoint.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from webhooks_app.core.circuit_breaker import breaker_is_open
from webhooks_app.core.ramp import RAMP_SECONDS
from webhooks_app.database_errors import is_lock_timeout, is_outage
from webhooks_app.db import divided, read
from webhooks_app.engine.endpoint_config import load_endpoint_configs
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.lease_turns import LeaseTurns
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.other_engines import OtherEngines
from webhooks_app.engine.pauses import Pauses
from webhooks_app.engine.pending_floor import pending_floor
from webhooks_app.engine.send_faults import send_faults
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import LeaseCapacity, QueueClass, Release, Taken
from webhooks_app.engine.types import EndpointConfig
from webhooks_app.engine.window import Window
from webhooks_app.models import BLOCKED, Endpoint, EndpointQueue, EndpointStatus
from webhooks_app.models.ids import public_id
from webhooks_app.models.lookups import any_of

#: Each lease names these queues to the database.
_MOST_LEFT_TO_OTHERS = 500


class Lease:
    """The leases of one engine, as the database has them. Used by the database thread only."""

    def __init__(
        self, using: str, heartbeat: Heartbeat, window: Window, options: EngineOptions, faults: FaultLog
    ) -> None:
        self._using = using
        self._store = store_for(using)
        self._heartbeat = heartbeat
        self._window = window
        self._options = options
        self._faults = faults
        #: Queues that left the window, but are not yet released in the database; and until when (monotonic) not to try again,
        #: because another transaction has locked a row.
        self._leaving: list[LeasedQueue] = []
        self._leave_after = 0.0
        #: Queues whose rows the database refuses to change for this engine.
        self._refused = Pauses()
        #: Queues that another engine may be able to send to, but not this one.
        self._left_to_others = Pauses()
        self._others = OtherEngines(using, heartbeat)
        self._lease_turns = LeaseTurns(using, window, options)

    def find_work(self) -> tuple[bool, bool]:
        """Return whether an event is pending, and whether a queue is due that no engine holds. Cheap to call."""
        now, began, floor = self._heartbeat.now(), time.monotonic(), pending_floor(self._using)
        found = self._store.find_work(now, floor.id)
        floor.note_look(time.monotonic() - began, now)
        return found[0] or bool(floor.below), found[1]

    # --- take --------------------------------------------------------------------------------------------------------

    def take(self, *, gently: bool = False) -> int:
        """Lease free queues that are due, up to the capacity of each class, and return their number. `gently`: lease only
        a few at once, because single deliveries are waiting."""
        now, engine_id = self._heartbeat.now(), self._heartbeat.engine_id
        refused = self._refused.active() | self._left_to_others.active()
        most = self._most_to_lease(now)
        capacity = self._lease_turns.capacity(gently=gently, refused=refused, most=most)
        if (
            not self._heartbeat.alive
            or not any(some.limit for some in capacity.values())
            or self._lease_turns.is_useless(capacity)
        ):
            return 0
        taken = self._take(engine_id, now, capacity)
        if not taken and self._lease_turns.end_turn_of_others(capacity):  # they have nothing due
            capacity = self._lease_turns.capacity(gently=gently, refused=refused, most=most)
            taken = self._take(engine_id, now, capacity)
        if self._heartbeat.engine_id != engine_id:
            # Declared dead meanwhile: queues held under that id may have been released before these were leased.
            self.release_unknown()
            return 0
        taken = self._without_unfinished(taken, now)
        self._lease_turns.note_taken(taken, now, capacity)
        configs = self._load_configs(taken, now)
        queues = [
            self._leased(row, configs[row.endpoint_id], engine_id, now) for row in taken if row.endpoint_id in configs
        ]
        # A queue that was leased again had been released without acknowledgement. It must not be released again.
        anew = {queue.endpoint_id for queue in queues}
        self._leaving = [queue for queue in self._leaving if queue.endpoint_id not in anew]
        self._lease_turns.note_shares(queues, capacity, gently=gently)
        self._window.add(queues)
        return len(queues)

    def _load_configs(self, taken: list[Taken], now: datetime) -> dict[uuid.UUID, EndpointConfig]:
        """Read the endpoints of these queues, and release those that cannot be read or are gone."""
        configs: dict[uuid.UUID, EndpointConfig] = {}
        ids = [row.endpoint_id for row in taken]
        unreadable: dict[uuid.UUID, Exception] = {}
        late = divided(
            lambda some: configs.update(load_endpoint_configs(some, self._using)),
            ids,
            unreadable.__setitem__,
            seconds=self._options.one_by_one_seconds,
        )
        # A migration or a missing privilege refuses the rows of every queue: so the pauses are short at first.
        pauses = {endpoint_id: self._refuse(endpoint_id, error) for endpoint_id, error in unreadable.items()}
        refused = self._refused.active()  # the unreadable ones, too
        # Pruned since the lease, together with their queues; or deleted by hand, in which case they are never due again.
        gone = set(ids).difference(configs, refused, late)
        until = dict.fromkeys(gone, BLOCKED) | dict.fromkeys(late, now + self._options.lost_hold)
        until |= {endpoint_id: now + timedelta(seconds=pause) for endpoint_id, pause in pauses.items()}
        if rows := [Release(endpoint_id, moment, None) for endpoint_id, moment in until.items()]:
            self._give_back(rows)
        return {key: config for key, config in configs.items() if key not in refused}

    def expect_due(self) -> None:
        """Look again at once, because fan-out has made queues due. Queues that others make due are found after a moment."""
        self._lease_turns.expect_due()

    def _take(self, engine_id: uuid.UUID, now: datetime, capacity: Mapping[QueueClass, LeaseCapacity]) -> list[Taken]:
        try:
            return self._store.take(engine_id, now, capacity)
        except Exception as error:
            if is_outage(error) or is_lock_timeout(error):
                raise
        # One row caused the error (for example by a trigger of the host's): find it, and lease the others.
        taken: list[Taken] = []

        def take_these(ids: list[uuid.UUID]) -> None:
            taken.extend(self._store.take_these(engine_id, now, ids))

        due = read(lambda: self._store.due_queues(now, capacity), self._using)
        divided(take_these, due, self._refuse, seconds=self._options.one_by_one_seconds)  # the rest stays due
        return taken

    def _refuse(self, endpoint_id: uuid.UUID, error: Exception) -> float:
        """Pause a queue, longer each time, and return for how long (seconds)."""
        pause = self._refused.put(endpoint_id)
        name = public_id("wh", endpoint_id)
        # One log entry for a kind of error: if all endpoints are affected, one for each would fill the log.
        cause = f"queue {type(error).__name__}"
        self._faults.report(cause, "the rows of %s (or of others, too) cannot be read or changed", name, error=error)
        return pause

    def _leased(self, row: Taken, config: EndpointConfig, engine_id: uuid.UUID, now: datetime) -> LeasedQueue:
        queue = LeasedQueue(config, row.health, time.monotonic(), engine_id, crash_takeovers=row.crash_takeovers)
        queue.trusted = row.is_trusted(now)
        if row.recovered_at is not None and now - row.recovered_at < timedelta(seconds=RAMP_SECONDS):
            queue.sending.ramp_since = time.monotonic() - (now - row.recovered_at).total_seconds()
        fault = config.fault
        try:
            queue.sending.probing = breaker_is_open(queue.health, config.wire_format.retry)
        except Exception as error:  # noqa: BLE001 - a wire format of the host with a policy that is none: this endpoint waits
            fault = fault or f"its retry policy cannot be used: {type(error).__name__}: {error}"
        if fault:
            self._faults.report(
                f"endpoint {config.endpoint_id}",
                "nothing is sent to %s until this is mended: %s",
                public_id("wh", config.endpoint_id),
                fault,
            )
            leave = config.fault_is_local and self._leave_to_others(config.endpoint_id, now)
            queue.stop(now if leave else now + self._options.fault_hold)
        return queue

    def _leave_to_others(self, endpoint_id: uuid.UUID, now: datetime) -> bool:
        """Do not lease this queue again for a while, longer each time. Return False if no other engine would lease it either, or
        if there are too many such queues."""
        if len(self._left_to_others.active()) >= _MOST_LEFT_TO_OTHERS or not self._others.are_alive(now):
            return False
        self._left_to_others.put(endpoint_id)
        return True

    def _most_to_lease(self, now: datetime) -> int:
        """Return how many queues may be leased. If this process cannot send, give back its queues: others may be able to."""
        if send_faults.in_doubt:
            send_faults.others_alive = self._others.are_alive(now)
        if pause := send_faults.begin_pause():
            self._window.stop_all()
            text = "this process cannot send; it leaves its queues to other engines, and tries one again after %.0f s"
            self._faults.report("cannot send", text, pause)
        return send_faults.most_queues(len(self._window), self._options.max_leased_queues)

    def _without_unfinished(self, taken: list[Taken], now: datetime) -> list[Taken]:
        """Drop queues for which this engine still has requests in flight from a lost lease. Release them for a short time,
        because those requests count against the endpoint's limits and its order."""
        unfinished = set(self._window.leased()).intersection(row.endpoint_id for row in taken)
        if unfinished:
            self._give_back([Release(key, now + self._options.lost_hold, None) for key in unfinished])
        return [row for row in taken if row.endpoint_id not in unfinished]

    # --- look again, release -----------------------------------------------------------------------------------------

    def recheck(self) -> None:
        """Read the leased queues again. A queue that was paused, disabled, deleted or taken by another engine drops the
        deliveries that were read ahead."""
        self._window.drop_leases_of_others(self._heartbeat.engine_id)
        if ids := self._window.leased():
            dropped, still_mine = self._no_longer_sent_to(ids)
            self._window.drop(still_mine, lost=False)
            self._window.drop(dropped - still_mine, lost=True)
            self._window.reread_exhausted()

    def _no_longer_sent_to(self, ids: Collection[uuid.UUID]) -> tuple[set[uuid.UUID], set[uuid.UUID]]:
        """Return the queues that were paused, disabled, deleted or taken, and which of them this engine still holds."""
        # Nearly always none was, and counting is much cheaper than reading the ids.
        if self._store.count_sendable(self._heartbeat.engine_id, ids) == len(ids):
            return set(), set()
        return read(lambda: self._find_not_sendable(ids), self._using)

    def _find_not_sendable(self, ids: Collection[uuid.UUID]) -> tuple[set[uuid.UUID], set[uuid.UUID]]:
        # Not one statement: the plan of a join depends on what the database last saw of both tables.
        mine = EndpointQueue.objects.using(self._using).filter(any_of("endpoint_id", ids))
        mine = mine.filter(holder_id=self._heartbeat.engine_id)
        awake = mine.filter(not_before__lt=BLOCKED)
        active = Endpoint.objects.using(self._using).filter(any_of("id", ids), status=EndpointStatus.ACTIVE)
        dropped = set(ids).difference(
            set(awake.values_list("endpoint_id", flat=True)).intersection(active.values_list("id", flat=True))
        )
        return dropped, set(mine.filter(any_of("endpoint_id", dropped)).values_list("endpoint_id", flat=True))

    def release(self) -> int:
        """Release the queues that have nothing left to do here, and return their number."""
        self._leaving += [queue for queue in self._window.take_finished(time.monotonic()) if not queue.lost]
        if not self._leaving or time.monotonic() < self._leave_after:
            return 0
        self._leave_after = time.monotonic() + self._options.busy_pause  # applies if it fails, or if rows are locked
        refused = self._refused.active()
        rows = [Release(q.endpoint_id, self._not_before(q), q.sending.succeeded_at) for q in self._leaving]
        released = self._give_back([row for row in rows if row.endpoint_id not in refused])
        count = len(self._leaving)
        self._leaving = [queue for queue in self._leaving if queue.endpoint_id not in released]
        if not self._leaving:
            self._leave_after = 0.0
        return count - len(self._leaving)

    def _not_before(self, queue: LeasedQueue) -> datetime | None:
        """Return when the queue may be due next. The rate limit outlasts the lease, or each new event would restart it."""
        state = queue.sending
        ahead = state.next_slot - time.monotonic()
        if ahead <= 0:
            return state.hold_until
        slot = self._heartbeat.now() + timedelta(seconds=ahead)
        return max(slot, state.hold_until or slot)

    def release_unknown(self) -> int:
        """Release queues that this engine holds according to the database but does not know: the result of a `take` was lost,
        or arrived after the engine was declared dead. Return the number of such queues."""
        engine_id = self._heartbeat.engine_id
        held = EndpointQueue.objects.using(self._using).filter(holder_id__in=self._heartbeat.ids)
        known = {*self._window.leased(), *(queue.endpoint_id for queue in self._leaving)}
        unknown: dict[uuid.UUID, list[Release]] = {}
        for key, holder_id in read(lambda: list(held.values_list("endpoint_id", "holder_id")), self._using):
            if holder_id is not None and (holder_id != engine_id or key not in known):
                unknown.setdefault(holder_id, []).append(Release(key, None, None))
        for holder_id, rows in unknown.items():
            self._give_back(rows, holder_id)
        return sum(map(len, unknown.values()))

    def _give_back(self, rows: list[Release], holder_id: uuid.UUID | None = None) -> Collection[uuid.UUID]:
        """Release these queues. `holder_id`: the id that holds them, if not the current one."""
        released: set[uuid.UUID] = set()
        engine_id = holder_id or self._heartbeat.engine_id

        def give_back(some: list[Release]) -> None:
            released.update(self._store.release(engine_id, some))

        divided(
            give_back,
            sorted(rows, key=lambda row: row.endpoint_id),
            lambda row, error: self._refuse(row.endpoint_id, error),
        )
        return released

    @property
    def all_released(self) -> bool:
        return not self._leaving
