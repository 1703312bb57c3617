"""The protocol, the order of locks: writers of several rows lock them in one order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from tests.factories import DeliveryFactory, EndpointFactory
from tests.locks import two_queues
from tests.pipelines import InThread, eventually
from webhooks_app.db import in_fresh_transaction, write
from webhooks_app.deliveries.bulk_updates import cancel_all, requeue
from webhooks_app.engine.queue_due import make_queues_due
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import STAT_COUNTS, StatRow
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, HourlyStat, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HOUR = timedelta(hours=1)


def now() -> datetime:
    return database_now("default")


def _wake(*endpoints: Endpoint) -> Callable[[], Any]:
    keys = [endpoint.pk for endpoint in reversed(endpoints)]
    return lambda: in_fresh_transaction(lambda: make_queues_due(keys, now(), using="default"), "default")


def _renew(*endpoints: Endpoint) -> Callable[[], Any]:
    ids = [DeliveryFactory(endpoint=endpoint, exhausted=True).pk for endpoint in reversed(endpoints)]
    return lambda: in_fresh_transaction(lambda: requeue(ids), "default")


def _cancel(*endpoints: Endpoint) -> Callable[[], Any]:
    for endpoint in endpoints:
        DeliveryFactory(endpoint=endpoint)
    return lambda: cancel_all(Delivery.objects.all())


@pytest.mark.postgres
@pytest.mark.parametrize("prepare", [_wake, _renew, _cancel])
def test_queue_rows_are_locked_in_one_order(prepare: Callable[..., Callable[[], Any]]) -> None:
    """A writer that has to wait for the first row has not locked the second: so two writers never wait in a circle."""
    first, second = two_queues()
    act = prepare(first, second)
    with write("default"):
        list(EndpointQueue.objects.filter(pk=first.pk).locked())
        writer = InThread(act)
        eventually(somebody_waits)
        free = EndpointQueue.objects.filter(pk=second.pk).select_for_update(no_key=True, nowait=True)
        assert free.get()
    writer.result()


@pytest.mark.postgres
@pytest.mark.parametrize("places", [("first", "second"), ("second", "first")], ids=["given in order", "in reverse"])
def test_hourly_statistics_are_written_in_one_order(places: tuple[str, str]) -> None:
    """That of the endpoints, whatever came first and whichever hour is the earlier."""
    hour = now().replace(minute=0, second=0, microsecond=0)
    keys = {"first": (EndpointFactory().pk, hour), "second": (EndpointFactory().pk, hour - HOUR)}
    rows = [StatRow(*keys[place], [1] * len(STAT_COUNTS)) for place in places]

    def add() -> None:
        in_fresh_transaction(lambda: store_for("default").add_stats(rows), "default")

    add()
    with write("default"):
        assert HourlyStat.objects.select_for_update(no_key=True).get(hour=hour)
        writer = InThread(add)
        eventually(somebody_waits)
        assert HourlyStat.objects.select_for_update(no_key=True, nowait=True).get(hour=hour - HOUR)
    writer.result()
    assert set(HourlyStat.objects.values_list("succeeded", flat=True)) == {2}


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])
