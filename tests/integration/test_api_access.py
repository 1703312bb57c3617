"""Who may ask what of the REST API: people whom the host knows, and nobody of another tenant's."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.utils import timezone

from tests import api
from tests.api import ROOT, Program
from tests.api_routes import every_view
from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory, EventFactory
from tests.pipelines import Gate, InThread, deliver_until, endpoint_at, eventually, pending_event
from tests.receiver import Receiver
from tests.visitors import visiting
from webhooks_app.api.views.base import ApiView
from webhooks_app.models import Delivery
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]
no_counts = api.no_counts


def everyones_tenant(request: Any) -> str | None:
    return "acme" if request.user.username == "anna" else None


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
            assert program.post("/deliveries/retry", status=200) == {"retried": 0, "more": False, "after": None}

    def test_the_matrix_is_of_every_route(self) -> None:
        """One with an id is in it by itself; one without is another's affair, or is asked for above."""
        from webhooks_app.api import urls

        assert {path.split("/")[1] for _, path in routes()} == {"webhooks", "events", "deliveries"}
        assert len(routes()) >= 15
        paths = {str(one.pattern).strip("^$").replace("\\Z", "") for one in (*urls.router.urls, *urls.urlpatterns)}
        assert {path for path in paths if path and "<" not in path} == {
            *("webhooks", "events", "deliveries", "deliveries/retry"),  # lists
            *("events/batch", "events/erase", "portal-links", "account-secret"),  # act for the asker's tenant alone
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
        refused = other.get(f"{ROOT}/webhooks")
        assert (refused.status_code, refused.json()["detail"].split(".")[0]) == (403, "This user belongs to no tenant")

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
        refused = looking.delete(f"{ROOT}/webhooks/{endpoint.public_id}")
        assert (refused.status_code, refused.json()["detail"].split(".")[0]) == (
            403,
            "This user lacks the scope `webhooks:write`",
        )
        managing = visiting(endpoint.tenant, Role.MANAGER)
        assert managing.delete(f"{ROOT}/webhooks/{endpoint.public_id}").status_code == 204

    def test_is_nobody_where_the_host_has_not_said_so(self, configure: Any) -> None:
        configure(TENANT_OF_REQUEST="")
        client = Client()
        client.force_login(get_user_model().objects.create_user("anna"))
        assert client.get(f"{ROOT}/webhooks").status_code == 401


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
