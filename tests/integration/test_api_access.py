"""Who may ask what of the REST API: keys, people, scopes, throttles, and nobody of another tenant's."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from tests.api import ROOT, Program
from tests.api_routes import every_view
from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory, EventFactory, TenantFactory
from tests.pipelines import Gate, InThread, deliver_until, endpoint_at, eventually, pending_event
from tests.receiver import Receiver
from tests.visitors import visiting
from webhooks_app.api.views.base import ApiView
from webhooks_app.exceptions import InvalidApiKey
from webhooks_app.models import ApiKey, AuditEntry, Delivery, Scope
from webhooks_app.tenants.access import Role
from webhooks_app.tenants.api_keys import create_api_key, revoke_api_key

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]


@pytest.fixture(autouse=True)
def _no_counts() -> Any:
    cache.clear()
    yield
    cache.clear()


def everyones_tenant(request: Any) -> str | None:
    return "acme" if request.user.username == "anna" else None


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
        assert Program("acme", [scope])(method, path, {} if method != "get" else None).status_code != 403


def routes() -> list[tuple[str, str]]:
    """Every method and path of the API that names an object."""
    from webhooks_app.api import urls

    found = []
    for pattern in urls.router.urls:
        actions = getattr(pattern.callback, "actions", {})
        if "pk" in str(pattern.pattern):
            path = "/" + str(pattern.pattern).lstrip("^").rstrip("$").replace("(?P<pk>[^/]+)", "{pk}").replace(
                "\\Z", ""
            )
            found += [(method, path) for method in actions]
    return sorted(set(found))


class TestAnotherTenants:
    """One tenant's key reaches nothing of another's, on no route, and learns nothing of it."""

    @pytest.mark.parametrize(("method", "path"), routes())
    def test_objects_are_not_there(self, method: str, path: str) -> None:
        theirs = AttemptFactory(delivery=DeliveryFactory(endpoint=EndpointFactory(tenant__uid="theirs"))).delivery
        ids = {"webhooks": theirs.endpoint.public_id, "events": theirs.event.public_id, "deliveries": theirs.public_id}
        noun = path.split("/")[1]
        program = Program("ours")
        data = {"since": timezone.now().isoformat(), "type": "test.happened"}
        asked = program.refused(method, path.format(pk=ids[noun]), data if method != "get" else None)
        prefix = ids[noun].split("_")[0]
        unknown = program.refused(
            method, path.format(pk=f"{prefix}_{uuid.uuid4().hex}"), data if method != "get" else None
        )
        assert asked == unknown == (404, "NOT_FOUND", None)

    @pytest.mark.parametrize("path", ["/webhooks", "/events", "/deliveries"])
    def test_lists_are_not_ours(self, path: str) -> None:
        endpoint = EndpointFactory(tenant__uid="theirs")
        DeliveryFactory(endpoint=endpoint)
        EventFactory(tenant=endpoint.tenant)
        program = Program("ours")
        assert program.get(path)["results"] == []
        if path == "/deliveries":
            assert program.get(f"{path}?webhook={endpoint.public_id}")["results"] == []
            assert program.post("/deliveries/retry", status=200) == {"retried": 0, "more": False}

    def test_the_matrix_is_of_every_route(self) -> None:
        """One with an id is in it by itself; one without is another's affair, or is asked for above."""
        from webhooks_app.api import urls

        assert {path.split("/")[1] for _, path in routes()} == {"webhooks", "events", "deliveries"}
        assert len(routes()) >= 15
        paths = {str(one.pattern).strip("^$").replace("\\Z", "") for one in (*urls.router.urls, *urls.urlpatterns)}
        assert {path for path in paths if path and "<" not in path} == {
            *("webhooks", "events", "deliveries", "deliveries/retry"),  # lists
            *("events/batch", "portal-links", "account-secret"),  # act for the asker's tenant, and name nothing
            *("event-types", "egress"),  # the same for everybody
        }


class TestAPerson:
    def test_who_is_logged_in_sees_the_tenants_that_the_host_says(self, configure: Any) -> None:
        configure(TENANT_OF_REQUEST="tests.integration.test_api_access.everyones_tenant")
        endpoint = EndpointFactory(tenant__uid="acme")
        client = Client()
        client.force_login(get_user_model().objects.create_user("anna"))
        assert [one["id"] for one in client.get(f"{ROOT}/webhooks").json()["results"]] == [endpoint.public_id]
        other = Client()
        other.force_login(get_user_model().objects.create_user("bert"))
        assert other.get(f"{ROOT}/webhooks").status_code == 403

    @pytest.mark.parametrize("path", ["webhooks", "events", "deliveries", "event-types", "egress", "portal-links"])
    def test_may_look_at_it_in_a_browser(self, configure: Any, path: str) -> None:
        configure(TENANT_OF_REQUEST="tests.integration.test_api_access.everyones_tenant")
        client = Client()
        client.force_login(get_user_model().objects.create_user("anna"))
        page = client.get(f"{ROOT}/{path}", headers={"Accept": "text/html"})
        assert page["Content-Type"].startswith("text/html")
        assert page.status_code == (405 if path == "portal-links" else 200)

    def test_needs_a_csrf_token_to_change_anything(self, configure: Any) -> None:
        configure(TENANT_OF_REQUEST="tests.integration.test_api_access.everyones_tenant")
        endpoint = EndpointFactory(tenant__uid="acme")
        client = Client(enforce_csrf_checks=True)
        client.force_login(get_user_model().objects.create_user("anna"))
        assert client.delete(f"{ROOT}/webhooks/{endpoint.public_id}").status_code == 403

    def test_who_only_looks_changes_nothing(self, configure: Any) -> None:
        configure(TENANT_OF_REQUEST="tests.visitors.tenant_of_user", ROLE_OF_REQUEST="tests.visitors.role_of_user")
        endpoint = EndpointFactory()
        looking = visiting(endpoint.tenant, Role.VIEWER)
        assert len(looking.get(f"{ROOT}/webhooks").json()["results"]) == 1
        assert looking.delete(f"{ROOT}/webhooks/{endpoint.public_id}").status_code == 403
        managing = visiting(endpoint.tenant, Role.MANAGER)
        assert managing.delete(f"{ROOT}/webhooks/{endpoint.public_id}").status_code == 204

    def test_is_nobody_where_the_host_has_not_said_so(self, configure: Any) -> None:
        configure(TENANT_OF_REQUEST="")
        client = Client()
        client.force_login(get_user_model().objects.create_user("anna"))
        assert client.get(f"{ROOT}/webhooks").status_code == 401


def test_each_key_has_a_rate_of_its_own(configure: Any) -> None:
    configure(API_RATE="2/hour")
    first, second = Program(), Program()
    for _ in range(2):
        first.get("/egress")
    response = first("get", "/egress")
    assert (response.status_code, response.json()["code"]) == (429, "TOO_MANY_REQUESTS")
    assert 0 < int(response["Retry-After"]) <= 3601
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


class TestARequestsTransaction:
    """ATOMIC_REQUESTS of the host: it would be open as long as a receiver takes, and on SQLite keep everybody waiting."""

    @pytest.fixture
    def atomic_requests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    def test_is_in_no_view_of_an_api(self) -> None:
        views = [view for _, view in every_view() if issubclass(getattr(view, "cls", object), ApiView)]
        assert len(views) > 10
        assert {view.cls for view in views if "default" not in getattr(view, "_non_atomic_requests", ())} == set()

    def test_does_not_keep_other_tenants_waiting_for_a_test_event(
        self, pipeline: None, receiver: Receiver, atomic_requests: None
    ) -> None:
        gate = Gate()
        receiver.on("/slow", gate)
        program, beside = Program(), endpoint_at(receiver)
        slow = endpoint_at(receiver, "/slow", wire_format="slow", tenant=program.tenant)
        path = f"/webhooks/{slow.public_id}/test"
        request = InThread(lambda: program("post", path, {"type": "test.happened"}, Idempotency_Key="once"))
        eventually(lambda: gate.waiting)
        pending_event(beside.tenant)
        deliver_until(lambda: Delivery.objects.filter(endpoint=beside, status="succeeded").exists())
        assert request.is_alive(), "the test event still waits"
        gate.open()
        assert request.result().status_code == 200
