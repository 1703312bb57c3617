"""Client certificates and certificate authorities of webhooks over the REST API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import api
from tests.api import Program
from tests.client_certificates import pems
from tests.hostile_key_files import block, certificate_of_unknown_version, costly_certificates, costly_keys
from tests.receiver import Authority
from webhooks_app.core.encryption import new_key

pytestmark = pytest.mark.django_db(transaction=True)
no_counts = api.no_counts

NEW = {"url": "https://example.com/hook", "events": ["*"]}


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(Path(tmp_path_factory.mktemp("clients")))


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
def made(program: Program, clients: Authority) -> Any:
    return program.post("/webhooks", {**NEW, "client_tls": pems(clients, "acme", clients)})


def changed(program: Program, made: Any, value: Any, status: int = 200) -> Any:
    response = program("patch", f"/webhooks/{made['id']}", {"client_tls": value})
    assert response.status_code == status, response.content
    return response.json()


def test_shows_facts_and_never_the_private_key(program: Program, made: Any, clients: Authority) -> None:
    [shown] = program.get("/webhooks")["results"]
    for one in (made, shown, program.get(f"/webhooks/{made['id']}")):
        assert set(one["client_tls"]) == {"certificate", "authorities"}
        certificate, [authority] = one["client_tls"]["certificate"], one["client_tls"]["authorities"]
        assert "CN=acme" in certificate["subject"]
        assert certificate["issuer"] == authority["subject"] == authority["issuer"]
        assert len(certificate["fingerprint"]) == 32 * 3 - 1
        assert certificate["not_before"] < certificate["not_after"]
        assert "BEGIN" not in json.dumps(one)


def test_parts_are_replaced_and_removed(program: Program, made: Any, clients: Authority) -> None:
    renewed = changed(program, made, pems(clients, "renewed"))["client_tls"]
    assert "CN=renewed" in renewed["certificate"]["subject"]
    assert renewed["authorities"] == made["client_tls"]["authorities"]
    assert changed(program, made, {})["client_tls"] == renewed
    assert changed(program, made, {"authorities": None})["client_tls"] == {**renewed, "authorities": []}
    assert changed(program, made, {"certificate": None})["client_tls"] is None
    changed(program, made, pems(clients, "acme"))
    assert changed(program, made, None)["client_tls"] is None


def test_errors_name_the_field(program: Program, made: Any, clients: Authority) -> None:
    certificate, key = clients.client_pems("other")
    for wrong, code, field in [
        ({"certificate": certificate}, "INVALID_ENDPOINT", "client_tls.private_key"),
        ({"certificate": "none"}, "INVALID_ENDPOINT", "client_tls.certificate"),
        ({"authorities": certificate}, "INVALID_ENDPOINT", "client_tls.authorities"),
        ({"authorities": certificate_of_unknown_version()}, "INVALID_ENDPOINT", "client_tls.authorities"),
        ({"authorities": costly_certificates()["dh"]}, "INVALID_ENDPOINT", "client_tls.authorities"),
        (
            {"certificate": certificate, "private_key": block("PRIVATE KEY", costly_keys()["dh"])},
            "INVALID_ENDPOINT",
            "client_tls.private_key",
        ),
        ({"certificate": 5}, "INVALID_FIELD", "client_tls.certificate"),
        ("text", "INVALID_FIELD", "client_tls"),
    ]:
        problem = changed(program, made, wrong, status=400)
        assert (problem["code"], problem["field"]) == (code, field)
        assert key.splitlines()[1] not in json.dumps(problem)


def test_a_webhook_whose_encryption_key_is_lost_can_be_read(program: Program, made: Any, settings: Any) -> None:
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": [new_key()]}
    assert program.get(f"/webhooks/{made['id']}")["client_tls"] is None
