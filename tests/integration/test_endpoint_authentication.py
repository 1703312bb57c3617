"""Which authentication an endpoint may have, how it is stored, and when it is cleared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.factories import TenantFactory
from webhooks_app.endpoints.headers import KEEP_VALUE
from webhooks_app.endpoints.service import change_endpoint, create_endpoint
from webhooks_app.exceptions import ConflictingState, InvalidEndpoint, SealingError, URLNotAllowed, WebhooksError
from webhooks_app.maintenance.reencrypt import reencrypt
from webhooks_app.models import AuditEntry, Endpoint
from webhooks_app.playground.service import open_playground
from webhooks_app.wire_formats.standard import WIRE_FORMAT as STANDARD

pytestmark = pytest.mark.django_db

URL = "https://example.com/hook"
BASIC = {"kind": "basic", "username": "jo", "password": "a very secret password"}
BEARER = {"kind": "bearer", "token": "a-very-secret-token"}
OAUTH = {
    "kind": "client_credentials",
    "token_url": "https://login.example.com/token",
    "client_id": "client",
    "client_secret": "a very secret secret",
}
ANOTHER_KEY = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="
SIGNED_IN_AUTHORIZATION = replace(
    STANDARD, name="bearer", extra_headers=lambda message: (("Authorization", "Signature"),)
)


def new_endpoint(**values: Any) -> Endpoint:
    return create_endpoint(TenantFactory(), url=URL, events=["*"], **values)[0]


def stored(endpoint: Endpoint) -> dict[str, Any] | None:
    found = Endpoint.objects.get(pk=endpoint.pk).opened_authentication()
    return {"kind": found.kind.value, **found.values} if found else None


@pytest.mark.parametrize(
    "given", [BASIC, BEARER, OAUTH, {**OAUTH, "scope": "a b", "audience": "x", "resource": "urn:y"}]
)
def test_it_is_encrypted_and_shown_without_its_secrets(given: dict[str, str]) -> None:
    endpoint = new_endpoint(authentication=given)
    assert stored(endpoint) == given
    row = Endpoint.objects.get()
    assert "very" not in row.authentication
    found = row.opened_authentication()
    assert found is not None
    assert found.shown() == {name: value for name, value in given.items() if "very" not in value}
    assert "very" not in repr(found)
    assert "very" not in str([entry.detail for entry in AuditEntry.objects.all()])


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("basic", "authentication"),
        ({}, "authentication.kind"),
        ({"kind": "digest"}, "authentication.kind"),
        ({"kind": ["basic"]}, "authentication.kind"),
        ({**BASIC, "token": "x"}, "authentication.kind"),
        ({**BASIC, "username": "a:b"}, "authentication.username"),
        ({**BASIC, "username": ""}, "authentication.username"),
        ({**BASIC, "username": 7}, "authentication.username"),
        ({**BASIC, "password": "a\nb"}, "authentication.password"),
        ({**BASIC, "password": "x" * 1025}, "authentication.password"),
        ({"kind": "basic", "username": "jo"}, "authentication.password"),
        ({"kind": "basic", "password": "x"}, "authentication.username"),
        ({**BEARER, "token": "two words"}, "authentication.token"),
        ({**BEARER, "token": "a\r\nX-Evil: 1"}, "authentication.token"),
        ({**BEARER, "token": "=="}, "authentication.token"),
        ({**OAUTH, "client_id": "ü"}, "authentication.client_id"),
        ({**OAUTH, "scope": 'a "b"'}, "authentication.scope"),
        ({**OAUTH, "scope": "a  b"}, "authentication.scope"),
        ({**OAUTH, "client_authentication": "jwt"}, "authentication.client_authentication"),
        ({**OAUTH, "audience": "a\nb"}, "authentication.audience"),
    ],
)
def test_what_is_wrong_is_named_without_its_value(given: Any, field: str) -> None:
    with pytest.raises(InvalidEndpoint) as caught:
        new_endpoint(authentication=given)
    assert caught.value.field == field
    assert "very" not in str(caught.value)
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize(
    "url", ["http://login.example.com/token", "https://10.0.0.1/token", "https://a@b.example/", "playground:ok", ""]
)
def test_a_token_url_follows_the_rules_of_every_url(url: str, configure: Any) -> None:
    configure(ALLOW_HTTP=False, ALLOWED_NETWORKS=[])
    with pytest.raises(URLNotAllowed) as caught:
        new_endpoint(authentication={**OAUTH, "token_url": url})
    assert caught.value.field == "authentication.token_url"


def test_a_secret_that_is_left_out_stays() -> None:
    endpoint = new_endpoint(authentication=BASIC)
    change_endpoint(endpoint, authentication={"kind": "basic", "username": "ann"})
    assert stored(endpoint) == {**BASIC, "username": "ann"}
    change_endpoint(endpoint, authentication={"kind": "basic", "username": "bea", "password": KEEP_VALUE})
    assert stored(endpoint) == {**BASIC, "username": "bea"}
    change_endpoint(endpoint, description="unrelated")
    assert stored(endpoint) == {**BASIC, "username": "bea"}
    change_endpoint(endpoint, authentication=None)
    assert (stored(endpoint), Endpoint.objects.get().authentication) == (None, "")


def test_a_secret_is_not_kept_for_another_kind() -> None:
    endpoint = new_endpoint(authentication=BASIC)
    with pytest.raises(InvalidEndpoint) as caught:
        change_endpoint(endpoint, authentication={"kind": "bearer"})
    assert caught.value.field == "authentication.token"


def test_a_client_secret_is_not_kept_for_another_token_server() -> None:
    endpoint = new_endpoint(authentication=OAUTH)
    without = {name: value for name, value in OAUTH.items() if name != "client_secret"}
    moved = {**without, "token_url": "https://login.example.com/v2/token", "scope": "a"}
    change_endpoint(endpoint, authentication=moved)
    assert stored(endpoint) == {**OAUTH, **moved}
    for url in ("https://evil.example.com/token", "https://login.example.com:8443/token"):
        with pytest.raises(InvalidEndpoint) as caught:
            change_endpoint(endpoint, authentication={**without, "token_url": url})
        assert caught.value.field == "authentication.client_secret"
    assert stored(endpoint) == {**OAUTH, **moved}


def test_another_receiver_gets_no_authentication_that_was_meant_for_the_first() -> None:
    endpoint = new_endpoint(authentication=BASIC)
    change_endpoint(endpoint, url=f"{URL}/other")
    assert stored(endpoint) == BASIC
    with pytest.raises(InvalidEndpoint):
        change_endpoint(endpoint, url="https://other.example.com/", authentication={"kind": "basic", "username": "jo"})
    change_endpoint(endpoint, url="https://other.example.com/")
    assert stored(endpoint) is None
    change_endpoint(endpoint, url=URL, authentication=BEARER)
    assert stored(endpoint) == BEARER


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_a_custom_authorization_header_and_an_authentication_exclude_each_other(name: str) -> None:
    headers = {name: "Bearer x"}
    with pytest.raises(InvalidEndpoint, match="Remove one of them") as caught:
        new_endpoint(authentication=BASIC, headers=headers)
    assert caught.value.field == "authentication"
    with_header, with_authentication = new_endpoint(headers=headers), new_endpoint(authentication=BASIC)
    with pytest.raises(InvalidEndpoint, match="Remove one of them") as caught:
        change_endpoint(with_header, authentication=BASIC)
    assert caught.value.field == "authentication"
    with pytest.raises(InvalidEndpoint, match="Remove one of them") as caught:
        change_endpoint(with_authentication, headers=headers)
    assert caught.value.field == "headers"
    change_endpoint(with_header, authentication=BASIC, headers={"X-Other": "1"})
    assert stored(with_header) == BASIC


def test_other_settings_can_be_changed_while_the_key_is_lost(configure: Any) -> None:
    endpoint = new_endpoint(authentication=BASIC, headers={"X-Tenant": "acme"})
    before = Endpoint.objects.get()
    configure(ENCRYPTION_KEYS=[ANOTHER_KEY])
    change_endpoint(endpoint, description="x", url=f"{URL}/2")
    after = Endpoint.objects.get()
    assert (after.description, after.url) == ("x", f"{URL}/2")
    assert (after.authentication, after.headers) == (before.authentication, before.headers)
    with pytest.raises(SealingError):
        change_endpoint(endpoint, authentication=BEARER)


def test_the_playground_takes_none() -> None:
    playground, _ = open_playground(TenantFactory())
    with pytest.raises(ConflictingState) as caught:
        change_endpoint(playground, authentication=BASIC)
    assert caught.value.field == "authentication"


def test_a_wire_format_that_signs_in_the_authorization_header_takes_none(configure: Any) -> None:
    configure(WIRE_FORMATS={"bearer": "tests.integration.test_endpoint_authentication.SIGNED_IN_AUTHORIZATION"})
    with pytest.raises(InvalidEndpoint, match="signature") as caught:
        new_endpoint(authentication=BASIC, wire_format="bearer")
    assert caught.value.field == "authentication.kind"


def test_it_is_encrypted_again_with_a_new_key(configure: Any, settings: Any) -> None:
    endpoint = new_endpoint(authentication=OAUTH)
    before = Endpoint.objects.get().authentication
    new_key = "bm9ib2R5IGtub3dzIHRoaXMga2V5IG9mIDMyIGJ5dGU="
    configure(ENCRYPTION_KEYS=[new_key, *settings.WEBHOOKS["ENCRYPTION_KEYS"]])
    assert reencrypt().reencrypted == 2  # the signing secret, too
    configure(ENCRYPTION_KEYS=[new_key])
    assert Endpoint.objects.get().authentication != before
    assert stored(endpoint) == OAUTH
    configure(ENCRYPTION_KEYS=[])
    with pytest.raises(WebhooksError):
        Endpoint.objects.get().opened_authentication()
