"""The authentication of an endpoint on the customers' pages, in the admin and in e-mails."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.test import Client

from tests.authentication import TokenServer
from tests.customer import Customer, attempts, deliver
from tests.factories import EndpointFactory, TenantFactory
from tests.forms import endpoint_values, form_ids
from tests.staff import page, pages, superuser, text_of
from tests.visitors import seen, visiting
from webhooks_app.models import AuditEntry, Endpoint
from webhooks_app.notifications.send import send_notifications
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("visitors", "event_types")]

NEW = "/webhooks/endpoints/new"
BASIC = {"kind": "basic", "username": "jo", "password": "a hush hush password"}
OAUTH = {
    "kind": "client_credentials",
    "token_url": "https://login.example.com/token",
    "client_id": "client",
    "client_secret": "a hush hush secret",
    "client_authentication": "header",
}


def typed(authentication: dict[str, str]) -> dict[str, str]:
    """What a browser sends: the fields of all kinds."""
    empty = {"client_authentication": "header"}
    return {f"authentication_{name}": value for name, value in {**empty, **authentication}.items()}


def stored(endpoint: Endpoint | None = None) -> dict[str, str] | None:
    row = Endpoint.objects.get() if endpoint is None else Endpoint.objects.get(pk=endpoint.pk)
    found = row.opened_authentication()
    return {"kind": found.kind.value, **found.values} if found else None


def edit_page(endpoint: Endpoint) -> str:
    return f"/webhooks/endpoints/{endpoint.public_id}/edit"


def save(client: Client, endpoint: Endpoint, **values: str) -> Any:
    address = edit_page(endpoint)
    return client.post(address, endpoint_values(client, address, **{"url": endpoint.url, **values}))


class TestCustomers:
    @pytest.mark.parametrize("given", [BASIC, {"kind": "bearer", "token": "hush-hush"}, OAUTH])
    def test_enter_it_and_never_see_its_secrets_again(self, given: dict[str, str]) -> None:
        client = visiting(TenantFactory())
        assert client.post(NEW, endpoint_values(client, **typed(given))).status_code == 200
        assert stored() == given
        endpoint = Endpoint.objects.get()
        for address in (edit_page(endpoint), f"/webhooks/endpoints/{endpoint.public_id}"):
            shown = client.get(address).content.decode()
            assert "hush" not in shown
            assert all(
                value in shown for name, value in given.items() if name in ("username", "token_url", "client_id")
            )

    def test_leave_it_out(self) -> None:
        client = visiting(TenantFactory())
        client.post(NEW, endpoint_values(client, **typed({"kind": "", "username": "forgotten"})))
        assert stored() is None
        shown = seen(client.get(f"/webhooks/endpoints/{Endpoint.objects.get().public_id}"))
        assert "<dt>Authentication</dt><dd>none</dd>" in shown

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({**BASIC, "username": "a:b"}, "without a colon"),
            ({"kind": "basic", "username": "jo"}, "Enter this value"),
            ({"kind": "bearer", "token": "two words"}, "letters, digits"),
            ({**OAUTH, "token_url": "ftp://login.example.com/"}, "http"),
            ({**OAUTH, "scope": 'a"'}, "Quotes"),
        ],
    )
    def test_see_what_is_wrong_beside_its_field(self, given: dict[str, str], error: str) -> None:
        client = visiting(TenantFactory())
        answer = client.post(NEW, endpoint_values(client, **typed(given)))
        assert answer.status_code == 422
        form = answer.context["form"]
        wrong = {name: str(errors) for name, errors in form.errors.items() if error in str(errors)}
        assert [name.startswith("authentication_") for name in wrong] == [True], form.errors
        assert "hush" not in answer.content.decode()
        assert not Endpoint.objects.exists()

    def test_are_asked_for_secrets_again_when_something_else_is_wrong(self) -> None:
        endpoint = EndpointFactory(authentication=BASIC)
        client = visiting(endpoint.tenant)
        values = typed({**BASIC, "password": "a hush new password"})
        answer = save(client, endpoint, rate_limit="-1", **values)
        assert answer.status_code == 422
        assert "once more" in str(answer.context["form"].errors["authentication_password"])
        assert "hush" not in answer.content.decode()

    def test_change_a_part_and_keep_the_secret(self) -> None:
        endpoint = EndpointFactory(authentication=BASIC)
        client = visiting(endpoint.tenant)
        stays = "Empty: the stored value stays."
        assert client.get(edit_page(endpoint)).content.decode().count(stays) == 1, "only of the stored kind"
        assert stays not in client.get(NEW).content.decode()
        assert save(client, endpoint, **typed({"kind": "basic", "username": "jo"}))["Location"].endswith("?done=same")
        save(client, endpoint, **typed({"kind": "basic", "username": "ann"}))
        assert stored() == {**BASIC, "username": "ann"}
        assert AuditEntry.objects.get().detail["fields"] == ["authentication"]
        save(client, endpoint, description="from a page without these fields")
        assert stored() == {**BASIC, "username": "ann"}
        save(client, endpoint, **typed({"kind": ""}))
        assert stored() is None

    def test_enter_it_again_for_another_server(self) -> None:
        endpoint = EndpointFactory(authentication=BASIC)
        client = visiting(endpoint.tenant)
        moved = {"url": "https://other.example.com/hook"}
        answer = save(client, endpoint, **moved, **typed({"kind": "basic", "username": "jo"}))
        assert answer.status_code == 422
        assert "authentication_password" in answer.context["form"].errors
        assert stored() == BASIC
        assert save(client, endpoint, **moved, **typed({**BASIC, "password": "another"})).status_code == 200
        assert stored() == {**BASIC, "password": "another"}

    def test_cannot_have_an_authorization_header_too(self) -> None:
        endpoint = EndpointFactory(headers={"Authorization": "x"})
        stored_row = {"header-TOTAL_FORMS": "1", "header-INITIAL_FORMS": "1", "header-0-act": "keep"}
        answer = save(visiting(endpoint.tenant), endpoint, **stored_row, **typed(BASIC))
        assert answer.status_code == 422
        assert "Remove one of them" in str(answer.context["form"].errors["authentication_kind"])

    def test_are_told_when_it_cannot_be_read(self, configure: Any) -> None:
        endpoint = EndpointFactory(authentication=BASIC)
        configure(ENCRYPTION_KEYS=["YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="])
        client = visiting(endpoint.tenant)
        assert "cannot be read now" in client.get(edit_page(endpoint)).content.decode()
        before = Endpoint.objects.get().authentication
        save(client, endpoint, description="other", **typed({"kind": ""}))
        assert Endpoint.objects.get().authentication == before
        assert save(client, endpoint, url=f"{endpoint.url}/2", **typed({"kind": ""})).status_code == 302
        assert Endpoint.objects.get().url == f"{endpoint.url}/2"
        assert Endpoint.objects.get().authentication == before
        save(client, endpoint, **typed(BASIC))
        assert stored() == BASIC

    def test_are_not_offered_it_in_the_playground(self) -> None:
        endpoint = EndpointFactory(url="playground:ok")
        assert "authentication_kind" not in visiting(endpoint.tenant).get(edit_page(endpoint)).content.decode()


class TestFailures:
    def test_are_explained_on_every_page_and_by_e_mail(self) -> None:
        with Customer() as customer:
            tokens = TokenServer(customer.receiver)
            endpoint = customer.endpoint(authentication=tokens.options(client_secret="wrong"), wire_format="standard")
            customer.emit()
            deliver()
            [attempt] = attempts()
            client = visiting(customer.tenant, Role.VIEWER)
            delivery_page = f"/webhooks/deliveries/{attempt.delivery.public_id}"
            for address in (delivery_page, f"{delivery_page}/attempts/{attempt.pk.hex}"):
                shown = seen(client.get(address))
                assert "the token server responded 401 invalid_client" in shown
                assert "wrong" not in shown
            assert "your token server issued no access token" in seen(client.get(delivery_page))
            shown = seen(client.get(f"/webhooks/endpoints/{endpoint.public_id}"))
            assert "your token server issued no access token" in shown
            assert "the token server responded 401 invalid_client" in text_of(superuser(), page(attempt))

    def test_are_shown_where_a_test_event_was_sent(self) -> None:
        with Customer() as customer:
            tokens = TokenServer(customer.receiver)
            endpoint = customer.endpoint(authentication=tokens.options(client_secret="wrong"))
            client = visiting(customer.tenant)
            address = f"/webhooks/endpoints/{endpoint.public_id}/test"
            [number] = form_ids(client.get(address).content.decode())
            values = {"form_id": number, "type": "test.happened", "data": "{}"}
            shown = seen(client.post(address, values, follow=True))
            assert "Nothing was sent" in shown
            assert "the token server responded 401 invalid_client" in shown

    def test_are_named_in_the_e_mail_about_a_failed_delivery(self, configure: Any) -> None:
        configure(WIRE_FORMATS={"once": "tests.pipelines.ONCE"})
        with Customer() as customer:
            tokens = TokenServer(customer.receiver)
            customer.endpoint(authentication=tokens.options(client_secret="wrong"), wire_format="once")
            customer.emit()
            deliver()
            send_notifications()
            [email] = mail.outbox
            assert "your token server issued no access token" in email.body
            assert "Check the token URL" in email.body


class TestStaff:
    def filled(self, **changes: str) -> dict[str, str]:
        return {
            "url": "http://127.0.0.1:9/hook",
            "description": "",
            "wire_format": "",
            "events": "*",
            "filters": "{}",
            "channels": "",
            "metadata": "{}",
            "new_headers": "",
            **changes,
        }

    def test_enter_it_for_a_new_endpoint(self) -> None:
        client, tenant = superuser(), TenantFactory()
        values = self.filled(tenant=str(tenant.pk), **typed(OAUTH))
        client.post(pages("endpoint", "add"), values, follow=True)
        assert stored() == OAUTH
        shown = text_of(client, page(Endpoint.objects.get()))
        assert "Token URL: https://login.example.com/token" in shown
        assert "hush" not in shown
        assert "hush" not in "".join(LogEntry.objects.values_list("change_message", flat=True))

    def test_change_it_and_keep_the_secret(self) -> None:
        endpoint = EndpointFactory(authentication=BASIC, url="http://127.0.0.1:9/hook")
        client = superuser()
        values = self.filled(**typed({"kind": "basic", "username": "ann"}))
        client.post(page(endpoint), values, follow=True)
        assert stored() == {**BASIC, "username": "ann"}
        client.post(page(endpoint), self.filled(**typed({"kind": ""})), follow=True)
        assert stored() is None

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({**BASIC, "username": "a:b"}, "username"),
            ({**OAUTH, "token_url": "https://10.0.0.1/"}, "token_url"),
            ({"kind": "bearer"}, "token"),
        ],
    )
    def test_see_what_is_wrong_beside_its_field(self, given: dict[str, str], field: str) -> None:
        endpoint = EndpointFactory(url="http://127.0.0.1:9/hook")
        answer = superuser().post(page(endpoint), self.filled(**typed(given)))
        assert answer.status_code == 200
        errors = answer.context["adminform"].form.errors
        assert f"authentication_{field}" in errors
        assert "hush" not in answer.content.decode()
        assert stored() is None
