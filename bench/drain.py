"""drain: so many committed events, so many endpoints, so many workers; how long until every delivery is recorded.

Timed is the whole way after the commit: fan-out, leasing, signing, HTTP to a receiver process, recording.
Starting the workers is not timed.
"""

from __future__ import annotations

import time
from typing import Any

from bench.children import Child, machine_cpu, wait_until
from bench.scene import (
    database,
    database_cpu,
    difference,
    emit_events,
    empty_tables,
    make_endpoints,
    median_of,
    receiver,
    workers,
)


def drain(*, events: int, endpoints: int, workers: int, rounds: int) -> dict[str, Any]:
    """The result of the median round, and the rates of all."""
    done = []
    with database(), receiver() as (sink, base):
        for number in range(rounds):
            if number:
                empty_tables()
            done.append(_round(sink, base, events, endpoints, workers))
    middle = median_of(done, "seconds")
    result = min(done, key=lambda each: abs(each["seconds"] - middle))
    setting = {"benchmark": "drain", "events": events, "endpoints": endpoints, "workers": workers, "rounds": rounds}
    if rounds > 1:
        setting["rates_of_rounds"] = [each["deliveries_per_second"] for each in done]
    return setting | result


def _round(sink: Child, base: str, events: int, endpoints: int, worker_count: int) -> dict[str, Any]:
    make_endpoints(base, endpoints)
    emit_seconds = emit_events(events, endpoints)
    receiver_before = sink.ask("forget")["cpu_seconds"]
    with workers(worker_count) as engines:
        started_up = [engine.ask("report") for engine in engines]
        database_before, machine_before, begun = database_cpu(), machine_cpu(), time.perf_counter()
        for engine in engines:
            engine.say("go")
        wait_until_recorded(sink, events, engines)
        seconds = time.perf_counter() - begun
        database_after, machine_after = database_cpu(), machine_cpu()
        reports = [engine.ask("report") for engine in engines]
        received = sink.ask("report")
    used = sum(report["cpu_seconds"] for report in reports) - sum(report["cpu_seconds"] for report in started_up)
    return {
        "deliveries_per_second": round(events / seconds, 1),
        "seconds": round(seconds, 3),
        "emit_many_per_second": round(events / emit_seconds, 1),
        "received": received["answered"],
        "duplicates": received["answered"] - received["distinct"],
        "lost": events - received["distinct"],
        "cpu_seconds": {
            "workers": round(used, 2),
            "receiver": round(received["cpu_seconds"] - receiver_before, 2),
            "database": difference(database_after, database_before),
            "whole_machine": difference(machine_after, machine_before),
        },
        "peak_memory_mb": round(max(report["peak_memory_mb"] for report in reports), 1),
    }


def wait_until_recorded(sink: Child, deliveries: int, engines: list[Child]) -> None:
    """Until so many deliveries are recorded as succeeded. The receiver is asked first, since that costs the database
    nothing; its count and the database's can only differ by what is not recorded yet."""
    from webhooks_app.models import Delivery

    succeeded = Delivery.objects.filter(status="succeeded")
    wait_until(lambda: sink.ask("count"), deliveries, "deliveries arrived", engines)
    wait_until(succeeded.count, deliveries, "deliveries were recorded", engines)
