"""The hooks that the engine calls: silent while nothing is enabled, bounded, and harmless when a backend fails."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from webhooks_app import telemetry
from webhooks_app.telemetry import RecordedRequest, slot
from webhooks_app.telemetry.logs import JsonFormatter, log_ids
from webhooks_app.telemetry.prometheus_backend import REGISTRY

REQUEST = RecordedRequest("succeeded", 200, 0.02, "receiver.example", "standard")


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """No host has a label yet, and no backend is switched off."""
    telemetry.reset()
    yield
    telemetry.reset()


def test_nothing_is_enabled_by_default(configure):
    configure(MONITORING={"METRICS": []})
    before = value("webhooks_queue_takeovers_total")
    assert not telemetry.enabled()
    telemetry.requests_recorded([REQUEST])
    telemetry.step_finished("record", 0.1, False)
    telemetry.count("crash_takeovers")
    telemetry.engine_state(1, 2, 3)
    assert telemetry.start_request_span(uuid.uuid4(), uuid.uuid4(), uuid.uuid4(), 1) is None
    telemetry.end_request_span(None, "succeeded", 200)
    assert telemetry.traceparent(None) == ""
    assert value("webhooks_queue_takeovers_total") == before


def test_measurements_reach_prometheus(configure):
    configure(MONITORING={"METRICS": ["prometheus"]})
    assert telemetry.enabled()
    names = {"outcome": "timeout", "host": "r1.example", "wire_format": "standard"}
    odd = value("webhooks_responses_total", status="other")
    telemetry.requests_recorded(
        [
            RecordedRequest("timeout", None, 15.0, "R1.example", "standard"),
            RecordedRequest("server_error", 799, 0.2, "r1.example", "standard"),
        ]
    )
    assert value("webhooks_requests_total", **names) == 1
    assert value("webhooks_responses_total", status="other") == odd + 1
    assert value("webhooks_request_duration_seconds_count", host="r1.example") == 2
    telemetry.step_finished("fan_out_test", 0.25, True)
    telemetry.step_finished("fan_out_test", 0.25, False)
    assert value("webhooks_step_duration_seconds_sum", step="fan_out_test") == 0.5
    assert value("webhooks_step_failures_total", step="fan_out_test") == 1
    telemetry.engine_state(7, 8, 9)
    assert value("webhooks_engine_in_flight_requests") == 7
    assert value("webhooks_engine_unrecorded_results") == 8
    assert value("webhooks_engine_leased_queues") == 9


def test_every_counter_is_counted(configure):
    configure(MONITORING={"METRICS": ["prometheus"]})
    before = {name: value(f"{sample}_total") for name, sample in _samples().items()}
    for name in telemetry.COUNTERS:
        telemetry.count(name, 2)
        telemetry.count(name, 0)
    assert {name: value(f"{sample}_total") for name, sample in _samples().items()} == {
        name: count + 2 for name, count in before.items()
    }
    assert before.keys() == telemetry.COUNTERS.keys()


def _samples() -> dict[str, str]:
    from webhooks_app.telemetry.prometheus_backend import NAMES

    return dict(NAMES)


def test_hosts_beyond_the_limit_share_a_label(configure):
    configure(MONITORING={"METRICS": ["prometheus"], "METRICS_HOSTS": 2})
    hosts = [f"{letter}.limit.example" for letter in "abcbad"]
    others = value("webhooks_request_duration_seconds_count", host="other")
    telemetry.requests_recorded([REQUEST._replace(host=host) for host in hosts])
    counts = [value("webhooks_request_duration_seconds_count", host=f"{letter}.limit.example") for letter in "abcd"]
    assert counts == [2, 2, 0, 0]
    assert value("webhooks_request_duration_seconds_count", host="other") == others + 2


def test_a_failing_backend_is_logged_once_and_switched_off_for_a_minute(configure, caplog, monkeypatch):
    configure(MONITORING={"METRICS": ["prometheus"]})
    before = value("webhooks_queue_takeovers_total")
    for _ in range(3):
        telemetry.count("no_such_counter")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    telemetry.count("crash_takeovers")
    assert value("webhooks_queue_takeovers_total") == before
    monkeypatch.setattr(slot, "OFF_SECONDS", 0.0)
    telemetry.reset()
    telemetry.count("no_such_counter")
    telemetry.count("crash_takeovers")
    assert value("webhooks_queue_takeovers_total") == before + 1


def test_a_folder_for_several_processes_that_is_not_there_disturbs_nothing(tmp_path):
    """prometheus_client fails at its import then; once the folder is there, it works."""
    code = """
import django, logging, os
from webhooks_app import telemetry
from webhooks_app.telemetry import slot
django.setup()
slot.OFF_SECONDS = 0.0
telemetry.count("crash_takeovers")
os.mkdir(os.environ["PROMETHEUS_MULTIPROC_DIR"])
telemetry.count("crash_takeovers", 3)
from webhooks_app.telemetry.prometheus_backend import REGISTRY
print(REGISTRY.get_sample_value("webhooks_queue_takeovers_total"))
"""
    done = _python(code, PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics"))
    assert done.stdout.strip() == "3.0"
    assert "the metrics backend 'prometheus' failed" in done.stderr


class _Clock:
    """The time of `slot`. Calls of the backend take `call_seconds`."""

    def __init__(self) -> None:
        self.now, self.call_seconds = 1_000_000.0, 5.0

    def monotonic(self) -> float:
        return self.now

    def call(self, backend: object) -> None:
        self.now += self.call_seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(slot, "time", clock)
    return clock


def off_seconds(clock: _Clock, tried: slot.Slot) -> float:
    """Call the backend, and return for how long it is off then."""
    tried.call(clock.call)
    return tried.off_until - clock.now


def test_a_backend_that_is_slow_again_and_again_is_off_for_longer_each_time(clock, caplog):
    tried, found = slot.Slot("opentelemetry"), []
    for _ in range(13):
        found.append(off_seconds(clock, tried))
        assert tried.is_off
        assert tried.too_slow
        clock.now = tried.off_until + 30.0
    assert found == [60.0 * 2**times for times in range(11)] + [86_400.0] * 2
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 13
    assert said[1] == "webhooks: the metrics backend 'opentelemetry' took 5.00 s for a call and is off for 120 s"


def test_a_backend_that_was_quick_for_a_while_begins_anew(clock):
    tried = slot.Slot("opentelemetry")
    for seconds, quick_for in ((60, 3500), (120, 3500), (240, 3700), (60, 100), (120, 0), (240, 0), (480, 0), (960, 0)):
        assert off_seconds(clock, tried) == seconds
        clock.now = tried.off_until + quick_for
    # After more than an hour off, an hour is not enough.
    for seconds, quick_for in ((1920, 0), (3840, 3700), (7680, 3700), (15_360, 15_400), (60, 0)):
        assert off_seconds(clock, tried) == seconds
        clock.now = tried.off_until + quick_for


def test_a_slow_call_that_fails_is_off_for_as_long_as_a_slow_one(clock):
    tried = slot.Slot("opentelemetry")
    for _ in range(3):
        clock.now = tried.off_until
        off_seconds(clock, tried)
        tried.failed()
    assert (tried.off_until - clock.now, tried.too_slow) == (240.0, True)


@pytest.mark.parametrize("metrics", [["statsd"], ["statsd", "prometheus"]])
def test_an_unknown_backend_disturbs_nothing(configure, caplog, metrics):
    configure(MONITORING={"METRICS": metrics})
    telemetry.requests_recorded([REQUEST])
    telemetry.count("crash_takeovers")
    assert len(caplog.records) == 1
    assert "'statsd' is not a metrics backend" in caplog.text


def test_invalid_settings_disturb_nothing(settings):
    settings.WEBHOOKS = {"METRIX": ["prometheus"]}
    telemetry.count("crash_takeovers")
    assert not telemetry.enabled()


def test_the_hooks_load_neither_models_nor_clients():
    done = _python(
        "import sys, webhooks_app.telemetry, webhooks_app.telemetry.logs\n"
        "wanted = ('webhooks_app.models', 'prometheus_client', 'opentelemetry')\n"
        "print([name for name in sys.modules if name.startswith(wanted)])"
    )
    assert done.stdout.strip() == "[]"


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    values = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.unit.telemetry_settings", **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=values
    )


# --- logs ------------------------------------------------------------------------------------------------------------


def test_log_ids_are_written_as_pages_and_api_write_them():
    key = uuid.UUID("0197f3a4-9c7e-7d0f-9a5b-3c1d2e4f6a8b")
    assert log_ids(delivery=key, event=key, endpoint=key, tenant=key, engine=key) == {
        "webhooks": {
            "delivery_id": f"dlv_{key.hex}",
            "event_id": f"evt_{key.hex}",
            "endpoint_id": f"wh_{key.hex}",
            "tenant_id": str(key),
            "engine_id": str(key),
        }
    }
    assert log_ids(tenant="customer-1") == {"webhooks": {"tenant_id": "customer-1"}}


def test_a_record_is_one_line_of_json_with_its_ids_and_traceback(caplog):
    key = uuid.uuid4()
    with caplog.at_level(logging.INFO, "webhooks_app.test"):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("webhooks_app.test").exception("webhooks: %s “broke”", "it", extra=log_ids(delivery=key))
    line = JsonFormatter().format(caplog.records[0])
    assert "\n" not in line
    written = json.loads(line)
    assert written["webhooks"] == {"delivery_id": f"dlv_{key.hex}"}
    assert (written["level"], written["logger"], written["message"]) == (
        "ERROR",
        "webhooks_app.test",
        "webhooks: it “broke”",
    )
    assert written["exception"].endswith("ValueError: two\nlines")
    assert written["time"].endswith("+00:00")


def test_a_record_without_ids_is_json_too():
    record = logging.makeLogRecord({"msg": "plain", "webhooks": "not ours"})
    assert "webhooks" not in json.loads(JsonFormatter().format(record))
