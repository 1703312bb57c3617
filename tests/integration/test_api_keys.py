"""Keys of the REST API: how they are made, shown, revoked and limited, and what their scopes allow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from tests import api
from tests.api import ROOT, Program
from tests.factories import EndpointFactory, TenantFactory
from webhooks_app.exceptions import InvalidApiKey
from webhooks_app.models import ApiKey, AuditEntry, Scope
from webhooks_app.tenants.api_keys import create_api_key, revoke_api_key

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]
no_counts = api.no_counts


class TestAKey:
    @pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
    def test_is_taken_from_either_header(self, header: str) -> None:
        _, text = create_api_key("acme")
        value = text if header == "X-API-Key" else f"Bearer {text}"
        assert Client().get(f"{ROOT}/webhooks", headers={header: value}).status_code == 200

    def test_is_kept_as_a_digest_alone(self) -> None:
        key, text = create_api_key("acme", name="ci")
        assert text.startswith("wk_")
        assert text not in str(list(ApiKey.objects.values_list()))
        assert key.hint == text[:10]
        assert AuditEntry.objects.get(verb="api_key.created").detail == {"name": "ci", "scopes": Scope.values}

    @pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"Authorization": "Basic eDp5"}], ids=str)
    def test_that_is_missing_is_asked_for(self, headers: dict[str, str]) -> None:
        response = Client().get(f"{ROOT}/webhooks", headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "NOT_AUTHENTICATED")
        assert response["WWW-Authenticate"].startswith("Bearer")
        assert response.json()["detail"].startswith("Send an API key in the header")

    @pytest.mark.parametrize("text", ["wk_unknown", "é", "x" * 10_000, "\x00"])
    def test_that_is_unknown_is_refused(self, text: str) -> None:
        response = Client().get(f"{ROOT}/webhooks", headers={"Authorization": f"Bearer {text}"})
        assert response.status_code == 401

    def test_that_is_revoked_or_expired_is_refused(self) -> None:
        revoked, expired = Program(), Program()
        revoke_api_key(revoked.key)
        ApiKey.objects.filter(pk=expired.key.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        for program in (revoked, expired):
            assert program.refused("get", "/webhooks") == (401, "INVALID_API_KEY", None)

    def test_remembers_that_it_was_used_once_a_minute(self, django_assert_num_queries: Any) -> None:
        program = Program()
        program.get("/egress")
        first = ApiKey.objects.get().last_used_at
        assert first is not None
        with django_assert_num_queries(1):
            program.get("/egress")
        ApiKey.objects.update(last_used_at=first - timedelta(minutes=2))
        program.get("/egress")
        assert ApiKey.objects.get().last_used_at > first - timedelta(minutes=1)

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"scopes": ["everything"]}, "scopes"),
            ({"scopes": []}, "scopes"),
            ({"name": "\x00"}, "name"),
            ({"expires_at": timezone.now() - timedelta(days=1)}, "expires_at"),
        ],
    )
    def test_is_not_made_of_nonsense(self, values: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidApiKey) as caught:
            create_api_key("acme", **values)
        assert caught.value.field == field


class TestScopes:
    """Every route asks for the scope that it says."""

    @pytest.mark.parametrize(
        ("method", "path", "scope"),
        [
            ("get", "/webhooks", Scope.WEBHOOKS_READ),
            ("post", "/webhooks", Scope.WEBHOOKS_WRITE),
            ("get", "/webhooks/{wh}", Scope.WEBHOOKS_READ),
            ("patch", "/webhooks/{wh}", Scope.WEBHOOKS_WRITE),
            ("delete", "/webhooks/{wh}", Scope.WEBHOOKS_WRITE),
            ("post", "/webhooks/{wh}/test", Scope.WEBHOOKS_WRITE),
            ("post", "/webhooks/{wh}/rotate-secret", Scope.WEBHOOKS_WRITE),
            ("get", "/webhooks/{wh}/stats", Scope.WEBHOOKS_READ),
            ("get", "/events", Scope.WEBHOOKS_READ),
            ("post", "/events", Scope.EVENTS_WRITE),
            ("post", "/events/batch", Scope.EVENTS_WRITE),
            ("get", "/deliveries", Scope.WEBHOOKS_READ),
            ("post", "/deliveries/retry", Scope.WEBHOOKS_WRITE),
            ("get", "/event-types", Scope.WEBHOOKS_READ),
            ("get", "/egress", Scope.WEBHOOKS_READ),
        ],
    )
    def test_are_needed(self, method: str, path: str, scope: str) -> None:
        endpoint = EndpointFactory(tenant__uid="acme")
        path = path.format(wh=endpoint.public_id)
        others = [other for other in Scope.values if other != scope]
        assert Program("acme", others).refused(method, path, {})[:2] == (403, "FORBIDDEN")
        detail = Program("acme", others)(method, path, {} if method != "get" else None).json()["detail"]
        assert detail == f"This API key lacks the scope `{scope}`. Use one that has it."
        assert Program("acme", [scope])(method, path, {} if method != "get" else None).status_code != 403


def test_each_key_has_a_rate_of_its_own(configure: Any) -> None:
    configure(API={"RATE_LIMIT": "2/hour"})
    first, second = Program(), Program()
    for _ in range(2):
        first.get("/egress")
    response = first("get", "/egress")
    assert (response.status_code, response.json()["code"]) == (429, "TOO_MANY_REQUESTS")
    assert 0 < int(response["Retry-After"]) <= 3601
    assert "`Retry-After`" in response.json()["detail"]
    second.get("/egress")


class TestTheCommand:
    def test_prints_the_key_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("webhooks_api_key", "create", "--tenant", "acme", "--name", "ci", "--scope", "webhooks:read")
        text = capsys.readouterr().out
        assert text.count("\n") == 1
        assert Client().get(f"{ROOT}/webhooks", headers={"X-API-Key": text.strip()}).status_code == 200
        assert ApiKey.objects.get().scopes == ["webhooks:read"]

    def test_lists_and_revokes(self, capsys: pytest.CaptureFixture[str]) -> None:
        key, text = create_api_key("acme", name="ci", expires_at=timezone.now() + timedelta(days=1))
        call_command("webhooks_api_key", "list", "--tenant", "acme")
        shown = capsys.readouterr().out
        assert key.public_id in shown
        assert text not in shown
        call_command("webhooks_api_key", "revoke", key.public_id)
        call_command("webhooks_api_key", "list", "--tenant", "acme")
        assert "revoked" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "arguments",
        [
            ("create", "--tenant", "acme", "--expires", "soon"),
            ("create", "--tenant", "acme", "--expires", "2001-01-01"),
            ("create", "--tenant", ""),
            ("create",),
            ("revoke", "key_none"),
        ],
        ids=str,
    )
    def test_says_what_is_wrong(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(CommandError):
            call_command("webhooks_api_key", *arguments)
        assert not ApiKey.objects.exists()


def test_a_tenant_may_be_any_object_of_the_hosts() -> None:
    assert create_api_key(TenantFactory(uid="row"))[0].tenant.uid == "row"
