"""What Prometheus scrapes: the view, the server on a port of its own, and several processes in one answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection, connections
from django.test import Client
from django.urls import include, path
from prometheus_client.parser import text_string_to_metric_families

from tests.factories import EndpointFactory, EngineFactory, EventFactory
from tests.pipelines import InThread, eventually
from webhooks_app import telemetry
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.models import database_now
from webhooks_app.monitoring import urls
from webhooks_app.telemetry import RecordedRequest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]
urlpatterns = [path("", include(urls))]

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-long-token"


@pytest.fixture(autouse=True)
def _prometheus(configure: Any) -> Iterator[None]:
    configure(MONITORING={"METRICS": ["prometheus"], "METRICS_TOKEN": TOKEN})
    telemetry.reset()
    yield
    telemetry.reset()


def scrape(**headers: str) -> Any:
    return Client(headers={"authorization": f"Bearer {TOKEN}", **headers}).get("/metrics")


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Name and the labels' values, by the labels' names → value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_has_the_figures_of_the_database_and_the_metrics_of_the_process():
    now = database_now("default")
    EngineFactory(alive_until=now + timedelta(seconds=20), unrecorded=3, in_flight=4, clock_drift=-1.5)
    EngineFactory(alive_until=now + timedelta(seconds=20), unrecorded=5, database_turn_at=now - timedelta(minutes=10))
    EndpointFactory(queue__due_at=now - timedelta(minutes=2))
    EventFactory(fanned_out_at=None, created_at=now - timedelta(minutes=3))
    EventFactory(quarantine_reason="too large")
    telemetry.requests_recorded([RecordedRequest("timeout", None, 3.0, "scraped.example", "standard")])
    response = scrape()
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    found = samples(response.content.decode())
    assert found["webhooks_requests_total", "scraped.example", "timeout", "standard"] == 1
    names = ("database_up", "engines_alive", "engines_stalled", "engines_dead", "overdue_queues", "pending_events")
    assert [found[(f"webhooks_{name}",)] for name in names] == [1, 2, 1, 0, 1, 1]
    names = ("in_flight_requests", "unrecorded_results", "recently_quarantined_events", "clock_drift_seconds")
    assert [found[(f"webhooks_{name}",)] for name in names] == [4, 8, 1, 1.5]
    assert 120 <= found[("webhooks_oldest_overdue_queue_age_seconds",)] < 140
    assert 180 <= found[("webhooks_oldest_pending_event_age_seconds",)] < 200
    severities = {key[1]: value for key, value in found.items() if key[0] == "webhooks_check_severity"}
    assert severities == {
        "engines": 0,
        "backlog": 1,
        "stalled_threads": 2,
        "heartbeats": 0,
        "beat": 0,
        "clock_drift": 0,
        "quarantine": 1,
        "unrecorded": 0,
    }


def test_nothing_that_waits_is_zero():
    found = samples(scrape().content.decode())
    assert found[("webhooks_oldest_overdue_queue_age_seconds",)] == 0
    assert found[("webhooks_oldest_pending_event_age_seconds",)] == 0


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ключ"])
def test_without_the_token_there_are_no_metrics(header):
    response = scrape(authorization=header)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert b"webhooks_" not in response.content


def test_without_a_token_in_the_settings_metrics_are_for_debug_only(configure, settings):
    configure(MONITORING={"METRICS_TOKEN": ""})
    assert scrape().status_code == 404
    settings.DEBUG = True
    assert scrape().status_code == 200


def test_without_prometheus_there_is_no_page(configure):
    configure(MONITORING={"METRICS": ["opentelemetry"]})
    assert scrape().status_code == 404


def test_a_database_that_is_away_is_a_metric(monkeypatch):
    name = "/nowhere/at/all.sqlite3" if connection.vendor == "sqlite" else "no_such_database"
    monkeypatch.setitem(connections.settings["default"], "NAME", name)
    found = samples(InThread(scrape).result().content.decode())
    assert found[("webhooks_database_up",)] == 0
    assert ("webhooks_engines_alive",) not in found


@pytest.mark.postgres
def test_a_locked_table_does_not_hold_a_scrape(monkeypatch):
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE webhooks_app_engine IN ACCESS EXCLUSIVE MODE")
        try:
            found = samples(InThread(scrape).result().content.decode())
        finally:
            cursor.execute("ROLLBACK")
    assert found[("webhooks_database_up",)] == 0


# --- a port of its own -------------------------------------------------------------------------------------------------


@pytest.fixture
def port() -> Iterator[int]:
    server = telemetry.serve(0, "127.0.0.1")
    yield server.server_port
    server.shutdown()
    server.server_close()


def fetch(port: int, where: str = "/metrics", token: str = TOKEN) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{where}", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_server_gives_the_same_to_those_who_have_the_token(port):
    code, text = fetch(port)
    assert code == 200
    assert samples(text)[("webhooks_database_up",)] == 1
    assert fetch(port, "/metrics?x=1")[0] == 200
    assert fetch(port, token="wrong")[0] == 401
    assert fetch(port, "/healthz")[0] == 404


def test_several_scrapes_at_once_all_get_an_answer(port):
    assert {one.result()[0] for one in [InThread(lambda: fetch(port)) for _ in range(6)]} == {200}


def test_without_a_token_the_server_is_on_loopback_only(configure):
    for token, address in (("", "127.0.0.1"), (TOKEN, "0.0.0.0")):
        configure(MONITORING={"METRICS": ["prometheus"], "METRICS_TOKEN": token})
        server = telemetry.serve(0)
        try:
            assert server.server_address[0] == address
            assert fetch(server.server_port, token="whatever")[0] == (401 if token else 200)
        finally:
            server.shutdown()
            server.server_close()


def test_without_prometheus_serving_says_what_to_do(configure):
    configure(MONITORING={"METRICS": []})
    with pytest.raises(ConfigurationError, match="Add it"):
        telemetry.serve(0)


# --- several processes -------------------------------------------------------------------------------------------------


def environment(**values: str) -> dict[str, str]:
    """Of a process that uses this test's database, with Prometheus enabled and without a token."""
    database = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        url = f"sqlite:///{database}"
    else:
        url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database}").geturl()
    settings = {"DJANGO_SETTINGS_MODULE": "tests.integration.metrics_settings", "DATABASE_URL": url}
    return {**os.environ, **settings, **values}


def fetched(port: int) -> str:
    """The metrics, or nothing while the server is not there yet."""
    try:
        return fetch(port)[1]
    except urllib.error.URLError:
        return ""


CODE = """
import django; django.setup()
from webhooks_app import telemetry
from webhooks_app.telemetry import RecordedRequest
telemetry.requests_recorded([RecordedRequest("succeeded", 200, 0.1, "several.example", "standard")] * {number})
telemetry.engine_state({number}, 0, 0)
if {number} == 3:
    from webhooks_app.telemetry.exposition import render
    print(render().decode())
"""


@pytest.mark.processes
def test_processes_that_share_a_folder_are_one_answer(tmp_path):
    for number in (2, 3):
        done = subprocess.run(
            [sys.executable, "-c", CODE.format(number=number)],
            env=environment(PROMETHEUS_MULTIPROC_DIR=str(tmp_path)),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    found = samples(done.stdout)
    assert found["webhooks_requests_total", "several.example", "succeeded", "standard"] == 5
    assert found[("webhooks_database_up",)] == 1
    assert found[("webhooks_engine_in_flight_requests",)] in (3, 5)  # the first process may be known to have ended


@pytest.mark.processes
def test_webhooks_deliver_serves_metrics_while_it_runs(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "manage.py", "webhooks_deliver", "--no-housekeeping", f"--metrics-port={port}"]
    with open(tmp_path / "log", "w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=log, stderr=subprocess.STDOUT)
        try:
            found = samples(eventually(lambda: fetched(port), 60))
            assert found[("webhooks_database_up",)] == 1
            assert ("process_resident_memory_bytes",) in found
            eventually(lambda: samples(fetched(port))[("webhooks_engines_alive",)] == 1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
