"""isolation: what endpoints that accept and never answer cost the healthy ones.

Two drains of the same healthy deliveries to the same healthy endpoints: alone, and with hanging endpoints beside them
that have the same backlog each, spread evenly among the healthy ones. Timed is until the last healthy delivery is
recorded.
Rounds alternate which of the two comes first, so that a machine that gets slower or faster meanwhile favours neither.
"""

from __future__ import annotations

import math
import time
from typing import Any

from bench.children import Child, machine_cpu
from bench.drain import wait_until_recorded
from bench.scene import database, difference, emit_events, empty_tables, make_endpoints, median_of, receiver, workers


def isolation(*, hanging: float, events: int, endpoints: int, workers: int, rounds: int) -> dict[str, Any]:
    """`hanging`: per cent of the endpoints. `events`: healthy deliveries, rounded up to the same number for each
    endpoint. Rates are healthy deliveries a second."""
    bad = round(endpoints * hanging / 100)
    if not 0 < bad < endpoints:
        raise SystemExit(f"bench: {hanging:g} % of {endpoints} endpoints is {bad}; some must hang, and some must not")
    good = endpoints - bad
    hang = {number * endpoints // bad for number in range(bad)}
    each_endpoint = math.ceil(events / good)
    done: list[dict[str, Any]] = []
    with database(), receiver() as (sink, base):
        for number in range(rounds):
            rates = {}
            for name in ("alone", "beside") if number % 2 == 0 else ("beside", "alone"):
                make_endpoints(base, endpoints, hanging=hang)
                if name == "alone":
                    emit_events(each_endpoint * good, endpoints, without=hang)
                else:
                    # In turn to all of them, so that a hanging endpoint has as much waiting as a healthy one.
                    emit_events(each_endpoint * endpoints, endpoints)
                rates[name] = _drain(sink, each_endpoint * good, workers)
                empty_tables()
            done.append({**rates, "ratio": round(rates["beside"]["rate"] / rates["alone"]["rate"], 3)})
    return {
        "benchmark": "isolation",
        "healthy_endpoints": good,
        "hanging_endpoints": bad,
        "healthy_deliveries": each_endpoint * good,
        "workers": workers,
        "ratio": median_of(done, "ratio"),
        "alone_per_second": median_of([each["alone"] for each in done], "rate"),
        "beside_hanging_per_second": median_of([each["beside"] for each in done], "rate"),
        "rounds": done,
    }


def _drain(sink: Child, healthy: int, worker_count: int) -> dict[str, Any]:
    """Deliver what was emitted until so many healthy deliveries are recorded."""
    sink.ask("forget")
    with workers(worker_count) as engines:
        started_up = [engine.ask("report")["cpu_seconds"] for engine in engines]
        machine_before, begun = machine_cpu(), time.perf_counter()
        for engine in engines:
            engine.say("go")
        wait_until_recorded(sink, healthy, engines)
        seconds, machine_after = time.perf_counter() - begun, machine_cpu()
        used = sum(engine.ask("report")["cpu_seconds"] for engine in engines) - sum(started_up)
        received = sink.ask("report")
    return {
        "rate": round(healthy / seconds, 1),
        "seconds": round(seconds, 3),
        "worker_cpu_seconds": round(used, 2),
        "machine_cpu_seconds": difference(machine_after, machine_before),
        "requests_left_hanging": received["hanging"],
        "duplicates": received["answered"] - received["distinct"],
    }
