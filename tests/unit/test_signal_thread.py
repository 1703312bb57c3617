"""The thread of the engine's signals: what waits for slow receivers is bounded."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from django.db import OperationalError, connections

from webhooks_app.engine import record_signals
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.record_signals import SignalThread


@pytest.fixture(autouse=True)
def _no_fault_was_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_signals, "_faults", FaultLog())


def test_signals_are_sent_in_order_and_after_one_that_fails() -> None:
    thread, sent = SignalThread(), []
    thread.send(lambda: sent.append(1))
    thread.send(lambda: 1 / 0)
    thread.send(lambda: sent.append(2))
    thread.end(10)
    assert sent == [1, 2]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("leave", "status"),
    [(lambda: sys.exit(3), 3), (lambda: sys.exit(), 0), (lambda: None, 0), (lambda: 1 / 0, 1)],
    ids=["exits", "exits without a status", "returns", "fails"],
)
def test_a_child_that_a_receiver_forks_sends_no_signals(
    leave: Callable[[], object], status: int, tmp_path: Path
) -> None:
    """It has a copy of the thread and of the signals that wait: each of them forked another child."""
    thread, children = SignalThread(), list[int]()

    def fork() -> None:
        if child := os.fork():
            children.append(child)
        else:
            leave()

    def send() -> None:
        with (tmp_path / "sent").open("a") as file:
            file.write(f"{os.getpid()}\n")

    thread.send(fork)
    thread.send(send)
    thread.end(10)
    until = time.monotonic() + 10
    while not (ended := os.waitpid(children[0], os.WNOHANG))[0] and time.monotonic() < until:
        time.sleep(0.02)
    if not ended[0]:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)
    assert ended[0], "the child went on"
    assert (tmp_path / "sent").read_text() == f"{os.getpid()}\n"
    assert os.waitstatus_to_exitcode(ended[1]) == status


def test_what_waits_for_a_slow_receiver_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    thread, gate, sent = SignalThread(), threading.Event(), []
    thread.send(lambda: gate.wait(30))
    for number in range(10_100):
        thread.send(lambda number=number: sent.append(number))  # type: ignore[misc]
    gate.set()
    thread.end(30)
    assert sent == list(range(len(sent)))
    assert 9_990 <= len(sent) <= 10_000
    assert [record.message for record in caplog.records].count(
        "webhooks: receivers of its signals are too slow; 1 signals are not sent"
    ) == 1


@pytest.fixture
def connection_of_the_thread() -> Iterator[FakeConnection]:
    """What the thread finds as its only initialised connection: a receiver has used it."""
    fake = FakeConnection()
    with mock.patch.object(connections, "all", return_value=[fake]):
        yield fake


class FakeConnection:
    """A connection to a database that is away."""

    alias = "default"
    connection: object | None = None
    in_atomic_block = False
    closed = 0

    def get_autocommit(self) -> bool:
        raise OperationalError("connection refused")

    def close(self) -> None:
        self.closed += 1
        self.connection = None


def test_a_connection_that_a_receiver_has_closed_is_not_opened_again(connection_of_the_thread: FakeConnection) -> None:
    thread, sent = SignalThread(), []
    for number in range(3):
        thread.send(lambda number=number: sent.append(number))  # type: ignore[misc]
    thread.end(10)
    assert sent == [0, 1, 2]


def test_cleaning_up_while_the_database_is_away_ends_no_thread(connection_of_the_thread: FakeConnection) -> None:
    connection_of_the_thread.connection = object()
    thread, sent = SignalThread(), []
    for number in range(3):
        thread.send(lambda number=number: sent.append(number))  # type: ignore[misc]
    thread.end(10)
    assert sent == [0, 1, 2]


def test_a_thread_that_has_died_is_replaced() -> None:
    thread, sent, died = SignalThread(), [], threading.Event()
    with mock.patch.object(threading, "excepthook", side_effect=lambda _: died.set()):
        with mock.patch.object(SignalThread, "_make", side_effect=MemoryError):
            thread.send(lambda: None)
            assert died.wait(10)
        dying = thread._thread
        assert dying is not None
        dying.join(10)
    thread.send(lambda: sent.append(1))
    thread.end(10)
    assert sent == [1]


def test_a_thread_that_cannot_be_started_costs_the_signals_alone(caplog: pytest.LogCaptureFixture) -> None:
    thread, sent = SignalThread(), []
    with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
        thread.send(lambda: sent.append(1))
    thread.send(lambda: sent.append(2))
    thread.end(10)
    assert sent == [2]
    assert "no thread can be started for signals; 1 signals are not sent" in caplog.text


def test_ends_where_no_thread_could_be_started() -> None:
    thread = SignalThread()
    with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
        thread.send(lambda: None)
        thread.end(0.1)
