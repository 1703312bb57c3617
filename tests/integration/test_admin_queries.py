"""The admin stays quick: as many queries for many rows as for few, and on large tables none that reads them through."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.factories import EndpointFactory
from tests.staff import one_of_everything, page, pages, superuser
from webhooks_app.admin.base import MOST_PAGED
from webhooks_app.models import Attempt, Delivery, DeliveryStatus, Event, HourlyStat, database_now
from webhooks_app.models.ids import first_id

pytestmark = pytest.mark.django_db

LARGE = {f"webhooks_app_{name}" for name in ("event", "delivery", "attempt", "hourlystat", "auditentry")}
ROWS = 4000


def test_a_list_asks_as_many_queries_for_many_rows_as_for_few():
    client = superuser()
    names = [row._meta.model_name for row in one_of_everything()]

    def queries() -> dict[str, int]:
        counted = {}
        for name in names:
            with CaptureQueriesContext(connection) as seen:
                assert client.get(pages(name)).status_code == 200
            counted[name] = len(seen)
        return counted

    client.get(pages("tenant"))  # content types are remembered from here on
    few = queries()
    for _ in range(5):
        Event.objects.filter(subject="order-17").update(subject="order-16")
        rows = _more()
    assert len(rows) == len(names) - 1
    assert queries() == few
    assert max(few.values()) < 12


def _more() -> list[Any]:
    """Rows like those, of another customer; a type of this name there is already."""
    from webhooks_app.models import EventType

    EventType.objects.all().delete()
    return one_of_everything()[:-1]


def test_large_tables_are_counted_no_further_than_pages_go(monkeypatch):
    monkeypatch.setattr("webhooks_app.admin.base.MOST_PAGED", 3)
    endpoint = EndpointFactory()
    _fill(5, [endpoint])
    response = superuser().get(pages("delivery"))
    assert response.context["cl"].result_count == 3
    assert "These are the newest 3." in response.content.decode()


@pytest.fixture
def large_tables() -> list[Delivery]:
    """Thousands of rows of a few customers, most of them weeks old, as the planner knows them."""
    endpoints = EndpointFactory.create_batch(20)
    deliveries = _fill(ROWS, endpoints, days_ago=20) + _fill(ROWS // 20, endpoints)
    with connection.cursor() as cursor:
        for table in LARGE:
            cursor.execute(f"ANALYZE {table}")
    return deliveries


def _fill(count: int, endpoints: list[Any], days_ago: int = 0) -> list[Delivery]:
    now = database_now("default") - timedelta(days=days_ago)
    ids = (UUID(int=first_id(now).int + place) for place in itertools.count(1))
    events, deliveries, attempts = [], [], []
    for number in range(count):
        endpoint = endpoints[number % len(endpoints)]
        event = Event(
            id=next(ids), tenant_id=endpoint.tenant_id, tenant_uid="customer", type="message.sent", data="{}", size=2,
            subject=f"order-{number}", occurred_at=now, fanned_out_at=now,
        )  # fmt: skip
        done = number % 50 != 0
        delivery = Delivery(
            id=next(ids), tenant_id=endpoint.tenant_id, event_id=event.pk, endpoint_id=endpoint.pk, next_attempt_at=now,
            expires_at=now, attempts=1, status=DeliveryStatus.SUCCEEDED if done else DeliveryStatus.PENDING,
        )  # fmt: skip
        events.append(event)
        deliveries.append(delivery)
        attempt = Attempt(
            id=next(ids), tenant_id=endpoint.tenant_id, delivery_id=delivery.pk, endpoint_id=endpoint.pk, number=1,
            started_at=now, duration_ms=5, outcome="succeeded", status=200, url=endpoint.url,
        )  # fmt: skip
        attempts.append(attempt)
    for model, rows in ((Event, events), (Delivery, deliveries), (Attempt, attempts)):
        model.objects.bulk_create(rows, batch_size=500)
    HourlyStat.objects.bulk_create(
        HourlyStat(
            endpoint=endpoint,
            hour=now.replace(year=2000 + back + days_ago, minute=0, second=0, microsecond=0),
            succeeded=1,
        )
        for endpoint in endpoints
        for back in range(min(count, 20))
    )
    return deliveries


def _asked(delivery: Delivery) -> list[str]:
    """Everything that lists of large tables can be asked."""
    texts = [
        delivery.pk.hex, f"dlv_{delivery.pk.hex}", f"evt_{delivery.event_id.hex}", f"wh_{delivery.endpoint_id.hex}",
        "order-77", "receiver-", "https://receiver-1.example.com/hook", "customer-1", "nothing like it",
    ]  # fmt: skip
    narrowed = {
        "delivery": [f"tenant__exact={delivery.tenant_id}", f"endpoint__exact={delivery.endpoint_id}",
                     f"event__exact={delivery.event_id}", "status=exhausted", "status=pending&made=hour",
                     "status=exhausted&made=2026",
                     f"status=exhausted&tenant__exact={delivery.tenant_id}"],
        "attempt": [f"delivery__exact={delivery.pk}", "outcome=timeout", "outcome=timeout&made=hour"],
        "event": [f"tenant__exact={delivery.tenant_id}", "state=unmade", "state=quarantined"],
    }  # fmt: skip
    times = [f"made={time}" for time in ("hour", "week", "2026-01-05", "2026-01", "2026")]
    asked = ["", "p=3", "p=20", *times, *(f"q={text}" for text in texts)]
    return [f"{pages(name)}?{query}" for name, more in narrowed.items() for query in (*asked, *more)]


@pytest.mark.postgres
def test_no_list_of_a_large_table_reads_it_through_or_counts_it(large_tables):
    client = superuser()
    urls = _asked(large_tables[ROWS // 2])
    delivery = Delivery.objects.get(pk=large_tables[7].pk)
    urls += [page(row) for row in (delivery, delivery.event, delivery.endpoint, delivery.tenant)]
    urls += [page(delivery.attempt_rows.get()), reverse("admin:webhooks_app_operations")]
    looked_at = 0
    for url in urls:
        with CaptureQueriesContext(connection) as seen:
            assert client.get(url).status_code == 200, url
        for query in seen:
            if not query["sql"].startswith("SELECT") or not any(f'FROM "{table}"' in query["sql"] for table in LARGE):
                continue
            looked_at += 1
            assert not re.match(r'SELECT COUNT\(\*\) AS "__count" FROM "', query["sql"]), (url, query["sql"])
            assert _read_through(query["sql"]) == set(), (url, query["sql"])
    assert looked_at > len(urls)


def _read_through(sql: str) -> set[str]:
    """The large tables that the statement reads through, as the planner says. Not counted where it looks for a bounded list
    of keys: a table of so few rows may well be read through for several hundred of them."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0]
    nodes = _nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    through = [node for node in nodes if node["Node Type"] == "Seq Scan"]
    return {node["Relation Name"] for node in through if "(id = ANY" not in node.get("Filter", "")} & LARGE


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


@pytest.mark.postgres
def test_a_page_reads_about_as_many_rows_as_it_shows(large_tables):
    """Not only by an index, but no more of it than is asked for: at most what is counted for the pages."""
    for name in ("delivery", "attempt", "event"):
        with CaptureQueriesContext(connection) as seen:
            superuser().get(pages(name))
        for query in seen:
            if f'FROM "webhooks_app_{name}"' not in query["sql"]:
                continue
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query['sql']}")
                plan = cursor.fetchone()[0]
            nodes = _nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
            assert max(node["Actual Rows"] for node in nodes) <= MOST_PAGED, query["sql"]
