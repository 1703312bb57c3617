"""`/healthz`, `/readyz`, `/metrics` and `webhooks_status`, against a real database."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import Client
from django.urls import include, path
from django_celery_beat.models import PeriodicTask

from tests.factories import EndpointFactory, EngineFactory, EventFactory
from tests.pipelines import InThread
from webhooks_app.maintenance.schedule import PERIODIC
from webhooks_app.models import Engine, Event, database_now
from webhooks_app.monitoring import probes, urls
from webhooks_app.telemetry.beat import TASKS
from webhooks_app.telemetry.installation_state import bounded, read_installation_state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]
urlpatterns = [path("monitoring/", include(urls))]


def ago(**values: float) -> Any:
    return database_now("default") - timedelta(**values)


def ahead(**values: float) -> Any:
    return database_now("default") + timedelta(**values)


def get(name: str, **headers: str) -> Any:
    return Client(headers=headers).get(f"/monitoring/{name}")


def status(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("webhooks_status", *arguments, stdout=out)
    except SystemExit as exit_:
        return int(exit_.code or 0), out.getvalue()
    return 0, out.getvalue()


def findings() -> dict[str, str]:
    return {one["check"]: one["severity"] for one in json.loads(status("--json")[1])["findings"]}


# --- state -----------------------------------------------------------------------------------------------------------


def test_work_is_as_old_as_its_oldest_and_what_a_live_engine_holds_is_not_waiting():
    living, dead = EngineFactory(alive_until=ahead(seconds=20)), EngineFactory(alive_until=ago(seconds=1))
    EndpointFactory(queue__due_at=ago(hours=3), queue__holder_id=living.pk)
    EndpointFactory(queue__due_at=ago(minutes=2))
    EndpointFactory(queue__due_at=ago(minutes=4), queue__holder_id=dead.pk)
    EndpointFactory(queue__due_at=ago(minutes=3), queue__holder_id=uuid.uuid4())
    EndpointFactory(queue__due_at=ahead(minutes=1))
    EventFactory(fanned_out_at=None, created_at=ago(minutes=5))
    EventFactory(fanned_out_at=None)
    EventFactory()
    found = read_installation_state()
    assert (found.overdue_queues, found.pending_events, len(found.engines), found.dead_engines) == (3, 2, 1, 1)
    assert 240 <= found.oldest_due_age < 260
    assert 300 <= found.oldest_event_age < 320
    assert abs(found.clock_drift) < 1


def test_an_engine_is_read_with_the_ages_of_its_threads():
    now = database_now("default")
    EngineFactory(
        host="worker-1",
        pid=42,
        alive_until=ahead(seconds=20),
        beat_at=now - timedelta(seconds=3),
        database_turn_at=now - timedelta(seconds=50),
        sending_turn_at=now - timedelta(seconds=5),
        in_flight=7,
        unrecorded=8,
        clock_drift=-2.5,
    )
    [engine] = read_installation_state().engines
    assert (engine.name, engine.in_flight, engine.unrecorded, engine.clock_drift) == ("worker-1:42", 7, 8, -2.5)
    assert engine.heartbeat_age >= 3
    assert (round(engine.sending_turn_age), round(engine.database_turn_age)) == (2, 47)
    assert findings() == {"stalled_threads": "critical", "clock_drift": "warning"}


def test_an_engine_that_was_killed_is_late_and_not_stalled():
    """Its row stays until its heartbeat expires, and nothing in it moves."""
    last = ago(seconds=25)
    EngineFactory(alive_until=ahead(seconds=5), beat_at=last, database_turn_at=last, sending_turn_at=last)
    assert findings() == {"heartbeats": "warning"}


def test_quarantined_events_are_reported_for_a_day():
    EventFactory(quarantine_reason="too large")
    old = EventFactory(quarantine_reason="too large")
    Event.objects.filter(pk=old.pk).update(id=uuid.UUID(int=(int(ago(hours=25).timestamp() * 1000) << 80) | (7 << 76)))
    assert read_installation_state().quarantined_events == 1
    assert findings() == {"quarantine": "warning"}


def test_the_number_of_queries_does_not_grow(django_assert_max_num_queries):
    for _ in range(5):
        EndpointFactory(queue__due_at=ago(hours=1))
        EngineFactory(alive_until=ahead(seconds=20))
        EventFactory(fanned_out_at=None)
    with django_assert_max_num_queries(10):
        read_installation_state()


@pytest.mark.postgres
def test_a_bounded_statement_ends_and_the_bound_ends_with_its_transaction():
    with pytest.raises(Exception, match="statement timeout"), bounded("default", 0.05), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(5)")
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


# --- beat --------------------------------------------------------------------------------------------------------------


def test_the_tasks_of_beat_are_those_that_are_scheduled():
    assert tuple(one.name for one in PERIODIC) == TASKS


def test_beat_is_looked_at_where_celery_delivers(configure):
    assert read_installation_state().beat is None  # these tests have WAKE_FUNCTION = ""
    configure(WAKE_FUNCTION="webhooks_app.tasks.send_hint")
    assert read_installation_state().beat.missing == TASKS
    call_command("webhooks_schedule", stdout=StringIO())
    assert (read_installation_state().beat.missing, findings()) == ((), {})
    PeriodicTask.objects.filter(task="webhooks_app.send_notifications").update(enabled=False)
    assert findings() == {"beat": "warning"}
    PeriodicTask.objects.filter(task="webhooks_app.send_notifications").update(enabled=True)
    for minutes, severity in ((6, "warning"), (16, "critical")):
        PeriodicTask.objects.filter(task="webhooks_app.sweep").update(last_run_at=ago(minutes=minutes))
        assert findings() == {"beat": severity}


def test_tasks_that_are_named_in_the_settings_are_not_missing(configure, settings):
    configure(WAKE_FUNCTION="webhooks_app.tasks.send_hint")
    settings.CELERY_BEAT_SCHEDULE = {one.name: {"task": one.name, "schedule": one.every_seconds} for one in PERIODIC}
    assert findings() == {}


def test_tables_of_beat_that_are_not_there_are_a_finding_and_no_error(configure, monkeypatch):
    configure(WAKE_FUNCTION="webhooks_app.tasks.send_hint")
    monkeypatch.setattr(PeriodicTask._meta, "db_table", "not_there_yet")
    assert findings() == {"beat": "warning"}


# --- the command -------------------------------------------------------------------------------------------------------


def test_status_is_ok_where_nothing_is_wrong():
    code, text = status()
    assert code == 0
    assert text.startswith("Status: ok\n")
    assert "Engines running             0" in text


def test_status_warns_and_says_what_to_do():
    EngineFactory(alive_until=ahead(seconds=20), clock_drift=5)
    code, text = status()
    assert code == 1
    assert (
        "WARNING   clock_drift: Clocks differ from the database's: host:1 by +5.0 s. Synchronise them with NTP." in text
    )


def test_status_is_critical_where_work_waits_and_no_engine_runs():
    EndpointFactory(queue__due_at=ago(minutes=5))
    code, text = status()
    assert code == 2
    assert "CRITICAL  engines: No engine is running, and work has been due for 5 min." in text
    code, text = status("--json")
    written = json.loads(text)
    assert (code, written["status"]) == (2, "critical")
    assert written["figures"]["overdue_queues"] == 1


def test_overdue_is_a_setting(configure):
    EndpointFactory(queue__due_at=ago(minutes=5))
    configure(MONITORING={"OVERDUE_SECONDS": 600})
    assert status()[0] == 0


def test_before_migrate_status_is_critical(monkeypatch):
    monkeypatch.setattr(Engine._meta, "db_table", "not_there_yet")
    code, text = status()
    assert (code, "CRITICAL  migrations:" in text, "manage.py migrate" in text) == (2, True, True)


def test_a_database_that_is_away_is_critical(unreachable):
    code, text = InThread(status).result()
    assert code == 2
    assert "CRITICAL  database: The database 'default' cannot be read" in text
    assert InThread(lambda: status("--json")).result()[0] == 2


# --- the probes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def unreachable(monkeypatch) -> None:
    """Connections that are opened from now on find no database."""
    values = connections.settings["default"]
    if connection.vendor == "sqlite":
        monkeypatch.setitem(values, "NAME", "/nowhere/at/all.sqlite3")
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            monkeypatch.setitem(values, "PORT", str(free.getsockname()[1]))


@pytest.mark.parametrize("name", ["healthz", "readyz"])
def test_an_accept_header_that_cannot_be_read_gets_text(name: str) -> None:
    response = get(name, headers={"Accept": "application/json; a*=nobody''%61"})
    assert response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("name", ["healthz", "readyz"])
def test_probes_say_ok(name):
    response = get(name)
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "no-store" in response.headers["Cache-Control"]
    assert get(name, accept="application/json").json() == {"status": "ok", "failed": []}
    assert Client().head(f"/monitoring/{name}").status_code == 200
    assert Client().post(f"/monitoring/{name}").status_code == 405


@pytest.mark.parametrize("name", ["healthz", "readyz"])
def test_probes_fail_without_a_database_and_tell_no_details(name, unreachable):
    response = get(name)
    assert (response.status_code, response.content) == (503, b"failing: database\n")
    response = get(name, accept="application/json")
    assert (response.status_code, response.json()) == (503, {"status": "failing", "failed": ["database"]})


def test_readyz_fails_where_work_waits_and_no_engine_runs():
    EndpointFactory(queue__due_at=ago(minutes=5))
    assert get("readyz").content == b"failing: engines\n"
    assert get("healthz").content == b"ok\n"
    EngineFactory(alive_until=ahead(seconds=20))
    assert get("readyz").content == b"ok\n"


def test_readyz_fails_until_the_tables_are_migrated(monkeypatch):
    monkeypatch.setattr(probes, "_known_as_migrated", set())
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'webhooks_app' AND name >= '0002'")
    try:
        assert get("readyz").content == b"failing: migrations\n"
    finally:
        call_command("migrate", "webhooks_app", fake=True, verbosity=0)
    assert get("readyz").content == b"ok\n"


@pytest.mark.postgres
def test_a_locked_table_fails_readyz_in_time_and_healthz_not_at_all():
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {Engine._meta.db_table} IN ACCESS EXCLUSIVE MODE")
            locked.set()
            done.wait(20)

    holder = InThread(hold)
    assert locked.wait(10)
    try:
        assert get("readyz").content == b"failing: database\n"
        assert get("healthz").content == b"ok\n"
    finally:
        done.set()
        holder.result()


@pytest.mark.postgres
def test_a_database_that_hangs_costs_one_thread_however_often_it_is_asked(monkeypatch):
    """A port that accepts connections and says nothing: a client without a timeout would wait for ever."""
    monkeypatch.setattr(probes, "PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setitem(connections.settings["default"], "PORT", str(silent.getsockname()[1]))
        asked = [InThread(lambda: get("healthz")) for _ in range(5)]
        assert {one.result().content for one in asked} == {b"failing: database\n"}
        assert get("healthz").content == b"failing: database\n"
        assert [thread.name for thread in threading.enumerate()].count("webhooks-healthz") == 1
    # Its connection was in the backlog and is reset now.
    monkeypatch.undo()
    until = time.monotonic() + 20
    while get("healthz").content != b"ok\n":
        assert time.monotonic() < until
