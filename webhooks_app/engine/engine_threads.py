"""The threads of one engine: start them, run the loop of the sending thread, and stop them, each within its time limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from webhooks_app.engine.database_thread import DatabaseThread
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.progress import OnRetired, Progress, Until
from webhooks_app.engine.result_buffer import ResultBuffer
from webhooks_app.engine.sending_thread import RequestSender
from webhooks_app.engine.window import Window
from webhooks_app.log_thread import engine_logger
from webhooks_app.transport import StuckCall, StuckCallEnded, Transport

logger = engine_logger(__name__)

#: How long a draining engine waits until its row says so, and at its end for the database (seconds).
_LONGEST_RETIRING = 1.0
_LONGEST_FINISHING = 2.0
#: How often an engine without a transport looks at its other threads (seconds).
_NO_NETWORK_PAUSE = 0.01


def tell_retired(on_retired: OnRetired | None, progress: Progress) -> None:
    """Call the host's callback, whose errors are only logged."""
    try:
        if on_retired is not None:
            on_retired(progress)
    except Exception:
        logger.exception("webhooks: on_retired failed")


class StopRequest:
    """Whether an engine is to stop: the event was set, or an interrupt (Ctrl-C) arrived. The second interrupt also ends
    the wait for requests in flight."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event
        #: Written by the thread that called `run`.
        self.interrupts = 0

    def is_set(self) -> bool:
        return self.interrupts > 0 or self._event.is_set()

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)


class Engine:
    """One running delivery loop, from the view of its sending thread. `so_far`: the progress of its failed predecessors."""

    def __init__(
        self,
        using: str,
        transport: Transport,
        kind: str,
        options: EngineOptions,
        stop: StopRequest,
        so_far: Progress,
        began: float,
    ) -> None:
        self._stop_request = stop
        self._transport = transport
        self._options = options
        self._so_far, self._began = so_far, began
        faults = FaultLog()
        results = ResultBuffer()
        self._window = Window(options, transport.capacity)
        self._heartbeat = Heartbeat(using, kind, options, on_change=self._wake)
        self._database = DatabaseThread(
            using, self._window, results, self._heartbeat, options, faults, on_work=transport.wake
        )
        self._sender = RequestSender(transport, self._window, results, self._heartbeat, options, faults)
        self._requests = 0
        self._started = False
        #: False: the transport was abandoned.
        self._has_network = True
        self._until_raised: BaseException | None = None

    def run(self, until: Until, on_retired: OnRetired | None) -> bool:
        """Deliver until asked to stop, then stop cleanly. Return False if the engine ended early because a thread failed.

        Raises what `until` raises, and StuckCallEnded if another thread has taken the place of this one.
        """
        try:
            failure = self._run_until_over(until)
            try:
                self._stop(None if failure else on_retired)
            except Exception:
                logger.exception("webhooks: the engine did not stop cleanly")
        finally:
            self._transport.close()
        if failure is not None or self._thread_failure is not None:
            logger.error("webhooks: a thread of the engine failed", exc_info=failure or self._thread_failure)
        if self._until_raised is not None:
            raise self._until_raised
        return failure is None

    @property
    def is_stuck(self) -> bool:
        """Return whether the sending thread has not returned from a call of the network library for too long."""
        return self._transport.is_stuck

    def give_up_stuck_call(self) -> StuckCall | None:
        """Take the place of the sending thread, which is stuck. Return None if it has gone on meanwhile."""
        return self._transport.give_up()

    def end_without_network(self, call: StuckCall) -> None:
        """Settle the requests that made the thread stuck, and stop. Another engine sends the others in flight again."""
        logger.error(
            "webhooks: the sending thread does not return from a call of the network library; receivers of %d tenant(s) may have "
            "caused that. Another thread goes on",
            len(call.suspects),
        )
        self._has_network = False
        try:
            self._sender.settle_stuck(call)
            self._stop(None)
        except Exception:
            logger.exception("webhooks: the engine did not stop cleanly")

    def _run_until_over(self, until: Until) -> BaseException | None:
        """Return the error that ended the engine early."""
        self._heartbeat.activity.sending_thread = threading.get_ident()
        try:
            self._heartbeat.start()
            self._database.start()
            self._started = True
            while not (self._stop_request.is_set() or self._thread_failure or self._is_over(until)):
                self.turn()
        except StuckCallEnded:
            raise
        except BaseException as error:  # noqa: BLE001 - returned, after everything was released
            return error
        return self._thread_failure

    def _is_over(self, until: Until) -> bool:
        try:
            return until(self.progress())
        except BaseException as error:  # noqa: BLE001 - raised by `run`, after everything was released
            self._until_raised = error
            return True

    def turn(self) -> None:
        """Start requests, then block until a response arrives, the database thread has work, or a short time has passed."""
        self._requests += self._sender.start_what_is_due()
        self._wait_for_network(self._longest_wait())
        activity = self._heartbeat.activity
        activity.sending_turn, activity.in_flight = time.monotonic(), self._window.in_flight

    def _stop(self, on_retired: OnRetired | None) -> None:
        """Drain, finish and end, each within its time limit, regardless of errors."""
        try:
            if self._started:
                self._drain(on_retired)
        finally:
            self._heartbeat.end(_LONGEST_RETIRING)

    def _drain(self, on_retired: OnRetired | None) -> None:
        progress = self.progress()  # before draining: an engine that takes no more work looks idle
        deadline = time.monotonic() + self._options.drain_seconds
        self._heartbeat.start_draining()
        self._database.start_draining()
        # Wait until its row says so: a successor that counted this engine as running would exit again.
        self._wait_while(lambda: not self._heartbeat.drains, time.monotonic() + _LONGEST_RETIRING)
        tell_retired(on_retired, progress)
        if self._has_network:
            self._wait_while(lambda: self._window.in_flight > 0 and self._keeps_its_queues, deadline)
        if lost := self._window.forget_in_flight():
            logger.warning("webhooks: %d request(s) had no response at the end; they are sent again", lost)
        if self._database.finish(_LONGEST_FINISHING):
            return
        if unrecorded := self._database.unrecorded:
            logger.error(
                "webhooks: the engine ended before the database had everything; %d result(s) were not recorded and are "
                "sent again",
                unrecorded,
            )
        else:
            logger.warning(
                "webhooks: the engine ended before it had released all queues, since another transaction has locked them"
            )

    @property
    def _keeps_its_queues(self) -> bool:
        """Return whether the engine still owns its queues: without a heartbeat only until its row expires."""
        return self._heartbeat.failure is None or self._heartbeat.alive

    def _wait_while(self, condition: Callable[[], bool], deadline: float) -> None:
        while condition() and self._database.failure is None and time.monotonic() < deadline:
            if self._stop_request.interrupts > 1:
                return
            try:
                self._wait_for_network(min(self._options.look_again_seconds, max(deadline - time.monotonic(), 0.0)))
                self._heartbeat.activity.sending_turn = time.monotonic()
            except Exception:
                logger.exception("webhooks: the transport failed while the engine stopped")
                return

    def _wait_for_network(self, seconds: float) -> None:
        if not self._has_network:
            time.sleep(min(seconds, _NO_NETWORK_PAUSE))
        elif self._sender.wait(seconds):
            self._database.nudge()

    @property
    def _thread_failure(self) -> BaseException | None:
        return self._database.failure or self._heartbeat.failure

    def progress(self) -> Progress:
        now = time.monotonic()
        idle_since = self._database.idle_since
        return Progress(
            seconds=now - self._began,
            idle=idle_since is not None,
            idle_seconds=now - idle_since if idle_since is not None else 0.0,
            events=self._so_far.events + self._database.events,
            deliveries=self._so_far.deliveries + self._database.deliveries,
            requests=self._so_far.requests + self._requests,
            recorded=self._so_far.recorded + self._database.recorded,
        )

    def _wake(self) -> None:
        self._transport.wake()
        self._database.wake()

    def _longest_wait(self) -> float:
        if self._sender.more_may_start:
            return 0.0
        longest, slot = self._options.look_again_seconds, self._window.earliest_slot()
        return longest if slot is None else min(max(slot - time.monotonic(), 0.001), longest)
