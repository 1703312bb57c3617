"""Who is notified of what by e-mail, when, and how often."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from tests.factories import EndpointFactory, NotificationFactory, TenantFactory
from webhooks_app import registry
from webhooks_app.endpoints.status import disable_endpoint
from webhooks_app.models import Event, Notification, NotificationKind
from webhooks_app.models.ids import public_id
from webhooks_app.notifications import emails, operational_events
from webhooks_app.notifications.send import send_notifications

pytestmark = pytest.mark.django_db

NOW = timezone.now()


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.ADMINS = []
    settings.WEBHOOKS = {**settings.WEBHOOKS, "DASHBOARD": {"URL": "https://app.example.com/webhooks/"}}


def unsent() -> int:
    return Notification.objects.unsent().count()


def test_the_first_exhausted_delivery_is_sent_at_once_in_plain_words():
    endpoint = EndpointFactory(
        url="https://receiver.example.com/hook?token=abc",
        description="Shop",
        queue__failing_since=NOW - timedelta(days=1),
    )
    notification = NotificationFactory(
        endpoint=endpoint, delivery_id=endpoint.pk, count=2, reason="address_not_allowed"
    )
    assert send_notifications(NOW) == 1

    email = mail.outbox[0]
    assert email.to == [endpoint.tenant.email]
    assert email.subject == "Webhooks could not be delivered"
    assert email.extra_headers["Auto-Submitted"] == "auto-generated"
    for body in (email.body, email.alternatives[0][0]):
        assert "https://receiver.example.com/hook" in body
        assert "Shop" in body
        assert "2 deliveries were given up" in body
        assert f"https://app.example.com/webhooks/endpoints/{endpoint.public_id}" in body
        assert f"https://app.example.com/webhooks/deliveries/{public_id('dlv', endpoint.pk)}" in body
        assert "failing since" in body
        assert "What to do" in body
        assert "token" not in body, "the query may be a secret"
        assert "address_not_allowed" not in body, "what the network said is for staff"
    notification.refresh_from_db()
    assert (notification.sent_at, notification.claimed_until) == (NOW, None)
    assert send_notifications(NOW) == 0


def test_further_exhausted_ones_are_collected_by_the_hour():
    endpoint = EndpointFactory()
    NotificationFactory(endpoint=endpoint)
    send_notifications(NOW)
    NotificationFactory.create_batch(3, endpoint=endpoint)
    assert send_notifications(NOW + timedelta(minutes=59)) == 0
    assert unsent() == 3
    assert send_notifications(NOW + timedelta(minutes=61)) == 1
    assert "3 deliveries" in mail.outbox[1].body


def test_another_tenants_first_one_does_not_wait():
    NotificationFactory()
    send_notifications(NOW)
    NotificationFactory()
    assert send_notifications(NOW + timedelta(minutes=1)) == 1


@pytest.mark.parametrize("kind", [NotificationKind.DISABLED, NotificationKind.RECOVERED])
def test_disabled_and_recovered_are_sent_at_once_with_what_was_collected(kind):
    endpoint = EndpointFactory()
    NotificationFactory(endpoint=endpoint)
    send_notifications(NOW)
    NotificationFactory(endpoint=endpoint)
    NotificationFactory(endpoint=endpoint, kind=kind, reason="gone" if kind == NotificationKind.DISABLED else "")
    assert send_notifications(NOW + timedelta(minutes=1)) == 1
    assert unsent() == 0
    body = mail.outbox[1].body
    assert "1 delivery was given up" in body
    assert ("410 Gone" in body) is (kind == NotificationKind.DISABLED)
    assert ("works again" in body) is (kind == NotificationKind.RECOVERED)


def test_a_tenants_notifications_are_one_email():
    tenant = TenantFactory()
    for endpoint in EndpointFactory.create_batch(3, tenant=tenant):
        NotificationFactory(endpoint=endpoint)
    assert send_notifications(NOW) == 1
    assert mail.outbox[0].subject == "News about 3 of your webhook endpoints"


def test_staff_get_one_email_about_all_tenants(settings):
    settings.WEBHOOKS = {
        **settings.WEBHOOKS,
        "NOTIFICATIONS": {"STAFF_EMAILS": ["ops@example.com"], "FROM_EMAIL": "hooks@example.com"},
    }
    rows = [NotificationFactory(), NotificationFactory(), NotificationFactory(endpoint__tenant__email="")]
    assert send_notifications(NOW) == 3
    staff = mail.outbox[2]
    assert (staff.to, staff.from_email) == (["ops@example.com"], "hooks@example.com")
    for row in rows:
        assert row.tenant.uid in staff.body
    assert "no e-mail address" in staff.body
    assert unsent() == 0


@pytest.mark.parametrize("admins", [[("Ops", "ops@example.com")], ["ops@example.com"]])
def test_without_staff_addresses_the_admins_are_staff(settings, admins):
    settings.ADMINS = admins
    NotificationFactory(endpoint__tenant__email="")
    assert send_notifications(NOW) == 1
    assert mail.outbox[0].to == ["ops@example.com"]


def test_a_notification_without_any_address_is_marked_as_sent():
    NotificationFactory(endpoint__tenant__email="")
    assert send_notifications(NOW) == 0
    assert unsent() == 0


@pytest.mark.parametrize("with_another", [False, True], ids=["alone", "beside another"])
def test_a_notification_of_an_unknown_kind_is_left_alone(with_another, caplog):
    strange = NotificationFactory(kind=f"strange {with_another}")
    if with_another:
        NotificationFactory(endpoint_id=strange.endpoint_id, tenant=strange.tenant)
    for _ in range(2):
        send_notifications(NOW)
    assert list(Notification.objects.unsent()) == [strange]
    assert len(mail.outbox) == with_another
    assert caplog.text.count("unknown kind") == 1


def test_no_email_and_no_event_takes_an_unknown_kind_for_good_news(settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "NOTIFICATIONS": {"OPERATIONS_TENANT": "us"}}
    strange = NotificationFactory(kind="strange")
    assert emails.endpoint_summaries([strange]) == []
    assert operational_events.publish(strange.tenant, [strange]) == 0


def test_a_line_break_in_a_name_does_not_stop_the_email():
    endpoint = EndpointFactory(tenant=TenantFactory(name="A\r\nBcc: x@example.com"), description="a\nb")
    disable_endpoint(endpoint, "because\r\nof this")
    assert send_notifications(NOW) == 1


def test_what_others_wrote_adds_no_lines_to_an_e_mail(settings):
    settings.ADMINS = [("Staff", "staff@example.com")]
    forged = "x\n\n== another ==\nPay here: https://evil.example"
    endpoint = EndpointFactory(tenant=TenantFactory(name=forged), description=forged)
    disable_endpoint(endpoint, forged)
    NotificationFactory(endpoint=endpoint, kind="disabled", reason=forged)
    assert send_notifications(NOW) == 2
    assert len(mail.outbox) == 2
    for email in mail.outbox:
        assert "Pay here" in email.body
        assert not [line for line in email.body.splitlines() if line.startswith(("== another", "Pay here"))]


def test_html_in_a_description_is_text():
    NotificationFactory(endpoint=EndpointFactory(description="<script>x</script>"))
    send_notifications(NOW)
    assert "<script>" not in mail.outbox[0].alternatives[0][0]
    assert "<script>" in mail.outbox[0].body


def test_a_deleted_endpoints_notification_can_still_be_sent():
    notification = NotificationFactory()
    Notification.objects.filter(pk=notification.pk).update(endpoint_id=notification.pk)
    assert send_notifications(NOW) == 1


class TestOperationalEvents:
    @pytest.fixture(autouse=True)
    def operator(self, settings):
        settings.WEBHOOKS = {**settings.WEBHOOKS, "NOTIFICATIONS": {"OPERATIONS_TENANT": "us"}}
        registry.register(*operational_events.EVENT_TYPES)
        yield
        registry.unregister([type_.name for type_ in operational_events.EVENT_TYPES])

    def test_are_sent_with_the_email(self):
        endpoint = EndpointFactory(tenant__email="anna@customer.example")
        disable_endpoint(endpoint, "gone")
        send_notifications(NOW)
        send_notifications(NOW)
        event = Event.objects.get()
        assert (event.tenant_uid, event.type) == ("us", "webhooks.endpoint_disabled")
        data = json.loads(event.data)
        assert (data["tenant"], data["endpoint"]) == (endpoint.tenant.uid, endpoint.public_id)
        assert (data["url"], data["reason"]) == (endpoint.url, "gone")

    @pytest.mark.parametrize("kind", NotificationKind.values)
    def test_exist_for_every_kind_of_notification(self, kind):
        endpoint = EndpointFactory()
        NotificationFactory(endpoint_id=endpoint.pk, tenant=endpoint.tenant, kind=kind, count=3)
        send_notifications(NOW)
        assert json.loads(Event.objects.get().data)["count"] == 3

    def test_are_not_made_of_the_operators_own_troubles(self):
        disable_endpoint(EndpointFactory(tenant__uid="us"), "gone")
        send_notifications(NOW)
        assert not Event.objects.exists()

    def test_that_cannot_be_made_neither_lose_nor_repeat_the_e_mail(self, caplog):
        registry.unregister([type_.name for type_ in operational_events.EVENT_TYPES])
        disable_endpoint(EndpointFactory(), "gone")
        assert send_notifications(NOW) == 1
        assert unsent() == 0
        assert send_notifications(NOW) == 0
        assert "no operational events" in caplog.text

    def test_are_not_made_where_nobody_asked(self, settings):
        settings.WEBHOOKS = {**settings.WEBHOOKS, "NOTIFICATIONS": {"OPERATIONS_TENANT": ""}}
        disable_endpoint(EndpointFactory(), "gone")
        send_notifications(NOW)
        assert not Event.objects.exists()
