"""The Prometheus exposition: the metrics of this process (or, with PROMETHEUS_MULTIPROC_DIR, of all) and the state of the
database, read at each scrape."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from django.db import Error as DatabaseError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from webhooks_app.core.installation_health import CHECKS, InstallationState, Limits, health_findings, is_stalled
from webhooks_app.models.database import database_alias
from webhooks_app.telemetry import prometheus_backend
from webhooks_app.telemetry.installation_state import bounded, limits, read_installation_state

logger = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST
#: No statement of a scrape takes longer than this (seconds).
_STATEMENT_SECONDS = 2.0


def render() -> bytes:
    """Return everything in Prometheus's text format, as `CONTENT_TYPE`. A database that is away is a metric, not an error."""
    return generate_latest(_registry())


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(prometheus_backend.REGISTRY)
        ProcessCollector(registry=registry)
    registry.register(DatabaseCollector())
    return registry


class DatabaseCollector(Collector):
    """Metrics of the state of the installation. They are the same whichever process is asked."""

    def collect(self) -> Iterator[Metric]:
        try:
            with bounded(database_alias(), _STATEMENT_SECONDS):
                found = read_installation_state()
        except DatabaseError:
            logger.warning("webhooks: the metrics could not be read from the database", exc_info=True)
            yield _up(0)
            return
        yield _up(1)
        yield from _families(found, limits())


def _up(value: int) -> Metric:
    return _gauge("database_up", "1 if the database answered this scrape in time.", value)


def _families(found: InstallationState, chosen: Limits) -> Iterator[Metric]:
    stalled = sum(is_stalled(engine, chosen) for engine in found.engines)
    in_flight = sum(engine.in_flight for engine in found.engines)
    yield _gauge("engines_alive", "Engines whose heartbeat is current.", len(found.engines))
    yield _gauge("engines_stalled", "Live engines with a thread that has not completed a turn for too long.", stalled)
    yield _gauge("engines_dead", "Engines that ended without giving back their queues.", found.dead_engines)
    yield _gauge(
        "overdue_queues", "Queues with due work that no live engine holds, counted to 10000.", found.overdue_queues
    )
    yield _gauge("oldest_overdue_queue_age_seconds", "Age of the oldest such work; 0: none.", found.oldest_due_age or 0)
    yield _gauge("pending_events", "Events waiting for fan-out, counted to 10000.", found.pending_events)
    yield _gauge(
        "oldest_pending_event_age_seconds", "Age of the oldest such event; 0: none.", found.oldest_event_age or 0
    )
    yield _gauge("in_flight_requests", "Requests on the network, as of the engines' last heartbeats.", in_flight)
    yield _gauge(
        "unrecorded_results", "Finished requests that are not in the database yet, likewise.", found.unrecorded
    )
    yield _gauge(
        "recently_quarantined_events",
        "Events quarantined in the last 24 hours, counted to 10000.",
        found.quarantined_events,
    )
    yield _gauge(
        "clock_drift_seconds", "Largest distance of an engine's clock from the database's.", found.largest_drift
    )
    if found.beat is not None:
        yield _gauge("periodic_tasks_missing", "Tasks that Celery beat does not run.", len(found.beat.missing))
        if found.beat.last_run_age is not None:
            yield _gauge("beat_last_run_age_seconds", "Since Celery beat last ran sweep.", found.beat.last_run_age)
    severities = GaugeMetricFamily(
        "webhooks_check_severity", "What webhooks_status says: 0 ok, 1 warning, 2 critical.", labels=["check"]
    )
    by_check = {finding.check: finding.severity for finding in health_findings(found, chosen)}
    for check in CHECKS:
        severities.add_metric([check], by_check.get(check, 0))
    yield severities


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"webhooks_{name}", text, value)
