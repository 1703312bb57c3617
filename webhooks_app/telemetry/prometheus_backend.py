"""The Prometheus backend: counters, histograms and gauges of this process, in a separate registry.

With `PROMETHEUS_MULTIPROC_DIR` in the environment, prometheus_client keeps the values in that folder, and `exposition` adds up
those of all processes.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from webhooks_app.telemetry import COUNTERS, CounterName, RecordedRequest

#: Not prometheus_client's own registry: importing this module twice, or a host that exports that registry too, must not
#: export the same series twice.
REGISTRY = CollectorRegistry(auto_describe=True)

#: Names as Prometheus writes them, without "_total".
NAMES: dict[CounterName, str] = {
    "crash_takeovers": "webhooks_queue_takeovers",
    "isolated": "webhooks_isolated_deliveries",
    "events_quarantined": "webhooks_quarantined_events",
    "results_dropped": "webhooks_dropped_results",
    "hint_failures": "webhooks_hint_failures",
    "repaired": "webhooks_repaired_queues",
    "own_faults": "webhooks_own_faults",
}
_REQUEST_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
_STEP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Receivers choose the status code; unregistered codes share the label "other".
_STATUSES = {int(status): str(int(status)) for status in HTTPStatus}

_requests = Counter(
    "webhooks_requests",
    "Finished requests by outcome, receiver host and wire format.",
    ["outcome", "host", "wire_format"],
    registry=REGISTRY,
)
_responses = Counter("webhooks_responses", "Responses by HTTP status code.", ["status"], registry=REGISTRY)
_durations = Histogram(
    "webhooks_request_duration_seconds",
    "Duration of requests by receiver host.",
    ["host"],
    buckets=_REQUEST_SECONDS,
    registry=REGISTRY,
)
_steps = Histogram(
    "webhooks_step_duration_seconds",
    "Duration of the steps of the database thread.",
    ["step"],
    buckets=_STEP_SECONDS,
    registry=REGISTRY,
)
_step_failures = Counter(
    "webhooks_step_failures", "Steps of the database thread that failed.", ["step"], registry=REGISTRY
)
_counters = {name: Counter(NAMES[name], text, registry=REGISTRY) for name, text in COUNTERS.items()}


def _gauge(name: str, text: str) -> Gauge:
    # Under PROMETHEUS_MULTIPROC_DIR: the sum over the processes that are alive.
    return Gauge(name, text, registry=REGISTRY, multiprocess_mode="livesum")


_in_flight = _gauge("webhooks_engine_in_flight_requests", "Requests on the network.")
_unrecorded = _gauge("webhooks_engine_unrecorded_results", "Finished requests that are not in the database yet.")
_leased = _gauge("webhooks_engine_leased_queues", "Endpoint queues that are held by the engines of this process.")


class PrometheusBackend:
    """Writes to the metrics above. They are thread-safe."""

    def requests_recorded(self, results: Sequence[RecordedRequest]) -> None:
        # `labels()` costs more than counting, so each label is looked up once a batch.
        for (outcome, host, wire_format), number in Tally(
            (one.outcome, one.host, one.wire_format) for one in results
        ).items():
            _requests.labels(outcome, host, wire_format).inc(number)
        for status, number in Tally(one.status for one in results if one.status is not None).items():
            _responses.labels(_STATUSES.get(status, "other")).inc(number)
        durations: dict[str, Histogram] = {}
        for one in results:
            histogram = durations.get(one.host)
            if histogram is None:
                histogram = durations[one.host] = _durations.labels(one.host)
            histogram.observe(one.seconds)

    def step_finished(self, step: str, seconds: float, failed: bool) -> None:
        _steps.labels(step).observe(seconds)
        if failed:
            _step_failures.labels(step).inc()

    def count(self, name: CounterName, amount: int) -> None:
        _counters[name].inc(amount)

    def engine_state(self, in_flight: int, unrecorded: int, leased_queues: int) -> None:
        _in_flight.set(in_flight)
        _unrecorded.set(unrecorded)
        _leased.set(leased_queues)
