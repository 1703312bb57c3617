"""Hourly series: what engines counted, by endpoint, tenant and for all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from tests.customer import Customer, deliver
from tests.factories import EndpointFactory
from webhooks_app.models import Endpoint, HourlyStat
from webhooks_app.stats.charts import latency_figure, requests_figure, requests_sparkline
from webhooks_app.stats.hourly import (
    HourlyCounts,
    by_day,
    hours_of_all,
    hours_of_each,
    hours_of_endpoint,
    hours_of_tenant,
    requests_of,
)

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)


def stat(endpoint: Endpoint, hours_ago: int, **values: float) -> None:
    hour = NOW.replace(minute=0) - timedelta(hours=hours_ago)
    HourlyStat.objects.create(endpoint=endpoint, hour=hour, **values)


def test_every_hour_is_there_once_and_empty_ones_are_zero():
    endpoint = EndpointFactory()
    stat(endpoint, 0, succeeded=2)
    stat(endpoint, 2, succeeded=3, timeout=1, exhausted=1)
    stat(endpoint, 4, succeeded=9)
    hours = hours_of_endpoint(endpoint.pk, NOW, 4)
    assert [hour.start.hour for hour in hours] == [9, 10, 11, 12]
    assert [(hour.requests, hour.failed, hour.exhausted) for hour in hours] == [
        (0, 0, 0),
        (4, 1, 1),
        (0, 0, 0),
        (2, 0, 0),
    ]


def test_a_tenants_hours_are_those_of_its_endpoints_and_everybodys_are_all():
    mine, other = EndpointFactory(), EndpointFactory()
    for endpoint in (mine, EndpointFactory(tenant=mine.tenant), other):
        stat(endpoint, 1, succeeded=5, client_error=1)
    assert requests_of(hours_of_endpoint(mine.pk, NOW)) == 6
    assert requests_of(hours_of_tenant(mine.tenant_id, NOW)) == 12
    assert requests_of(hours_of_all(NOW)) == 18


def test_latency_is_a_mean_and_the_edge_within_which_a_share_came():
    hour = HourlyCounts(NOW, latency_sum_ms=900, latency_max_ms=420.0, latencies=(0, 0, 0, 9, 0, 1, 0, 0, 0, 0))
    assert hour.latency_mean_ms == 90
    assert hour.latency_ms(0.5) == 100
    assert hour.latency_ms(0.95) == 420.0, "never more than the slowest"
    assert (HourlyCounts(NOW).latency_mean_ms, HourlyCounts(NOW).latency_ms(0.95)) == (None, None)


def test_one_query_reads_a_series(django_assert_num_queries):
    endpoint = EndpointFactory()
    for hours_ago in range(48):
        stat(endpoint, hours_ago, succeeded=1)
    with django_assert_num_queries(1):
        assert requests_of(hours_of_all(NOW, 48)) == 48


@pytest.mark.django_db(transaction=True)
def test_what_was_sent_is_in_the_figures():
    with Customer() as customer:
        customer.receiver.on("/hook", [500, 200])
        endpoint = customer.endpoint()
        customer.emit_several(2)
        deliver()
        hours = hours_of_endpoint(endpoint.pk, timezone.now())
    assert sum(hour.succeeded for hour in hours) == 1
    assert sum(hour.server_error for hour in hours) == 1
    drawn = requests_figure(hours, key="requests", title="Requests")
    assert "2 requests in 24 hours, 1 of them failed." in drawn
    assert "server error (5xx): 1" in drawn
    assert "95 % within" in latency_figure(hours, key="latency", title="Latency")
    assert "2 requests in 24 hours" in requests_sparkline(hours)


def test_the_hours_of_several_endpoints_are_one_query(django_assert_num_queries):
    first, second, silent = EndpointFactory(), EndpointFactory(), EndpointFactory()
    stat(first, 0, succeeded=2)
    stat(first, 1, succeeded=3, timeout=1)
    stat(second, 1, server_error=5)
    with django_assert_num_queries(1):
        hours = hours_of_each([first.pk, second.pk, silent.pk], NOW, 2)
    assert [[hour.requests for hour in hours[one.pk]] for one in (first, second, silent)] == [[4, 2], [5, 0], [0, 0]]
    assert hours[first.pk] == hours_of_endpoint(first.pk, NOW, 2)


def test_hours_add_up_to_the_days_of_the_reader():
    late = HourlyCounts(datetime(2026, 3, 3, 22, tzinfo=UTC), succeeded=1, latency_sum_ms=10, latency_max_ms=10.0)
    later = HourlyCounts(
        datetime(2026, 3, 3, 23, tzinfo=UTC), succeeded=2, timeout=1, latency_sum_ms=30, latency_max_ms=25.0
    )
    [day] = by_day([late, later], UTC)
    assert (day.start, day.succeeded, day.timeout, day.latency_sum_ms, day.latency_max_ms) == (
        late.start,
        3,
        1,
        40,
        25.0,
    )
    assert [one.succeeded for one in by_day([late, later], ZoneInfo("Europe/Berlin"))] == [1, 2]
