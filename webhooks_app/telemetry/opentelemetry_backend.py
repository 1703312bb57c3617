"""The OpenTelemetry backend. It uses the API only: the host configures SDK, exporter and sampling."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from webhooks_app.telemetry import COUNTERS, CounterName, RecordedRequest
from webhooks_app.telemetry.logs import written

SCOPE = "webhooks_app"


class OpenTelemetryBackend:
    """Metrics and spans under the scope `webhooks_app`."""

    def __init__(self) -> None:
        meter = metrics.get_meter(SCOPE)
        self._tracer = trace.get_tracer(SCOPE)
        self._requests = meter.create_counter("webhooks.requests", "{request}", "Finished requests.")
        self._durations = meter.create_histogram("webhooks.request.duration", "s", "Duration of requests.")
        self._steps = meter.create_histogram("webhooks.step.duration", "s", "Duration of the database thread's steps.")
        self._counters = {name: meter.create_counter(f"webhooks.{name}", "1", text) for name, text in COUNTERS.items()}
        self._in_flight = meter.create_gauge("webhooks.engine.in_flight", "{request}", "Requests on the network.")
        self._unrecorded = meter.create_gauge(
            "webhooks.engine.unrecorded", "{result}", "Results not in the database yet."
        )
        self._leased = meter.create_gauge(
            "webhooks.engine.leased_queues", "{queue}", "Endpoint queues held by the engine."
        )

    def requests_recorded(self, results: Sequence[RecordedRequest]) -> None:
        for result in results:
            attributes: dict[str, str | int] = {
                "webhooks.outcome": result.outcome,
                "server.address": result.host,
                "webhooks.wire_format": result.wire_format,
            }
            self._requests.add(1, attributes)
            # By class: receivers choose the code.
            by_class = {} if result.status is None else {"webhooks.status_class": f"{result.status // 100}xx"}
            self._durations.record(result.seconds, {"server.address": result.host, **by_class})

    def step_finished(self, step: str, seconds: float, failed: bool) -> None:
        self._steps.record(seconds, {"webhooks.step": step, "webhooks.failed": failed})

    def count(self, name: CounterName, amount: int) -> None:
        self._counters[name].add(amount)

    def engine_state(self, in_flight: int, unrecorded: int, leased_queues: int) -> None:
        self._in_flight.set(in_flight)
        self._unrecorded.set(unrecorded)
        self._leased.set(leased_queues)

    # --- spans ---------------------------------------------------------------------------------------------------------

    def start_request_span(
        self, delivery_id: uuid.UUID, event_id: uuid.UUID, endpoint_id: uuid.UUID, attempt: int, host: str
    ) -> Span:
        """A new trace: a request may be sent days after the event, and by another process."""
        return self._tracer.start_span(
            "POST webhook",
            context=Context(),
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": "POST",
                "server.address": host,
                "webhooks.delivery_id": written("delivery", delivery_id),
                "webhooks.event_id": written("event", event_id),
                "webhooks.endpoint_id": written("endpoint", endpoint_id),
                "webhooks.attempt": attempt,
            },
        )

    def end_request_span(self, span: Span, outcome: str, status: int | None) -> None:
        span.set_attribute("webhooks.outcome", outcome)
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if outcome != "succeeded":
            span.set_status(Status(StatusCode.ERROR, outcome))
        span.end()

    def traceparent(self, span: Span) -> str:
        context = span.get_span_context()
        if not context.is_valid:
            return ""
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
