"""latency: one event at a time at a steady rate; how long from its commit until the receiver has the request.

The clock starts when the emitting transaction is about to commit, after everything else in it: so the commit itself
(and its write to disk) is part of the latency. It stops when the receiver, another process on the same machine and
clock, has read the bytes. Events are emitted by plan (an open loop): a late one does not delay those after it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.children import Child, all_ended, machine_cpu, wait_until
from bench.scene import (
    DATA,
    EVENT_TYPE,
    database,
    database_cpu,
    difference,
    make_endpoints,
    percentiles,
    receiver,
)

#: Seconds at the same rate before what is measured, and seconds in which the last events must come in.
WARM_UP = 3.0
GRACE = 15.0


@dataclass(slots=True)
class Emitted:
    """Times of one emitted event, in seconds since the epoch, in the order in which they happen."""

    planned: float
    begun: float
    before_commit: float
    committed: float = 0.0
    done: float = 0.0


@dataclass(slots=True)
class Emitter:
    """Emits through `emit`, each event in a transaction of its own, with whatever hint the settings name."""

    endpoints: int
    events: dict[str, Emitted] = field(default_factory=dict)
    number: int = 0

    def run(self, rate: float, seconds: float) -> None:
        start = time.time()
        for position in range(round(rate * seconds)):
            planned = start + position / rate
            time.sleep(max(planned - time.time(), 0.0))
            self.emit(planned)

    def emit(self, planned: float) -> None:
        from django.db import transaction

        from webhooks_app import emit

        begun = time.time()
        self.number += 1
        with transaction.atomic():
            # Registered first, so it runs first: after the commit, before the hint is sent.
            transaction.on_commit(lambda: setattr(times, "committed", time.time()))
            event = emit(EVENT_TYPE, {**DATA, "number": self.number}, tenant=f"bench-{self.number % self.endpoints}")
            self.events[event.public_id] = times = Emitted(planned, begun, time.time())
        times.done = time.time()


def latency(*, rate: float, seconds: float, endpoints: int, workers: int, mode: str) -> dict[str, Any]:
    if mode == "celery":
        _check_broker()
    with database(), receiver() as (sink, base):
        make_endpoints(base, endpoints)
        with _running_workers(mode, workers) as processes:
            emitter = Emitter(endpoints)
            emitter.emit(time.time())
            wait_until(lambda: sink.ask("count"), 1, "first event arrived", processes)
            emitter.run(rate, min(WARM_UP, seconds))
            emitter.events.clear()
            before = _used(processes), database_cpu(), machine_cpu()
            began = time.perf_counter()
            emitter.run(rate, seconds)
            took = time.perf_counter() - began
            after = _used(processes), database_cpu(), machine_cpu()
            first_seen = _wait_for_stragglers(sink, emitter, processes)
        received = sink.ask("report")
        stages = _stages(emitter.events, first_seen)
    return _result(emitter, first_seen, took) | {
        "setting": {"rate": rate, "seconds": seconds, "endpoints": endpoints, "workers": workers, "mode": mode},
        "duplicates": received["answered"] - received["distinct"],
        "stages_ms": stages,
        "cpu_percent_of_a_core": {
            "workers": _share(after[0], before[0], took),
            "database": _share(after[1], before[1], took),
            "whole_machine": _share(after[2], before[2], took),
        },
    }


def _result(emitter: Emitter, first_seen: dict[str, float], took: float) -> dict[str, Any]:
    events = emitter.events
    arrived = {key: times for key, times in events.items() if key in first_seen}
    to_receiver = percentiles((first_seen[key] - times.before_commit) * 1000 for key, times in arrived.items())
    return {
        "benchmark": "latency",
        **{f"{name}_ms": value for name, value in to_receiver.items()},
        "events": len(events),
        "lost": len(events) - len(arrived),
        "rate_achieved": round(len(events) / took, 1),
        "emitter_ms": {
            "late": percentiles((times.begun - times.planned) * 1000 for times in events.values()),
            "commit": percentiles((times.committed - times.before_commit) * 1000 for times in events.values()),
            "whole_transaction_with_hint": percentiles((times.done - times.begun) * 1000 for times in events.values()),
        },
    }


def _stages(events: dict[str, Emitted], first_seen: dict[str, float]) -> dict[str, Any]:
    """Where the time went, from the times in the database (its clock and the receiver's are this machine's)."""
    from webhooks_app.models import Attempt
    from webhooks_app.models.ids import public_id

    stages: dict[str, list[float]] = {"commit_to_fan_out": [], "fan_out_to_request": [], "request_to_receiver": []}
    rows = Attempt.objects.filter(number=1).values_list(
        "delivery__event_id", "delivery__event__fanned_out_at", "started_at"
    )
    for event_id, fanned_out_at, started_at in rows:
        key = public_id("evt", event_id)
        if key in events and key in first_seen:
            points = (
                events[key].before_commit,
                fanned_out_at.timestamp(),  # type: ignore[union-attr]  # what was sent has been fanned out
                started_at.timestamp(),
                first_seen[key],
            )
            for stage, begin, end in zip(stages.values(), points, points[1:], strict=False):
                stage.append((end - begin) * 1000)
    return {name: percentiles(values) for name, values in stages.items()}


def _wait_for_stragglers(sink: Child, emitter: Emitter, processes: list[Child]) -> dict[str, float]:
    deadline = time.monotonic() + GRACE
    while True:
        first_seen: dict[str, float] = sink.ask("times")
        if emitter.events.keys() <= first_seen.keys() or time.monotonic() > deadline:
            time.sleep(0.2)  # for what is recorded last
            return first_seen
        for process in processes:
            process.check()
        time.sleep(0.1)


# --- workers ---------------------------------------------------------------------------------------------------------


@contextmanager
def _running_workers(mode: str, count: int) -> Iterator[list[Child]]:
    """A Celery worker with so many processes, or so many `webhooks_deliver` commands."""
    with tempfile.TemporaryFile("w+") as log:
        if mode == "celery":
            processes = [Child(*_celery_command(count), name="the Celery worker", log=log)]
        else:
            command = ("manage.py", "webhooks_deliver", "--no-housekeeping")
            processes = [Child(*command, name=f"webhooks_deliver {number + 1}", log=log) for number in range(count)]
        try:
            with all_ended(processes):
                yield processes
        finally:
            if mode == "celery":
                _remove_queue()


def _celery_command(count: int) -> tuple[str, ...]:
    from webhooks_app.conf import settings

    quiet = ("--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat")
    worker = ("-m", "celery", "-A", "project", "worker", "-Q", settings().CELERY_QUEUE)
    return (*worker, "--pool=prefork", f"--concurrency={count}", *quiet)


def _check_broker() -> None:
    from project.celery import app

    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
    except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
        raise SystemExit(
            f"bench: no broker at {app.connection_for_write().as_uri()} ({error}). Start one, name another in "
            "CELERY_BROKER_URL, or measure without: --mode command"
        ) from None


def _remove_queue() -> None:
    from project.celery import app
    from webhooks_app.conf import settings

    with app.connection_for_write() as connection:
        queue = app.amqp.queues[settings().CELERY_QUEUE].bind(connection.default_channel)
        queue.declare()  # some transports only delete what this connection knows
        queue.delete()


def _used(processes: list[Child]) -> float | None:
    used = [process.cpu_seconds() for process in processes]
    return sum(each for each in used if each is not None) or None


def _share(after: float | None, before: float | None, took: float) -> float | None:
    spent = difference(after, before)
    return None if spent is None else round(100 * spent / took, 1)
