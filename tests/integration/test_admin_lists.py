"""What staff read in the admin's lists: the answer without a click, in the words that customers read, too."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tests.factories import (
    AttemptFactory,
    DeliveryFactory,
    EndpointFactory,
    EventFactory,
    EventTypeFactory,
    NotificationFactory,
    TenantFactory,
)
from tests.staff import page, pages, staff, superuser, text_of, viewer
from webhooks_app.core.catalogue import registry
from webhooks_app.models import Attempt, EndpointQueue, HourlyStat, Secret, Subscription

pytestmark = pytest.mark.django_db

PLAYGROUND = "playground:200"


def columns(text: str) -> list[str]:
    """The cells of a list's first row, as read."""
    [row] = re.findall(r'<table id="result_list">.*?<tbody>.*?(<tr.*?</tr>)', text, re.DOTALL)
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
    return [re.sub(r"<[^>]*>", "", cell).strip() for cell in cells]


def failing_endpoint(**more):
    now = timezone.now()
    return EndpointFactory(queue__consecutive_failures=3, queue__failing_since=now - timedelta(hours=2), **more)


def test_a_delivery_in_the_list_tells_when_what_for_whom_and_what_the_last_answer_was():
    endpoint = EndpointFactory(tenant=TenantFactory(uid="acme:1", name="Acme Ltd"), url="https://acme.example/in")
    event = EventFactory(tenant=endpoint.tenant, subject="order-17", type="message.sent")
    delivery = DeliveryFactory(endpoint=endpoint, event=event, exhausted=True)
    text = text_of(superuser(), pages("delivery"))
    made, *rest = columns(text)[1:]
    assert re.fullmatch(r"\d{1,2} \w+\.? \d\d:\d\d:\d\d", made)
    assert rest == ["failed", "Acme Ltd", "https://acme.example/in", "message.sent", "order-17", "10", "500"]
    assert page(delivery) in text


@pytest.mark.parametrize(
    ("outcome", "status", "words"),
    [("timeout", None, "No answer in time"), ("", None, "–"), ("succeeded", 204, "204")],
)
def test_a_delivery_without_an_answer_says_why(outcome, status, words):
    DeliveryFactory(attempts=1, last_outcome=outcome, last_status=status)
    assert columns(text_of(superuser(), pages("delivery")))[-1] == words


def test_a_long_url_is_cut_in_lists_and_whole_beside_the_pointer():
    url = "https://acme.example/" + "very-long/" * 20
    DeliveryFactory(endpoint=EndpointFactory(url=url))
    text = text_of(superuser(), pages("delivery"))
    assert len(columns(text)[4]) <= 50
    assert f'title="{url}"' in text


def test_a_request_in_the_list_tells_its_outcome_in_the_words_of_the_customers():
    AttemptFactory(outcome="timeout", status=None)
    text = text_of(superuser(), pages("attempt"))
    assert "No answer in time" in columns(text)
    assert ">timeout<" not in text


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_state_has_one_word_for_customers_and_staff(language, settings):
    settings.LANGUAGE_CODE = language
    word = {"en": "failed", "fr": "échouée"}[language]
    delivery, client = DeliveryFactory(exhausted=True), superuser()
    NotificationFactory(endpoint=delivery.endpoint, delivery_id=delivery.pk)
    assert "exhausted" not in re.sub(r"<[^>]*>", "", text_of(client, pages("notification")))
    for url in (pages("delivery"), page(delivery), page(delivery.event), page(delivery.endpoint)):
        text = text_of(client, url)
        assert word in text, url
        assert not re.search(r">[^<]*\bexhausted\b", text), url
    assert "?status=exhausted" in text_of(client, pages("delivery")), "URLs keep the stored value"


def test_an_endpoint_that_fails_is_called_failing_wherever_its_state_is_shown():
    endpoint, client = failing_endpoint(), superuser()
    operations = reverse("admin:webhooks_app_operations")
    for url in (pages("endpoint"), page(endpoint), page(endpoint.tenant), operations):
        text = text_of(client, url)
        assert "failing</span>" in text, url
        assert "active</span>" not in text, url


def test_a_paused_endpoint_is_paused_even_where_it_failed_before():
    failing_endpoint(status="paused")
    text = text_of(superuser(), pages("endpoint"))
    assert "paused</span>" in text
    assert "failing</span>" not in text


def test_the_list_of_endpoints_tells_how_each_is_doing_and_is_narrowed_to_the_failing():
    good = EndpointFactory(url="https://good.example/", queue__last_success_at=timezone.now())
    bad = failing_endpoint(url="https://bad.example/")
    failing_endpoint(url="https://off.example/", status="disabled")
    client = superuser()
    shown = client.get(pages("endpoint"), {"status": "failing"})
    assert list(shown.context["cl"].result_list) == [bad]
    assert columns(shown.content.decode())[1:4] == ["https://bad.example/", str(bad.tenant), "failing"]
    assert "last success" in shown.content.decode().lower()
    assert set(client.get(pages("endpoint"), {"status": "active"}).context["cl"].result_list) == {good, bad}
    assert client.get(f"{pages('endpoint')}?status__exact=disabled").status_code == 200, "an address from before"


def test_lists_of_endpoints_ask_no_query_a_row():
    client = superuser()
    tenant = TenantFactory()

    def queries(url: str) -> int:
        with CaptureQueriesContext(connection) as seen:
            client.get(url)
        return len(seen)

    failing_endpoint(tenant=tenant)
    urls = (pages("endpoint"), page(tenant), reverse("admin:webhooks_app_operations"))
    few = [queries(url) for url in urls]
    for _ in range(4):
        failing_endpoint(tenant=tenant)
        failing_endpoint()
    assert [queries(url) for url in urls] == few


def test_the_playground_has_its_name_and_not_its_inner_address():
    endpoint = EndpointFactory(url=PLAYGROUND)
    delivery = DeliveryFactory(endpoint=endpoint, exhausted=True)
    attempt = AttemptFactory(delivery=delivery, url=PLAYGROUND)
    stat = HourlyStat.objects.create(endpoint=endpoint, hour=timezone.now(), succeeded=1)
    NotificationFactory(endpoint=endpoint, delivery_id=delivery.pk)
    secret, subscription = Secret.objects.get(endpoint=endpoint), Subscription.objects.get(endpoint=endpoint)
    queue, client = EndpointQueue.objects.get(pk=endpoint.pk), superuser()
    rows = (delivery, attempt, stat, secret, subscription, queue)
    lists = [pages(row._meta.model_name) for row in (endpoint, *rows)]
    narrowed = f"{pages('delivery')}?endpoint__exact={endpoint.pk}"
    others = [page(endpoint.tenant), page(delivery.event), page(endpoint), narrowed]
    for url in (*lists, *(page(row) for row in rows), *others):
        text = re.sub(r'<input[^>]*name="url"[^>]*>', "", text_of(client, url))
        assert PLAYGROUND not in text, url
        assert "Playground" in text, url


def test_a_search_for_a_delivery_that_there_is_not_leads_to_the_events():
    EventFactory(subject="order-17")
    shown = text_of(superuser(), pages("delivery"), q="order-17")
    assert "an event that no endpoint wanted has none" in shown.lower()
    assert f"{pages('event')}?q=order-17" in shown
    assert f"{pages('event')}?q=order-17" not in text_of(staff("view_delivery"), pages("delivery"), q="order-17")
    assert f"{pages('event')}?q=" not in text_of(superuser(), pages("delivery"))
    delivery = DeliveryFactory()
    assert f"{pages('event')}?q=" not in text_of(superuser(), pages("delivery"), q=delivery.public_id)


def test_a_list_that_is_capped_offers_not_to_show_all():
    delivery, client = DeliveryFactory(), superuser()
    shown = text_of(client, pages("delivery"), q=delivery.public_id)
    assert "1 result" in shown
    assert "Show all" not in shown
    assert "Show all" in text_of(client, pages("tenant"), q="customer")


def test_a_time_that_is_none_narrows_nothing_and_says_so():
    delivery, client = DeliveryFactory(), superuser()
    response = client.get(pages("delivery"), {"made": "1999-13"})
    assert list(response.context["cl"].result_list) == [delivery]
    [message] = response.context["messages"]
    assert "1999-13" in str(message)
    assert "nothing" in str(message)
    for made in ("1999", "1999-12", "hour", ""):
        assert not list(client.get(pages("delivery"), {"made": made}).context["messages"]), made


def test_the_list_of_event_types_says_where_the_others_are():
    text = text_of(superuser(), pages("eventtype"))
    assert f"{len(registry)} more are declared in code" in text
    EventTypeFactory(name="staff.added")
    assert f"{len(registry)} more are declared in code" in text_of(superuser(), pages("eventtype"))


def test_that_payloads_are_hidden_is_said_once():
    delivery = DeliveryFactory(attempts=3)
    for number in (1, 2, 3):
        AttemptFactory(delivery=delivery, number=number)
    text = text_of(viewer(), page(delivery))
    assert text.count("lacks the permission to see payloads") == 1
    assert Attempt.objects.count() == 3
    assert "lacks the permission" not in text_of(superuser(), page(delivery))


def test_fields_of_an_endpoint_are_called_as_on_the_customers_pages():
    endpoint = EndpointFactory(fifo=True)
    for client in (superuser(), viewer()):
        text = text_of(client, page(endpoint))
        for label in ("URL", "Strict order", "Requests at once", "Rate limit"):
            assert f"{label}:" in text or f">{label}</label>" in text, label
        assert "Max in flight" not in text
        assert "Because:" not in text
    off = EndpointFactory(status="disabled", status_reason="gone")
    assert "Because:" in text_of(superuser(), page(off))


def test_pages_are_named_in_the_readers_language(settings):
    settings.LANGUAGE_CODE = "fr"
    delivery, client = DeliveryFactory(exhausted=True), superuser()
    listed, shown = text_of(client, pages("delivery")), text_of(client, page(delivery))
    for text in (listed, shown):
        assert "deliveries" not in re.sub(r"<nav.*?</nav>", "", text, flags=re.DOTALL).lower().replace(
            "deliveries_", ""
        )
        assert "Livraisons" in text
    assert "Affichage de livraison" in shown
    assert "Sequence" not in shown


def test_the_secret_is_rotated_here_as_there():
    endpoint = EndpointFactory()
    text = text_of(superuser(), page(endpoint))
    assert "Rotate the secret" in text
    assert "Replace the secret" not in text
