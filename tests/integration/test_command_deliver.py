"""`manage.py webhooks_deliver`: until idle, until stopped, and the housekeeping beside it."""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections

from tests.customer import Customer, attempts, make_due, statuses
from tests.factories import NotificationFactory
from tests.mail_servers import send_by_smtp
from tests.outages import watched_statements
from tests.pipelines import PATIENCE, eventually
from tests.receiver_behaviours import Delay
from webhooks_app import process_log
from webhooks_app.management.commands.webhooks_deliver import Housekeeping
from webhooks_app.models import EndpointQueue, Engine, Notification

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command takes these over for good, as a process of its own may."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(*arguments: str, verbosity: int = 1) -> str:
    out = StringIO()
    call_command("webhooks_deliver", *arguments, stdout=out, verbosity=verbosity)
    return out.getvalue()


def test_until_idle_it_delivers_what_is_due_and_says_what_it_did(customer):
    customer.endpoint()
    customer.receiver.on("/hook", [500, 200])
    customer.emit_several(3)
    assert run("--until-idle=0") == "3 events, 3 requests, 3 recorded.\n"
    make_due()
    assert run("--until-idle=0") == "0 events, 1 requests, 1 recorded.\n"
    assert statuses() == {"succeeded"}


def test_with_nothing_to_do_it_returns(customer):
    assert run("--until-idle=0", verbosity=0) == ""


@pytest.mark.parametrize("seconds", ["soon", "nan", "inf", "-1", ""])
def test_until_idle_is_a_number_of_seconds(seconds):
    with pytest.raises(CommandError, match="a number of seconds, 0 or more"):
        run(f"--until-idle={seconds}")


def test_before_migrate_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(Engine._meta, "db_table", "not_there_yet")
    with pytest.raises(CommandError, match=r"manage\.py migrate"):
        run("--until-idle=0")


@contextmanager
def database_away(statements: float = math.inf) -> Iterator[list[str]]:
    """The database fails at so many statements."""
    failed: list[str] = []

    def fail(sql: str) -> None:
        if len(failed) < statements:
            failed.append(sql)
            raise OperationalError("connection failed:\nFATAL: no login for you")

    with watched_statements(fail, thread=None):
        yield failed


def test_it_waits_for_a_database_that_is_away_at_the_start(customer, caplog):
    customer.endpoint()
    customer.emit()

    def play() -> None:
        customer.receiver.wait_for(1)
        os.kill(os.getpid(), signal.SIGTERM)

    player = threading.Thread(target=play)
    player.start()
    with database_away(2):
        run("--no-housekeeping")
    player.join()
    assert statuses() == {"succeeded"}
    waits = [record.message for record in caplog.records if "waits for the database" in record.message]
    assert len(waits) == 2
    assert "(connection failed: FATAL: no login for you); next try in 1.0 s" in waits[1]


def test_a_signal_ends_it_while_it_waits_for_the_database():
    with database_away() as failed:
        player = threading.Thread(target=lambda: eventually(lambda: failed) and os.kill(os.getpid(), signal.SIGTERM))
        player.start()
        assert run() == ""
        player.join()


def test_until_idle_ends_with_one_line_where_the_database_is_away():
    with database_away(), pytest.raises(CommandError, match=r"^The database cannot be used \(.*no login") as caught:
        run("--until-idle=0")
    assert caught.value.returncode == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_an_end_it_runs_until_a_signal_and_finishes_what_is_in_flight(customer, number):
    customer.endpoint()
    customer.receiver.on("/hook", Delay(0.2))

    def play() -> None:
        customer.receiver.wait_for(1)
        time.sleep(0.05)
        os.kill(os.getpid(), number)

    player = threading.Thread(target=play)
    customer.emit_several(30)
    player.start()
    said = run("--no-housekeeping")
    player.join()
    requests = len(customer.received)
    assert 1 <= requests < 30
    assert said == f"30 events, {requests} requests, {requests} recorded.\n"
    assert {attempt.outcome for attempt in attempts()} == {"succeeded"}
    assert not Engine.objects.exists()
    assert not EndpointQueue.objects.filter(holder_id__isnull=False).exists()


def test_a_signal_handler_of_the_host_that_raises_ends_no_request_and_no_engine(customer, caplog):
    """Python runs it in the main thread, wherever that is: a timeout helper leaves an alarm behind."""
    customer.endpoint()
    customer.receiver.on("/hook", Delay(0.1))

    def play() -> None:
        for number in range(1, 6):
            customer.receiver.wait_for(number)
            os.kill(os.getpid(), signal.SIGALRM)
        customer.receiver.wait_for(8)
        os.kill(os.getpid(), signal.SIGTERM)

    def too_late(*_: object) -> None:
        raise RuntimeError("it took too long")

    before = signal.signal(signal.SIGALRM, too_late)
    player = threading.Thread(target=play)
    try:
        customer.emit_several(8)
        player.start()
        run("--no-housekeeping")
    finally:
        player.join()
        signal.signal(signal.SIGALRM, before)
    assert len(customer.received) == 8
    assert "a signal handler of this process raised an error" in caplog.text
    assert "starts again" not in caplog.text


def test_an_engine_that_fails_ends_it_with_a_line_in_the_log_and_exit_code_1(monkeypatch, caplog):
    def fail(**_: object) -> None:
        raise OSError("no room on the device")

    monkeypatch.setattr("webhooks_app.management.commands.webhooks_deliver.engine.run", fail)
    with pytest.raises(CommandError, match="no room on the device") as caught:
        run()
    assert caught.value.returncode == 1
    assert "its engine failed" in caplog.text


def test_errors_of_the_system_checks_are_logged(customer, caplog, settings):
    process_log.reset()
    settings.WEBHOOKS = {**settings.WEBHOOKS, "API": {"RATE_LIMIT": "often"}}
    run("--until-idle=0")
    assert "webhooks_app.E010" in caplog.text


def test_it_notices_what_is_emitted_while_it_runs(customer):
    customer.endpoint()

    def play() -> None:
        for number in range(3):
            time.sleep(0.1)
            customer.emit({"n": number})
            customer.receiver.wait_for(number + 1)
        os.kill(os.getpid(), signal.SIGTERM)

    player = threading.Thread(target=_closing(play))
    player.start()
    run()
    player.join()
    assert customer.numbers == [0, 1, 2]
    assert statuses() == {"succeeded"}


def test_a_mail_server_that_says_nothing_holds_up_neither_delivery_nor_the_end(customer, settings, monkeypatch):
    monkeypatch.setattr(Housekeeping, "NOTIFY_SECONDS", 0.0)
    monkeypatch.setattr("webhooks_app.management.commands.webhooks_deliver._LONGEST_HOUSEKEEPING", 0.2)
    customer.endpoint()
    NotificationFactory()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        send_by_smtp(settings, listener.getsockname()[1])

        def play() -> None:
            connection, _ = listener.accept()  # and never a word
            with connection:
                customer.emit()
                customer.receiver.wait_for(1)
                os.kill(os.getpid(), signal.SIGTERM)
                ended.wait(PATIENCE)

        ended = threading.Event()
        player = threading.Thread(target=_closing(play))
        player.start()
        run()
        housekeeping = [thread for thread in threading.enumerate() if thread.name == "webhooks-housekeeping"]
        ended.set()
        player.join()
    for thread in housekeeping:  # it may have ended already
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert customer.numbers == [1]
    assert Notification.objects.get().claimed_until is None


def _closing(work):
    """The same call, closing the thread's database connections at its end."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    return run


def test_it_ends_well_although_nobody_reads_what_it_says() -> None:
    class Closed(StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    call_command("webhooks_deliver", "--until-idle=0", stdout=Closed(), skip_checks=True)
