"""isolation: what endpoints that accept and never answer cost the healthy ones.

Two drains of the same healthy deliveries to the same healthy endpoints: alone, and with hanging endpoints beside them that have
the same backlog each. Timed is until the last healthy delivery is recorded. Rounds alternate which of the two comes first, so
that a machine that gets slower or faster meanwhile favours neither.
"""

from __future__ import annotations

import time
from typing import Any

from bench.children import Child
from bench.drain import wait_until_recorded
from bench.scene import database, emit_events, empty_tables, make_endpoints, median_of, receiver, workers


def isolation(*, hanging: float, events: int, endpoints: int, workers: int, rounds: int) -> dict[str, Any]:
    """`hanging`: per cent of the endpoints. `events`: healthy deliveries. Rates are healthy deliveries a second."""
    bad = round(endpoints * hanging / 100)
    if not 0 < bad < endpoints:
        raise SystemExit(f"bench: {hanging:g} % of {endpoints} endpoints is {bad}; some must hang, and some must not")
    done = []
    with database(), receiver() as (sink, base):
        for number in range(rounds):
            rates = {}
            for name in ("alone", "beside") if number % 2 == 0 else ("beside", "alone"):
                make_endpoints(base, endpoints, hanging=bad)
                rates[name] = _drain(sink, events, endpoints, bad, workers, alone=name == "alone")
                empty_tables()
            done.append({**rates, "ratio": round(rates["beside"]["rate"] / rates["alone"]["rate"], 3)})
    return {
        "benchmark": "isolation",
        "healthy_endpoints": endpoints - bad,
        "hanging_endpoints": bad,
        "healthy_deliveries": events,
        "workers": workers,
        "ratio": median_of(done, "ratio"),
        "alone_per_second": median_of([each["alone"] for each in done], "rate"),
        "beside_hanging_per_second": median_of([each["beside"] for each in done], "rate"),
        "rounds": done,
    }


def _drain(sink: Child, events: int, endpoints: int, bad: int, worker_count: int, *, alone: bool) -> dict[str, Any]:
    good = endpoints - bad
    if alone:
        emit_events(events, good, first=bad)
    else:
        # In turn to all of them, so that each hanging endpoint has as much waiting as a healthy one.
        emit_events(round(events * endpoints / good), endpoints)
    sink.ask("forget")
    with workers(worker_count) as engines:
        started_up = [engine.ask("report")["cpu_seconds"] for engine in engines]
        begun = time.perf_counter()
        for engine in engines:
            engine.say("go")
        wait_until_recorded(sink, events, engines)
        seconds = time.perf_counter() - begun
        used = sum(engine.ask("report")["cpu_seconds"] for engine in engines) - sum(started_up)
        received = sink.ask("report")
    return {
        "rate": round(events / seconds, 1),
        "seconds": round(seconds, 3),
        "worker_cpu_seconds": round(used, 2),
        "requests_left_hanging": received["hanging"],
        "duplicates": received["answered"] - received["distinct"],
    }
