"""From whatever support has in hand to the row: ids, URLs, the host's own id, a customer. And filters by time and state."""

from __future__ import annotations

import html
import re
import uuid
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory, EventFactory, TenantFactory
from tests.staff import page, pages, superuser, text_of
from webhooks_app.models import Attempt, Delivery, Endpoint, Event, Tenant
from webhooks_app.models.ids import first_id, new_id

pytestmark = pytest.mark.django_db


@pytest.fixture
def delivery() -> Delivery:
    """One of a customer's, among those of others."""
    endpoint = EndpointFactory(
        tenant=TenantFactory(uid="acme:1", name="Acme Ltd"),
        url="https://hooks.acme.example/in",
        description="their CRM",
    )
    event = EventFactory(tenant=endpoint.tenant, subject="order-17")
    found = DeliveryFactory(endpoint=endpoint, event=event, exhausted=True)
    AttemptFactory(delivery=found)
    for _ in range(3):
        AttemptFactory(delivery=DeliveryFactory(succeeded=True))
    return found


def found(name: str, **asked: str) -> list:
    return list(superuser().get(pages(name), asked).context["cl"].result_list)


def in_hand(delivery: Delivery) -> dict[str, str]:
    return {
        "delivery": delivery.public_id,
        "bare delivery": str(delivery.pk),
        "event": delivery.event.public_id,
        "bare event": str(delivery.event_id),
        "endpoint": delivery.endpoint.public_id,
        "bare endpoint": delivery.endpoint_id.hex,
        "tenant": str(delivery.tenant_id),
        "subject": "order-17",
        "URL": "hooks.acme.example",
        "whole URL": "https://hooks.acme.example/in",
        "description": "their CRM",
        "uid": "acme:1",
        "name": "acme l",
        "pasted": f"  {delivery.public_id} ",
    }


def test_a_delivery_is_found_by_all_that_people_have_in_hand(delivery):
    for what, text in in_hand(delivery).items():
        assert found("delivery", q=text) == [delivery], what


def test_its_requests_are_found_in_the_same_ways(delivery):
    attempt = Attempt.objects.get(delivery=delivery)
    for what, text in {**in_hand(delivery), "attempt": str(attempt.pk)}.items():
        assert found("attempt", q=text) == [attempt], what


def test_its_event_is_found(delivery):
    for what in ("delivery", "event", "bare event", "tenant", "subject", "uid", "name"):
        assert found("event", q=in_hand(delivery)[what]) == [delivery.event], what


def test_its_endpoint_and_tenant_are_found(delivery):
    for what in ("endpoint", "bare endpoint", "tenant", "URL", "description", "uid", "name"):
        assert found("endpoint", q=in_hand(delivery)[what]) == [delivery.endpoint], what
    for what in ("tenant", "uid", "name"):
        assert found("tenant", q=in_hand(delivery)[what]) == [delivery.tenant], what


def test_the_hosts_own_id_may_look_like_one_of_ours(delivery):
    event = EventFactory(tenant=delivery.tenant, subject=str(new_id()))
    other = DeliveryFactory(endpoint=delivery.endpoint, event=event)
    assert found("event", q=event.subject) == [event]
    assert found("delivery", q=event.subject) == [other]


@pytest.mark.parametrize("text", ["nothing-like-it", "evt_1", "%", "'; --", "\x00", "x" * 5000, "0" * 32])
def test_what_means_nothing_finds_nothing(text, delivery):
    for name in ("delivery", "attempt", "event", "endpoint", "tenant", "apikey", "endpointqueue"):
        response = superuser().get(pages(name), {"q": text})
        assert response.status_code == 200
        assert "\x00" in text or response.context["cl"].result_count == 0, name


def test_lists_lead_along_from_the_tenant_to_the_requests_and_back(delivery):
    client = superuser()
    tenant, endpoint, event = delivery.tenant, delivery.endpoint, delivery.event
    for start, *targets in ((tenant, endpoint), (endpoint, tenant, delivery), (delivery, event, endpoint, tenant),
                            (event, delivery, endpoint, tenant), (Attempt.objects.get(delivery=delivery), delivery)):  # fmt: skip
        shown = text_of(client, page(start))
        for target in targets:
            assert page(target) in shown, (start, target)
    assert f"{pages('delivery')}?endpoint__exact={endpoint.pk}" in text_of(client, page(endpoint))
    shown = text_of(client, f"{pages('delivery')}?endpoint__exact={endpoint.pk}")
    assert endpoint.public_id in shown, "the heading says whose they are"


def test_a_list_is_narrowed_by_what_it_belongs_to(delivery):
    for name, value in (
        ("tenant", delivery.tenant_id),
        ("endpoint", delivery.endpoint_id),
        ("event", delivery.event_id),
    ):
        assert found("delivery", **{f"{name}__exact": str(value)}) == [delivery]
    assert found("attempt", delivery__exact=str(delivery.pk)) == list(delivery.attempt_rows.all())
    assert found("event", tenant__exact=str(delivery.tenant_id)) == [delivery.event]


def test_times_are_those_of_the_ids():
    now = timezone.now()
    ages = {
        "new": timedelta(minutes=1),
        "today": timedelta(hours=3),
        "older": timedelta(days=3),
        "oldest": timedelta(days=20),
    }
    rows = {name: EventFactory(id=first_id(now - age)) for name, age in ages.items()}
    assert found("event", made="hour") == [rows["new"]]
    assert found("event", made="day") == [rows["new"], rows["today"]]
    assert found("event", made="week") == [rows["new"], rows["today"], rows["older"]]
    day = timezone.localtime(now - ages["oldest"]).date().isoformat()
    assert found("event", made=day) == [rows["oldest"]]
    assert day[:4] in text_of(superuser(), f"{pages('event')}?made={day}")


def test_dates_lead_from_years_to_days_by_the_ids_alone():
    for moment in ("2024-02-29T12:00", "2025-11-03T10:00", "2025-11-03T23:30", "2025-12-31T23:59"):
        EventFactory(id=first_id(timezone.make_aware(datetime.fromisoformat(moment))))
    client = superuser()

    def steps(period: str) -> list[str]:
        """The way back, and the periods that are offered."""
        page = client.get(pages("event"), {"made": period} if period else {}).content.decode()
        bar = re.search(r'<nav class="toplinks".*?</nav>', page, re.DOTALL)[0]
        return [html.unescape(link) for link in re.findall(r'href="\?([^"]*)"', bar)]

    years = [f"made={year}" for year in range(2024, timezone.localdate().year + 1)]
    assert steps("") == years
    assert steps("2024") == ["", *(f"made=2024-{month:02}" for month in range(2, 13))], "none before the oldest"
    assert steps("2025-11") == ["made=2025", *(f"made=2025-11-{day:02}" for day in range(1, 31))]
    assert steps("2025-11-03") == ["made=2025-11"]
    counts = {"2024": 1, "2024-02": 1, "2024-02-29": 1, "2025": 3, "2025-11": 2, "2025-12": 1, "2025-10": 0}
    assert {period: len(found("event", made=period)) for period in counts} == counts
    assert len(found("event", made="2025-11-03")) == 2, "days are the reader's"
    everything = {"made": "2025-11", "tenant__exact": str(uuid.uuid4()), "p": "1"}
    kept = client.get(pages("event"), everything).content.decode()
    assert re.search(r'href="\?made=2025-11-01&amp;tenant__exact=[-0-9a-f]{36}"', kept), (
        "other filters stay, the page does not"
    )


def test_where_all_is_of_one_day_there_is_a_day_to_choose():
    EventFactory()
    assert f"made={timezone.localdate().isoformat()}" in text_of(superuser(), pages("event"))


def test_a_list_without_rows_has_no_dates():
    assert "toplinks" not in text_of(superuser(), pages("event"))


def test_a_status_in_a_year_is_about_its_last_day(delivery):
    def of(moment: str) -> Delivery:
        made = timezone.make_aware(datetime.fromisoformat(moment))
        return DeliveryFactory(id=first_id(made), endpoint=delivery.endpoint, exhausted=True)

    first, last = of("2024-05-01T10:00"), of("2024-12-31T10:00")
    assert found("delivery", status="exhausted", made="2024") == [last]
    assert found("delivery", status="exhausted", made="2024-05") == []
    assert found("delivery", status="exhausted", made="2024-05-01") == [first]
    assert found("delivery", status="exhausted", made="2024", endpoint__exact=str(delivery.endpoint_id)) == [
        last,
        first,
    ]
    assert "in the last 24 hours of 2024" in text_of(superuser(), f"{pages('delivery')}?made=2024")


def test_a_status_alone_is_about_the_last_day_and_with_an_endpoint_about_all_time(delivery):
    old = DeliveryFactory(id=first_id(timezone.now() - timedelta(days=3)), endpoint=delivery.endpoint, exhausted=True)
    assert found("delivery", status="exhausted") == [delivery]
    assert found("delivery", status="exhausted", endpoint__exact=str(delivery.endpoint_id)) == [delivery, old]
    assert found("delivery", status="exhausted", made="week") == [delivery, old]
    assert "in the last 24 hours" in text_of(superuser(), pages("delivery"))


def test_events_by_their_rare_states(delivery):
    unmade, quarantined = EventFactory(fanned_out_at=None), EventFactory(quarantine_reason="why")
    assert found("event", state="unmade") == [unmade]
    assert found("event", state="quarantined") == [quarantined]


def test_an_event_whose_tenant_has_no_row_yet_is_there():
    event = EventFactory()
    Tenant.objects.all().delete()
    assert found("event") == [event]
    assert event.tenant_uid in text_of(superuser(), page(event))


def test_a_delivery_whose_endpoint_and_event_were_removed_is_still_there():
    delivery = DeliveryFactory()
    Event.objects.all().delete()
    Endpoint.objects.all().delete()
    assert found("delivery") == [delivery]
    assert "it will not be sent" in text_of(superuser(), page(delivery))
