"""`manage.py webhooks_demo`: emit events, deliver them with the real engine, and count the received ones."""

import argparse
import math
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from project.demo.oneshot import OneShot

EPILOG = """
Customers have five endpoints each, and event number i goes to customer i modulo their number. So an event
makes at most five deliveries, and 2000 events for 50 endpoints make 10,000.

The second endpoint of each five refuses every event twice before it takes it. The last endpoint of all always
answers 500, and the one before it never answers; what those two get is given up within seconds.

`lost` counts deliveries to endpoints that can answer which never arrived there, compared by webhook-id. The
exit code is 1 if anything was lost, arrived with a wrong signature, arrived though it was rolled back, or was
still pending when the time was over. What is pending then is not counted as lost.

The run works in this project's database and removes its rows afterwards.
"""


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 999999999")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


class Command(BaseCommand):
    help = "Emit events, deliver them to a receiver that verifies every signature, and count what arrived."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.epilog = EPILOG
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument("--events", type=_positive, default=200, help="events to emit (default 200)")
        parser.add_argument("--endpoints", type=_positive, default=10, help="endpoints to deliver to (default 10)")
        parser.add_argument(
            "--timeout", type=_seconds, default=300.0, help="give up after so many seconds (default 300)"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")

    def handle(self, *args: Any, events: int, endpoints: int, timeout: float, json: bool, **options: Any) -> None:
        try:
            result = OneShot(events, endpoints, timeout, _show if sys.stderr.isatty() else _keep_quiet).run()
        except KeyboardInterrupt:
            raise CommandError("Interrupted; the demo's rows were removed.", returncode=130) from None
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
        self.stdout.write(result.as_json() if json else result.as_table())
        if not result.good:
            sys.exit(1)


def _show(done: int, total: int) -> None:
    share = done / total if total else 0.0
    bar = "█" * int(share * 30)
    sys.stderr.write(f"\r\033[K{bar:<30} {done:,} of {total:,} deliveries done")
    sys.stderr.flush()


def _keep_quiet(done: int, total: int) -> None:
    pass
