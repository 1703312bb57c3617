"""drain: so many committed events, so many endpoints, so many workers; how long until every delivery is recorded.

Timed is the whole way after the commit: fan-out, leasing, signing, HTTP to a receiver in a process of its own, recording.
"""

from __future__ import annotations

import time
from typing import Any

from bench.scene import database, database_cpu, emit_events, make_endpoints, receiver, workers


def drain(events: int, endpoints: int, worker_count: int) -> dict[str, Any]:
    with database(), receiver() as (sink, base):
        make_endpoints(base, endpoints)
        emit_seconds = emit_events(events, endpoints)
        with workers(worker_count) as engines:
            database_before, begun = database_cpu(), time.perf_counter()
            for engine in engines:
                engine.say("go")
            last_recorded = _wait_until_all_done(events)
            seconds = last_recorded - begun
            database_after = database_cpu()
            reports = [engine.hear() for engine in engines]
        sink.say("report")
        received = sink.hear()
        return {
            "benchmark": "drain",
            "events": events,
            "endpoints": endpoints,
            "workers": worker_count,
            "deliveries_per_second": round(events / seconds, 1),
            "seconds": round(seconds, 3),
            "emit_many_per_second": round(events / emit_seconds, 1),
            "received": received["requests"],
            "duplicates": received["requests"] - received["distinct"],
            "lost": events - received["distinct"],
            "cpu_seconds": {
                "workers": round(sum(report["cpu_seconds"] for report in reports), 2),
                "receiver": round(received["cpu_seconds"], 2),
                "database": round(database_after - database_before, 2) if database_after and database_before else None,
            },
            "peak_memory_mb": round(max(report["peak_memory_mb"] for report in reports), 1),
        }


def _wait_until_all_done(events: int) -> float:
    """Until every event is fanned out and every delivery has succeeded; the moment at which that was seen."""
    from webhooks_app.models import Delivery, Event

    deadline = time.perf_counter() + 600
    while time.perf_counter() < deadline:
        open_work = Event.objects.pending().exists() or Delivery.objects.pending().exists()
        now = time.perf_counter()
        if not open_work:
            succeeded = Delivery.objects.filter(status="succeeded").count()
            if succeeded != events:
                raise SystemExit(f"{succeeded} of {events} deliveries succeeded")
            return now
        time.sleep(0.05)
    raise SystemExit("the drain did not end within ten minutes")
