"""`manage.py webhooks_deliver`: the delivery engine without Celery."""

from __future__ import annotations

import gc
import logging
import math
import signal
import threading
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections

from webhooks_app.actions.prune import prune
from webhooks_app.actions.tell import tell
from webhooks_app.management.migrated import require_tables
from webhooks_app.models import database_now
from webhooks_app.pipeline import engine
from webhooks_app.pipeline.sweep import repair, sweep
from webhooks_app.pipeline.transactions import pipeline_alias

logger = logging.getLogger(__name__)


class Command(BaseCommand):
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

    def handle(self, *args: Any, until_idle: float | None, no_housekeeping: bool, **options: Any) -> None:
        require_tables("webhooks_app")
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        until = engine.for_ever if until_idle is None else engine.idle_for(until_idle)
        housekeeping = None if no_housekeeping or until_idle is not None else Housekeeping(stop)
        if housekeeping:
            housekeeping.start()
        collect_less()
        progress = engine.run(until=until, stop=stop)
        stop.set()
        if housekeeping:
            housekeeping.join()
        if options["verbosity"]:
            self.stdout.write(f"{progress.events} events, {progress.requests} requests, {progress.recorded} recorded.")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more.")
    return seconds


def collect_less() -> None:
    """Let the garbage collector pass over what was loaded before, and look less often: in a process that does nothing but
    deliver it would take a twentieth of the time, and the engine makes no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class Housekeeping(threading.Thread):
    """What Celery's beat does elsewhere: telling people, pruning, repairing."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(name="webhooks-housekeeping", daemon=True)
        self._stop_asked = stop
        alias = pipeline_alias()
        #: Seconds between two runs, and the act.
        self._chores: list[tuple[float, Callable[[], object]]] = [
            (60, lambda: tell(database_now(alias))),
            (60, lambda: sweep(using=alias)),  # what it finds waiting, the engine finds by itself
            (600, lambda: repair(using=alias)),
            (3600, lambda: prune()),
        ]

    def run(self) -> None:
        due = [time.monotonic() + every for every, _ in self._chores]
        while not self._stop_asked.wait(1.0):
            for number, (every, act) in enumerate(self._chores):
                if time.monotonic() >= due[number]:
                    due[number] = time.monotonic() + every
                    self._do(act)
        connections.close_all()

    @staticmethod
    def _do(act: Callable[[], object]) -> None:
        try:
            act()
        except Exception:
            # The next run tries again; delivery must not stop because a mail server is away.
            logger.exception("webhooks: housekeeping failed")
            connections.close_all()
