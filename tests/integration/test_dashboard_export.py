"""The delivery log as a file."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import DeliveryFactory, EndpointFactory, EventFactory
from tests.visitors import visiting
from webhooks_app.dashboard.pages import exports
from webhooks_app.deliveries import log as report
from webhooks_app.models import Delivery, Tenant
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]


def file_of(tenant: Tenant, kind: str, **query: str) -> str:
    answer = visiting(tenant, Role.VIEWER).get(f"/webhooks/deliveries.{kind}", query)
    assert answer.status_code == 200
    assert f'.{kind}"' in answer["Content-Disposition"]
    return b"".join(answer).decode()


def table(tenant: Tenant, **query: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file_of(tenant, "csv", **query), newline="")))


def listed(tenant: Tenant, **query: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file_of(tenant, "json", **query))
    return found


def test_both_say_the_same_of_each_delivery_newest_first() -> None:
    endpoint = EndpointFactory()
    failed, pending = DeliveryFactory(endpoint=endpoint, exhausted=True), DeliveryFactory(endpoint=endpoint)
    DeliveryFactory()
    rows = listed(endpoint.tenant)["deliveries"]
    assert [row["delivery"] for row in rows] == [pending.public_id, failed.public_id]
    assert rows[1]["status"] == "exhausted"
    assert rows[1]["last_status"] == 500
    assert rows[1]["url"] == endpoint.url
    assert (rows[1]["next_attempt_at"], rows[0]["completed_at"]) == (None, None)
    as_texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    assert table(endpoint.tenant) == as_texts


def test_the_filters_are_those_of_the_log() -> None:
    row = DeliveryFactory(exhausted=True)
    assert len(table(row.tenant, status="exhausted")) == 1
    assert table(row.tenant, status="succeeded") == []
    assert listed(row.tenant, type="no.such") == {"deliveries": [], "next": None}


def test_a_filter_that_makes_no_sense_leads_to_the_log_which_names_it() -> None:
    answer = visiting(DeliveryFactory().tenant).get("/webhooks/deliveries.csv", {"since": "soon"}, follow=True)
    assert answer.redirect_chain == [("/webhooks/deliveries?since=soon", 302)]
    assert answer.status_code == 422


@pytest.mark.parametrize("start", list("=+-@\t\r"))
def test_no_cell_is_a_formula(start: str) -> None:
    event = EventFactory(type=f"{start}cmd|' /C calc'!A0")
    row = DeliveryFactory(event=event, endpoint__tenant=event.tenant)
    [cells] = table(row.tenant)
    assert cells["event_type"] == f"'{event.type}"
    assert listed(row.tenant)["deliveries"][0]["event_type"] == event.type


def test_no_payload_is_in_it() -> None:
    event = EventFactory(payload={"card": "4111"})
    row = DeliveryFactory(event=event, endpoint__tenant=event.tenant)
    assert "4111" not in file_of(row.tenant, "csv") + file_of(row.tenant, "json")


def test_a_long_one_is_cut_and_tells_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MOST", 3)
    monkeypatch.setattr(report, "_AT_ONCE", 2)
    endpoint = EndpointFactory()
    ids = [DeliveryFactory(endpoint=endpoint).public_id for _ in range(5)][::-1]
    first = listed(endpoint.tenant)
    assert [row["delivery"] for row in first["deliveries"]] == ids[:3]
    rest = listed(endpoint.tenant, before=first["next"])
    assert [row["delivery"] for row in rest["deliveries"]] == ids[3:]
    assert rest["next"] is None
    assert [row["delivery"] for row in table(endpoint.tenant, before=ids[2])] == ids[3:]


def test_what_is_rare_is_looked_for_in_several_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "LOOKED_AT", 2)
    endpoint = EndpointFactory()
    rare = DeliveryFactory(endpoint=endpoint, succeeded=True)
    for _ in range(5):
        DeliveryFactory(endpoint=endpoint)
    assert [row["delivery"] for row in table(endpoint.tenant, status="succeeded")] == [rare.public_id]


def test_it_is_read_in_parts_with_a_few_queries_each() -> None:
    endpoint = EndpointFactory()
    client = visiting(endpoint.tenant)

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            list(client.get("/webhooks/deliveries.csv"))
        return len(seen)

    DeliveryFactory(endpoint=endpoint)
    few = queries()
    for _ in range(20):
        DeliveryFactory(endpoint=EndpointFactory(tenant=endpoint.tenant))
    assert queries() == few
    assert Delivery.objects.count() == 21
