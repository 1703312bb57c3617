"""Staff upload, see and remove an endpoint's certificates in the admin; the private key is never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.client_certificates import pems
from tests.factories import EndpointFactory, TenantFactory
from tests.receiver import Authority
from tests.staff import page, pages, superuser, text_of, viewer
from webhooks_app.core.encryption import new_key
from webhooks_app.endpoints.client_tls import client_tls_facts
from webhooks_app.endpoints.service import change_endpoint
from webhooks_app.models import AuditEntry, Endpoint

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("event_types")]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(Path(tmp_path_factory.mktemp("clients")))


def filled(**changes: Any) -> dict[str, Any]:
    values = {"url": "https://example.com/hook", "events": "*", "filters": "{}", "metadata": "{}", "channels": ""}
    return {**values, **changes}


def changed(endpoint: Endpoint, **values: Any) -> Any:
    return superuser().post(page(endpoint), filled(url=endpoint.url, **values), follow=True)


def errors_of(response: Any) -> list[str]:
    return list(response.context["adminform"].form.errors)


def test_a_new_endpoint_may_have_certificates(clients: Authority) -> None:
    parts = pems(clients, "acme", clients)
    superuser().post(pages("endpoint", "add"), filled(tenant=TenantFactory().pk, **parts))
    assert set(Endpoint.objects.get().stored_tls()) == {"certificate", "private_key", "authorities"}


def test_certificates_are_replaced_by_texts_or_files_and_removed(clients: Authority) -> None:
    endpoint = EndpointFactory()
    certificate, key = clients.client_pems("acme")
    files = {
        "certificate_file": SimpleUploadedFile("a.crt", certificate.encode()),
        "private_key_file": SimpleUploadedFile("a.key", key.encode()),
    }
    changed(endpoint, **files)
    facts = client_tls_facts(Endpoint.objects.get())
    assert facts.certificate is not None
    for client in (superuser(), viewer()):
        shown = text_of(client, page(endpoint))
        assert facts.certificate.fingerprint in shown
        assert key.splitlines()[1] not in shown
    changed(endpoint, description="other")
    assert client_tls_facts(Endpoint.objects.get()) == facts
    changed(endpoint, authorities=clients.pem, remove_certificate="on")
    assert set(Endpoint.objects.get().stored_tls()) == {"authorities"}
    changed(endpoint, remove_authorities="on")
    assert Endpoint.objects.get().client_tls == ""
    details = [one.detail.get("fields") for one in AuditEntry.objects.filter(verb="endpoint.changed")]
    assert sum("client_tls" in fields for fields in details) == 3
    assert "BEGIN" not in str(list(LogEntry.objects.values_list("change_message", flat=True)))


def test_errors_stand_beside_their_fields(clients: Authority) -> None:
    endpoint = EndpointFactory()
    certificate, key = clients.client_pems("acme")
    for values, field in [
        ({"certificate": certificate}, "private_key"),
        ({"private_key": key}, "certificate"),
        ({"authorities": certificate}, "authorities"),
        ({"authorities_file": SimpleUploadedFile("a", b"\xff")}, "authorities_file"),
    ]:
        response = changed(endpoint, **values)
        assert errors_of(response) == [field]
        assert key.splitlines()[1] not in response.content.decode()
    assert Endpoint.objects.get().client_tls == ""


def test_certificates_whose_encryption_key_is_lost(clients: Authority, settings: Any) -> None:
    endpoint = EndpointFactory()
    change_endpoint(endpoint, client_tls=pems(clients, "acme"))
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": [new_key()]}
    assert "their key is not in ENCRYPTION_KEYS" in text_of(superuser(), page(endpoint))
