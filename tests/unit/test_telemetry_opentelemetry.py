"""Spans and metrics as the OpenTelemetry SDK receives them, and what happens where the host's SDK fails."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from webhooks_app import telemetry
from webhooks_app.telemetry import RecordedRequest, slot

DELIVERY, EVENT, ENDPOINT = (uuid.UUID(int=number) for number in (1, 2, 3))

_spans = InMemorySpanExporter()
_reader = InMemoryMetricReader()


@pytest.fixture(scope="session")
def sdk() -> Iterator[TracerProvider]:
    """OpenTelemetry lets a process set its providers once."""
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(_spans))
    measuring = MeterProvider([_reader], shutdown_on_exit=False)
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(measuring)
    yield tracing
    measuring.shutdown()
    tracing.shutdown()


@pytest.fixture(autouse=True)
def _enabled(sdk: TracerProvider, configure: Any) -> Iterator[None]:
    configure(MONITORING={"METRICS": ["opentelemetry"]})
    telemetry.reset()
    _spans.clear()
    yield
    telemetry.reset()


def start(attempt: int = 1) -> object | None:
    return telemetry.start_request_span(DELIVERY, EVENT, ENDPOINT, attempt, "receiver.example")


def test_a_request_is_a_client_span_with_ids_and_outcome():
    telemetry.end_request_span(start(2), "succeeded", 204)
    [span] = _spans.get_finished_spans()
    assert (span.kind, span.parent, span.status.status_code) == (SpanKind.CLIENT, None, StatusCode.UNSET)
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 204,
        "server.address": "receiver.example",
        "webhooks.attempt": 2,
        "webhooks.delivery_id": f"dlv_{DELIVERY.hex}",
        "webhooks.endpoint_id": f"wh_{ENDPOINT.hex}",
        "webhooks.event_id": f"evt_{EVENT.hex}",
        "webhooks.outcome": "succeeded",
    }


class _SlowProcessor(SpanProcessor):
    """Exports over a slow network, one span at a time."""

    def __init__(self) -> None:
        self.ended = 0
        self.slow = True

    def on_end(self, span: object) -> None:
        self.ended += 1
        time.sleep(0.2 if self.slow else 0.0)


def test_a_tracer_that_takes_its_time_is_switched_off_for_a_while(
    sdk: TracerProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow = _SlowProcessor()
    sdk.add_span_processor(slow)
    try:
        spans = [start() for _ in range(10)]
        for span in spans:
            telemetry.end_request_span(span, "succeeded", 204)
        assert slow.ended == 1
        assert start() is None
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        monkeypatch.setattr(slot, "OFF_SECONDS", 0.0)
        telemetry.reset()
        telemetry.end_request_span(start(), "succeeded", 204)
        telemetry.end_request_span(start(), "succeeded", 204)
        assert slow.ended == 3  # the next minute has come
    finally:
        slow.slow = False


def test_one_call_that_was_a_little_slow_is_forgiven(sdk: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "MOST_SLOW_SECONDS", 10.0)
    slow = _SlowProcessor()
    sdk.add_span_processor(slow)
    try:
        telemetry.end_request_span(start(), "succeeded", 204)
        assert start() is not None
    finally:
        slow.slow = False


def test_a_failed_request_is_an_error_without_a_status():
    telemetry.end_request_span(start(), "timeout", None)
    [span] = _spans.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "timeout")
    assert "http.response.status_code" not in span.attributes


def test_each_request_is_a_trace_of_its_own_also_inside_another_span():
    with trace.get_tracer("host").start_as_current_span("request of the host"):
        first, second = start(), start()
    assert telemetry.traceparent(first)[3:35] != telemetry.traceparent(second)[3:35]
    telemetry.end_request_span(first, "succeeded", 200)
    assert _spans.get_finished_spans()[-1].parent is None
    telemetry.end_request_span(second, "succeeded", 200)


def test_the_receiver_is_told_trace_and_span_as_w3c_writes_them():
    span = start()
    header = telemetry.traceparent(span)
    telemetry.end_request_span(span, "succeeded", 200)
    [finished] = _spans.get_finished_spans()
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", header)
    assert int(header[3:35], 16) == finished.context.trace_id
    assert int(header[36:52], 16) == finished.context.span_id


def test_without_a_valid_span_there_is_no_header():
    assert telemetry.traceparent(trace.INVALID_SPAN) == ""


def test_metrics_reach_thesdk():
    telemetry.requests_recorded([RecordedRequest("server_error", 503, 0.5, "m.example", "standard")])
    telemetry.requests_recorded([RecordedRequest("timeout", None, 15.0, "m.example", "standard")])
    telemetry.step_finished("record", 0.01, False)
    telemetry.engine_state(4, 5, 6)
    for name in telemetry.COUNTERS:
        telemetry.count(name, 2)
    points = _points()
    by_outcome = {
        point.attributes["webhooks.outcome"]: point.value
        for point in points["webhooks.requests"]
        if point.attributes["server.address"] == "m.example"
    }
    assert by_outcome == {"server_error": 1, "timeout": 1}
    durations = {
        point.attributes.get("webhooks.status_class"): point.sum for point in points["webhooks.request.duration"]
    }
    assert (durations["5xx"], durations[None]) == (0.5, 15.0)
    assert points["webhooks.step.duration"][0].attributes == {"webhooks.step": "record", "webhooks.failed": False}
    gauges = ("webhooks.engine.in_flight", "webhooks.engine.unrecorded", "webhooks.engine.leased_queues")
    assert [points[name][0].value for name in gauges] == [4, 5, 6]
    assert {name for name in telemetry.COUNTERS if points[f"webhooks.{name}"][0].value >= 2} == set(telemetry.COUNTERS)


def _points() -> dict[str, list[Any]]:
    data = _reader.get_metrics_data()
    return {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if scope.scope.name == "webhooks_app"
    }


class Broken(SpanProcessor):
    """A processor of the host's that fails while it is told to."""

    failing = False

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self.failing:
            raise RuntimeError("the exporter is broken")


def test_a_failingsdk_costs_its_spans_and_nothing_else(sdk, caplog):
    broken = Broken()
    sdk.add_span_processor(broken)
    broken.failing = True
    try:
        assert [start(), start()] == [None, None]
    finally:
        broken.failing = False
    assert len(caplog.records) == 1
    assert "the exporter is broken" in caplog.text
    assert start() is None  # for a minute
