"""What all customers' pages have in common: who gets in, and what the browser is told."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse
from django.views.debug import ExceptionReporter

from project.messaging.models import Organisation
from tests.factories import EndpointFactory, TenantFactory
from tests.visitors import VISITORS, seen, tenant_of_user, visiting
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.tenants.access import Role
from webhooks_app.tenants.portal import create_portal_link
from webhooks_app.urls import urlpatterns

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]

HOME = "/webhooks/"
#: Where strangers may come.
OPEN = {"portal", "leave"}


def addresses() -> list[str]:
    """One address for each of the pages."""
    names = {"public_id": "0" * 32, "name": "message.sent", "key": "0" * 32}
    closed = [place for place in urlpatterns if place.name not in OPEN]
    return [
        reverse(f"webhooks_app:{place.name}", kwargs={key: names[key] for key in place.pattern.converters})
        for place in closed
    ]


@pytest.mark.parametrize("address", addresses())
class TestEveryPage:
    def test_sends_strangers_to_log_in(self, address: str) -> None:
        for answer in (Client().get(address), Client().post(address)):
            assert answer.status_code in (302, 405)
            if answer.status_code == 302:
                assert answer["Location"].startswith("/login")

    def test_is_not_for_people_of_no_tenant(self, address: str) -> None:
        client = Client()
        client.force_login(get_user_model().objects.create_user("nobody"))
        assert {client.get(address).status_code, client.post(address).status_code} <= {403, 405}

    def test_lets_nothing_be_kept_and_nothing_foreign_run(self, address: str) -> None:
        answer = visiting(TenantFactory()).get(address)
        if answer.status_code == 405:
            return
        assert answer.status_code in (200, 302, 404)
        assert "no-store" in answer["Cache-Control"]
        assert "script-src 'self';" in answer["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
        assert answer["Referrer-Policy"] == "same-origin"

    def test_is_changed_by_managers_only(self, address: str) -> None:
        answer = visiting(TenantFactory(), Role.VIEWER).post(address)
        assert answer.status_code in (403, 405)

    def test_wants_a_csrf_token(self, address: str) -> None:
        answer = visiting(TenantFactory(), enforce_csrf_checks=True).post(address)
        assert answer.status_code in (403, 405)

    def test_has_no_inline_script_or_style(self, address: str) -> None:
        page = b"".join(visiting(TenantFactory()).get(address)).decode()  # files are streamed
        for sign in (" style=", "<style", " onclick=", "javascript:"):
            assert sign not in page
        assert page.count("<script") == page.count("<script src=")


def test_a_role_that_is_none_makes_nobody_a_manager(configure: Any) -> None:
    configure(ROLE_OF_REQUEST="tests.visitors.tenant_of_user")
    with pytest.raises(ConfigurationError, match="manager"):
        visiting(TenantFactory()).get(HOME)


def test_the_policy_may_be_the_hosts(configure: Any, settings: Any) -> None:
    configure(DASHBOARD={"CSP": ""})
    assert visiting(TenantFactory()).get(HOME)["Content-Security-Policy"].startswith("default-src 'self'; img-src")
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != "project.security.content_security_policy"]
    assert "Content-Security-Policy" not in visiting(TenantFactory()).get(HOME)


class TestTheReadersZone:
    def test_is_the_browsers(self) -> None:
        endpoint = EndpointFactory(queue__last_success_at="2026-07-01T12:00:00+00:00")
        client, address = visiting(endpoint.tenant), reverse("webhooks_app:endpoint", args=[endpoint.public_id])
        assert "12:00:00 UTC" in client.get(address).content.decode()
        client.cookies["webhooks_timezone"] = "America/New_York"
        page = client.get(address).content.decode()
        assert "08:00:00 EDT" in page

    @pytest.mark.parametrize("zone", ["", "No/Where", "../../etc/passwd", "\x00", "/etc/localtime", "x" * 4000])
    def test_is_the_hosts_where_the_cookie_is_nonsense(self, zone: str) -> None:
        client = visiting(TenantFactory())
        client.cookies["webhooks_timezone"] = zone
        assert client.get(HOME).status_code == 200


class TestAPortalLink:
    def test_opens_the_pages_of_one_tenant_and_only_once(self) -> None:
        endpoint, other = EndpointFactory(), EndpointFactory()
        _, token = create_portal_link(endpoint.tenant)
        client = Client()
        address = reverse("webhooks_app:portal", args=[token])
        assert client.get(address).status_code == 200
        assert client.post(address)["Location"] == HOME
        page = seen(client.get(HOME))
        assert endpoint.url in page
        assert other.url not in page
        assert Client().post(address).status_code == 410

    def test_is_made_for_an_object_of_the_hosts(self) -> None:
        owner = Organisation.objects.create(name="Northwind")
        link, _ = create_portal_link(owner)
        assert (link.tenant.uid, link.tenant.name) == (f"messaging.organisation:{owner.pk}", "Northwind")

    def test_ends_when_somebody_leaves(self) -> None:
        client = Client()
        client.post(reverse("webhooks_app:portal", args=[create_portal_link(TenantFactory())[1]]))
        assert client.get(HOME).status_code == 200
        assert client.post("/webhooks/leave").status_code == 200
        assert client.get(HOME).status_code == 302

    def test_goes_before_the_visitors_own_account(self) -> None:
        mine, theirs = EndpointFactory(), EndpointFactory()
        client = visiting(mine.tenant)
        client.post(reverse("webhooks_app:portal", args=[create_portal_link(theirs.tenant)[1]]))
        assert theirs.url in seen(client.get(HOME))


class TestWhereAHostIsCareless:
    """What the pages promise does not hang on the host's settings."""

    def test_a_form_of_another_site_is_refused_without_the_hosts_middleware(self, settings: Any) -> None:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
        row = EndpointFactory()
        client = visiting(row.tenant, enforce_csrf_checks=True)
        assert client.post(f"{HOME}endpoints/{row.public_id}/delete").status_code == 403
        assert client.post(f"{HOME}leave").status_code == 403
        row.refresh_from_db()
        assert not row.is_deleted

    def test_a_report_of_an_error_has_nothing_that_was_typed(self, monkeypatch: Any) -> None:
        def fails(*_: object, **__: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr("webhooks_app.endpoints.service.insert_endpoint", fails)
        client = visiting(TenantFactory(), raise_request_exception=False)
        secret, header = f"whsec_{'c2VjcmV0' * 4}", "credential" * 3  # reports quote the code, too
        page = client.get(f"{HOME}endpoints/new")
        values = {
            "form_id": page.context["form_id"],
            "url": "https://example.com/hook",
            "which": "all",
            "secret": secret,
            "header-TOTAL_FORMS": "1",
            "header-INITIAL_FORMS": "0",
            "header-0-name": "X-Own",
            "header-0-value": header,
        }
        answer = client.post(f"{HOME}endpoints/new", values)
        assert answer.status_code == 500
        report = ExceptionReporter(answer.wsgi_request, *answer.exc_info)
        text = report.get_traceback_text() + report.get_traceback_html()
        assert "a bug" in text
        assert secret not in text
        assert header not in text

    @pytest.mark.django_db(transaction=True)
    def test_no_transaction_of_the_requests_is_open(self, configure: Any, monkeypatch: Any) -> None:
        """A test event waits for its receiver, and what a deadlock has stopped is begun anew."""
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        configure(**{**VISITORS, "TENANT_OF_REQUEST": f"{__name__}.tenant_outside_a_transaction"})
        assert visiting(TenantFactory()).get(HOME).status_code == 200


def tenant_outside_a_transaction(request: HttpRequest) -> str | None:
    assert not connection.in_atomic_block
    return tenant_of_user(request)
