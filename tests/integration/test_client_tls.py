"""Endpoints with a client certificate and certificate authorities of their own: stored, sent with, replaced, and warned of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core import mail
from django.core.management import call_command
from django.db import connection, transaction

from tests import transports
from tests.certificates import key_pem
from tests.client_certificates import pems
from tests.customer import TYPE, Customer, attempts, deliver, make_due, the_delivery
from tests.receiver import Authority, Receiver
from webhooks_app import registry
from webhooks_app.core.encryption import new_key
from webhooks_app.deliveries.test_event import send_test_event
from webhooks_app.endpoints.client_tls import ClientTLSFacts, client_tls_facts
from webhooks_app.endpoints.service import change_endpoint, create_endpoint
from webhooks_app.endpoints.status import delete_endpoint
from webhooks_app.exceptions import ConflictingState, InvalidEndpoint, SealingError
from webhooks_app.models import AuditEntry, Endpoint, Event, Notification, database_now
from webhooks_app.notifications import certificates, operational_events
from webhooks_app.notifications.send import send_notifications
from webhooks_app.playground.service import open_playground

pytestmark = pytest.mark.django_db(transaction=True)
authority = transports.authority


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(Path(tmp_path_factory.mktemp("clients")))


@pytest.fixture(params=["curl", "requests"])
def customer(request: pytest.FixtureRequest, authority: Authority, clients: Authority, configure) -> Iterator[Customer]:
    """A customer whose receiver demands a client certificate, and has a certificate of a private authority."""
    configure(TRANSPORT=request.param)
    with Customer(receiver=Receiver(tls=clients.demanding(authority.context("127.0.0.1")))) as customer:
        yield customer


def facts(endpoint: Endpoint) -> ClientTLSFacts:
    return client_tls_facts(Endpoint.objects.get(pk=endpoint.pk))


class TestSending:
    def test_uses_the_certificate_and_trusts_the_authority(
        self, customer: Customer, authority: Authority, clients: Authority
    ) -> None:
        customer.endpoint(client_tls=pems(clients, "acme", authority))
        customer.emit()
        deliver()
        assert the_delivery().status == "succeeded"
        assert [one.client for one in customer.received] == ["acme"]

    def test_without_a_certificate_it_is_an_error_of_tls(self, customer: Customer, authority: Authority) -> None:
        customer.endpoint(client_tls={"authorities": authority.pem})
        customer.emit()
        deliver()
        assert {one.outcome for one in attempts()} <= {"tls_error", "protocol_error"}
        assert not customer.received

    def test_a_replaced_certificate_is_used_from_the_next_lease_on(
        self, customer: Customer, authority: Authority, clients: Authority
    ) -> None:
        endpoint = customer.endpoint(client_tls=pems(clients, "old", authority))
        for name in ("old", "new"):
            if name == "new":
                change_endpoint(endpoint, client_tls=pems(clients, "new"))
            customer.emit()
            deliver()
        assert [one.client for one in customer.received] == ["old", "new"]

    def test_a_removed_certificate_is_not_used_any_more(
        self, customer: Customer, authority: Authority, clients: Authority
    ) -> None:
        endpoint = customer.endpoint(client_tls=pems(clients, "acme", authority))
        change_endpoint(endpoint, client_tls={"certificate": None})
        customer.emit()
        deliver()
        assert not customer.received
        assert len(attempts()) == 1

    def test_a_test_event_uses_it_too(self, customer: Customer, authority: Authority, clients: Authority) -> None:
        endpoint = customer.endpoint(client_tls=pems(clients, "acme", authority))
        assert send_test_event(endpoint, type=TYPE).status == 200
        assert [one.client for one in customer.received] == ["acme"]

    def test_nothing_is_sent_without_the_encryption_key(
        self, customer: Customer, authority: Authority, clients: Authority, configure
    ) -> None:
        """Our own fault: it uses up no attempt."""
        endpoint = customer.endpoint(client_tls=pems(clients, "acme", authority))
        customer.emit()
        sealed = Endpoint.objects.get(pk=endpoint.pk).client_tls
        Endpoint.objects.filter(pk=endpoint.pk).update(client_tls=sealed[:-4] + "AAAA")
        deliver()
        assert not customer.received
        assert (the_delivery().status, the_delivery().attempts) == ("pending", 0)
        with pytest.raises(ConflictingState, match="we have been told"):
            send_test_event(endpoint, type=TYPE)
        Endpoint.objects.filter(pk=endpoint.pk).update(client_tls=sealed)
        make_due()
        deliver()
        assert the_delivery().status == "succeeded"


class TestStoring:
    @pytest.fixture
    def endpoint(self, clients: Authority, authority: Authority) -> Endpoint:
        return create_endpoint(
            "acme", url="https://example.com/hook", events=["*"], client_tls=pems(clients, "acme", authority)
        )[0]

    def test_nothing_is_readable_in_the_database_or_the_audit_log(self, endpoint: Endpoint) -> None:
        change_endpoint(endpoint, client_tls=endpoint.stored_tls())
        row = Endpoint.objects.filter(pk=endpoint.pk).values().get()
        texts = [str(row), str([one.detail for one in AuditEntry.objects.all()]), repr(endpoint)]
        assert not any("BEGIN" in text or "acme\\n" in text for text in texts)
        assert AuditEntry.objects.filter(verb="endpoint.changed").get().detail["fields"] == ["client_tls"]

    def test_its_facts_are_shown(self, endpoint: Endpoint) -> None:
        shown = facts(endpoint)
        assert shown.certificate is not None
        assert shown.certificate.subject.endswith("CN=acme") or "CN=acme" in shown.certificate.subject
        assert [one.subject == one.issuer for one in shown.authorities] == [True]
        assert endpoint.certificate_expires_at == shown.certificate.not_after

    def test_a_key_with_a_passphrase_is_stored_without_it(self, clients: Authority) -> None:
        certificate, key = clients.client_pems("acme")
        encrypted = key_pem(load_pem_private_key(key.encode(), None), "open sesame")
        parts = {"certificate": certificate, "private_key": encrypted, "passphrase": "open sesame"}
        endpoint = create_endpoint("acme", url="https://example.com/", events=["*"], client_tls=parts)[0]
        assert set(endpoint.stored_tls()) == {"certificate", "private_key"}
        assert "ENCRYPTED" not in endpoint.stored_tls()["private_key"]

    def test_parts_that_are_not_given_stay(self, endpoint: Endpoint, clients: Authority) -> None:
        before = facts(endpoint)
        change_endpoint(endpoint, client_tls=pems(clients, "renewed"))
        renewed = facts(endpoint)
        assert renewed.authorities == before.authorities
        assert renewed.certificate != before.certificate
        change_endpoint(endpoint, client_tls={"authorities": None})
        assert facts(endpoint) == ClientTLSFacts(renewed.certificate, [])
        change_endpoint(endpoint, client_tls={"certificate": ""})
        assert facts(endpoint) == ClientTLSFacts(None, [])
        row = Endpoint.objects.get(pk=endpoint.pk)
        assert (row.client_tls, row.certificate_expires_at, row.certificate_warning_at) == ("", None, None)

    def test_a_new_certificate_may_have_the_stored_key(self, endpoint: Endpoint) -> None:
        change_endpoint(endpoint, client_tls={"certificate": endpoint.stored_tls()["certificate"]})
        assert facts(endpoint) == client_tls_facts(endpoint)

    def test_wrong_parts_are_refused_and_nothing_changes(
        self, endpoint: Endpoint, clients: Authority, authority: Authority
    ) -> None:
        certificate, key = clients.client_pems("other")
        for wrong, part, message in [
            ({"certificate": certificate}, "private_key", "does not belong to the first certificate"),
            ({"private_key": key}, "certificate", "Give the certificate that belongs to the private key."),
            ({"certificate": authority.pem, "private_key": key}, "private_key", "does not belong"),
            ({"authorities": certificate}, "authorities", "is not the certificate of a certificate authority"),
            ({"certificate": None, "private_key": key}, "certificate", "Give the certificate"),
            ({"certificate": 1}, "certificate", "is a text"),
        ]:
            with pytest.raises(InvalidEndpoint, match=message) as raised:
                change_endpoint(endpoint, client_tls=wrong)  # type: ignore[arg-type]
            assert raised.value.field == f"client_tls.{part}"
        for nonsense in ({"key": key}, [1], "text"):
            with pytest.raises(InvalidEndpoint, match="is an object with the keys certificate, private_key") as raised:
                change_endpoint(endpoint, client_tls=nonsense)  # type: ignore[arg-type]
            assert raised.value.field == "client_tls"
        assert facts(endpoint) == client_tls_facts(endpoint)

    def test_another_receiver_does_not_get_it(self, endpoint: Endpoint, clients: Authority) -> None:
        change_endpoint(endpoint, url="https://example.com/other")
        assert facts(endpoint).certificate is not None
        change_endpoint(endpoint, url="https://other.example.com/hook")
        assert facts(endpoint) == ClientTLSFacts(None, [])
        row = Endpoint.objects.get(pk=endpoint.pk)
        assert (row.certificate_expires_at, row.certificate_warning_at) == (None, None)

    def test_another_receiver_needs_all_parts_again(self, endpoint: Endpoint, clients: Authority) -> None:
        moved = {"url": "https://other.example.com/hook"}
        certificate = endpoint.stored_tls()["certificate"]
        with pytest.raises(InvalidEndpoint, match="Give the private key"):
            change_endpoint(endpoint, client_tls={"certificate": certificate}, **moved)  # type: ignore[arg-type]
        change_endpoint(endpoint, client_tls=pems(clients, "new"), **moved)  # type: ignore[arg-type]
        assert facts(endpoint).certificate is not None
        assert not facts(endpoint).authorities

    def test_the_playground_takes_none(self, clients: Authority) -> None:
        playground = open_playground("acme", events=["*"])[0]
        with pytest.raises(ConflictingState, match="takes no certificates"):
            change_endpoint(playground, client_tls=pems(clients, "acme"))

    def test_a_new_encryption_key_covers_it_and_a_lost_one_is_overcome(
        self, endpoint: Endpoint, clients: Authority, settings
    ) -> None:
        before, new = facts(endpoint), new_key()
        old = settings.WEBHOOKS["ENCRYPTION_KEYS"]
        settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": [new, *old]}
        call_command("webhooks_reencrypt", verbosity=0)
        settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": [new]}
        assert facts(endpoint) == before
        settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": [new_key()]}
        with pytest.raises(SealingError):
            facts(endpoint)
        with pytest.raises(SealingError):
            change_endpoint(endpoint, client_tls={"certificate": None})
        change_endpoint(endpoint, client_tls={"certificate": None, "authorities": None})
        assert facts(endpoint) == ClientTLSFacts(None, [])
        change_endpoint(endpoint, client_tls=pems(clients, "acme"))
        change_endpoint(endpoint, client_tls=None)
        change_endpoint(endpoint, client_tls=pems(clients, "acme"))
        assert facts(endpoint).certificate is not None


class TestWarnings:
    @pytest.fixture
    def endpoint(self, clients: Authority, settings) -> Endpoint:
        settings.ADMINS = []
        with Customer() as customer:
            end = database_now() + timedelta(days=90)
            parts = pems(clients, "acme", not_after=end)
            return create_endpoint(customer.tenant, url="https://example.com/", events=["*"], client_tls=parts)[0]

    def at(self, endpoint: Endpoint, **before: float) -> datetime:
        assert endpoint.certificate_expires_at is not None
        return endpoint.certificate_expires_at - timedelta(**before)

    def test_come_30_7_and_1_days_before_and_at_the_end_each_once(self, endpoint: Endpoint, settings) -> None:
        settings.WEBHOOKS = {**settings.WEBHOOKS, "NOTIFICATIONS": {"STAFF_EMAILS": ["staff@example.com"]}}
        seen = []
        for hours in range(24 * 40, -24 * 40, -12):
            moment = self.at(endpoint, hours=hours)
            if send_notifications(moment):
                seen.append(hours / 24)
            send_notifications(moment)
        assert seen == [30, 7, 1, 0]
        assert [one.to for one in mail.outbox] == [["customer@example.com"], ["staff@example.com"]] * 4
        assert {one.subject for one in mail.outbox[::2]} == {"A certificate of a webhook endpoint expires"}
        at = self.at(endpoint).strftime("%Y-%m-%d %H:%M")
        assert f"A certificate of this endpoint expires on {at}" in mail.outbox[0].body
        assert f"A certificate of this endpoint expired on {at}" in mail.outbox[-2].body
        assert "upload a new certificate" in mail.outbox[-2].alternatives[0][0]
        assert [one.reason for one in Notification.objects.order_by("id")] == ["expires"] * 3 + ["expired"]

    def test_that_were_missed_come_once(self, endpoint: Endpoint) -> None:
        assert send_notifications(self.at(endpoint, days=-3)) == 1
        assert send_notifications(self.at(endpoint, days=-4)) == 0

    def test_start_anew_with_a_new_certificate(self, endpoint: Endpoint, clients: Authority) -> None:
        assert send_notifications(self.at(endpoint, days=30)) == 1
        longer = pems(clients, "renewed", not_after=database_now() + timedelta(days=200))
        endpoint = change_endpoint(endpoint, client_tls=longer)[0]
        assert send_notifications(self.at(endpoint, days=31)) == 0
        assert send_notifications(self.at(endpoint, days=29)) == 1

    def test_do_not_come_for_deleted_endpoints(self, endpoint: Endpoint) -> None:
        delete_endpoint(endpoint)
        assert send_notifications(self.at(endpoint, days=-1)) == 0
        assert not Notification.objects.exists()

    def test_are_operational_events_too(self, endpoint: Endpoint, settings) -> None:
        settings.WEBHOOKS = {**settings.WEBHOOKS, "NOTIFICATIONS": {"OPERATIONS_TENANT": "operator"}}
        registry.register(*operational_events.EVENT_TYPES)
        send_notifications(self.at(endpoint, days=6))
        registry.unregister([type_.name for type_ in operational_events.EVENT_TYPES])
        event = Event.objects.get()
        assert event.type == "webhooks.certificate_expires"
        assert '"reason":"expires"' in event.data
        assert f'"expires_at":"{self.at(endpoint):%Y-%m-%dT%H:%M}' in event.data

    def test_are_found_by_an_index_and_a_few_at_a_time(
        self, endpoint: Endpoint, clients: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts = pems(clients, "acme", not_after=database_now() + timedelta(days=90))
        for _ in range(2):
            create_endpoint("other", url="https://example.com/", events=["*"], client_tls=parts)
        monkeypatch.setattr(certificates, "_AT_ONCE", 2)
        moment = self.at(endpoint, days=30) + timedelta(hours=1)
        assert [certificates.notify_about_certificates(moment) for _ in range(3)] == [2, 1, 0]
        if connection.vendor != "postgresql":
            return
        due = Endpoint.objects.filter(certificate_warning_at__lte=moment).order_by("certificate_warning_at")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            assert "webhooks_endpoint_certificate" in due.explain()
