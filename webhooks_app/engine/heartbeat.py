"""The heartbeat of an engine: one row, renewed on a thread and a connection of its own.

It continues while the engine's other threads wait for a lock, a slow statement or a host callback. An engine whose row has
expired is considered dead: any other engine, and `sweep`, releases its queues (see `reaper`).
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

from django.db import Error as DatabaseError
from django.db import OperationalError, connections

from webhooks_app import telemetry
from webhooks_app.database_errors import is_lock_timeout, is_outage
from webhooks_app.db import in_fresh_transaction, insert_row, read
from webhooks_app.engine.activity import Activity
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.reaper import BEATS, release_dead_engines, release_queues_of, takeover_grace_seconds
from webhooks_app.engine.repair_thread import repair_soon
from webhooks_app.log_thread import EngineThread, engine_logger
from webhooks_app.models import EndpointQueue, Engine, database_now
from webhooks_app.models.ids import new_id
from webhooks_app.models.queue import CLOCK_SET_BACK

logger = engine_logger(__name__)

#: The interval while a delivery that may crash the engine is sent: the last heartbeat then shows whether it was the cause.
_CLOSE_WATCH_SECONDS = 0.25
#: How long to wait for the engine's own row if another transaction has locked it (seconds).
_LOCK_TIMEOUT = 1.0
#: Heartbeats are irregular if, by the database's clock, at least this many were missed.
_REGULAR_BEATS = 2.5
#: A worker's clock that differs from the database's by more than this is worth a warning (seconds).
_DRIFT_WORTH_A_WARNING = 2.0


class Heartbeat:
    """The engine's row, and its only clock: the database's time, extrapolated between heartbeats by the monotonic clock."""

    def __init__(self, using: str, kind: str, options: EngineOptions, on_change: Callable[[], None]) -> None:
        self._using = using
        self._kind = kind
        self._options = options
        self._on_change = on_change
        self.activity = Activity()
        #: Changes when the engine was declared dead; written by this thread only.
        self.engine_id = new_id()
        #: The earlier ids, and those of them that may still hold queues.
        self._former: list[uuid.UUID] = []
        self._unreleased: list[uuid.UUID] = []
        #: Whether the database has confirmed a row under the present id.
        self._created = False
        #: The database's time, and the monotonic time when it was read: a pair, since several threads read it.
        self._told = datetime.now(UTC), time.monotonic()
        self._good_until = float("-inf")
        self._regular_since = float("inf")
        self._draining = threading.Event()
        self._drains = threading.Event()
        self._ended = threading.Event()
        self._wakeup = threading.Event()
        self._close_watch_until = float("-inf")
        self._warned_of_drift = False
        #: The thread last logged as stalled.
        self._stalled = ""
        #: Set by the database thread at its end if it could not wake a queue: the row then stays, for others to find.
        self.owes_wakes = False
        #: The error that ended the heartbeat early.
        self.failure: BaseException | None = None
        self._thread = EngineThread(self._run, "webhooks-heartbeat")

    # --- for the other threads ---------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def now(self) -> datetime:
        """Return the database's time as an aware datetime in UTC, extrapolated from the last heartbeat."""
        base, sent_at = self._told
        return base + timedelta(seconds=time.monotonic() - sent_at)

    @property
    def ids(self) -> list[uuid.UUID]:
        """Return the engine's id, and those that it had before it was declared dead."""
        return [self.engine_id, *self._former]

    @property
    def alive(self) -> bool:
        """Return whether the row exists and has not expired, by the monotonic clock. Otherwise nothing is leased or sent."""
        return time.monotonic() < self._good_until

    @property
    def exists(self) -> bool:
        """Return whether the row was ever written, that is, whether the database was reachable."""
        return self._good_until > float("-inf")

    @property
    def drains(self) -> bool:
        """Return whether the row says that this engine takes no more work."""
        return self._drains.is_set()

    def start_draining(self) -> None:
        self._draining.set()
        self._wakeup.set()

    def watch_closely(self, seconds: float) -> None:
        """Beat several times a second for a while, because a request may crash the engine."""
        self._close_watch_until = time.monotonic() + seconds
        self._wakeup.set()

    def end(self, timeout: float) -> None:
        """Remove the row and end the thread. Queues that the engine still holds are released without counting a takeover."""
        self._ended.set()
        self._wakeup.set()
        if self._thread.is_alive():  # or it could not even be started
            self._thread.join(timeout)

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            try:
                while not self._ended.is_set():
                    self._wakeup.clear()
                    self._try_to_beat()
                    self._wakeup.wait(self._pause())
            except BaseException as error:  # noqa: BLE001 - the sending thread sees it, and ends the engine
                self._fail(error)
            if self.exists:
                self._resign()
        finally:
            connections.close_all()

    def _fail(self, error: BaseException) -> None:
        """Beat once more, so that the row says that this engine takes no more work, and wait until its other threads have
        ended: if the row was removed earlier, other engines would take deliveries that are still in flight."""
        self.failure = error
        self._draining.set()
        self._close_connection()
        with suppress(BaseException):
            self._beat()
        self._on_change()
        self._ended.wait()

    def _pause(self) -> float:
        if time.monotonic() < self._close_watch_until:
            return _CLOSE_WATCH_SECONDS
        return self._options.heartbeat_seconds / BEATS

    def _try_to_beat(self) -> None:
        """Beat once, unless a thread of the engine has stalled."""
        stalled = self.activity.stalled_thread(self._options.stalled_after)
        if stalled and not self._stalled:
            logger.error(
                "webhooks: the %s thread of engine %s has stalled; its queues are given up. It is here:\n%s",
                stalled,
                self.engine_id,
                self.activity.stack_of(stalled),
            )
        self._stalled = stalled
        if stalled:
            return
        try:
            self._on_a_live_connection(self._beat)
        except Exception as error:
            ours = None if isinstance(error, DatabaseError) else error
            logger.warning("webhooks: no heartbeat: %s: %s", type(error).__name__, error, exc_info=ours)
            self._close_connection()
            self._regular_since = float("inf")
            return
        self._reap()

    def _on_a_live_connection(self, work: Callable[[], object]) -> None:
        """Run `work`. If the server or a pooler has closed the connection since the last heartbeat (idle_session_timeout), run
        it again on a new one. Otherwise every second heartbeat would fail, and no dead engine would be replaced."""
        was_open = connections[self._using].connection is not None
        try:
            work()
        except Exception as error:
            if not (was_open and is_outage(error)):
                raise
            self._close_connection()
            work()

    def _close_connection(self) -> None:
        with suppress(Exception):  # a broken connection may fail at this, too
            connections[self._using].close()

    def _beat(self) -> None:
        asked_at = time.monotonic()
        now = database_now(self._using)
        longest = timedelta(seconds=_REGULAR_BEATS * self._options.heartbeat_seconds / BEATS)
        was_set_back = now < self.now() - CLOCK_SET_BACK / 2  # the other engines' last heartbeats are in the future
        if was_set_back or now - self._told[0] > longest:
            self._regular_since = float("inf")
        self._told = now, time.monotonic()
        self._note_drift(now)
        values = self._values(now, asked_at)
        if not self._renew(values):
            if self._created:
                logger.warning("webhooks: engine %s was taken for dead; it goes on as a new one", self.engine_id)
                self._former.append(self.engine_id)
                self._unreleased.append(self.engine_id)
                self.engine_id = new_id()
                self._created = False
            self._insert(values)
        self._created = True
        telemetry.engine_state(self.activity.in_flight, self.activity.unrecorded, self.activity.leased_queues)
        was_alive = self.alive
        # Counted from before the statement, so that the row cannot expire earlier than this engine assumes.
        self._good_until = asked_at + self._options.heartbeat_seconds
        if values["draining"] and not self._drains.is_set():
            self._drains.set()
            self._on_change()
        elif not was_alive:
            self._on_change()

    def _renew(self, values: dict[str, object]) -> bool:
        """Renew the row. Return False if it is gone, or if another transaction has locked it for too long."""
        row = Engine.objects.using(self._using).filter(id=self.engine_id)
        try:
            return bool(in_fresh_transaction(lambda: row.update(**values), self._using, lock_timeout=_LOCK_TIMEOUT))
        except OperationalError as error:
            if not is_lock_timeout(error):
                raise
            return False

    def _insert(self, values: dict[str, object]) -> None:
        """Insert the row without model signals: a receiver of the host must not stop the engine. If the row was written but
        its commit was not confirmed, the next beat finds and renews it."""
        row = {"id": self.engine_id, "host": socket.gethostname(), "pid": os.getpid(), "kind": self._kind, **values}
        in_fresh_transaction(partial(insert_row, Engine, self._using, row), self._using, lock_timeout=_LOCK_TIMEOUT)

    def _values(self, now: datetime, asked_at: float) -> dict[str, object]:
        def ago(moment: float) -> datetime:
            return now - timedelta(seconds=max(asked_at - moment, 0.0))

        return {
            "alive_until": now + timedelta(seconds=self._options.heartbeat_seconds),
            "beat_at": now,
            "database_turn_at": ago(self.activity.database_turn),
            "sending_turn_at": ago(self.activity.sending_turn),
            "in_flight": self.activity.in_flight,
            "unrecorded": self.activity.unrecorded,
            "clock_drift": round((datetime.now(UTC) - now).total_seconds(), 3),
            "draining": self._draining.is_set(),
        }

    def _note_drift(self, now: datetime) -> None:
        drift = (datetime.now(UTC) - now).total_seconds()
        if abs(drift) > _DRIFT_WORTH_A_WARNING and not self._warned_of_drift:
            self._warned_of_drift = True
            text = "webhooks: the clock of this machine differs from the database's by %.1f s; set it right. Deliveries go by "
            logger.warning(f"{text}the database's clock.", drift)

    def _reap(self) -> None:
        """Release the queues of dead engines, and those that this engine took before it knew that it was declared dead.

        Do nothing while this engine's own heartbeats are irregular: after a database outage or a suspended machine, the other
        engines are alive, too, and about to beat again.
        """
        now = time.monotonic()
        self._regular_since = min(self._regular_since, now)
        try:
            if self._unreleased:
                self._release_former_ids()
            if now - self._regular_since >= takeover_grace_seconds(self._options.heartbeat_seconds):
                self._release_dead_engines()
        except Exception as error:  # noqa: BLE001 - the next beat tries again
            logger.warning("webhooks: the queues of dead engines were not released: %r", error)
            self._close_connection()

    def _release_former_ids(self) -> None:
        release_queues_of(self._using, self._unreleased, crashed=False)
        # Queues whose rows another transaction has locked are released at a later beat.
        held = EndpointQueue.objects.using(self._using).filter(holder_id__in=self._unreleased)
        if not read(held.exists, self._using):
            self._unreleased = []

    def _release_dead_engines(self) -> None:
        if release_dead_engines(self._using, self.now()).engines:
            # One of them may not have woken a queue. Checking all queues takes too long for the heartbeat's thread.
            repair_soon(self._using, self._options.repair_pause)

    def _resign(self) -> None:
        telemetry.engine_state(0, 0, 0)
        try:
            self._on_a_live_connection(
                lambda: release_queues_of(self._using, self.ids, crashed=False, keep_row=self.owes_wakes)
            )
        except Exception as error:  # noqa: BLE001 - the row expires by itself
            logger.warning("webhooks: the heartbeat could not be ended (%s); others release the queues", error)
