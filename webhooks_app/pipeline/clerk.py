"""The clerk: everything of an engine that speaks to the database, on a thread of its own.

When the sending loop waited for a stalled database itself, the network library reported time-outs for answers that had
already arrived. So the two meet only in the window (work to do) and in the sender's results (work done), both bounded.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from django.db import Error as DatabaseError
from django.db import connections

from webhooks_app.conf import settings
from webhooks_app.pipeline.fan_out import fan_out
from webhooks_app.pipeline.heartbeat import Heartbeat
from webhooks_app.pipeline.lease import Lease
from webhooks_app.pipeline.record import Recorder, give_up
from webhooks_app.pipeline.store import store_for
from webhooks_app.pipeline.transactions import relax
from webhooks_app.pipeline.window import Window
from webhooks_app.pipeline.work import Result

logger = logging.getLogger(__name__)

#: From so many results on they are written at once, with all that have come in, up to the database's limit; and how long
#: the first of fewer may wait for company (seconds).
BATCH = 400
_BATCH_WAIT = 0.05
#: Held queues are looked at this often: a paused endpoint gets no new request later than this.
_RECHECK_SECONDS = 0.5
#: The longest pause between two tries while the database is away.
_LONGEST_PAUSE = 5.0


class Results(Protocol):
    """What the clerk needs of the sender."""

    oldest_result_at: float | None

    @property
    def unrecorded(self) -> int: ...

    def take_results(self, most: int) -> list[Result]: ...


class Clerk:
    """The database side of one engine."""

    results: Results

    def __init__(self, using: str, window: Window, kind: str, on_work: Callable[[], None]) -> None:
        self._using = using
        self._window = window
        self._on_work = on_work
        self.heartbeat = Heartbeat(using, kind)
        self._lease = Lease(using, self.heartbeat, window)
        self._recorder = Recorder(using, self.heartbeat)
        self._limits = store_for(using).limits
        self._batchful = min(BATCH, self._limits.results)
        self._thread = threading.Thread(target=self._work, name="webhooks-clerk", daemon=True)
        self._nudge = threading.Event()
        self._retiring = False
        self._finished = threading.Event()
        self._next_recheck = 0.0
        self._unsure = False
        #: While finishing, a database that is away is waited for no longer than this (monotonic).
        self._give_up_at = float("inf")
        #: The batch that is being written; kept until the database has acknowledged it.
        self._batch: list[Result] = []
        #: Given up without a request; recorded with the next batch.
        self._given_up: list[Result] = []
        #: When there was last nothing to do (monotonic); None while there is work.
        self.idle_since: float | None = None
        #: What ended the thread before its time.
        self.failure: BaseException | None = None
        self.events = 0
        self.deliveries = 0
        self.recorded = 0

    # --- called from the sending thread ----------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def nudge_if_much(self) -> None:
        """Wake the clerk early where a full batch is waiting, or a queue has run out of jobs to send."""
        if self.results.unrecorded >= self._batchful or self._window.in_flight == 0:
            self._nudge.set()

    def retire(self) -> None:
        """Take and read no more; record and give back what is there."""
        self._retiring = True
        self._window.stop_all()
        self._nudge.set()

    def finish(self, *, abort: bool = False) -> None:
        """Wait for everything to be recorded and given back, then end the thread. `abort`: what is in flight is lost."""
        self.retire()
        if abort:
            self._window.abort()
        self._give_up_at = time.monotonic() + settings().HEARTBEAT_SECONDS
        self._finished.set()
        self._nudge.set()
        self._thread.join()

    # --- the thread --------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            relax(self._using)
            self.heartbeat.start()
            self._turn_until_finished()
            self.heartbeat.stop()
        except BaseException as error:  # noqa: BLE001 - handed to the sending thread, which raises it
            self.failure = error
            self._on_work()
        finally:
            connections.close_all()

    def _turn_until_finished(self) -> None:
        pause = 0.0
        while not (self._finished.is_set() and self._nothing_left()):
            self._nudge.clear()
            try:
                busy = self.turn()
                pause = 0.0
            except DatabaseError as error:
                pause = min(max(pause * 2, 0.05), _LONGEST_PAUSE)
                self._note_failure(error, pause)
                busy = False
            if not busy:
                self._nudge.wait(max(pause, settings().POLL_SECONDS))

    def _note_failure(self, error: DatabaseError, pause: float) -> None:
        """Nothing is lost by a failed turn: results stay in memory, and what the database may have done unseen is looked
        for in the next turn. At the very end, patience has a limit: what is not recorded then is sent once more later."""
        if time.monotonic() > self._give_up_at:
            raise error
        logger.warning("webhooks: the database failed (%s); next try in %.2f s", error, pause)
        connections[self._using].close()
        self._unsure = True

    def turn(self) -> bool:
        """One round of the database's part of the way. Returns whether there was anything to do."""
        if self._retiring and not self.heartbeat.retired:
            self.heartbeat.retire()
            self._on_work()  # the sending thread waits for this
        self.heartbeat.beat_if_due()
        if self.heartbeat.lost_everything:
            self._lease.recheck()  # before any of it is taken anew
        if self._unsure:
            relax(self._using)
            self._lease.reconcile()
            self._unsure = False
        done = 0
        if not self._retiring:
            pending, due = self._lease.look()
            done = self._in_a_row(self._fan_out) if pending else 0
            # What was just fanned out is due now, whatever was seen before.
            done += self._lease.take() if due or done else 0
            self._refill()
            self._recheck()
        # Last, since nobody waits for it: what is new goes out first.
        recorded = self._in_a_row(self._record)
        released = self._lease.release()
        busy = bool(recorded or done or released)
        self._note_idleness(busy)
        return busy

    def _in_a_row(self, step: Callable[[], int]) -> int:
        """Where transactions must be short, several of one kind: all that follows costs as much for a few as for many."""
        total = 0
        for _ in range(self._limits.in_a_row):
            done = step()
            total += done
            if not done:
                break
        return total

    def _record(self) -> int:
        """Write what has finished, if it is a batchful or has waited long enough. Never at once: a queue that is kept for
        a moment gets its next event without being taken anew."""
        if not self._batch:
            if not (self._given_up or self._ripe()):
                return 0
            self._batch = self._given_up + self.results.take_results(self._limits.results)
            self._given_up = []
        self._recorder.record(self._batch, set(self._window.ours()))
        self._window.recorded(result.job for result in self._batch if result.decision is not None)
        count, self._batch = len(self._batch), []
        self.recorded += count
        return count

    def _ripe(self) -> bool:
        if not self.results.unrecorded:
            return False
        oldest = self.results.oldest_result_at
        # None beside a result: it came in just while the others were taken. Waiting for the next one to set a time could
        # be waiting for ever.
        waited = time.monotonic() - oldest if oldest is not None else _BATCH_WAIT
        return self.results.unrecorded >= self._batchful or waited >= _BATCH_WAIT or self._retiring

    def _fan_out(self) -> int:
        done = fan_out(self.heartbeat.now(), self._using)
        self._window.revive(done.woken)
        self.events += done.events
        self.deliveries += done.deliveries
        return done.events

    def _refill(self) -> None:
        fed, overdue = self._lease.refill()
        now = self.heartbeat.now()
        for queue, job, kind in overdue:
            self._given_up.append(give_up(queue, job, kind, now))
        if fed:
            self._on_work()

    def _recheck(self) -> None:
        if time.monotonic() >= self._next_recheck:
            self._lease.recheck()
            self._next_recheck = time.monotonic() + _RECHECK_SECONDS

    def _nothing_left(self) -> bool:
        unrecorded = self.results.unrecorded or self._batch or self._given_up
        return self._window.idle and not unrecorded and self._lease.all_given_back

    def _note_idleness(self, busy: bool) -> None:
        if busy or not self._nothing_left():
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = time.monotonic()
            self._on_work()  # the sending thread asks its `until` now
