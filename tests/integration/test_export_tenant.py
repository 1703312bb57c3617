"""The export of a tenant: everything that is kept, no secret, nobody else's rows, in bounded memory."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.client_certificates import pems
from tests.customer import Customer, deliver
from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory, EventFactory, NotificationFactory
from tests.receiver import Authority
from tests.receiver_behaviours import Answer
from webhooks_app import create_api_key, create_endpoint, create_portal_link, create_tenant, erase_event, export_tenant
from webhooks_app.core.encryption import new_key
from webhooks_app.endpoints.client_tls import client_tls_facts
from webhooks_app.models import AuditEntry, HourlyStat, NotificationKind, database_now

pytestmark = pytest.mark.django_db(transaction=True)


def exported(tenant: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export_tenant(tenant)]


def of_kind(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] == kind]


def test_it_has_what_happened() -> None:
    with Customer() as customer:
        customer.receiver.on("/hook", Answer(200, {"X-Receipt": "7"}, b'{"ok":true}'))
        endpoint = customer.endpoint(description="mine", metadata={"a": 1})
        event = customer.emit({"text": "Grüße"}, subject="order-7", channels=["c"])
        deliver()
        rows = exported(customer.tenant)
    [shown] = of_kind(rows, "event")
    assert (shown["id"], shown["data"], shown["subject"]) == (event.public_id, {"text": "Grüße"}, "order-7")
    [delivery] = of_kind(rows, "delivery")
    assert (delivery["event"], delivery["endpoint"]) == (event.public_id, endpoint.public_id)
    assert delivery["status"] == "succeeded"
    [attempt] = of_kind(rows, "attempt")
    assert (attempt["delivery"], attempt["response_body"]) == (delivery["id"], '{"ok":true}')
    assert "X-Receipt: 7" in attempt["response_headers"]
    [shown] = of_kind(rows, "endpoint")
    assert (shown["description"], shown["metadata"], shown["events"]) == ("mine", {"a": 1}, ["*"])
    assert {"endpoint.created", "tenant.exported"} <= {row["verb"] for row in of_kind(rows, "audit")}
    assert rows[0]["kind"] == "tenant"
    assert rows[-1] == {"kind": "end", "lines": len(rows)}


def test_it_has_no_secret() -> None:
    tenant = create_tenant("acme")
    endpoint, secret = create_endpoint(
        tenant, url="https://example.com/x", events=["*"], headers={"Authorization": "Bearer hidden"}
    )
    key, text = create_api_key(tenant, name="ci")
    link, token = create_portal_link(tenant, role="manager")
    found = "".join(export_tenant(tenant))
    for hidden in (secret, "hidden", text, token, key.digest, link.digest, endpoint.secrets.get().value):
        assert hidden not in found
    assert '"headers": ["Authorization"]' in found
    assert of_kind([json.loads(line) for line in found.splitlines()], "api_key")[0]["name"] == "ci"


def test_it_has_what_may_be_shown_of_authentication_and_certificates(tmp_path: Path, settings: Any) -> None:
    clients = Authority(tmp_path)
    parts = pems(clients, "acme", clients)
    tenant = create_tenant("acme")
    token = {"token_url": "https://example.com/token", "client_id": "mine", "client_secret": "hidden"}
    created, _ = create_endpoint(
        tenant,
        url="https://example.com/x",
        events=["*"],
        authentication={"kind": "client_credentials", **token},
        client_tls=parts,
    )
    create_endpoint(tenant, url="https://example.com/y", events=["*"])
    text = "".join(export_tenant(tenant))
    assert "hidden" not in text
    assert "PRIVATE KEY" not in text
    first, second = of_kind([json.loads(line) for line in text.splitlines()], "endpoint")
    assert first["authentication"] == {
        "kind": "client_credentials", "token_url": token["token_url"], "client_id": "mine",
    }  # fmt: skip
    facts = client_tls_facts(created)
    assert facts.certificate is not None
    assert first["client_tls"]["certificate"]["fingerprint"] == facts.certificate.fingerprint
    assert first["client_tls"]["certificate"]["not_after"] == facts.certificate.not_after.isoformat().replace(
        "+00:00", "Z"
    )
    assert [one["subject"] for one in first["client_tls"]["authorities"]] == [facts.authorities[0].subject]
    assert (second["authentication"], second["client_tls"]) == (None, None)
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": [new_key()]}
    first, _ = of_kind(exported(tenant), "endpoint")
    assert (first["authentication"], first["client_tls"], first["headers"]) == (None, None, [])


def test_a_notification_says_when_a_certificate_expires() -> None:
    at = database_now() + timedelta(days=7)
    row = NotificationFactory(kind=NotificationKind.CERTIFICATE, expires_at=at)
    [shown] = of_kind(exported(row.tenant), "notification")
    assert datetime.fromisoformat(shown["expires_at"]) == at.replace(microsecond=at.microsecond // 1000 * 1000)


def test_it_has_every_row_of_the_tenant_and_of_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from webhooks_app.maintenance import export

    monkeypatch.setattr(export, "_PAGE", 2)
    endpoints = EndpointFactory.create_batch(3)
    for endpoint in endpoints:
        for _ in range(5):
            delivery = DeliveryFactory(endpoint=endpoint)
            AttemptFactory.create_batch(2, delivery=delivery)
        NotificationFactory(endpoint=endpoint)
        HourlyStat.objects.create(endpoint=endpoint, hour=delivery.created_at)
    rows = exported(endpoints[0].tenant)
    assert Counter(row["kind"] for row in rows) == {
        "tenant": 1, "endpoint": 1, "event": 5, "delivery": 5, "attempt": 10, "statistics": 1, "notification": 1,
        "audit": 1, "end": 1,
    }  # fmt: skip
    ids = [row["id"] for row in rows if row["kind"] in ("event", "delivery", "attempt")]
    assert len(set(ids)) == 20


def test_nothing_is_read_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from webhooks_app.maintenance import export

    monkeypatch.setattr(export, "_PAGE", 5)
    endpoint = EndpointFactory()
    EventFactory.create_batch(20, tenant=endpoint.tenant)
    lines = export_tenant(endpoint.tenant)
    while '"event"' not in next(lines)[:20]:
        pass
    with CaptureQueriesContext(
        connection,
    ) as queries:
        for _ in range(4):
            next(lines)
        assert len(queries) == 0, "the rest of the first page"
        next(lines)
        assert len(queries) == 1
    assert not connection.in_atomic_block


def test_an_erased_event_is_in_it_without_its_data() -> None:
    event = EventFactory(subject="s")
    erase_event(event)
    [shown] = of_kind(exported(event.tenant), "event")
    assert (shown["data"], shown["subject"]) == (None, "")
    assert shown["erased_at"]


def test_half_a_surrogate_pair_is_an_escape(tmp_path: Path) -> None:
    event = EventFactory(payload="half \ud83d")
    file = tmp_path / "export.jsonl"
    call_command("webhooks_export", event.tenant.uid, output=str(file))
    [shown] = of_kind([json.loads(line) for line in file.read_text().splitlines()], "event")
    assert "half \ud83d" in str(shown["data"])


def test_bytes_that_are_no_text_are_in_base64() -> None:
    attempt = AttemptFactory(response_body=b"\xff\x00")
    [shown] = of_kind(exported(attempt.tenant), "attempt")
    assert shown["response_body_base64"] == "/wA="


def test_the_command_writes_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    event = EventFactory()
    file = tmp_path / "export.jsonl"
    call_command("webhooks_export", event.tenant.uid, output=str(file))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert of_kind(rows, "event")[0]["id"] == event.public_id
    assert file.stat().st_mode & 0o077 == 0
    assert AuditEntry.objects.get(verb="tenant.exported").actor == "command"
    with pytest.raises(CommandError, match="exists"):
        call_command("webhooks_export", event.tenant.uid, output=str(file))


def test_the_command_writes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    event = EventFactory()
    call_command("webhooks_export", event.tenant.uid)
    assert [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()] == [
        "tenant",
        "event",
        "audit",
        "end",
    ]
    with pytest.raises(CommandError, match="no tenant"):
        call_command("webhooks_export", "unknown")
