"""Metrics and traces of this process. The engine calls these functions; `WEBHOOKS["MONITORING"]["METRICS"]` names the backends.

Every function is cheap, does nothing while no backend is enabled, and never raises. If a backend fails or is slow, this is
logged and the backend is disabled for a while (see `slot`). The sending thread calls this module, so it imports no models
and no client libraries.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from webhooks_app.conf import settings
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.telemetry.slot import Slot

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

#: What `count` accepts.
CounterName = Literal[
    "crash_takeovers", "isolated", "events_quarantined", "results_dropped", "hint_failures", "repaired", "own_faults"
]
#: Each counter with its description, for the backends.
COUNTERS: dict[CounterName, str] = {
    "crash_takeovers": "Queues taken over from an engine that died.",
    "isolated": "Deliveries isolated because they may have crashed an engine.",
    "events_quarantined": "Events quarantined: not valid, or their deliveries were refused.",
    "results_dropped": "Finished requests that could not be recorded.",
    "hint_failures": "Hints that could not be sent to the broker.",
    "repaired": "Queues that repair had to wake.",
    "own_faults": "Deliveries that were not sent because of a fault on our side.",
}

#: The host label of requests beyond the first METRICS_HOSTS hosts.
OTHER_HOSTS = "other"


class RecordedRequest(NamedTuple):
    """One finished request. `outcome` is an `OutcomeKind`; `status` is None if there was no response; `host` is the URL's."""

    outcome: str
    status: int | None
    seconds: float
    host: str
    wire_format: str


class Backend(Protocol):
    """What receives the measurements. A backend may raise; the functions of this module catch it."""

    def requests_recorded(self, results: Sequence[RecordedRequest]) -> None: ...

    def step_finished(self, step: str, seconds: float, failed: bool) -> None: ...

    def count(self, name: CounterName, amount: int) -> None: ...

    def engine_state(self, in_flight: int, unrecorded: int, leased_queues: int) -> None: ...


class Tracer(Protocol):
    """What creates the spans of requests. Only the OpenTelemetry backend is one."""

    def start_request_span(
        self, delivery_id: uuid.UUID, event_id: uuid.UUID, endpoint_id: uuid.UUID, attempt: int, host: str
    ) -> object: ...

    def end_request_span(self, span: Any, outcome: str, status: int | None) -> None: ...

    def traceparent(self, span: Any) -> str: ...


_lock = threading.Lock()
#: The value of METRICS that `_slots` was built for.
_metrics: object = ()
_slots: tuple[Slot, ...] = ()
#: Hosts that have a label of their own.
_hosts: set[str] = set()


def enabled() -> bool:
    """Return whether a backend is enabled, so that callers can skip building values."""
    return bool(_enabled_slots())


def host_of(url: str) -> str:
    """Return the host of a URL, for labels and spans; empty if there is none, or the URL is invalid."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # it was written into the row by hand
        return ""


def requests_recorded(results: Sequence[RecordedRequest]) -> None:
    """Count finished requests and their durations. Call this once a batch."""
    if results and _enabled_slots():
        bounded = [
            result if result.host in _hosts else result._replace(host=_host_label(result.host)) for result in results
        ]
        _each(lambda backend: backend.requests_recorded(bounded))


def step_finished(step: str, seconds: float, failed: bool) -> None:
    """Note how long one step of the database thread took, and whether it failed."""
    _each(lambda backend: backend.step_finished(step, seconds, failed))


def count(name: CounterName, amount: int = 1) -> None:
    """Add to one of the counters of `COUNTERS`."""
    if amount > 0:
        _each(lambda backend: backend.count(name, amount))


def engine_state(in_flight: int, unrecorded: int, leased_queues: int) -> None:
    """Set the gauges of this process's engine; call it once a heartbeat, and with zeros when the engine ends."""
    _each(lambda backend: backend.engine_state(in_flight, unrecorded, leased_queues))


def start_request_span(
    delivery_id: uuid.UUID, event_id: uuid.UUID, endpoint_id: uuid.UUID, attempt: int, host: str = ""
) -> object | None:
    """Start a new trace with one client span, for one request. Returns None while tracing is off."""
    span: object | None = _traced(
        lambda tracer: tracer.start_request_span(delivery_id, event_id, endpoint_id, attempt, host), _ready
    )
    return span


def end_request_span(span: object | None, outcome: str, status: int | None) -> None:
    """End a span of `start_request_span`. None is fine. Outcomes other than "succeeded" mark the span as failed."""
    if span is not None:
        _traced(lambda tracer: tracer.end_request_span(span, outcome, status))


def traceparent(span: object | None) -> str:
    """Return the W3C `traceparent` header of a span; an empty text if there is no span or no SDK is configured."""
    return "" if span is None else _traced(lambda tracer: tracer.traceparent(span)) or ""


def serve(port: int, address: str | None = None) -> ThreadingHTTPServer:
    """Serve `/metrics` on a separate port from a daemon thread, for processes that are not web servers.

    Without METRICS_TOKEN it listens on loopback only, unless `address` says otherwise. Raises ConfigurationError if METRICS
    has no "prometheus", and OSError if the port is in use.
    """
    from webhooks_app.telemetry import server  # imports models and prometheus_client

    return server.serve(port, address)


def reset() -> None:
    """Forget which hosts have labels and which backends are disabled. For tests."""
    global _metrics, _slots
    with _lock:
        _metrics, _slots = None, ()
        _hosts.clear()


# --- backends --------------------------------------------------------------------------------------------------------


def _enabled_slots() -> tuple[Slot, ...]:
    """Return the slots of METRICS. Settings are replaced as a whole, so an identity comparison notices every change."""
    global _metrics, _slots
    try:
        wanted = settings().MONITORING.METRICS
    except ConfigurationError:  # the system checks report it
        return ()
    if wanted is not _metrics:
        with _lock:
            # A backend that stays in METRICS keeps its pause, too.
            known = {slot.name: slot for slot in _slots}
            _slots = tuple(known.get(name) or Slot(name) for name in dict.fromkeys(wanted))
            _metrics = wanted
    return _slots


def _each(call: Callable[[Backend], None]) -> None:
    for slot in _enabled_slots():
        _guarded(slot, call, _ready)


def _guarded(slot: Slot, call: Callable[[Any], Any], is_ready: Callable[[Slot], bool]) -> Any:
    """Call the backend if it is ready. If that raises, log it and disable the backend for a while."""
    try:
        return slot.call(call) if is_ready(slot) else None
    except Exception:  # noqa: BLE001 - logged by `failed`; measuring must never disturb delivery
        slot.failed()
        return None


def _ready(slot: Slot) -> bool:
    """Load the backend at its first use. Raises what the import raises, e.g. if the extra is not installed."""
    if slot.is_off:
        return False
    if slot.backend is None:
        slot.backend = _load(slot.name)
    return True


def _load(name: str) -> Backend:
    if name == "prometheus":
        from webhooks_app.telemetry.prometheus_backend import PrometheusBackend

        return PrometheusBackend()
    if name == "opentelemetry":
        from webhooks_app.telemetry.opentelemetry_backend import OpenTelemetryBackend

        return OpenTelemetryBackend()
    raise ValueError(f"{name!r} is not a metrics backend; use 'prometheus' or 'opentelemetry'.")


def _is_started(slot: Slot) -> bool:
    """Return whether spans can be ended, also while tracing is disabled after a failure: a span that was started must be
    ended. Spans are lost only if the backend is too slow, because the engine would wait for each of them."""
    return slot.backend is not None and not (slot.too_slow and slot.is_off)


def _traced(call: Callable[[Tracer], Any], is_ready: Callable[[Slot], bool] = _is_started) -> Any:
    """Return the result of the call to the tracer; None if tracing is off or fails."""
    slot = next((slot for slot in _enabled_slots() if slot.name == "opentelemetry"), None)
    return None if slot is None else _guarded(slot, call, is_ready)


def _host_label(host: str) -> str:
    """Return the host, or "other" if METRICS_HOSTS hosts have a label: customers choose hosts, and labels cost memory."""
    host = host.lower()
    if host in _hosts:
        return host
    if len(_hosts) >= settings().MONITORING.METRICS_HOSTS:
        return OTHER_HOSTS
    _hosts.add(host)
    return host
