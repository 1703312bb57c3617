"""Results that the database refuses: the delivery is settled and not sent again, and only what is refused is missing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import connection

from tests.pipelines import deliver_until, due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from tests.refused_rows import before_its_migration, refused
from webhooks_app import signals, telemetry
from webhooks_app.engine import record_signals
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue, HourlyStat, Notification

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

#: Table, moment and the status that makes the engine write there.
SIDE_ROWS = {
    "statistics": ("hourlystat", "endpoint_id", "INSERT", 200),
    "statistics of a failure": ("hourlystat", "endpoint_id", "INSERT", 500),
    "attempt": ("attempt", "endpoint_id", "INSERT", 200),
    "notification": ("notification", "endpoint_id", "INSERT", 500),
    "health": ("endpointqueue", "endpoint_id", "UPDATE OF consecutive_failures", 500),
    "disabling of the endpoint": ("endpoint", "id", "UPDATE", 410),
}


@contextmanager
def refused_at_the_commit(table: str) -> Iterator[None]:
    """A constraint of the host's that is checked at the end of each transaction (PostgreSQL)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no rows'; END $$"
        )
        cursor.execute(
            f"CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TRIGGER refuse ON {table}")
            cursor.execute("DROP FUNCTION refuse")


@contextmanager
def before_its_code(table: str) -> Iterator[None]:
    """The migration has run (on a table without rows), and the code does not know the column that it has added."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} ADD COLUMN not_known integer NOT NULL DEFAULT (NULL)")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} DROP COLUMN not_known")


def results_wait(
    receiver: Receiver, deployment: AbstractContextManager[None], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Results wait for as long as the deployment lasts, the log says so, and none of them is lost."""
    for _ in range(5):
        due_delivery(endpoint_at(receiver))
    with ExitStack() as stack:
        stack.enter_context(deployment)
        with running_engine():
            receiver.wait_for(5)
            eventually(lambda: said in caplog.text)
            assert not Delivery.objects.filter(status="succeeded").exists()
            stack.close()
            eventually(lambda: Delivery.objects.filter(status="succeeded").count() == 5)
    assert len(receiver.requests) == 5
    assert Attempt.objects.count() == 5
    assert sum(stat.succeeded for stat in HourlyStat.objects.all()) == 5


def settled() -> bool:
    return not Delivery.objects.filter(status="pending").exists()


@pytest.mark.parametrize("name", SIDE_ROWS)
def test_a_side_row_that_is_refused_costs_itself_alone(
    receiver: Receiver, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    table, column, moment, status = SIDE_ROWS[name]
    receiver.on("/hook", status)
    endpoint = endpoint_at(receiver, wire_format="once")
    due_delivery(endpoint)
    if moment.startswith("UPDATE OF"):
        EndpointQueue.objects.update(consecutive_failures=0)
    with refused(f"webhooks_app_{table}", column, endpoint.pk, moment):
        deliver_until(settled)
    assert Delivery.objects.get().attempts == 1
    assert len(receiver.requests) == 1
    wanted = {
        "attempt": Attempt.objects.exists(),
        "statistics": HourlyStat.objects.exists(),
        "notification": status < 500 or Notification.objects.exists(),
    }
    missing = {key for key, there in wanted.items() if not there}
    assert missing == {name.removesuffix(" of a failure")} & set(wanted)
    assert Endpoint.objects.get().status == "active"
    assert f"the database refuses the {name.removesuffix(' of a failure')};" in caplog.text


def test_statistics_that_are_refused_do_not_cost_the_response(receiver: Receiver) -> None:
    endpoint = endpoint_at(receiver, wire_format="once")
    due_delivery(endpoint)
    with refused("webhooks_app_hourlystat", "endpoint_id", endpoint.pk):
        deliver_until(settled)
    attempt = Attempt.objects.get()
    assert attempt.response_headers
    assert not attempt.response_truncated


@pytest.mark.postgres
def test_what_is_refused_at_the_commit_does_not_keep_the_delivery_from_being_settled(receiver: Receiver) -> None:
    due_delivery(endpoint_at(receiver, wire_format="once"))
    with refused_at_the_commit("webhooks_app_hourlystat"):
        deliver_until(settled)
    assert Delivery.objects.get().status == "succeeded"
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("table", ["hourlystat", "attempt"])
def test_results_wait_for_a_migration_that_is_late(
    receiver: Receiver, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    column = {"hourlystat": "latency_max_ms", "attempt": "response_truncated"}[table]
    results_wait(receiver, before_its_migration(f"webhooks_app_{table}", column), "was `migrate` run?", caplog)


class TestAColumnThatThisVersionDoesNotKnow:
    """The migration of the next version comes before its code, and the column has no default."""

    @pytest.mark.parametrize("table", ["hourlystat", "attempt"])
    def test_lets_results_wait_and_loses_none(
        self, receiver: Receiver, table: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        said = "a NOT NULL column of the database gets no value"
        results_wait(receiver, before_its_code(f"webhooks_app_{table}"), said, caplog)

    def test_is_waited_for_once_and_not_for_ever(self, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
        """The endpoints must not wait for the next version without end."""
        due_delivery(endpoint_at(receiver))
        with before_its_code("webhooks_app_attempt"), running_engine(options=EngineOptions(unknown_column_seconds=0.5)):
            receiver.wait_for(1)
            eventually(settled)
            eventually(lambda: "the database refuses the attempt;" in caplog.text)
            assert "a NOT NULL column of the database gets no value" in caplog.text
            due_delivery(endpoint_at(receiver))
            eventually(settled, patience=5)
        assert len(receiver.requests) == 2


@pytest.mark.parametrize("schema", [before_its_code, partial(before_its_migration, column="response_truncated")])
def test_an_engine_that_stops_settles_what_waits_for_a_schema(
    receiver: Receiver, schema: Callable[[str], contextlib.AbstractContextManager[None]]
) -> None:
    """Otherwise its results would end with it, and the deliveries be sent again."""
    for _ in range(5):
        due_delivery(endpoint_at(receiver))
    with schema("webhooks_app_attempt"):
        deliver_until(lambda: len(receiver.requests) == 5)
        assert settled()
    assert {delivery.status for delivery in Delivery.objects.all()} == {"succeeded"}
    assert sum(stat.succeeded for stat in HourlyStat.objects.all()) == 5


class TestAfterTheCommit:
    """What fails then is no reason to write the batch again."""

    def recorded_once(self, receiver: Receiver, number: int = 3) -> None:
        assert len(receiver.requests) == number
        assert Attempt.objects.count() == number
        assert sum(stat.succeeded + stat.server_error for stat in HourlyStat.objects.all()) == number

    def test_no_thread_can_be_started_for_signals(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        start, heard = threading.Thread.start, []

        def refuse(thread: threading.Thread) -> None:
            if thread.name == "webhooks-signals":
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        monkeypatch.setattr(record_signals, "_faults", FaultLog())  # another test may have had this fault just now
        with listening(lambda **about: heard.append(about)):
            for _ in range(3):
                due_delivery(endpoint_at(receiver))
            deliver_until(settled)
        self.recorded_once(receiver)
        assert not heard
        assert "no thread can be started for signals" in caplog.text

    def test_an_exporter_of_measurements_fails(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(results: object) -> None:
            raise KeyError("no such label")

        monkeypatch.setattr(telemetry, "enabled", lambda: True)
        monkeypatch.setattr(telemetry, "requests_recorded", fail)
        for _ in range(3):
            due_delivery(endpoint_at(receiver))
        deliver_until(settled)
        self.recorded_once(receiver)

    def test_the_stored_url_is_none(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        measured: list[Any] = []
        monkeypatch.setattr(telemetry, "enabled", lambda: True)
        monkeypatch.setattr(telemetry, "requests_recorded", measured.extend)
        endpoint = endpoint_at(receiver, wire_format="once")
        Endpoint.objects.update(url="http://[::1/hook")
        due_delivery(endpoint)
        deliver_until(lambda: Attempt.objects.exists())
        assert Attempt.objects.count() == 1
        assert [result.host for result in measured] == [""]


@contextmanager
def listening(hear: Callable[..., object]) -> Iterator[None]:
    signals.delivery_succeeded.connect(hear, weak=False)
    try:
        yield
    finally:
        signals.delivery_succeeded.disconnect(hear)
