"""What must be on no page: secrets, what they are sealed as, digests, header values; and payloads without a permission."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.views.debug import ExceptionReporter

from tests.factories import SECRET, EndpointFactory, EventFactory
from tests.staff import (
    ANSWER,
    HEADER_VALUE,
    PASSWORD,
    PAYLOAD,
    action_page,
    actor,
    one_of_everything,
    page,
    pages,
    superuser,
    text_of,
    viewer,
)
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.models import ApiKey, AuditEntry, Endpoint, IdempotencyRecord, PortalLink, Secret

pytestmark = pytest.mark.django_db


def every_page(client, rows):
    for row in rows:
        name = row._meta.model_name
        yield from (text_of(client, url) for url in (pages(name), page(row), page(row, "history")))
    yield text_of(client, reverse("admin:index"))
    yield text_of(client, reverse("admin:webhooks_app_operations"))


def test_no_page_holds_a_secret_or_what_is_kept_of_one():
    rows = one_of_everything()
    [endpoint] = [row for row in rows if isinstance(row, Endpoint)]
    forbidden = {
        SECRET,
        SECRET.removeprefix("whsec_"),
        HEADER_VALUE,
        endpoint.headers,
        PASSWORD,
        endpoint.authentication,
        *Secret.objects.values_list("value", flat=True),
        *ApiKey.objects.values_list("digest", flat=True),
        *PortalLink.objects.values_list("digest", flat=True),
        *(row.fingerprint for row in IdempotencyRecord.objects.all()),
    }
    assert all(len(text) > 15 for text in forbidden)
    pages_seen = list(every_page(superuser(), rows))
    assert len(pages_seen) > 50
    assert [text for text in forbidden if any(text in shown for shown in pages_seen)] == []


def test_secrets_are_not_searched():
    names = [row._meta.model_name for row in one_of_everything()]
    sealed, digest = Secret.objects.values_list("value", flat=True)[0], ApiKey.objects.get().digest
    client = superuser()
    searched = 0
    for name in names:
        for text in (SECRET, sealed, digest):
            changelist = client.get(pages(name), {"q": text}).context["cl"]
            if changelist.search_fields:
                searched += 1
                assert changelist.result_count == 0, name
    assert searched > 20


@pytest.mark.parametrize(
    "field", ["secret.value", "apikey.digest", "endpoint.headers", "endpoint.authentication", "endpoint.metadata"]
)
def test_what_is_sealed_is_not_guessed_at_letter_by_letter(field):
    rows = one_of_everything()
    name, column = field.split(".")
    client = superuser()
    assert client.get(f"{pages(name)}?{column}__startswith=a").status_code == 400
    [tenant_id] = {row.tenant_id for row in rows if isinstance(row, Endpoint)}
    narrowed = client.get(f"{pages(name)}?tenant__exact={tenant_id}")
    assert narrowed.context["cl"].result_count == 1


def test_a_report_of_an_error_has_nothing_that_was_typed(monkeypatch):
    endpoint = EndpointFactory()
    client = superuser()
    client.raise_request_exception = False

    def fails(*_):
        raise RuntimeError("a bug")

    value = "credential" * 3  # reports quote the code, too
    monkeypatch.setattr("webhooks_app.endpoints.service.check_headers", fails)
    values = {"url": endpoint.url, "events": "*", "new_headers": f"X-Own: {value}"}
    answer = client.post(page(endpoint), values)
    report = ExceptionReporter(answer.wsgi_request, *answer.exc_info)
    text = report.get_traceback_text() + report.get_traceback_html()
    assert "a bug" in text
    assert value not in text


def test_payloads_are_seen_by_those_who_may_and_by_nobody_else():
    rows = one_of_everything()
    seen = "".join(every_page(viewer("view_operations"), rows))
    assert PAYLOAD not in seen
    assert ANSWER not in seen
    assert "lacks the permission to see payloads (webhooks_app.view_payload)" in seen
    seen = "".join(every_page(viewer("view_operations", "view_payload"), rows))
    assert PAYLOAD in seen
    assert ANSWER in seen
    assert "lacks the permission to see payloads" not in seen


def test_who_looks_at_a_payload_is_in_the_audit_log():
    rows = one_of_everything()
    looks = AuditEntry.objects.filter(verb="payload.viewed")
    client = viewer("view_operations")
    every_page(client, rows)
    assert not looks.exists(), "nothing was shown"
    client = viewer("view_operations", "view_payload")
    shown = [row for row in rows if PAYLOAD in text_of(client, page(row)) or ANSWER in text_of(client, page(row))]
    assert {row._meta.model_name for row in shown} == {"event", "delivery", "attempt", "idempotencyrecord"}
    seen = looks.filter(actor=actor(client)).values_list("target", flat=True)
    assert {row.public_id for row in shown if hasattr(row, "public_id")} <= set(seen)
    assert looks.filter(tenant_id=shown[0].tenant_id).count() >= len(shown)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PROPFIND", "POST"])
def test_no_request_shows_a_payload_without_an_entry(method):
    for row in one_of_everything():
        client = viewer("view_operations", "view_payload")
        entries = AuditEntry.objects.filter(verb="payload.viewed", actor=actor(client))
        content = client.generic(method, page(row)).content.decode()
        assert entries.exists() or (PAYLOAD not in content and ANSWER not in content), row


def test_a_reason_that_may_quote_the_payload_is_a_payload():
    event = EventFactory(quarantine_reason=f"'{PAYLOAD}' is not of type 'integer'")
    operations = reverse("admin:webhooks_app_operations")
    for client, there in ((viewer("view_operations"), False), (viewer("view_operations", "view_payload"), True)):
        for url in (operations, page(event), pages("event")):
            shown = text_of(client, url)
            assert "quarantined" in shown.lower()
            if url != pages("event"):
                assert ("is not of type" in shown) is there, url
        looks = AuditEntry.objects.filter(verb="payload.viewed", actor=actor(client), target=event.public_id)
        assert looks.count() == (2 if there else 0)


def test_what_others_sent_is_text_and_not_markup():
    rows = one_of_everything()
    hostile = "<script>alert(1)</script>"
    [delivery] = [row for row in rows if row._meta.model_name == "delivery"]
    delivery.attempt_rows.update(response_body=hostile.encode(), response_headers=hostile, detail=hostile, url=hostile)
    EndpointFactory(tenant=delivery.tenant, url=f"https://a.example/{hostile}", description=hostile)
    EventFactory(tenant=delivery.tenant, subject=hostile, payload={"text": hostile})
    for shown in every_page(superuser(), rows):
        assert hostile not in shown


def test_a_replaced_secret_is_shown_once_on_a_page_that_nobody_keeps():
    endpoint = EndpointFactory()
    client = viewer("rotate_secret")
    asked = text_of(client, action_page(endpoint, "rotate-secret"))
    assert "both the old and the new secret verify" in asked
    response = client.post(action_page(endpoint, "rotate-secret"), {"overlap_hours": "2"})
    current = Secret.objects.get(endpoint=endpoint, expires_at=None).reveal()
    assert current in response.content.decode()
    assert "The old secret is valid until" in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    for url in (page(endpoint), page(endpoint, "history"), action_page(endpoint, "rotate-secret")):
        assert current not in text_of(client, url)
    assert current not in "".join(map(str, LogEntry.objects.values_list("change_message", "object_repr")))
    entry = AuditEntry.objects.get(verb="secret.rotated")
    assert entry.actor == actor(client)
    assert current not in str(entry.detail)


def test_after_a_leak_the_old_secret_ends_at_once():
    endpoint = EndpointFactory()
    viewer("rotate_secret").post(action_page(endpoint, "rotate-secret"), {"overlap_hours": "0"})
    assert Secret.objects.live().filter(endpoint=endpoint).count() == 1


@pytest.mark.parametrize("overlap", ["", "-1", "nonsense", "1e309", "99999"])
def test_an_overlap_that_is_none_is_refused(overlap):
    endpoint = EndpointFactory()
    response = viewer("rotate_secret").post(action_page(endpoint, "rotate-secret"), {"overlap_hours": overlap})
    assert "overlap_hours" in response.context["form"].errors
    assert Secret.objects.count() == 1


def test_headers_that_cannot_be_opened_are_no_error(configure):
    authentication = {"kind": "basic", "username": "hooks", "password": PASSWORD}
    endpoint = EndpointFactory(headers={"X-Token": HEADER_VALUE}, authentication=authentication)
    rotate_secret(endpoint)
    configure(ENCRYPTION_KEYS=["YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="])
    client = superuser()
    shown = text_of(client, page(endpoint))
    assert "They cannot be opened" in shown
    assert "It cannot be decrypted" in shown
