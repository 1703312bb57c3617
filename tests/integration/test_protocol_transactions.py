"""The protocol, transactions: which errors are retried, in a fresh one, and when SQLite's lock is taken."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from tests.factories import EndpointFactory
from tests.pipelines import InThread
from webhooks_app.db import in_fresh_transaction, write
from webhooks_app.models import EndpointQueue

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def test_a_deadlock_is_retried_in_a_fresh_transaction() -> None:
    class Cause(Exception):
        sqlstate = "40P01"

    tries: list[bool] = []

    def work() -> str:
        tries.append(connection.in_atomic_block)
        if len(tries) < 3:
            from django.db import OperationalError

            raise OperationalError("deadlock detected") from Cause()
        return "done"

    assert in_fresh_transaction(work, "default") == "done"
    assert tries == [True] * 3


@pytest.mark.postgres
def test_a_serialisation_failure_is_retried_with_a_fresh_look() -> None:
    """As where the host's default is REPEATABLE READ. The second look sees what the first collided with."""
    endpoint, tries = EndpointFactory(), []

    def work() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        queue = EndpointQueue.objects.get(pk=endpoint.pk)
        tries.append(queue.consecutive_failures)
        if len(tries) == 1:
            InThread(lambda: EndpointQueue.objects.update(consecutive_failures=5)).result()
        queue.consecutive_failures += 1
        queue.save()

    in_fresh_transaction(work, "default")
    assert tries == [0, 5]
    assert EndpointQueue.objects.get().consecutive_failures == 6


def test_any_other_error_is_not_retried() -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM nothing_of_that_name")

    with pytest.raises(DatabaseError):
        in_fresh_transaction(work, "default")
    assert tries == [1]


@pytest.mark.skipif("connection.vendor != 'sqlite'")
def test_on_sqlite_the_pipeline_takes_the_write_lock_at_the_beginning() -> None:
    connection.ensure_connection()
    configured = connection.transaction_mode
    connection.transaction_mode = "DEFERRED"
    try:
        with CaptureQueriesContext(connection) as captured, write("default"):
            pass
        assert captured.captured_queries[0]["sql"] == "BEGIN IMMEDIATE"
        assert connection.transaction_mode == "DEFERRED"
    finally:
        connection.transaction_mode = configured
