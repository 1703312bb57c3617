"""Revoking a key or a portal link ends everything that came of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.api import ROOT, Program
from tests.factories import TenantFactory
from tests.portal import HOME, PORTAL, READ, WRITE, make_key, opened, session_of
from tests.staff import superuser
from webhooks_app.exceptions import InvalidApiKey, InvalidPortalLink
from webhooks_app.maintenance.prune import prune
from webhooks_app.models import ApiKey, PortalLink, Tenant
from webhooks_app.tenants.api_keys import create_api_key, revoke_api_key, revoke_portal_link
from webhooks_app.tenants.portal import create_portal_link, end_portal_sessions, use_portal_link

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory()


class TestRevoking:
    def test_a_key_ends_all_that_came_of_it(self) -> None:
        program = Program()
        client = session_of(program, "manager")
        unused = program.post("/portal-links")["portal_url"].rpartition("/")[2]
        assert make_key(client, READ) == 200
        revoke_api_key(program.key)
        assert client.get(HOME).status_code == 302
        assert Client().post(reverse("webhooks_app:portal", args=[unused])).status_code == 410
        assert not ApiKey.objects.usable().exists()

    def test_a_key_leaves_what_others_have_made(self, tenant: Tenant) -> None:
        program, other = Program(tenant), Program(tenant)
        client = session_of(other, "manager")
        assert make_key(client, READ) == 200
        revoke_api_key(program.key)
        assert client.get(HOME).status_code == 200
        assert ApiKey.objects.usable().count() == 2

    def test_all_sessions_of_a_tenant(self, tenant: Tenant) -> None:
        clients = [opened(create_portal_link(tenant)[1]) for _ in range(2)]
        theirs = opened(create_portal_link(TenantFactory())[1])
        _, unused = create_portal_link(tenant)
        assert end_portal_sessions(tenant, actor="user:anna") == 3
        assert [client.get(HOME).status_code for client in (*clients, theirs)] == [302, 302, 200]
        assert Client().post(reverse("webhooks_app:portal", args=[unused])).status_code == 410
        assert tenant.audit.filter(verb="portal_link.revoked", actor="user:anna").count() == 3

    def test_the_sessions_that_a_user_has_made(self, tenant: Tenant) -> None:
        """A user who was a manager before."""
        anna, _ = get_user_model().objects.get_or_create(username=f"{tenant.uid}/manager")
        browser = Client()
        browser.force_login(anna)
        made = browser.post(ROOT + "/portal-links", {"role": "manager"}, "application/json")
        client = opened(made.json()["portal_url"].rpartition("/")[2])
        other = opened(create_portal_link(tenant, actor="user:bob")[1])
        assert make_key(client, READ) == 200
        assert end_portal_sessions(tenant, made_by=anna) == 1
        assert [client.get(HOME).status_code, other.get(HOME).status_code] == [302, 200]
        assert not ApiKey.objects.usable().exists()

    def test_a_key_ends_what_came_of_it_long_ago(self) -> None:
        program = Program()
        session_of(program, "viewer")
        assert make_key(session_of(program, "manager"), READ) == 200
        PortalLink.objects.update(expires_at=timezone.now() - timedelta(days=365))
        assert prune().portal_links == 1, "the one without keys"
        revoke_api_key(program.key)
        assert not ApiKey.objects.usable().exists()

    def test_by_staff(self, tenant: Tenant) -> None:
        link, token = create_portal_link(tenant)
        client, staff = opened(token), superuser()
        page = f"/admin/webhooks_app/portallink/{link.pk}/actions/revoke/"
        assert staff.post(page, {"confirmed": "yes"}).status_code == 302
        assert client.get(HOME).status_code == 302


class TestWhatIsMadeWhileItsMakerIsRevoked:
    """A request that began before must make nothing that revoking does not reach."""

    def test_a_link(self) -> None:
        program = Program()
        revoke_api_key(ApiKey.objects.get(pk=program.key.pk))
        with pytest.raises(InvalidApiKey):
            create_portal_link(program.tenant, api_key=program.key)
        assert not PortalLink.objects.exists()

    @pytest.mark.parametrize("what", ["link", "key"])
    def test_a_key(self, what: str) -> None:
        program = Program()
        session_of(program, "manager")
        link = PortalLink.objects.get()
        if what == "link":
            revoke_portal_link(PortalLink.objects.get())
        else:
            revoke_api_key(program.key)
        with pytest.raises(InvalidPortalLink):
            create_api_key(program.tenant, scopes=[READ], portal_link=link)
        assert not ApiKey.objects.usable().filter(portal_link=link).exists()


class TestALongChain:
    def test_is_revoked_as_a_whole(self, configure: Any) -> None:
        configure(LIMITS={"API_KEYS": 0})
        program = Program(scopes=[READ, WRITE, PORTAL])
        key = program.key
        for _ in range(120):
            link, token = create_portal_link(program.tenant, role="manager", api_key=key)
            use_portal_link(token)
            key, _ = create_api_key(program.tenant, scopes=key.scopes, portal_link=link)
        revoke_api_key(program.key)
        assert not ApiKey.objects.usable().exists()
        assert not PortalLink.objects.open().exists()
