"""The database thread of an engine: fan-out, lease, read-ahead, record and release, one step after the other.

If the sending loop waited for a stalled database itself, the network library would report timeouts for responses that have
already arrived. So the two threads share only the window (deliveries to send) and the result buffer (finished attempts),
both bounded. A step that fails is paused for a while; the other steps continue.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.db import connections

from webhooks_app import telemetry
from webhooks_app.database_errors import is_lock_timeout, is_outage
from webhooks_app.engine.fan_out import FanOut
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.lease import Lease
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.phase import Phase
from webhooks_app.engine.read_ahead import ReadAhead
from webhooks_app.engine.record import Recorder
from webhooks_app.engine.record_rows import give_up
from webhooks_app.engine.record_signals import SignalThread
from webhooks_app.engine.result_buffer import ResultBuffer
from webhooks_app.engine.silent_faults import report_silent_faults
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.step import Step, longer
from webhooks_app.engine.types import FannedOut
from webhooks_app.engine.window import Window
from webhooks_app.log_thread import EngineThread, engine_logger

logger = engine_logger(__name__)


class DatabaseThread:
    """The database side of one engine."""

    def __init__(
        self,
        using: str,
        window: Window,
        results: ResultBuffer,
        heartbeat: Heartbeat,
        options: EngineOptions,
        faults: FaultLog,
        on_work: Callable[[], None],
    ) -> None:
        self._using = using
        self._window = window
        self._heartbeat = heartbeat
        self._options = options
        self._faults = faults
        self._on_work = on_work
        self._in_a_row = store_for(using).limits.in_a_row
        self._signals = SignalThread()
        self._lease = Lease(using, heartbeat, window, options, faults)
        self._read_ahead = ReadAhead(using, heartbeat, window, options, faults)
        self._fan_out = FanOut(using, options, faults, self._signals.send)
        self._recorder = Recorder(using, window, results, heartbeat, options, faults, self._signals.announce)
        self._steps = (
            Step("fan-out", self._fan_out_pending, takes_work=True),
            Step("wake", self._wake_owed, takes_work=False),
            Step("lease", self._take, takes_work=True),
            Step("read-ahead", self._refill, takes_work=True),
        )
        #: Steps that never delay a single event; the next one first.
        self._late_steps = deque(
            (
                Step("recheck", self._recheck, takes_work=True),
                Step("fan-out of many", partial(self._fan_out_batch, self._fan_out.go_on), takes_work=True),
                Step("record", self._record, takes_work=False),
                Step("release", self._lease.release, takes_work=False),
                Step("silent faults", partial(report_silent_faults, using, faults), takes_work=True),
            )
        )
        self._thread = EngineThread(self._run, "webhooks-database")
        self._nudge = threading.Event()
        self._phase = Phase.RUNNING
        self._pending = self._due = False
        self._next_recheck = 0.0
        self._worked_at = time.monotonic()
        self._after_outage = False
        self._outage_pause = 0.0
        #: Since when there has been nothing to do (monotonic); None while there is work.
        self.idle_since: float | None = None
        #: The error that ended the thread early.
        self.failure: BaseException | None = None
        self.events = self.deliveries = 0

    # --- called from the sending thread ------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """Wake the thread early if a full batch is waiting, or nothing is in flight."""
        if self._recorder.has_full_batch or self._window.in_flight == 0:
            self._nudge.set()

    def wake(self) -> None:
        self._nudge.set()

    def start_draining(self) -> None:
        """Stop leasing and reading; record the remaining results and release the queues."""
        self._phase = Phase.DRAINING
        self._window.stop_all()
        self._nudge.set()

    def finish(self, timeout: float) -> bool:
        """Record and release everything and end the thread within `timeout` seconds. Return whether that succeeded."""
        self._phase = Phase.FINISHING
        self._nudge.set()
        until = time.monotonic() + timeout
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._phase = Phase.ENDED
            self._nudge.set()
            self._thread.join(0.5)
        self._signals.end(max(until - time.monotonic(), 0.5))
        return self._phase is Phase.FINISHING

    @property
    def recorded(self) -> int:
        return self._recorder.recorded

    @property
    def unrecorded(self) -> int:
        return self._recorder.unrecorded

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._heartbeat.activity.database_thread = threading.get_ident()
        try:
            while not (self._phase is Phase.ENDED or (self._phase is Phase.FINISHING and self._nothing_left())):
                self._nudge.clear()
                busy = self._heartbeat.exists and self.turn()
                self._heartbeat.activity.database_turn = time.monotonic()
                if not busy:
                    self._nudge.wait(max(self._outage_pause, self._options.poll_seconds))
        except BaseException as error:  # noqa: BLE001 - handed to the sending thread, which raises it
            self.failure = error
            self._on_work()
        finally:
            self._heartbeat.owes_wakes = bool(self._fan_out.owed_wakes)
            connections.close_all()

    def turn(self) -> bool:
        """Run one round of steps. Return whether there was anything to do."""
        done = 0
        if self._phase is Phase.FINISHING:
            # A delivery without a result by now will not get one: its queue is released, and the delivery is sent again.
            self._window.keep_in_memory(self._recorder.unrecorded_deliveries())
        if self._phase is not Phase.RUNNING:
            self._window.stop_all()  # includes queues that were just being leased when the engine was stopped
        activity = self._heartbeat.activity
        activity.unrecorded, activity.leased_queues = self.unrecorded, len(self._window)
        try:
            if self._after_outage:
                self._lease.release_unknown()
                self._after_outage = False
            if self._phase is Phase.RUNNING:
                self._pending, self._due = self._lease.find_work()
            self._outage_pause = 0.0
        except Exception as error:  # noqa: BLE001 - as in a step
            self._note_fault("look", error)
        for step in self._steps:
            done += self._try(step)
        done += self._try_late_steps(in_haste=bool(done) and self._fan_out.serves_single_events)
        self._note_idleness(busy=bool(done))
        return bool(done)

    def _try_late_steps(self, *, in_haste: bool) -> int:
        """Run the late steps. With `in_haste`, run only as many as a short time allows, because new events may have arrived
        meanwhile; the others run in the following turns."""
        end = time.monotonic() + self._options.late_seconds
        done = 0
        for _ in range(len(self._late_steps)):
            step = self._late_steps[0]
            self._late_steps.rotate(-1)
            done += self._try(step)
            if in_haste and time.monotonic() > end:
                break
        return done

    def _try(self, step: Step) -> int:
        """Run one step and return how much it did. If it fails, pause it, longer each time."""
        if step.takes_work and self._phase is not Phase.RUNNING:
            return 0
        began = time.monotonic()
        if began < step.not_before and self._phase is Phase.RUNNING:
            return 0
        try:
            done = step.work()
        except Exception as error:  # noqa: BLE001 - a fault of one step must not stop the others
            telemetry.step_finished(step.name, time.monotonic() - began, failed=True)
            # Each try already waits briefly for the lock in the database, so the pause need not grow.
            step.put_off(self._options.busy_pause if is_lock_timeout(error) else self._options.longest_pause)
            self._note_fault(step.name, error)
            return 0
        step.went_well()
        if done:
            telemetry.step_finished(step.name, time.monotonic() - began, failed=False)
        return done

    def _note_fault(self, name: str, error: Exception) -> None:
        """Log a failed step. Nothing is lost: results stay in memory, and the next turn checks what the database may have
        committed without confirming it."""
        self._after_outage = True
        if is_lock_timeout(error):
            logger.info("webhooks: %s waits for a lock of another transaction", name)
            return
        if not is_outage(error):
            self._faults.report(f"step {name} {type(error).__name__}", "the step %s failed", name, error=error)
            return
        self._outage_pause = longer(self._outage_pause, self._options.longest_pause)
        self._faults.report(
            "outage", "the database failed (%s); next try in %.2f s", str(error).strip(), self._outage_pause
        )
        connections[self._using].close()

    # --- steps -------------------------------------------------------------------------------------------------------

    def _fan_out_pending(self) -> int:
        if not self._pending:
            return 0
        done = 0
        for _ in range(self._in_a_row):
            if not (events := self._fan_out_batch(self._fan_out.begin)):
                break
            done += events
        return done

    def _fan_out_batch(self, batch: Callable[[datetime], FannedOut]) -> int:
        result = batch(self._heartbeat.now())
        self.events += result.events
        self.deliveries += result.deliveries
        self._note_woken(result.woken)
        return result.events

    def _wake_owed(self) -> int:
        return self._note_woken(self._fan_out.owed_wakes.wake())

    def _note_woken(self, woken: set[uuid.UUID]) -> int:
        """Continue reading queues that are leased here, and look for the others, which are due. Return their number."""
        self._window.mark_has_work(woken)
        if not woken.issubset(self._window.leased()):
            self._due = True
            self._lease.expect_due()
        return len(woken)

    def _take(self) -> int:
        return self._lease.take(gently=self._fan_out.serves_single_events) if self._due else 0

    def _refill(self) -> int:
        fed, refused = self._read_ahead.refill()
        now = self._heartbeat.now()
        self._recorder.add([give_up(queue, delivery, kind, now) for queue, delivery, kind in refused])
        if fed:
            self._on_work()
        return 0  # what it fed will keep the engine busy

    def _recheck(self) -> int:
        if time.monotonic() >= self._next_recheck:
            self._lease.recheck()
            self._next_recheck = time.monotonic() + self._options.recheck_seconds
        return 0

    def _record(self) -> int:
        recorded = 0
        for _ in range(self._in_a_row):
            if not (done := self._recorder.step(at_once=self._phase is not Phase.RUNNING)):
                break
            recorded += done
        return recorded

    # --- idleness ----------------------------------------------------------------------------------------------------

    def _nothing_left(self) -> bool:
        return self._window.idle and not self.unrecorded and self._lease.all_released and not self._fan_out.owed_wakes

    def _note_idleness(self, *, busy: bool) -> None:
        if busy:
            self._worked_at = time.monotonic()
        # Something is pending or due, but another engine has it, or it failed and is paused for a moment.
        waits = self._pending or self._due or any(step.not_before for step in (*self._steps, *self._late_steps))
        gives_up = time.monotonic() - self._worked_at > self._options.idle_despite_work
        if busy or self._outage_pause or not self._nothing_left() or (waits and not gives_up):
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = time.monotonic()
            self._on_work()  # the sending thread evaluates its `until` now
