"""What `webhooks_deliver` does beside delivery: notifications, sweep, repair and prune."""

from __future__ import annotations

import threading
import uuid

import pytest
from django.db import connections

from tests.customer import Customer
from tests.factories import NotificationFactory
from webhooks_app.management.commands.webhooks_deliver import Housekeeping
from webhooks_app.models import EndpointQueue

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.postgres
def test_a_chore_leaves_no_connection_that_the_server_could_end():
    Housekeeping._do(lambda: NotificationFactory())
    assert connections["default"].connection is None


def test_a_chore_that_fails_is_logged_and_done_again_next_time(caplog):
    stop, done, tries = threading.Event(), threading.Event(), []

    def fail() -> None:
        tries.append(1)
        raise ConnectionRefusedError("no mail server")

    housekeeping = Housekeeping(stop)
    housekeeping._chores = [(0.0, fail), (0.0, lambda: done.set() if len(tries) > 1 else None)]
    housekeeping.start()
    assert done.wait(10)
    stop.set()
    housekeeping.join(10)
    assert "housekeeping failed" in caplog.text


def test_a_mail_backend_that_hangs_stops_no_other_chore():
    stop, done = threading.Event(), threading.Event()
    housekeeping = Housekeeping(stop)
    housekeeping._chores = [(0.0, stop.wait), (0.0, done.set)]
    housekeeping.start()
    assert done.wait(10)
    stop.set()
    housekeeping.join(10)


def test_every_chore_runs_where_there_is_nothing_to_do():
    for _, act in Housekeeping(threading.Event())._chores:
        act()


@pytest.fixture
def customer():
    with Customer() as customer:
        yield customer


def test_a_queue_whose_holder_was_deleted_is_freed(customer):
    """Nobody else would look for it where there is no Celery: no engine row that dies points to it."""
    queue = EndpointQueue.objects.get(endpoint=customer.endpoint("/a"))
    EndpointQueue.objects.filter(pk=queue.pk).update(holder_id=uuid.uuid4())

    for _, act in Housekeeping(threading.Event())._chores:
        act()

    queue.refresh_from_db()
    assert queue.holder_id is None
