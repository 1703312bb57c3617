"""The engine: from an event to its deliveries, end to end. READ FIRST.

`emit` (events/emit.py) has stored an Event row in the host's transaction. Everything after that happens here, in three
threads:

    database thread                                           sending thread
    fan_out   committed events → deliveries                   send     signed, concurrently, one event loop
    lease     queues that are due                   window    handle   responses: done, retry at t, failed
    read      their deliveries                ────────────▶
    record    finished attempts               ◀────────────
    release   queues without further work           results   heartbeat thread: the engine's row and clock

The sending thread never waits for the database, no transaction is open during network requests, and the engine never
waits for rows that other transactions have locked. The window decides what is sent next; `core.retry.decide` decides what
an outcome means. Errors of a response, a delivery, an endpoint, an event or a step are caught where they happen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from django.db import connections

from webhooks_app.engine.database_thread import DatabaseThread
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.progress import OnRetired, Progress, Until, budget, for_ever, idle_for
from webhooks_app.engine.result_buffer import ResultBuffer
from webhooks_app.engine.sending_thread import RequestSender
from webhooks_app.engine.window import Window
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.log_thread import engine_logger, logs_on_a_thread
from webhooks_app.models.database import database_alias
from webhooks_app.transport import Transport, open_transport
from webhooks_app.wire_formats import load_wire_formats

logger = engine_logger(__name__)

#: The sending thread interrupts waiting for the network at least this often (seconds).
_LOOK_UP = 0.25
#: How long a draining engine waits until its row says so, and at its end for the database (seconds).
_LONGEST_RETIRING = 1.0
_LONGEST_FINISHING = 2.0
#: A failed engine is started again after this time (seconds), doubled each time unless it recorded something and lived
#: for a moment, or ran for longer than the longest pause.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_SHORTEST_LIFE = 2.0


__all__ = ["Engine", "Progress", "Until", "budget", "for_ever", "give_connection_back", "idle_for", "run"]


@logs_on_a_thread()
def run(
    *,
    until: Until = for_ever,
    stop: threading.Event | None = None,
    using: str | None = None,
    transport: Transport | None = None,
    kind: str = "command",
    on_retired: OnRetired | None = None,
    options: EngineOptions | None = None,
) -> Progress:
    """Deliver until `until` returns True or `stop` is set. Then no new request is started, requests in flight end and are
    recorded within `options.drain_seconds`, and all queues are released.

    Blocks the calling thread: a Celery task calls it with a budget, `manage.py webhooks_deliver` runs it for ever.
    `on_retired` is called when the engine has stopped taking work and before it waits for requests in flight, so that a
    successor can start meanwhile. An engine that cannot be started, or whose thread fails, releases its queues and is
    started again after a pause. Raises whatever `until` raises, once the engine has stopped, and ConfigurationError if the
    settings name a transport that cannot be used.
    """
    load_wire_formats()  # before it takes work: an import may be slow, and fan-out uses only what is loaded
    give_connection_back(using)
    stopped, chosen = stop or threading.Event(), options or EngineOptions()
    total, began, pause = Progress(), time.monotonic(), _FIRST_PAUSE
    while True:
        started, recorded = time.monotonic(), total.recorded
        engine = _open_engine(using, transport, kind, chosen, total, began)
        if engine is not None:
            ended = engine.run(until, stopped, on_retired)
            total = engine.progress()
            if ended:
                break
        transport = None  # the failed engine has closed it
        lasted = time.monotonic() - started
        if lasted > (_SHORTEST_LIFE if total.recorded > recorded else _LONGEST_PAUSE):
            pause = _FIRST_PAUSE  # it was of use: a pause would only delay what it has not come to
        logger.error("webhooks: the engine failed and starts again in %.1f s", pause)
        if _is_over_during(pause, until, stopped, total, began):
            _call(on_retired, total)
            break
        pause = min(pause * 2, _LONGEST_PAUSE)
    if total.events or total.requests:
        logger.info("webhooks: %d events, %d requests in %.1f s", total.events, total.requests, total.seconds)
    return total


def give_connection_back(using: str | None = None) -> None:
    """Close the caller's connection: its thread needs no database while the engine runs, so a pool can use the connection."""
    connection = connections[using or database_alias()]
    if connection.autocommit and not connection.in_atomic_block:  # or the caller has a transaction open
        connection.close()


def _open_engine(
    using: str | None, transport: Transport | None, kind: str, options: EngineOptions, so_far: Progress, began: float
) -> Engine | None:
    """Return a new engine, or None if the process is out of resources such as file descriptors or memory."""
    try:
        transport = transport or open_transport()
        return Engine(using or database_alias(), transport, kind, options, so_far, began)
    except ConfigurationError:
        raise
    except Exception:
        logger.exception("webhooks: the engine cannot start")
        with suppress(Exception):
            if transport is not None:
                transport.close()
        return None


def _is_over_during(pause: float, until: Until, stopped: threading.Event, so_far: Progress, began: float) -> bool:
    """Wait for `pause` seconds. Return True at once if the run ends meanwhile."""
    end = time.monotonic() + pause
    while (now := time.monotonic()) < end:
        if stopped.is_set() or until(replace(so_far, seconds=now - began)):
            return True
        stopped.wait(min(end - now, _LOOK_UP))
    return False


def _call(on_retired: OnRetired | None, progress: Progress) -> None:
    try:
        if on_retired is not None:
            on_retired(progress)
    except Exception:
        logger.exception("webhooks: on_retired failed")


class Engine:
    """One running delivery loop, from the view of its sending thread. `so_far`: the progress of its failed predecessors."""

    def __init__(
        self, using: str, transport: Transport, kind: str, options: EngineOptions, so_far: Progress, began: float
    ) -> None:
        self._transport = transport
        self._options = options
        self._so_far, self._began = so_far, began
        self._interrupts: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit, *options.interrupts)
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
        self._until_raised: BaseException | None = None

    def run(self, until: Until, stop: threading.Event, on_retired: OnRetired | None) -> bool:
        """Deliver until asked to stop, then stop cleanly. Return False if the engine ended early because a thread failed."""
        interrupt, failure = self._run_until_over(until, stop)
        try:
            self._stop(None if failure else on_retired)
        except Exception:
            logger.exception("webhooks: the engine did not stop cleanly")
        if failure is not None or self._thread_failure is not None:
            logger.error("webhooks: a thread of the engine failed", exc_info=failure or self._thread_failure)
        if isinstance(interrupt, self._options.interrupts):
            logger.warning("webhooks: the engine was ended by %s", type(interrupt).__name__)
        elif interrupt is not None:
            raise interrupt
        if self._until_raised is not None:
            raise self._until_raised
        return failure is None

    def _run_until_over(self, until: Until, stop: threading.Event) -> tuple[BaseException | None, BaseException | None]:
        """Return the interrupt that ended the engine (such as Ctrl-C), and the error that ended it; at most one is set."""
        self._heartbeat.activity.sending_thread = threading.get_ident()
        try:
            self._heartbeat.start()
            self._database.start()
            self._started = True
            while not (stop.is_set() or self._thread_failure or self._is_over(until)):
                self.turn()
        except self._interrupts as error:
            return error, None
        except BaseException as error:  # noqa: BLE001 - returned, once everything was given back
            return None, error
        return None, self._thread_failure

    def _is_over(self, until: Until) -> bool:
        try:
            return until(self.progress())
        except BaseException as error:  # noqa: BLE001 - raised by `run`, once everything was given back
            self._until_raised = error
            return True

    def turn(self) -> None:
        """Start requests, then block until a response arrives, the database thread has work, or a short time has passed."""
        self._requests += self._sender.start_what_is_due()
        if self._sender.wait(self._patience()):
            self._database.nudge()
        activity = self._heartbeat.activity
        activity.sending_turn, activity.in_flight = time.monotonic(), self._window.in_flight

    def _stop(self, on_retired: OnRetired | None) -> None:
        """Drain, finish and end, each within its time limit, regardless of errors."""
        try:
            if self._started:
                self._drain(on_retired)
        finally:
            self._heartbeat.end(_LONGEST_RETIRING)
            self._transport.close()

    def _drain(self, on_retired: OnRetired | None) -> None:
        progress = self.progress()  # before draining: an engine that takes no more work looks idle
        deadline = time.monotonic() + self._options.drain_seconds
        self._heartbeat.start_draining()
        self._database.start_draining()
        # Wait until its row says so: a successor that counted this engine as running would exit again.
        self._wait_while(lambda: not self._heartbeat.drains, time.monotonic() + _LONGEST_RETIRING)
        _call(on_retired, progress)
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
            try:
                if self._sender.wait(min(_LOOK_UP, max(deadline - time.monotonic(), 0.0))):
                    self._database.nudge()
                self._heartbeat.activity.sending_turn = time.monotonic()
            except self._interrupts:
                return  # the second interrupt
            except Exception:
                logger.exception("webhooks: the transport failed while the engine stopped")
                return

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

    def _patience(self) -> float:
        if self._sender.more_may_start:
            return 0.0
        slot = self._window.earliest_slot()
        return _LOOK_UP if slot is None else min(max(slot - time.monotonic(), 0.001), _LOOK_UP)
