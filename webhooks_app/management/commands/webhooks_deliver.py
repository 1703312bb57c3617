"""`manage.py webhooks_deliver`: the delivery engine without Celery."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import signal
import threading
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connections

from webhooks_app import telemetry
from webhooks_app.database_errors import is_outage, one_line
from webhooks_app.engine import run as engine
from webhooks_app.engine.options import FROZEN_AFTER, EngineOptions
from webhooks_app.engine.sweep import repair, sweep
from webhooks_app.maintenance.prune import prune
from webhooks_app.management.database import DatabaseCommand
from webhooks_app.management.migrated import require_tables
from webhooks_app.notifications.send import send_notifications
from webhooks_app.process_log import log_configuration_errors

logger = logging.getLogger(__name__)

#: Seconds to wait at the end for housekeeping: an e-mail may be in progress.
_LONGEST_HOUSEKEEPING = 5.0
#: Seconds between tries while the database is unavailable at the start: the first pause, doubled each time, and the longest.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0


class Command(DatabaseCommand):
    help = (
        "Deliver webhooks until stopped (SIGTERM or Ctrl-C): what is in flight then ends and is recorded. "
        "Run as many of these as you like, on as many machines; Celery is not needed beside them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--until-idle",
            type=_seconds,
            metavar="SECONDS",
            help="Return when nothing has been due for so long (0: as soon as nothing is due).",
        )
        parser.add_argument(
            "--no-housekeeping",
            action="store_true",
            help="Do not send e-mails, prune and repair beside; say so where Celery's beat does it.",
        )
        parser.add_argument("--metrics-port", type=int, metavar="PORT", help="Serve Prometheus metrics at /metrics.")

    def handle(self, *args: Any, until_idle: float | None, no_housekeeping: bool, **options: Any) -> None:
        stop = threading.Event()
        _stop_on_signals(stop)
        if until_idle is not None:
            require_tables("webhooks_app")
        elif not _wait_for_tables(stop):
            return
        if options["metrics_port"]:
            telemetry.serve(options["metrics_port"])
        until = engine.for_ever if until_idle is None else engine.idle_for(until_idle)
        housekeeping = None if no_housekeeping or until_idle is not None else Housekeeping(stop)
        log_configuration_errors()
        if housekeeping:
            housekeeping.start()
        collect_less()
        try:
            progress = engine.run(until=until, stop=stop, options=EngineOptions(frozen_after=FROZEN_AFTER))
        except Exception as error:
            logger.exception(
                "webhooks: webhooks_deliver ends with exit code 1, since its engine failed; start it again"
            )
            raise CommandError(f"The engine failed: {type(error).__name__}: {error}", returncode=1) from error
        finally:
            stop.set()
            if housekeeping:
                # After that it ends with the process: every task can be repeated.
                housekeeping.join(_LONGEST_HOUSEKEEPING)
        done = f"{progress.events} events, {progress.requests} requests, {progress.recorded} recorded."
        logger.info("webhooks: webhooks_deliver ends with exit code 0: %s", done)
        if options["verbosity"]:
            with contextlib.suppress(OSError):  # the output is closed, and the work is done
                self.stdout.write(done)


def _wait_for_tables(stop: threading.Event) -> bool:
    """Wait for the database; return False if stopped in the meantime.

    The engine also waits when the database fails later. A supervisor that starts both at once may give up on a command that
    exits several times. Raises CommandError if the tables are missing from the database.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            require_tables("webhooks_app")
            return True
        except DatabaseError as error:
            if not is_outage(error):
                raise
            text = "webhooks: webhooks_deliver waits for the database (%s); next try in %.1f s"
            logger.warning(text, one_line(error), pause)
            connections.close_all()
        if stop.wait(pause):
            return False
        pause = min(pause * 2, _LONGEST_PAUSE)


def _stop_on_signals(stop: threading.Event) -> None:
    """Let SIGTERM and SIGINT end the engine once its requests in flight have ended. A second signal ends the process at once."""
    numbers = (signal.SIGTERM, signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)

    for number in numbers:
        signal.signal(number, ask)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more.")
    return seconds


def collect_less() -> None:
    """Exclude the objects loaded so far from garbage collection, and collect less often.

    In a process that only delivers, it would take a twentieth of the time, and the engine creates no reference cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class Housekeeping:
    """Run the tasks that Celery beat runs elsewhere: send notifications, sweep, repair and prune.

    Notifications are sent on a thread of their own: a mail backend that hangs must not stop the others.
    """

    #: Seconds between two runs of `send_notifications`.
    NOTIFY_SECONDS = 60.0

    def __init__(self, stop: threading.Event) -> None:
        self._stop_asked = stop
        #: Seconds between two runs, and the function.
        self._chores: list[tuple[float, Callable[[], object]]] = [
            (self.NOTIFY_SECONDS, lambda: send_notifications(stopping=stop.is_set)),
            (60, sweep),  # the engine finds the work that it uncovers by itself
            (600, repair),
            (3600, lambda: prune()),
        ]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        for chores in (self._chores[:1], self._chores[1:]):
            thread = threading.Thread(target=self._run, args=(chores,), name="webhooks-housekeeping", daemon=True)
            thread.start()
            self._threads.append(thread)

    def join(self, timeout: float) -> None:
        """Wait until both threads have ended, for at most so many seconds."""
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))

    def _run(self, chores: Sequence[tuple[float, Callable[[], object]]]) -> None:
        due = [time.monotonic() + every for every, _ in chores]
        while not self._stop_asked.wait(1.0):
            for number, (every, act) in enumerate(chores):
                if time.monotonic() >= due[number]:
                    due[number] = time.monotonic() + every
                    self._do(act)

    @staticmethod
    def _do(act: Callable[[], object]) -> None:
        try:
            act()
        except (OperationalError, InterfaceError) as error:
            logger.warning("webhooks: housekeeping could not use the database (%s)", one_line(error))
        except Exception:
            # The next run tries again; delivery must not stop because a mail server is unavailable.
            logger.exception("webhooks: housekeeping failed")
        finally:
            connections.close_all()  # until the next task is due, the server or a pooler may close them
