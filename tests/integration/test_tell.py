"""Who is told what by e-mail, when, and how often."""

from __future__ import annotations

import json
import smtplib
import threading
from datetime import timedelta

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection
from django.utils import timezone

from tests.factories import EndpointFactory, NoticeFactory, TenantFactory
from webhooks_app import registry
from webhooks_app.actions import operations
from webhooks_app.actions.states import disable
from webhooks_app.actions.tell import tell
from webhooks_app.models import Event, Notice, NoticeKind
from webhooks_app.models.ids import public_id

pytestmark = pytest.mark.django_db

NOW = timezone.now()
HERE = "tests.integration.test_tell"


def send_through(settings, backend: str) -> None:
    """Make this the host's e-mail backend, in the way of the Django that is installed."""
    if hasattr(mail, "mailers"):
        settings.MAILERS = {"default": {"BACKEND": backend}}
    else:
        settings.EMAIL_BACKEND = backend


class DownBackend(EmailBackend):
    def open(self):
        raise ConnectionRefusedError("no mail server")


class FailingBackend(EmailBackend):
    """Fails for one address, as a mail server that greylists it does."""

    def send_messages(self, messages):
        if "sulky@customer.example" in messages[0].to:
            raise smtplib.SMTPServerDisconnected("try later")
        return super().send_messages(messages)


class RefusingBackend(EmailBackend):
    def send_messages(self, messages):
        raise smtplib.SMTPRecipientsRefused(dict.fromkeys(messages[0].to, (550, b"no such user")))


class SlowBackend(EmailBackend):
    """Both tellers are in the middle of handing over before either is done."""

    meeting = threading.Event()

    def send_messages(self, messages):
        self.meeting.wait(1)
        return super().send_messages(messages)


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.ADMINS = []
    settings.WEBHOOKS = {**settings.WEBHOOKS, "DASHBOARD_URL": "https://app.example.com/webhooks/"}


def untold() -> int:
    return Notice.objects.untold().count()


def test_the_first_exhausted_delivery_is_told_at_once_in_plain_words():
    endpoint = EndpointFactory(
        url="https://receiver.example.com/hook?token=abc",
        description="Shop",
        queue__failing_since=NOW - timedelta(days=1),
    )
    notice = NoticeFactory(endpoint=endpoint, delivery_id=endpoint.pk, count=2, reason="address_not_allowed")
    assert tell(NOW) == 1

    letter = mail.outbox[0]
    assert letter.to == [endpoint.tenant.email]
    assert letter.subject == "Webhooks could not be delivered"
    assert letter.extra_headers["Auto-Submitted"] == "auto-generated"
    for body in (letter.body, letter.alternatives[0][0]):
        assert "https://receiver.example.com/hook" in body
        assert "Shop" in body
        assert "2 deliveries were given up" in body
        assert f"https://app.example.com/webhooks/endpoints/{endpoint.public_id}" in body
        assert f"https://app.example.com/webhooks/deliveries/{public_id('dlv', endpoint.pk)}" in body
        assert "failing since" in body
        assert "What to do" in body
        assert "token" not in body, "the query may be a secret"
        assert "address_not_allowed" not in body, "what the network said is for staff"
    notice.refresh_from_db()
    assert (notice.told_at, notice.claimed_until) == (NOW, None)
    assert tell(NOW) == 0


def test_further_exhausted_ones_are_gathered_by_the_hour():
    endpoint = EndpointFactory()
    NoticeFactory(endpoint=endpoint)
    tell(NOW)
    NoticeFactory.create_batch(3, endpoint=endpoint)
    assert tell(NOW + timedelta(minutes=59)) == 0
    assert untold() == 3
    assert tell(NOW + timedelta(minutes=61)) == 1
    assert "3 deliveries" in mail.outbox[1].body


def test_another_tenants_first_one_does_not_wait():
    NoticeFactory()
    tell(NOW)
    NoticeFactory()
    assert tell(NOW + timedelta(minutes=1)) == 1


@pytest.mark.parametrize("kind", [NoticeKind.DISABLED, NoticeKind.RECOVERED])
def test_disabled_and_recovered_are_told_at_once_and_take_the_gathered_along(kind):
    endpoint = EndpointFactory()
    NoticeFactory(endpoint=endpoint)
    tell(NOW)
    NoticeFactory(endpoint=endpoint)
    NoticeFactory(endpoint=endpoint, kind=kind, reason="gone" if kind == NoticeKind.DISABLED else "")
    assert tell(NOW + timedelta(minutes=1)) == 1
    assert untold() == 0
    body = mail.outbox[1].body
    assert "1 delivery was given up" in body
    assert ("410 Gone" in body) is (kind == NoticeKind.DISABLED)
    assert ("works again" in body) is (kind == NoticeKind.RECOVERED)


def test_a_tenants_notices_are_one_letter():
    tenant = TenantFactory()
    for endpoint in EndpointFactory.create_batch(3, tenant=tenant):
        NoticeFactory(endpoint=endpoint)
    assert tell(NOW) == 1
    assert mail.outbox[0].subject == "News about 3 of your webhook endpoints"


def test_staff_get_one_letter_about_all_tenants(settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "STAFF_EMAILS": ["ops@example.com"], "FROM_EMAIL": "hooks@example.com"}
    rows = [NoticeFactory(), NoticeFactory(), NoticeFactory(endpoint__tenant__email="")]
    assert tell(NOW) == 3
    staff = mail.outbox[2]
    assert (staff.to, staff.from_email) == (["ops@example.com"], "hooks@example.com")
    for row in rows:
        assert row.tenant.uid in staff.body
    assert "no e-mail address" in staff.body
    assert untold() == 0


@pytest.mark.parametrize("admins", [[("Ops", "ops@example.com")], ["ops@example.com"]])
def test_without_staff_addresses_the_admins_are_staff(settings, admins):
    settings.ADMINS = admins
    NoticeFactory(endpoint__tenant__email="")
    assert tell(NOW) == 1
    assert mail.outbox[0].to == ["ops@example.com"]


def test_where_there_is_nobody_to_tell_the_notice_is_done():
    NoticeFactory(endpoint__tenant__email="")
    assert tell(NOW) == 0
    assert untold() == 0


@pytest.mark.parametrize("backend", ["DownBackend", "FailingBackend"])
def test_a_mail_server_that_is_down_leaves_everything_to_the_next_run(settings, backend, caplog):
    tenant = TenantFactory(email="sulky@customer.example")
    NoticeFactory(endpoint=EndpointFactory(tenant=tenant))
    send_through(settings, f"{HERE}.{backend}")
    assert tell(NOW) == 0
    assert untold() == 1
    send_through(settings, "django.core.mail.backends.locmem.EmailBackend")
    assert tell(NOW + timedelta(minutes=1)) == 1
    assert untold() == 0


def test_one_address_that_cannot_be_reached_does_not_stop_the_others(settings, caplog):
    send_through(settings, f"{HERE}.FailingBackend")
    NoticeFactory(endpoint=EndpointFactory(tenant=TenantFactory(email="sulky@customer.example")))
    NoticeFactory()
    assert tell(NOW) == 1
    assert untold() == 1


def test_an_address_that_the_mail_server_refuses_is_not_tried_for_ever(settings, caplog):
    send_through(settings, f"{HERE}.RefusingBackend")
    NoticeFactory()
    tell(NOW)
    assert untold() == 0
    assert "refuses" in caplog.text


def test_what_a_dead_teller_claimed_is_told_when_its_claim_ends():
    NoticeFactory(claimed_until=NOW + timedelta(minutes=10))
    assert tell(NOW) == 0
    assert tell(NOW + timedelta(minutes=11)) == 1


def test_a_line_break_in_a_name_does_not_stop_the_letter():
    endpoint = EndpointFactory(tenant=TenantFactory(name="A\r\nBcc: x@example.com"), description="a\nb")
    disable(endpoint, "because\r\nof this")
    assert tell(NOW) == 1


def test_html_in_a_description_is_text():
    NoticeFactory(endpoint=EndpointFactory(description="<script>x</script>"))
    tell(NOW)
    assert "<script>" not in mail.outbox[0].alternatives[0][0]
    assert "<script>" in mail.outbox[0].body


def test_a_deleted_endpoints_notice_can_still_be_told():
    notice = NoticeFactory()
    Notice.objects.filter(pk=notice.pk).update(endpoint_id=notice.pk)
    assert tell(NOW) == 1


@pytest.mark.django_db(transaction=True)
def test_two_tellers_at_once_tell_once(settings):
    send_through(settings, f"{HERE}.SlowBackend")
    SlowBackend.meeting.clear()
    for endpoint in EndpointFactory.create_batch(3):
        NoticeFactory(endpoint=endpoint)
    sent: list[int] = []

    def run() -> None:
        try:
            sent.append(tell(NOW))
        finally:
            connection.close()

    tellers = [threading.Thread(target=run) for _ in range(2)]
    for teller in tellers:
        teller.start()
    SlowBackend.meeting.set()
    for teller in tellers:
        teller.join(30)
    assert sum(sent) == 3
    assert len({letter.to[0] for letter in mail.outbox}) == len(mail.outbox) == 3
    assert untold() == 0


class TestOperationalEvents:
    @pytest.fixture(autouse=True)
    def operator(self, settings):
        settings.WEBHOOKS = {**settings.WEBHOOKS, "OPERATIONS_TENANT": "us"}
        registry.register(*operations.EVENT_TYPES)
        yield
        registry.unregister([type_.name for type_ in operations.EVENT_TYPES])

    def test_tell_a_program_what_people_are_told(self):
        endpoint = EndpointFactory(tenant__email="anna@customer.example")
        disable(endpoint, "gone")
        tell(NOW)
        tell(NOW)
        event = Event.objects.get()
        assert (event.tenant_uid, event.type) == ("us", "webhooks.endpoint_disabled")
        data = json.loads(event.data)
        assert (data["tenant"], data["endpoint"]) == (endpoint.tenant.uid, endpoint.public_id)
        assert (data["url"], data["reason"]) == (endpoint.url, "gone")

    @pytest.mark.parametrize("kind", NoticeKind.values)
    def test_exist_for_every_kind_of_notice(self, kind):
        endpoint = EndpointFactory()
        NoticeFactory(endpoint_id=endpoint.pk, tenant=endpoint.tenant, kind=kind, count=3)
        tell(NOW)
        assert json.loads(Event.objects.get().data)["count"] == 3

    def test_are_not_made_of_the_operators_own_troubles(self):
        disable(EndpointFactory(tenant__uid="us"), "gone")
        tell(NOW)
        assert not Event.objects.exists()

    def test_are_not_made_where_nobody_asked(self, settings):
        settings.WEBHOOKS = {**settings.WEBHOOKS, "OPERATIONS_TENANT": ""}
        disable(EndpointFactory(), "gone")
        tell(NOW)
        assert not Event.objects.exists()
