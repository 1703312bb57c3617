"""Row actions in the admin: each needs its own permission, has its effect, and is in the audit log."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry

from tests.customer import Customer, deliver
from tests.factories import DeliveryFactory, EndpointFactory
from tests.staff import action_page, actor, messages_of, on_list, page, text_of, viewer
from webhooks_app.admin.row_actions import MOST_AT_ONCE
from webhooks_app.endpoints.status import disable_endpoint, pause_endpoint
from webhooks_app.models import AuditEntry, Delivery, Endpoint

pytestmark = pytest.mark.django_db

ACTIONS = {
    "endpoint": {
        "pause": "pause_endpoint",
        "resume": "pause_endpoint",
        "disable": "disable_endpoint",
        "enable": "disable_endpoint",
        "test": "test_endpoint",
        "rotate-secret": "rotate_secret",
        "recover": "recover_endpoint",
        "delete": "delete_endpoint",
    },
    "delivery": {"retry": "retry_delivery", "replay": "replay_delivery", "cancel": "cancel_delivery"},
}


def test_each_action_asks_for_its_own_permission():
    delivery = DeliveryFactory()
    rows = {"endpoint": delivery.endpoint, "delivery": delivery}
    for name, actions in ACTIONS.items():
        for action, permission in actions.items():
            others = {needed for group in ACTIONS.values() for needed in group.values()} - {permission}
            url = action_page(rows[name], action)
            assert viewer(*others).get(url).status_code == 403, action
            assert viewer(*others).post(url).status_code == 403, action
            assert viewer(permission).get(url).status_code == 200, action
    assert not AuditEntry.objects.exists()


def test_buttons_and_list_actions_are_those_that_the_person_may_use_and_that_fit():
    delivery = DeliveryFactory()
    shown = text_of(viewer("cancel_delivery", "replay_delivery"), page(delivery))
    assert action_page(delivery, "cancel") in shown
    assert action_page(delivery, "replay") not in shown, "it is pending already"
    assert action_page(delivery, "retry") not in shown, "no permission"
    shown = text_of(viewer("cancel_delivery"), "/admin/webhooks_app/delivery/")
    assert 'value="action_cancel"' in shown
    assert 'value="action_replay"' not in shown


def test_pages_with_forms_let_the_browser_say_where_it_sends_them_from():
    """Under "no-referrer" it would send "Origin: null", and Django would refuse the form."""
    delivery = DeliveryFactory()
    client = viewer("cancel_delivery", "rotate_secret")
    asked = on_list(client, "delivery", "cancel", [delivery])
    for response in (
        client.get(action_page(delivery, "cancel")),
        client.get(action_page(delivery.endpoint, "rotate-secret")),
        asked,
    ):
        assert "<form" in response.content.decode()
        assert response["Referrer-Policy"] == "same-origin"


def test_an_action_without_its_permission_does_nothing_from_a_list_either():
    delivery = DeliveryFactory()
    on_list(viewer(), "delivery", "cancel", [delivery], confirmed="yes")
    assert Delivery.objects.get().status == "pending"


@pytest.mark.django_db(transaction=True)
def test_a_delivery_that_is_sent_again_reaches_the_receiver():
    client = viewer("replay_delivery")
    with Customer() as customer:
        customer.endpoint()
        event = customer.emit()
        deliver()
        delivery = Delivery.objects.get(event=event)
        response = client.post(action_page(delivery, "replay"), follow=True)
        assert messages_of(response) == ["Send again: it is on its way."]
        deliver()
        assert len(customer.received) == 2
        assert "Yes. The receiver accepted it" in text_of(client, page(delivery))
    entry = AuditEntry.objects.get(verb="delivery.replayed")
    assert (entry.actor, entry.target) == (actor(client), delivery.public_id)
    assert LogEntry.objects.get().object_id == str(delivery.pk)


@pytest.mark.django_db(transaction=True)
def test_an_event_that_is_sent_again_reaches_all_its_receivers():
    client = viewer("replay_event")
    with Customer() as customer:
        customer.endpoint("/one")
        customer.endpoint("/two")
        event = customer.emit()
        deliver()
        response = client.post(action_page(event, "replay"), follow=True)
        assert messages_of(response) == ["2 deliveries are sent again."]
        deliver()
        assert sorted(request.path for request in customer.received) == ["/one", "/one", "/two", "/two"]


@pytest.mark.django_db(transaction=True)
def test_a_test_event_is_sent_at_once_and_leads_to_its_delivery():
    client = viewer("test_endpoint")
    with Customer() as customer:
        customer.receiver.on("/hook", 503)
        endpoint = customer.endpoint()
        response = client.post(
            action_page(endpoint, "test"), {"type": "test.happened", "data": '{"n": 5}'}, follow=True
        )
        assert customer.numbers == [5]
    [message] = messages_of(response)
    assert "HTTP 503" in message
    assert "overloaded" in message
    assert response.redirect_chain[-1][0] == page(Delivery.objects.get())


def test_a_test_event_of_a_type_that_needs_data_says_so_beside_the_form(event_types):
    endpoint = EndpointFactory()
    response = viewer("test_endpoint").post(action_page(endpoint, "test"), {"type": "test.checked"})
    assert response.status_code == 200
    assert "give the data to send" in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_what_was_missed_is_recovered():
    client = viewer("recover_endpoint")
    with Customer() as customer:
        endpoint = customer.endpoint()
        disable_endpoint(endpoint)
        customer.emit()
        deliver()
        client_enables = viewer("disable_endpoint")
        assert client_enables.post(action_page(endpoint, "enable"), follow=True).status_code == 200
        response = client.post(action_page(endpoint, "recover"), {"since": "2026-01-01T10:00"}, follow=True)
        assert "1 were made that there had never been" in messages_of(response)[0]
        deliver()
        assert len(customer.received) == 1


@pytest.mark.parametrize("since", ["2999-01-01T10:00", "0001-01-01T00:00", "yesterday", ""])
def test_a_recovery_since_a_time_that_cannot_be_is_refused_or_goes_back_to_the_oldest_event(since):
    response = viewer("recover_endpoint").post(action_page(EndpointFactory(), "recover"), {"since": since}, follow=True)
    assert response.status_code == 200
    assert bool(messages_of(response)) is since.startswith("0001")


def test_destructive_actions_on_a_list_ask_once_more_and_then_tell_how_many_could_not_and_why():
    client = viewer("cancel_delivery")
    waiting, done = DeliveryFactory.create_batch(2), DeliveryFactory(succeeded=True)
    asked = on_list(client, "delivery", "cancel", [*waiting, done])
    assert "This is about 3 rows" in asked.content.decode()
    assert Delivery.objects.filter(status="cancelled").count() == 0
    response = on_list(client, "delivery", "cancel", [*waiting, done], confirmed="yes")
    assert Delivery.objects.filter(status="cancelled").count() == 2
    counted, refused = messages_of(response)
    assert counted == "Cancel: 2 of 3 done."
    assert refused.startswith("1 could not: This delivery has ended already; only a pending one can be cancelled.")
    assert done.public_id in refused
    assert AuditEntry.objects.filter(verb="delivery.cancelled", actor=actor(client)).count() == 2


def test_harmless_actions_on_a_list_are_done_at_once():
    client = viewer("pause_endpoint")
    endpoints = EndpointFactory.create_batch(2)
    for endpoint in endpoints:
        pause_endpoint(endpoint)
    assert messages_of(on_list(client, "endpoint", "resume", endpoints)) == ["Resume: 2 of 2 done."]
    assert set(Endpoint.objects.values_list("status", flat=True)) == {"active"}


def test_more_rows_than_a_person_waits_for_are_refused(monkeypatch):
    monkeypatch.setattr("webhooks_app.admin.row_actions.MOST_AT_ONCE", 2)
    assert MOST_AT_ONCE == 500
    deliveries = DeliveryFactory.create_batch(3)
    response = on_list(viewer("cancel_delivery"), "delivery", "cancel", deliveries, select_across="1", confirmed="yes")
    assert messages_of(response) == ["These are more than 2 at once; nothing was done. Choose fewer."]
    assert not Delivery.objects.filter(status="cancelled").exists()


def test_an_action_that_does_not_fit_says_why_and_changes_nothing():
    delivery = DeliveryFactory(succeeded=True)
    response = viewer("cancel_delivery").post(action_page(delivery, "cancel"))
    assert response.status_code == 200
    assert "only a pending one can be cancelled" in response.content.decode()


@pytest.mark.parametrize(
    ("action", "status", "data"),
    [
        ("pause", "paused", {"reason": "asked for"}),
        ("disable", "disabled", {"reason": "not paid"}),
        ("delete", "deleted", {}),
    ],
)
def test_an_endpoint_is_stopped_with_a_reason(action, status, data):
    endpoint = EndpointFactory()
    client = viewer(ACTIONS["endpoint"][action])
    assert client.post(action_page(endpoint, action), data, follow=True).status_code == 200
    row = Endpoint.objects.get()
    assert (row.status, row.status_reason) == (status, data.get("reason", ""))
    assert AuditEntry.objects.get().actor == actor(client)
