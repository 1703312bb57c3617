"""The authentication of a webhook in the REST API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import Program
from tests.authentication import TokenServer
from tests.receiver import Receiver
from webhooks_app.models import Endpoint

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]

NEW = {"url": "https://example.com/hook", "events": ["test.happened"]}
BASIC = {"kind": "basic", "username": "jo", "password": "a very secret password"}
SHOWN = {"kind": "basic", "username": "jo"}


@pytest.fixture
def program() -> Program:
    return Program()


def stored() -> dict[str, str] | None:
    found = Endpoint.objects.get().opened_authentication()
    return {"kind": found.kind.value, **found.values} if found else None


def test_secrets_go_in_and_never_come_out(program: Program) -> None:
    made = program.post("/webhooks", {**NEW, "authentication": BASIC})
    assert made["authentication"] == SHOWN
    assert program.get(f"/webhooks/{made['id']}")["authentication"] == SHOWN
    assert "very" not in str(program.get("/webhooks"))
    assert stored() == BASIC
    assert program.post("/webhooks", NEW)["authentication"] is None


def test_a_change_keeps_the_secret_that_it_leaves_out(program: Program) -> None:
    path = f"/webhooks/{program.post('/webhooks', {**NEW, 'authentication': BASIC})['id']}"
    changed = program("patch", path, {"authentication": {"kind": "basic", "username": "ann"}})
    assert changed.json()["authentication"] == {"kind": "basic", "username": "ann"}  # type: ignore[attr-defined]
    assert stored() == {**BASIC, "username": "ann"}
    assert program("patch", path, {"description": "x"}).status_code == 200
    assert stored() == {**BASIC, "username": "ann"}
    assert program("patch", path, {"authentication": None}).json()["authentication"] is None  # type: ignore[attr-defined]
    assert stored() is None


def test_another_origin_clears_it(program: Program) -> None:
    path = f"/webhooks/{program.post('/webhooks', {**NEW, 'authentication': BASIC})['id']}"
    moved = program("patch", path, {"url": "https://other.example.com/"}).json()  # type: ignore[attr-defined]
    assert moved["authentication"] is None
    assert moved["secret"]


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        (7, "INVALID_ENDPOINT", "authentication"),
        ({"kind": "none"}, "INVALID_ENDPOINT", "authentication.kind"),
        ({**BASIC, "username": "a:b"}, "INVALID_ENDPOINT", "authentication.username"),
        ({**BASIC, "secret": "x"}, "INVALID_ENDPOINT", "authentication.kind"),
        (
            {"kind": "client_credentials", "token_url": "ftp://a/", "client_id": "a", "client_secret": "b"},
            "URL_NOT_ALLOWED",
            "authentication.token_url",
        ),
    ],
)
def test_the_field_at_fault_is_named(program: Program, given: Any, code: str, field: str) -> None:
    status, *rest = program.refused("post", "/webhooks", {**NEW, "authentication": given})
    assert (status, rest) == (400, [code, field])


def test_it_excludes_an_authorization_header(program: Program) -> None:
    given = {**NEW, "authentication": BASIC, "headers": {"Authorization": "x"}}
    assert program.refused("post", "/webhooks", given)[1:] == ("INVALID_ENDPOINT", "authentication")


def test_a_webhook_can_be_read_when_the_encryption_key_is_lost(program: Program, configure: Any) -> None:
    made = program.post("/webhooks", {**NEW, "authentication": BASIC})
    configure(ENCRYPTION_KEYS=[])
    assert program.get(f"/webhooks/{made['id']}")["authentication"] is None


def test_a_test_event_shows_whether_it_works(program: Program, receiver: Receiver) -> None:
    tokens = TokenServer(receiver)
    given = {**NEW, "url": receiver.url("/hook"), "authentication": tokens.options()}
    path = f"/webhooks/{program.post('/webhooks', given)['id']}"
    assert program.post(f"{path}/test", {"type": "test.happened"}, status=200)["outcome"] == "succeeded"
    tokens.client_secret = "another"
    failed = program.post(f"{path}/test", {"type": "test.happened"}, status=200)
    assert (failed["outcome"], failed["status"]) == ("authentication_failed", None)
