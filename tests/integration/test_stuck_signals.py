"""A receiver of a signal that uses the database and never returns: threads and connections do not grow with each engine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tests.customer import Customer, deliver, statuses
from tests.pipelines import eventually, running_engine
from webhooks_app import signals
from webhooks_app.engine import record_signals
from webhooks_app.engine.faults import FaultLog
from webhooks_app.models import Tenant

pytestmark = pytest.mark.django_db(transaction=True)


class Hanging:
    """A receiver of `delivery_succeeded` that reads a row, and returns once it is released."""

    def __init__(self) -> None:
        self.calls = 0
        self.released = threading.Event()

    def __call__(self, **_: Any) -> None:
        assert Tenant.objects.exists()
        self.calls += 1
        self.released.wait(60)


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        customer.endpoint()
        yield customer


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """The end of an engine waits only for a moment, and a call of some length is stuck."""
    monkeypatch.setattr(record_signals, "_faults", FaultLog())
    monkeypatch.setattr(record_signals, "_STUCK_AFTER", 0.3)
    receiver = Hanging()
    signals.delivery_succeeded.connect(receiver)
    try:
        yield receiver
    finally:
        receiver.released.set()
        signals.delivery_succeeded.disconnect(receiver)
        eventually(lambda: not signal_threads())


def signal_threads() -> int:
    return sum(thread.name == "webhooks-signals" for thread in threading.enumerate())


def connections_to_the_database() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def test_engines_leave_a_bounded_number_of_threads_behind(
    customer: Customer, hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    for engines in range(1, 6):
        customer.emit_several(3)
        deliver()
        assert signal_threads() == min(engines, 2)
    assert hanging.calls == 2
    assert statuses() == {"succeeded"}, "delivery goes on"
    text = "webhooks: 2 receivers of signals have not returned; 3 signals are not sent. Set timeouts for what receivers call"
    assert caplog.text.count(text) == 1, "once a minute, and not at each engine"


@pytest.mark.postgres
def test_engines_leave_a_bounded_number_of_connections_behind(customer: Customer, hanging: Hanging) -> None:
    before = connections_to_the_database()
    for _ in range(5):
        customer.emit()
        deliver()
    eventually(lambda: connections_to_the_database() <= before + 2)


def test_a_receiver_that_returns_makes_room_for_signals(customer: Customer, hanging: Hanging) -> None:
    for _ in range(3):
        customer.emit()
        deliver()
    hanging.released.set()
    eventually(lambda: not signal_threads())
    customer.emit()
    deliver()
    eventually(lambda: hanging.calls == 3)


def test_what_waits_for_a_receiver_that_does_not_return_is_dropped(
    customer: Customer, hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    customer.emit_several(4)
    deliver()
    eventually(lambda: hanging.calls == 1)
    [left] = record_signals._left._threads
    eventually(lambda: left.is_stuck)
    customer.emit()
    deliver()
    assert "has not returned for 0 s; 3 signals are not sent" in caplog.text
    hanging.released.set()
    eventually(lambda: not signal_threads())
    assert hanging.calls == 2, "the first one of each engine"


def test_a_receiver_that_does_not_return_is_logged_while_its_engine_runs(
    customer: Customer, hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    with running_engine():
        customer.emit()
        eventually(lambda: hanging.calls)
        time.sleep(0.4)
        customer.emit()
        eventually(lambda: "has not returned for 0 s; 1 signals wait" in caplog.text)
        eventually(lambda: statuses() == {"succeeded"})


def test_what_waits_for_a_slow_receiver_is_sent_after_the_end_of_the_engine(
    customer: Customer, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_signals, "_STUCK_AFTER", 30.0)
    customer.emit_several(4)
    deliver()
    customer.emit()
    deliver()
    hanging.released.set()
    eventually(lambda: hanging.calls == 5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_sends_its_signals() -> None:
    gate = threading.Event()
    threads = [record_signals.SignalThread() for _ in range(2)]
    try:
        for thread in threads:
            thread.send(lambda: gate.wait(30))
            thread.end(0.0)
        assert not record_signals._left.has_room()
        child = os.fork()
        if not child:
            os._exit(not record_signals._left.has_room())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        gate.set()
