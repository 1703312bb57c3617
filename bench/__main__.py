"""Benchmarks of the webhook pipeline. Each prints one JSON object; bench/README.md tells how to read it.

The database is a fresh one on DATABASE_URL's server, dropped afterwards; without that, SQLite in a temporary file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable

from bench.children import time_limit
from bench.scene import set_up_django


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number in a range, for argparse."""

    def convert(text: str) -> int:
        if not text.replace("_", "").isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return convert


def number(least: float, most: float) -> Callable[[str], float]:
    """A number in a range, for argparse."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
        return value

    return convert


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    benchmarks = top.add_subparsers(dest="benchmark", required=True, metavar="drain | latency | isolation | pages")
    drain = _benchmark(benchmarks, "drain", "how fast a backlog is delivered and recorded")
    _add_load(drain, events=50_000, endpoints=1000, rounds=1)
    latency = _benchmark(benchmarks, "latency", "how long from an event's commit to the receiver")
    latency.add_argument("--rate", type=number(0.1, 10_000), default=100.0, help="events a second")
    latency.add_argument("--seconds", type=number(0.5, 3600), default=30.0, help="how long, after a short warm-up")
    latency.add_argument("--endpoints", type=whole(1, 100_000), default=20, help="each of a tenant of its own")
    latency.add_argument("--workers", type=whole(1, 64), default=2, help="processes of the Celery worker, or commands")
    latency.add_argument(
        "--mode",
        choices=("celery", "command"),
        default="celery",
        help="a Celery worker that gets hints through CELERY_BROKER_URL (Redis at 127.0.0.1 where not set), or webhooks_deliver",
    )
    isolation = _benchmark(benchmarks, "isolation", "what endpoints that never answer cost the healthy ones")
    isolation.add_argument("--hanging", type=number(0.1, 99), default=20.0, help="per cent of the endpoints that hang")
    _add_load(isolation, events=20_000, endpoints=1000, rounds=3)
    pages = _benchmark(benchmarks, "pages", "how long pages take where a tenant has many deliveries")
    pages.add_argument(
        "--attempts", type=whole(100, 100_000_000), default=1_000_000, help="all of one tenant, one a delivery"
    )
    pages.add_argument("--rounds", type=whole(1, 999), default=9, help="how often each page is asked for")
    pages.set_defaults(limit=3600.0)  # filling takes its time
    return top


def _benchmark(
    benchmarks: argparse._SubParsersAction[argparse.ArgumentParser], name: str, about: str
) -> argparse.ArgumentParser:
    made = benchmarks.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument(
        "--transport", choices=("auto", "curl", "requests"), default="auto", help="what sends the requests"
    )
    made.add_argument("--portable", action="store_true", help="leave out what is written for PostgreSQL alone")
    made.add_argument("--limit", type=number(1, 86_400), default=300.0, help="seconds after which it is given up")
    return made


def _add_load(benchmark: argparse.ArgumentParser, *, events: int, endpoints: int, rounds: int) -> None:
    benchmark.add_argument("--events", type=whole(1, 10_000_000), default=events, help="one delivery each")
    benchmark.add_argument("--endpoints", type=whole(1, 100_000), default=endpoints, help="each of a tenant of its own")
    benchmark.add_argument("--workers", type=whole(1, 64), default=2, help="engines, each a process")
    benchmark.add_argument("--rounds", type=whole(1, 99), default=rounds, help="how often; the median counts")


def main() -> None:
    options = vars(parser().parse_args())
    name, limit = options.pop("benchmark"), options.pop("limit")
    if (transport := options.pop("transport")) != "auto":
        os.environ["BENCH_TRANSPORT"] = transport
    if options.pop("portable"):
        os.environ["BENCH_PORTABLE"] = "1"
    if options.get("mode") == "celery":
        os.environ["BENCH_WAKE"] = "webhooks_app.tasks.send_hint"
    set_up_django()
    _note_database(options.get("workers", 1))
    with time_limit(limit):
        result = getattr(importlib.import_module(f"bench.{name}"), name)(**options)
    print(json.dumps(result | _surroundings(), indent=2))


def _note_database(workers: int) -> None:
    from django.db import connection

    if connection.vendor == "postgresql":
        return
    more = " Several engines wait for each other there; --workers 1 is its best." if workers > 1 else ""
    print(
        f"bench: this measures {connection.display_name}; the project's figures are PostgreSQL's "
        f"(DATABASE_URL=postgres://user@host/name).{more}",
        file=sys.stderr,
    )


def _surroundings() -> dict[str, object]:
    """What a reader must know of the machine and the choice of code to compare two results."""
    from django.db import connection

    from webhooks_app.engine.sql import store_for
    from webhooks_app.transport import open_transport

    transport = open_transport()
    transport.close()
    return {
        "database": connection.vendor,
        "statements": type(store_for("default")).__name__,
        "transport": transport.name,
        "cores": os.cpu_count(),
    }


if __name__ == "__main__":
    main()
