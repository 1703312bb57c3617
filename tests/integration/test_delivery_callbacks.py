"""Events with a callback URL of their own: to that URL alone, signed with the tenant's account secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from standardwebhooks.webhooks import Webhook

from tests.customer import Customer, deliver, make_due, statuses, the_delivery
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.exceptions import URLNotAllowed
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, EndpointStatus, Event, Notification, Secret

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


def paths(customer: Customer) -> list[str]:
    return [request.path for request in customer.received]


def test_the_event_goes_to_its_callback_url_and_not_to_the_endpoints(customer):
    customer.endpoint("/endpoint")
    customer.emit(callback_url=customer.receiver.url("/callback?message=1"))
    customer.emit()
    deliver()
    assert sorted(paths(customer)) == ["/callback?message=1", "/endpoint"]


def test_it_is_signed_with_the_account_secret_that_the_tenant_was_shown(customer):
    secret = rotate_secret(customer.tenant).text
    customer.endpoint("/endpoint")
    customer.emit(callback_url=customer.receiver.url("/callback"))
    deliver()
    [request] = customer.received
    Webhook(secret).verify(request.body, dict(request.headers))


def test_a_new_account_secret_overlaps_with_the_one_before(customer):
    first = rotate_secret(customer.tenant).text
    second = rotate_secret(customer.tenant).text
    customer.emit(callback_url=customer.receiver.url("/callback"))
    deliver()
    [request] = customer.received
    for secret in (first, second):
        Webhook(secret).verify(request.body, dict(request.headers))


def test_a_tenant_that_never_asked_for_a_secret_gets_one_all_the_same(customer):
    customer.emit(callback_url=customer.receiver.url("/a"))
    customer.emit(callback_url=customer.receiver.url("/b"))
    deliver()
    [secret] = Secret.objects.filter(endpoint=None)
    for request in customer.received:
        Webhook(secret.reveal()).verify(request.body, dict(request.headers))


def test_each_url_has_one_hidden_endpoint_with_a_queue_of_its_own(customer):
    for path in ("/a", "/b", "/a"):
        customer.emit(callback_url=customer.receiver.url(path))
    deliver()
    customer.emit(callback_url=customer.receiver.url("/b"))
    deliver()
    assert sorted(paths(customer)) == ["/a", "/a", "/b", "/b"]
    assert Endpoint.objects.filter(kind="callback").count() == EndpointQueue.objects.count() == 2
    assert not Endpoint.objects.visible().exists()


def test_it_does_not_count_against_the_endpoints_that_a_plan_allows(customer):
    customer.tenant.max_endpoints = 1
    customer.tenant.save()
    customer.emit(callback_url=customer.receiver.url("/a"))
    deliver()
    assert customer.endpoint("/endpoint").pk


def test_a_failing_callback_is_retried_and_held_back_alone(customer):
    customer.receiver.on("/slow", [503, 200])
    customer.emit(callback_url=customer.receiver.url("/slow"))
    customer.emit(callback_url=customer.receiver.url("/good"))
    deliver()
    assert Delivery.objects.get(endpoint__url__endswith="/good").status == "succeeded"
    assert Delivery.objects.get(endpoint__url__endswith="/slow").status == "pending"
    make_due()
    deliver()
    assert statuses() == {"succeeded"}


def test_a_callback_url_is_never_switched_off_since_each_event_names_it_anew(customer):
    customer.receiver.on("/gone", [410, 200])
    customer.emit(callback_url=customer.receiver.url("/gone"))
    deliver()
    assert the_delivery().status == "exhausted"
    assert Endpoint.objects.get().status == EndpointStatus.ACTIVE
    assert not Notification.objects.filter(kind="disabled").exists()
    event = customer.emit(callback_url=customer.receiver.url("/gone"))
    deliver()
    assert the_delivery(event).status == "succeeded"


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "http://10.0.0.1/hook", "http://user:pw@example.com/", "nonsense"]
)
def test_a_callback_url_is_checked_like_any_other(customer, url):
    with pytest.raises(URLNotAllowed):
        customer.emit(callback_url=url)
    assert not Event.objects.exists()


def test_an_address_that_became_forbidden_is_not_reached(customer, settings):
    customer.emit(callback_url=customer.receiver.url("/callback"))
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ALLOWED_NETWORKS": []}
    deliver()
    assert customer.received == []
    assert the_delivery().last_outcome == "address_not_allowed"
