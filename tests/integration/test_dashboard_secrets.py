"""A secret is shown once: in the answer that made it, and in nothing else, ever."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from tests.factories import SECRET, EndpointFactory, SecretFactory, TenantFactory
from tests.forms import endpoint_values, form_ids, secret_in
from tests.visitors import VISITORS, visiting
from webhooks_app.models import AuditEntry, Endpoint, IdempotencyRecord, Secret, database_now

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors", "event_types")]

NEW = "/webhooks/endpoints/new"


def place(endpoint: Endpoint, tail: str = "") -> str:
    return f"/webhooks/endpoints/{endpoint.public_id}{tail}"


def kept(client: Client) -> str:
    """All that the app and the session remember of a request."""
    sessions = [Session.objects.get(session_key=client.session.session_key).get_decoded()]
    replies = [(row.key, row.body, row.fingerprint) for row in IdempotencyRecord.objects.all()]
    audit = list(AuditEntry.objects.values_list("detail", flat=True))
    return json.dumps([sessions, replies, audit], default=str)


class TestANewEndpointsSecret:
    def test_is_in_the_answer_and_in_nothing_after_it(self) -> None:
        tenant = TenantFactory()
        client = visiting(tenant)
        values = endpoint_values(client)
        answer = client.post(NEW, values)
        secret = secret_in(answer.content.decode())
        assert "no-store" in answer["Cache-Control"]
        row = Endpoint.objects.get(tenant=tenant)
        assert row.secrets.get().reveal() == secret
        again = client.post(NEW, values)
        assert again.status_code == 409
        assert "done already" in again.content.decode()
        assert Endpoint.objects.filter(tenant=tenant).count() == 1
        later = [
            again,
            *(client.get(place(row, tail)) for tail in ("", "/edit", "/rotate", "/test")),
            client.get("/webhooks/"),
        ]
        assert not [page for page in later if secret in page.content.decode()]
        assert secret not in kept(client)

    def test_comes_with_code_that_verifies_it_in_five_languages(self) -> None:
        client = visiting(TenantFactory())
        page = client.post(NEW, endpoint_values(client)).content.decode()
        for language in ("Python", "Node.js", "PHP", "Go", "Ruby"):
            assert f">{language}</label>" in page
        assert "def verify_webhook" in page
        assert "/test" in page, "the next step"

    @pytest.mark.parametrize("form_id", ["", "x" * 32, "0" * 31, "0" * 33])
    def test_is_not_made_by_a_form_that_is_none_of_ours(self, form_id: str) -> None:
        tenant = TenantFactory()
        client = visiting(tenant)
        assert client.post(NEW, endpoint_values(client, form_id=form_id)).status_code == 409
        assert not Endpoint.objects.filter(tenant=tenant).exists()

    def test_that_was_brought_along_is_not_in_the_form_that_is_shown_again(self) -> None:
        client = visiting(TenantFactory())
        secret = "whsec_" + "B" * 32
        for wrong in ({"url": "nonsense"}, {"url": "https://10.0.0.1/"}):
            page = client.post(NEW, endpoint_values(client, secret=secret, **wrong)).content.decode()
            assert secret not in page
            assert "Enter your secret once more" in page


@pytest.mark.parametrize(("names", "asked"), [([], False), (["msgine"], False), (["standard", "msgine"], True)])
def test_the_secret_has_the_form_of_the_wire_format_that_was_chosen(
    configure: Any, names: list[str], asked: bool
) -> None:
    configure(**VISITORS, DASHBOARD={"WIRE_FORMATS": names})
    tenant = TenantFactory()
    client = visiting(tenant)
    assert ('name="wire_format"' in client.get(NEW).content.decode()) is asked
    if asked:
        assert client.post(NEW, endpoint_values(client, wire_format="muchaw")).status_code == 422, (
            "one that is not offered"
        )
    secret = secret_in(client.post(NEW, endpoint_values(client, wire_format="msgine")).content.decode())
    assert Endpoint.objects.get(tenant=tenant).wire_format == ("msgine" if names else "standard")
    assert secret.startswith("whsec_") is (not names)


class TestAMove:
    def test_to_another_host_shows_a_new_secret_once(self) -> None:
        endpoint = EndpointFactory()
        client = visiting(endpoint.tenant)
        address = place(endpoint, "/edit")
        assert "Another host or port is another receiver" in client.get(address).content.decode()
        values = endpoint_values(client, address, url="https://other.example.com/hook")
        secret = secret_in(client.post(address, values).content.decode())
        assert secret != SECRET
        assert [one.reveal() for one in Secret.objects.live().filter(endpoint=endpoint)] == [secret]
        assert client.post(address, values).status_code == 409
        assert secret not in kept(client)

    def test_within_the_host_keeps_it(self) -> None:
        endpoint = EndpointFactory(url="https://example.com/old")
        client = visiting(endpoint.tenant)
        address = place(endpoint, "/edit")
        answer = client.post(address, endpoint_values(client, address, url="https://example.com/new"))
        assert answer["Location"].endswith("?done=changed")
        assert [one.reveal() for one in Secret.objects.live().filter(endpoint=endpoint)] == [SECRET]


class TestRotation:
    @pytest.mark.parametrize(("seconds", "live"), [(0, 1), (3600, 2), (86400, 2), (604800, 2)])
    def test_keeps_the_old_secret_for_as_long_as_was_chosen(self, seconds: int, live: int) -> None:
        endpoint = EndpointFactory()
        client = visiting(endpoint.tenant)
        [form_id] = form_ids(client.get(place(endpoint, "/rotate")).content.decode())
        before = database_now("default")
        answer = client.post(place(endpoint, "/rotate"), {"form_id": form_id, "overlap": str(seconds)})
        secret = secret_in(answer.content.decode())
        rows = Secret.objects.live().filter(endpoint=endpoint)
        assert len(rows) == live
        assert rows.get(expires_at=None).reveal() == secret
        for old in rows.exclude(expires_at=None):
            assert timedelta(0) <= old.expires_at - before - timedelta(seconds=seconds) < timedelta(minutes=1)
        again = client.post(place(endpoint, "/rotate"), {"form_id": form_id, "overlap": str(seconds)})
        assert again.status_code == 409
        assert secret not in again.content.decode() + kept(client)
        assert Secret.objects.live().filter(endpoint=endpoint).count() == live

    def test_is_for_a_day_unless_told(self) -> None:
        endpoint = EndpointFactory()
        page = visiting(endpoint.tenant).get(place(endpoint, "/rotate")).content.decode()
        assert '<input type="radio" name="overlap" value="86400"' in page
        assert page.index("checked") > page.index('value="3600"')
        assert page.count("checked") == 1

    @pytest.mark.parametrize(("wire_format", "says"), [("standard", "two signatures"), ("msgine", "one signature")])
    def test_explains_what_happens_meanwhile(self, wire_format: str, says: str) -> None:
        endpoint = EndpointFactory(wire_format=wire_format)
        assert says in visiting(endpoint.tenant).get(place(endpoint, "/rotate")).content.decode()

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"overlap": "-1"}, "Select a valid choice"),
            ({"overlap": "3600", "secret": "short"}, "secret"),
            ({"overlap": "3600", "secret": SECRET}, "in use already"),
        ],
    )
    def test_says_what_is_wrong(self, values: dict[str, str], says: str) -> None:
        endpoint = EndpointFactory()
        client = visiting(endpoint.tenant)
        [form_id] = form_ids(client.get(place(endpoint, "/rotate")).content.decode())
        answer = client.post(place(endpoint, "/rotate"), {"form_id": form_id, **values})
        assert answer.status_code == 422
        assert says in answer.content.decode()
        assert SECRET not in answer.content.decode()
        assert Secret.objects.filter(endpoint=endpoint).count() == 1

    def test_can_be_finished_early(self) -> None:
        endpoint = EndpointFactory()
        SecretFactory(tenant=endpoint.tenant, endpoint=endpoint, expires_at=database_now("default") + timedelta(days=1))
        client = visiting(endpoint.tenant)
        page = client.get(place(endpoint)).content.decode()
        assert "End the old secret now" in page
        answer = client.post(place(endpoint, "/end-old-secret"), follow=True).content.decode()
        assert "The old secret is no longer used" in answer
        assert "End the old secret now" not in answer
        assert Secret.objects.live().filter(endpoint=endpoint).get().expires_at is None


def test_what_the_operator_did_wrong_is_not_told_to_customers(configure: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = visiting(TenantFactory())
    values = endpoint_values(client)
    configure(**VISITORS, ENCRYPTION_KEYS=[])
    answer = client.post(NEW, values)
    assert answer.status_code == 422
    assert "try again later" in answer.content.decode()
    assert "ENCRYPTION_KEYS" not in answer.content.decode()
    assert "ENCRYPTION_KEYS" in caplog.text
