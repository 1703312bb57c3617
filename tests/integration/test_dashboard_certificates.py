"""The customers' pages for an endpoint's certificates: upload, look at, replace, remove."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.certificates import key_pem
from tests.client_certificates import pems
from tests.factories import EndpointFactory
from tests.receiver import Authority
from tests.visitors import seen, visiting
from webhooks_app.core.encryption import new_key
from webhooks_app.endpoints.client_tls import client_tls_facts
from webhooks_app.endpoints.service import change_endpoint
from webhooks_app.models import Endpoint, database_now
from webhooks_app.playground.service import open_playground
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors", "event_types")]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(Path(tmp_path_factory.mktemp("clients")))


@pytest.fixture
def endpoint() -> Endpoint:
    return EndpointFactory()


@pytest.fixture
def client(endpoint: Endpoint) -> Client:
    return visiting(endpoint.tenant)


def place(endpoint: Endpoint, tail: str = "/certificates") -> str:
    return f"/webhooks/endpoints/{endpoint.public_id}{tail}"


def stored(endpoint: Endpoint) -> dict[str, str]:
    return Endpoint.objects.get(pk=endpoint.pk).stored_tls()


def test_texts_are_saved_and_the_endpoints_page_shows_them(
    client: Client, endpoint: Endpoint, clients: Authority
) -> None:
    assert "None. Add a client certificate" in seen(client.get(place(endpoint, "")))
    parts = pems(clients, "acme", clients)
    saved = client.post(place(endpoint), parts, follow=True)
    assert "The certificates are saved." in seen(saved)
    facts = client_tls_facts(Endpoint.objects.get(pk=endpoint.pk))
    assert facts.certificate is not None
    for tail in ("", "/certificates"):
        page = seen(client.get(place(endpoint, tail)))
        assert facts.certificate.fingerprint in page
        assert facts.certificate.issuer in page
        assert "CN=acme" in page
        assert "BEGIN" not in page.replace("begins with “-----BEGIN", "")


def test_files_are_saved_and_a_passphrase_is_used_once(client: Client, endpoint: Endpoint, clients: Authority) -> None:
    certificate, key = clients.client_pems("acme")
    encrypted = key_pem(load_pem_private_key(key.encode(), None), " open sesame ")
    files = {
        "certificate_file": SimpleUploadedFile("client.crt", certificate.encode()),
        "private_key_file": SimpleUploadedFile("client.key", encrypted.encode()),
        "passphrase": " open sesame ",
        "authorities_file": SimpleUploadedFile("ca.pem", clients.pem.encode()),
    }
    assert client.post(place(endpoint), files).status_code == 302
    assert set(stored(endpoint)) == {"certificate", "private_key", "authorities"}
    assert "ENCRYPTED" not in stored(endpoint)["private_key"]


def test_errors_stand_beside_their_fields_and_no_private_key_is_shown(
    client: Client, endpoint: Endpoint, clients: Authority
) -> None:
    certificate, _ = clients.client_pems("acme")
    _, other_key = clients.client_pems("other")
    upload = SimpleUploadedFile("client.key", b"\xff\xfe binary")
    for values, field, message in [
        ({"certificate": certificate}, "private_key", "Give the private key that belongs to the certificate."),
        ({"certificate": certificate, "private_key": other_key}, "private_key", "does not belong to the first"),
        ({"authorities": "none"}, "authorities", "There is no certificate in PEM format"),
        ({"private_key_file": upload}, "private_key_file", "The file is not in PEM format."),
        ({"authorities": "a", "authorities_file": SimpleUploadedFile("a", b"b")}, "authorities_file", "not both"),
        ({"authorities_file": SimpleUploadedFile("a", b"b" * 40_000)}, "authorities_file", "The file is too large."),
        ({"authorities": "a", "remove_authorities": "on"}, "remove_authorities", "Either remove it or give a new one."),
    ]:
        answer = client.post(place(endpoint), values)
        assert answer.status_code == 422
        assert message in str(answer.context["form"].errors[field])
        page = seen(answer)
        assert other_key.splitlines()[1] not in page
    assert "Enter all texts again" in seen(client.post(place(endpoint), {"private_key": other_key, "authorities": "x"}))
    assert stored(endpoint) == {}


def test_empty_fields_change_nothing(client: Client, endpoint: Endpoint, clients: Authority) -> None:
    change_endpoint(endpoint, client_tls=pems(clients, "acme", clients))
    before = stored(endpoint)
    for values in ({}, {"passphrase": "filled in by a browser"}):
        assert "done=same" in client.post(place(endpoint), values)["Location"]
    renewed = pems(clients, "renewed")
    client.post(place(endpoint), renewed)
    assert stored(endpoint)["authorities"] == before["authorities"]
    assert stored(endpoint)["private_key"] != before["private_key"]


def test_each_part_or_all_can_be_removed(client: Client, endpoint: Endpoint, clients: Authority) -> None:
    change_endpoint(endpoint, client_tls=pems(clients, "acme", clients))
    client.post(place(endpoint), {"remove_certificate": "on"})
    assert set(stored(endpoint)) == {"authorities"}
    client.post(place(endpoint), {"remove_authorities": "on"})
    assert stored(endpoint) == {}
    change_endpoint(endpoint, client_tls=pems(clients, "acme", clients))
    assert client.get(place(endpoint, "/certificates/remove")).status_code == 405
    client.post(place(endpoint, "/certificates/remove"))
    assert stored(endpoint) == {}


def test_an_end_that_is_near_is_marked(
    client: Client, endpoint: Endpoint, clients: Authority, monkeypatch: Any
) -> None:
    change_endpoint(endpoint, client_tls=pems(clients, "a", not_after=database_now() + timedelta(days=29)))
    assert "expires soon" in seen(client.get(place(endpoint, "")))
    change_endpoint(endpoint, client_tls=pems(clients, "a", not_after=database_now() + timedelta(days=31)))
    assert "expires soon" not in seen(client.get(place(endpoint, "")))


def test_certificates_whose_encryption_key_is_lost_can_be_removed(
    client: Client, endpoint: Endpoint, clients: Authority, settings: Any
) -> None:
    change_endpoint(endpoint, client_tls=pems(clients, "acme"))
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": [new_key()]}
    for tail in ("", "/certificates"):
        assert "The certificates cannot be read now" in seen(client.get(place(endpoint, tail)))
    assert client.post(place(endpoint), pems(clients, "new")).status_code == 422
    client.post(place(endpoint, "/certificates/remove"))
    assert client.post(place(endpoint), pems(clients, "new")).status_code == 302


def test_viewers_others_and_the_playground_have_no_such_page(endpoint: Endpoint, clients: Authority) -> None:
    change_endpoint(endpoint, client_tls=pems(clients, "acme"))
    viewer = visiting(endpoint.tenant, Role.VIEWER)
    assert "CN=acme" in seen(viewer.get(place(endpoint, "")))
    assert viewer.get(place(endpoint)).status_code == 403
    assert viewer.post(place(endpoint, "/certificates/remove")).status_code == 403
    stranger = visiting(EndpointFactory().tenant)
    assert stranger.get(place(endpoint)).status_code == 404
    playground = open_playground(endpoint.tenant, events=["*"])[0]
    assert visiting(endpoint.tenant).get(place(playground)).status_code == 404
    assert "Certificates" not in seen(visiting(endpoint.tenant).get(place(playground, "")))
