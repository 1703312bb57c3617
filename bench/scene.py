"""What every benchmark needs around it: a database of its own, a receiver, workers, events, readings of use."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.children import Child, all_ended, cpu_seconds_of

EVENT_TYPE = "bench.message"
DATA = {
    "id": "msg_0197f3f6a1b27c3e8a4d5e6f",
    "to": "+33612345678",
    "from": "Acme",
    "status": "sent",
    "text": "Your parcel is on its way — see you tomorrow between 9 and 11.",
    "segments": 1,
}


def set_up_django() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.bench_settings"
    import django

    django.setup()
    from webhooks_app import EventType, registry

    registry.register(EventType(EVENT_TYPE, "A message, as large as messages usually are."))


# --- database --------------------------------------------------------------------------------------------------------


@contextmanager
def database() -> Iterator[None]:
    """A fresh database, migrated, dropped afterwards. Children find it through BENCH_DATABASE."""
    from django.db import connection

    configured = str(connection.settings_dict["NAME"])
    _remove_leftover(str(connection.settings_dict["TEST"]["NAME"]))
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    os.environ["BENCH_DATABASE"] = fresh = str(connection.settings_dict["NAME"])
    try:
        yield
    finally:
        del os.environ["BENCH_DATABASE"]
        connection.close()
        _send_others_away(fresh)
        connection.creation.destroy_test_db(configured, verbosity=0)


def _send_others_away(name: str) -> None:
    """End what a killed process left open in this PostgreSQL database, which could not be dropped otherwise."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return
    with connection.creation._nodb_cursor() as cursor:  # type: ignore[attr-defined]  # PostgreSQL's has it
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


def _remove_leftover(name: str) -> None:
    """Drop the database of a benchmark that was killed."""
    from django.db import connection

    _send_others_away(name)
    if connection.vendor == "postgresql":
        with connection.creation._nodb_cursor() as cursor:  # type: ignore[attr-defined]  # PostgreSQL's has it
            cursor.execute(f"DROP DATABASE IF EXISTS {connection.ops.quote_name(name)}")


def empty_tables() -> None:
    """Remove every row of the app's, so that the next round begins like the first."""
    from django.apps import apps
    from django.core.management.color import no_style
    from django.db import connection

    tables = [model._meta.db_table for model in apps.get_app_config("webhooks_app").get_models()]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables, allow_cascade=True))


def database_cpu() -> float | None:
    """CPU seconds of all PostgreSQL processes of this machine so far; None for others, or where /proc does not tell."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return None
    return cpu_seconds_of(lambda name, fields: name == "postgres", with_ended=True)


# --- processes -------------------------------------------------------------------------------------------------------


@contextmanager
def receiver() -> Iterator[tuple[Child, str]]:
    """The receiver in a process of its own, and its base URL."""
    child = Child("-m", "bench.receiver", name="the receiver")
    with all_ended([child]):
        yield child, f"http://127.0.0.1:{child.hear()['port']}"


@contextmanager
def workers(count: int) -> Iterator[list[Child]]:
    """Engines in processes of their own, started up and waiting for the word."""
    children = [Child("-m", "bench.worker", name=f"worker {number + 1}") for number in range(count)]
    with all_ended(children):
        for child in children:
            child.hear()
        yield children


# --- endpoints and events --------------------------------------------------------------------------------------------


def make_endpoints(base: str, count: int, *, hanging: Collection[int] = ()) -> None:
    """`count` tenants with one endpoint each; those whose numbers are `hanging` never answer."""
    from webhooks_app.endpoints.service import create_endpoint

    for number in range(count):
        path = f"/hang/{number}" if number in hanging else f"/ok/{number}"
        create_endpoint(f"bench-{number}", url=base + path, events=[EVENT_TYPE])


def emit_events(count: int, endpoints: int, *, without: Collection[int] = ()) -> float:
    """Emit `count` events, to each of `endpoints` tenants in turn, but for those `without` one. Returns seconds."""
    from webhooks_app import EventInput, emit_many

    tenants = [f"bench-{number}" for number in range(endpoints) if number not in without]
    begun = time.perf_counter()
    for start in range(0, count, 500):
        emit_many(
            EventInput(type=EVENT_TYPE, data={**DATA, "number": number}, tenant=tenants[number % len(tenants)])
            for number in range(start, min(start + 500, count))
        )
    return time.perf_counter() - begun


# --- figures ---------------------------------------------------------------------------------------------------------


def median_of(rounds: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(each[key] for each in rounds))


def percentiles(values: Iterable[float]) -> dict[str, float | None]:
    """p50, p90, p99 and the largest (nearest rank), rounded to hundredths."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": None, "p90": None, "p99": None, "max": None}
    ranks = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[math.ceil(len(ordered) * rank) - 1], 2) for name, rank in ranks.items()}


def difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else round(after - before, 2)
