"""The engine: from an event to its deliveries, end to end. READ FIRST.

`emit` (events/emit.py) has stored an Event row in the host's transaction. Everything after that happens in the three threads
of an engine (`engine_threads.Engine`):

    database thread                                           sending thread
    fan_out   committed events → deliveries                   send     signed, concurrently, one event loop
    lease     queues that are due                   window    handle   responses: done, retry at t, failed
    read      their deliveries                ────────────▶
    record    finished attempts               ◀────────────
    release   queues without further work           results   heartbeat thread: the engine's row and clock

The sending thread never waits for the database, no transaction is open during network requests, and the engine never
waits for rows that other transactions have locked. The window decides what is sent next; `core.retry.decide` decides what
an outcome means. Errors of a response, a delivery, an endpoint, an event or a step are caught where they happen.

A fourth thread, the caller of `run`, only waits: signals interrupt nothing else, and it replaces a sending thread that is
stuck.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import NoReturn

from django.db import connections

from webhooks_app.engine.build_threads import are_stuck
from webhooks_app.engine.engine_threads import Engine, StopRequest, tell_retired
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.freeze_watch import FreezeWatch
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.progress import OnRetired, Progress, Until, budget, for_ever, idle_for
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.log_thread import EngineThread, engine_logger, logs_on_a_thread
from webhooks_app.models.database import database_alias
from webhooks_app.thread_priority import lower_priority
from webhooks_app.transport import StuckCall, StuckCallEnded, Transport, get_descriptors, open_transport
from webhooks_app.wire_formats import load_wire_formats

logger = engine_logger(__name__)

#: The pause before a failed engine is started again is doubled up to this (seconds), unless the engine recorded something and
#: lived for a moment, or ran for longer than this pause.
_LONGEST_PAUSE = 30.0
_SHORTEST_LIFE = 2.0
#: If this many sending threads of one run are stuck, a process that does nothing but deliver ends: each of them uses a processor.
_MOST_STUCK = 16
_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h


__all__ = ["Progress", "Until", "budget", "for_ever", "give_connection_back", "idle_for", "run"]


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
    `until` is called on the sending thread. `on_retired` is called there when the engine has stopped taking work and before it
    waits for requests in flight, so that a successor can start meanwhile. An engine that cannot be started, or whose thread
    fails or is stuck, releases its queues and is started again, after a pause. Raises whatever `until` raises and interrupts
    such as KeyboardInterrupt, once the engine has stopped, and ConfigurationError if the settings name a transport that
    cannot be used.
    """
    load_wire_formats()  # before it takes work: an import may be slow, and fan-out uses only what is loaded
    give_connection_back(using)
    get_descriptors()
    request = StopRequest(stop or threading.Event())
    chosen = options or EngineOptions()
    watch = FreezeWatch(chosen.frozen_after)
    watch.start()
    try:
        total = _Run(until, request, using, transport, kind, on_retired, chosen).wait()
    finally:
        watch.end()
    if total.events or total.requests:
        logger.info("webhooks: %d events, %d requests in %.1f s", total.events, total.requests, total.seconds)
    return total


def give_connection_back(using: str | None = None) -> None:
    """Close the caller's connection: its thread needs no database while the engine runs, so a pool can use the connection."""
    connection = connections[using or database_alias()]
    if connection.autocommit and not connection.in_atomic_block:  # or the caller has a transaction open
        connection.close()


class _Run:
    """One call of `run`: one engine after the other, on a thread that the calling thread waits for."""

    def __init__(
        self,
        until: Until,
        stop: StopRequest,
        using: str | None,
        transport: Transport | None,
        kind: str,
        on_retired: OnRetired | None,
        options: EngineOptions,
    ) -> None:
        self._until, self._stop, self._on_retired = until, stop, on_retired
        self._using, self._kind, self._options = using, kind, options
        self._transport = transport
        self._began = time.monotonic()
        self._total = Progress()
        self._pause = options.first_restart_pause
        self._engine: Engine | None = None
        self._faults = FaultLog()
        #: The sending thread, and those that are stuck.
        self._threads: list[threading.Thread] = []
        #: Empty once a thread delivers. Only that thread removes the item.
        self._unclaimed = [True]
        #: Whether the run is over, and the error that ended it.
        self._is_over = False
        self._error: BaseException | None = None
        #: The process ends after the run.
        self._ends_process = False
        #: Wakes the calling thread when the run is over. A queue, because no signal handler can leave its lock taken.
        self._wakeup: SimpleQueue[None] = SimpleQueue()

    # --- called by the calling thread --------------------------------------------------------------------------------

    def wait(self) -> Progress:
        """Deliver, and return the progress at the end. Raises what `run` raises."""
        caught: list[BaseException] = []
        interrupt: BaseException | None = None
        while True:
            try:
                # Handled here and not where they are caught: the next one may come at any time.
                while caught:
                    interrupt = self._interrupted_by(caught.pop(0)) or interrupt
                if self._is_over or (self._unclaimed and self._stop.is_set()):
                    break
                if self._unclaimed:
                    self._start_thread(self._deliver_first)
                self._replace_stuck_thread()
                self._stop_if_builds_are_stuck()
                with suppress(Empty):
                    # What it returns may get lost: a signal handler raises just after the call.
                    self._wakeup.get(timeout=self._options.look_again_seconds)
            except BaseException as raised:  # noqa: BLE001 - by a signal handler, if not by Ctrl-C
                caught.append(raised)
        if self._ends_process:
            self._end_process()
        if interrupt is not None and not isinstance(interrupt, self._options.interrupts):
            raise interrupt
        if self._error is not None:
            raise self._error
        return self._total

    def _interrupted_by(self, error: BaseException) -> BaseException | None:
        """Stop the engine if this is an interrupt, and return it: Ctrl-C, an exit, a time limit of Celery's."""
        if isinstance(error, Exception) and not isinstance(error, self._options.interrupts):
            logger.error(
                "webhooks: a signal handler of this process raised an error; the engine goes on", exc_info=error
            )
            return None
        logger.warning("webhooks: the engine is ended by %s", type(error).__name__)
        self._stop.interrupts += 1
        return error

    def _replace_stuck_thread(self) -> None:
        engine = self._engine
        if engine is None or not engine.is_stuck:
            return
        stuck = sum(thread.is_alive() for thread in self._threads)  # one ends when its call returns
        if stuck >= _MOST_STUCK and self._options.frozen_after is not None:
            logger.critical("webhooks: %d threads are stuck; this process ends, and its queues go to others", stuck)
            self._end_process()
        self._start_thread(partial(self._deliver_instead, engine))

    def _stop_if_builds_are_stuck(self) -> None:
        """Stop the engine as usual if no more requests that run the host's code can be built, and end the process after it."""
        if self._options.frozen_after is None or self._ends_process or not are_stuck(self._options):
            return
        logger.critical(
            "webhooks: wire formats of the host have not returned on any of their threads; this process stops and ends with "
            "code %d, to be started again. Set timeouts for what their code calls",
            _EXIT_CODE,
        )
        self._ends_process = True
        self._stop.interrupts += 1

    def _end_process(self) -> NoReturn:
        time.sleep(self._options.look_again_seconds)  # for the log
        os._exit(_EXIT_CODE)

    def _start_thread(self, work: Callable[[], None]) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = EngineThread(work, "webhooks-sending")
        self._threads.append(thread)  # before it is started: a signal handler may raise at any time
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:  # "can't start new thread"
            self._faults.report("thread", "the sending thread cannot be started, which is tried again: %s", error)

    # --- called by the sending thread --------------------------------------------------------------------------------

    def _deliver_first(self) -> None:
        try:
            self._unclaimed.pop()
        except IndexError:
            return  # two threads were started, since a signal handler raised at the start of the first one
        self._deliver()

    def _deliver_instead(self, stuck: Engine) -> None:
        """Deliver on behalf of a thread that is stuck in a call of the network library."""
        try:
            call = stuck.give_up_stuck_call()
        except Exception:
            logger.exception("webhooks: the cause of a stuck call is unknown")
            call = StuckCall({}, [])  # it was abandoned before anything could fail
        if call is None:
            return  # the call has just returned
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                lower_priority(thread.native_id)  # only now is it certain that it delivers no more
        stuck.end_without_network(call)
        self._total = stuck.progress()
        self._deliver()

    def _deliver(self) -> None:
        """Run engines until the run is over."""
        try:
            while not self._run_engine() and not self._is_over_during_pause():
                pass
        except StuckCallEnded:
            return  # another thread has taken the place of this one
        except BaseException as raised:  # noqa: BLE001 - raised by the calling thread
            self._error = raised
        finally:
            connections.close_all()  # `until` may have used some
        self._is_over = True
        self._wakeup.put(None)

    def _run_engine(self) -> bool:
        """Run one engine. Return whether it was asked to end: by `until`, by `stop` or by an interrupt."""
        started, recorded = time.monotonic(), self._total.recorded
        self._engine = engine = self._open_engine()
        if engine is not None:
            ended = engine.run(self._until, self._on_retired)
            self._total = engine.progress()
            if ended:
                return True
        lasted = time.monotonic() - started
        if lasted > (_SHORTEST_LIFE if self._total.recorded > recorded else _LONGEST_PAUSE):
            self._pause = self._options.first_restart_pause  # it did useful work: a pause would only delay the rest
        return False

    def _open_engine(self) -> Engine | None:
        """Return a new engine, or None if the process is out of resources such as file descriptors or memory."""
        transport, self._transport = self._transport, None  # the engine closes it
        try:
            transport = transport or open_transport()
            using = self._using or database_alias()
            return Engine(using, transport, self._kind, self._options, self._stop, self._total, self._began)
        except ConfigurationError:
            raise
        except Exception:
            logger.exception("webhooks: the engine cannot start")
            with suppress(Exception):
                if transport is not None:
                    transport.close()
            return None

    def _is_over_during_pause(self) -> bool:
        """Wait before the next engine is started. Return True at once if the run ends meanwhile."""
        logger.error("webhooks: the engine failed and starts again in %.1f s", self._pause)
        end = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        while (now := time.monotonic()) < end:
            if self._stop.is_set() or self._until(replace(self._total, seconds=now - self._began)):
                tell_retired(self._on_retired, self._total)
                return True
            self._stop.wait(min(end - now, self._options.look_again_seconds))
        return False
