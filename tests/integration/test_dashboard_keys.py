"""The customers' pages about API keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.factories import TenantFactory
from tests.visitors import visiting
from webhooks_app.dashboard.keyset import SIZE
from webhooks_app.dashboard.pages.keys import SCOPES
from webhooks_app.models import ApiKey, AuditEntry, Scope, Tenant
from webhooks_app.tenants.access import Role
from webhooks_app.tenants.api_keys import create_api_key, find_api_key, revoke_api_key

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]

KEYS = "/webhooks/keys"
NEW = f"{KEYS}/new"
KEY = re.compile(r"wk_[\w-]{43}")


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory()


def form(client: Client, **values: Any) -> dict[str, Any]:
    """A filled-in form, fresh from its page."""
    number = client.get(NEW).context["form_id"]
    return {"form_id": number, "name": "CI", "scopes": [Scope.EVENTS_WRITE], "expires": "never", **values}


class TestANewKey:
    def test_is_shown_once_and_works(self, tenant: Tenant) -> None:
        client = visiting(tenant)
        shown = client.post(NEW, form(client)).content.decode()
        (text,) = set(KEY.findall(shown))
        key = find_api_key(text)
        assert key is not None
        assert (key.tenant, key.name, key.scopes, key.expires_at) == (tenant, "CI", ["events:write"], None)
        assert "/api/v1/webhooks" in shown
        assert AuditEntry.objects.get().actor == f"user:{tenant.uid}/manager"

    def test_is_neither_shown_nor_made_again_when_the_form_is_sent_again(self, tenant: Tenant) -> None:
        client = visiting(tenant)
        filled = form(client)
        text = KEY.search(client.post(NEW, filled).content.decode())
        assert text is not None
        again = client.post(NEW, filled)
        assert again.status_code == 409
        assert not KEY.search(again.content.decode())
        assert ApiKey.objects.count() == 1
        assert text[0] not in str(dict(client.session))

    def test_has_neither_its_text_nor_its_digest_on_any_page(self, tenant: Tenant) -> None:
        key, text = create_api_key(tenant, name="CI")
        for address in (KEYS, f"{KEYS}/{key.public_id}/revoke", "/webhooks/audit-log"):
            page = visiting(tenant).get(address).content.decode()
            assert "CI" in page
            assert text not in page
            assert key.digest not in page

    @pytest.mark.parametrize(
        ("mistake", "field", "words"),
        [
            ({"name": ""}, "name", "required"),
            ({"name": "x" * 256}, "name", "at most 255"),
            ({"scopes": []}, "scopes", "at least one"),
            ({"scopes": ["everything"]}, "scopes", "valid choice"),
            ({"expires": "day"}, "expires_at", "Enter the day"),
            ({"expires": "day", "expires_at": "soon"}, "expires_at", "valid date"),
            ({"expires": "day", "expires_at": "2020-01-01"}, "expires_at", "Choose today or a later one"),
            ({"expires": "tomorrow"}, "expires", "valid choice"),
        ],
    )
    def test_says_beside_the_field_what_is_wrong(
        self, tenant: Tenant, mistake: dict[str, Any], field: str, words: str
    ) -> None:
        client = visiting(tenant)
        answer = client.post(NEW, form(client, **mistake))
        assert answer.status_code == 422
        assert words in str(answer.context["form"].errors[field])
        assert not ApiKey.objects.exists()

    def test_may_be_asked_for_with_the_corrected_form(self, tenant: Tenant) -> None:
        client = visiting(tenant)
        again = client.post(NEW, form(client, name=""))
        assert client.post(NEW, form(client, form_id=again.context["form_id"])).status_code == 200
        assert ApiKey.objects.count() == 1

    def test_lasts_until_the_chosen_day_ends_where_the_reader_is(self, tenant: Tenant) -> None:
        client = visiting(tenant)
        client.cookies["webhooks_timezone"] = "America/New_York"
        client.post(NEW, form(client, expires="day", expires_at="2090-07-01"))
        assert ApiKey.objects.get().expires_at == datetime(2090, 7, 2, 4, tzinfo=UTC)

    @pytest.mark.parametrize("day", ["9999-12-31", "9999-12-30", "9000-01-01"])
    def test_may_last_very_long(self, tenant: Tenant, day: str) -> None:
        client = visiting(tenant)
        assert client.post(NEW, form(client, expires="day", expires_at=day)).status_code == 200

    def test_needs_no_day_where_none_was_chosen(self, tenant: Tenant) -> None:
        client = visiting(tenant)
        assert client.post(NEW, form(client, expires="never", expires_at="2020-01-0")).status_code == 200
        assert ApiKey.objects.get().expires_at is None

    def test_may_last_a_number_of_days(self, tenant: Tenant) -> None:
        client = visiting(tenant)
        client.post(NEW, form(client, expires="30"))
        left = ApiKey.objects.get().expires_at - timezone.now()
        assert timedelta(days=29) < left <= timedelta(days=30)


class TestTheList:
    def test_says_what_each_may_do(self, tenant: Tenant) -> None:
        assert set(SCOPES) == set(Scope.values)
        create_api_key(tenant, name="CI", scopes=[Scope.WEBHOOKS_READ])
        page = visiting(tenant).get(KEYS).content.decode()
        assert str(SCOPES[Scope.WEBHOOKS_READ]) in page
        assert str(SCOPES[Scope.EVENTS_WRITE]) not in page

    def test_keeps_old_ones_apart(self, tenant: Tenant) -> None:
        for name in ("good one", "revoked one", "expired one"):
            create_api_key(tenant, name=name)
        revoke_api_key(ApiKey.objects.get(name="revoked one"))
        ApiKey.objects.filter(name="expired one").update(expires_at=timezone.now() - timedelta(days=1))
        shown = visiting(tenant).get(KEYS)
        assert [key.name for key in shown.context["slice"].rows] == ["good one"]
        assert [key.name for key in shown.context["unusable"]] == ["expired one", "revoked one"]
        page = shown.content.decode()
        assert page.index("good one") < page.index("<details") < page.index("expired one")

    def test_teaches_the_next_step_when_empty(self, tenant: Tenant) -> None:
        assert f'href="{NEW}"' in visiting(tenant).get(KEYS).content.decode()
        assert f'href="{NEW}"' not in visiting(tenant, Role.VIEWER).get(KEYS).content.decode()

    def test_goes_on_to_older_ones(self, tenant: Tenant) -> None:
        for number in range(SIZE + 1):
            create_api_key(tenant, name=f"key {number}")
        client = visiting(tenant)
        older = client.get(KEYS).context["slice"].older
        assert [key.name for key in client.get(f"{KEYS}?before={older}").context["slice"].rows] == ["key 0"]
        assert client.get(f"{KEYS}?before=nonsense").status_code == 404

    def test_asks_the_database_as_often_for_twenty_as_for_two(self, tenant: Tenant) -> None:
        client = visiting(tenant)
        counts = set()
        for number in (2, 20):
            for _ in range(number):
                create_api_key(tenant)
                revoke_api_key(create_api_key(tenant)[0])
            with CaptureQueriesContext(connection) as queries:
                client.get(KEYS)
            counts.add(len(queries))
        assert len(counts) == 1


class TestRevoking:
    def test_asks_first_and_ends_the_key_at_once(self, tenant: Tenant) -> None:
        key, text = create_api_key(tenant, name="CI")
        client = visiting(tenant)
        address = f"{KEYS}/{key.public_id}/revoke"
        assert "CI" in client.get(address).content.decode()
        assert find_api_key(text)
        done = client.post(address, follow=True)
        assert "The key is revoked." in done.content.decode()
        assert find_api_key(text) is None
        assert "was revoked already" in client.get(address).content.decode()

    def test_is_for_managers_and_their_own_keys(self, tenant: Tenant) -> None:
        key, text = create_api_key(tenant)
        address = f"{KEYS}/{key.public_id}/revoke"
        assert visiting(tenant, Role.VIEWER).get(address).status_code == 403
        assert visiting(TenantFactory()).get(address).status_code == 404
        assert visiting(TenantFactory()).post(address).status_code == 404
        assert find_api_key(text)
        assert "/revoke" not in visiting(tenant, Role.VIEWER).get(KEYS).content.decode()
