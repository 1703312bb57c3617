"""A portal link, its session and the keys made in it have no more rights than the link's creator, and do not outlive them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db.models import ProtectedError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.api import Program
from tests.factories import EndpointFactory, TenantFactory
from tests.staff import superuser
from tests.visitors import seen, visiting
from webhooks_app.exceptions import InvalidApiKey, InvalidPortalLink, NotAllowed
from webhooks_app.maintenance.prune import prune
from webhooks_app.models import ApiKey, Endpoint, PortalLink, Scope, Tenant
from webhooks_app.tenants.api_keys import create_api_key, revoke_api_key, revoke_portal_link
from webhooks_app.tenants.portal import create_portal_link, end_portal_sessions, use_portal_link

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]

HOME, KEYS, NEW_KEY = "/webhooks/", "/webhooks/keys", "/webhooks/keys/new"
READ, WRITE, EVENTS, PORTAL = (scope.value for scope in Scope)


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory()


def opened(token: str) -> Client:
    """A browser in the session of this link."""
    client = Client()
    assert client.post(reverse("webhooks_app:portal", args=[token])).status_code == 302
    return client


def session_of(program: Program, role: str) -> Client:
    link = program.post("/portal-links", {"role": role})["portal_url"]
    return opened(link.rpartition("/")[2])


def make_key(client: Client, *scopes: str, expires: str = "never") -> int:
    form = seen(client.get(NEW_KEY))
    form_id = form.partition('name="form_id" value="')[2].partition('"')[0]
    data = {"form_id": form_id, "name": "made", "scopes": scopes, "expires": expires}
    return client.post(NEW_KEY, data).status_code


class TestItsRole:
    def test_is_a_viewers_unless_asked_for_more(self, tenant: Tenant) -> None:
        _, token = create_portal_link(tenant)
        client = opened(token)
        assert client.get(HOME).status_code == 200
        assert client.get(NEW_KEY).status_code == 403
        _, token = create_portal_link(tenant, role="manager")
        assert opened(token).get(NEW_KEY).status_code == 200

    def test_is_a_role(self, tenant: Tenant) -> None:
        with pytest.raises(ValueError, match="owner"):
            create_portal_link(tenant, role="owner")
        assert Program(tenant).refused("post", "/portal-links", {"role": "owner"})[::2] == (400, "role")

    @pytest.mark.parametrize(
        ("scopes", "role", "status"),
        [
            ([READ, WRITE, EVENTS], "viewer", 403),
            ([PORTAL], "viewer", 403),
            ([PORTAL, WRITE], "viewer", 403),
            ([PORTAL, READ], "viewer", 201),
            ([PORTAL, READ], "manager", 403),
            ([PORTAL, WRITE], "manager", 403),
            ([PORTAL, READ, WRITE], "manager", 201),
        ],
    )
    def test_is_within_the_scopes_of_the_key(self, scopes: list[str], role: str, status: int) -> None:
        answer = Program(scopes=scopes)("post", "/portal-links", {"role": role})
        assert answer.status_code == status, answer.content


class TestKeysMadeInItsSession:
    def test_have_no_more_scopes_than_the_key_that_made_it(self) -> None:
        client = session_of(Program(scopes=[READ, WRITE, PORTAL]), "manager")
        assert EVENTS not in seen(client.get(NEW_KEY)), "what cannot be had is not offered"
        assert make_key(client, READ, EVENTS) == 422
        assert make_key(client, READ, WRITE) == 200
        assert ApiKey.objects.get(name="made").scopes == [READ, WRITE]

    @pytest.mark.parametrize("expires", ["never", "365"])
    def test_end_with_the_key_that_made_it(self, expires: str) -> None:
        program = Program()
        until = timezone.now() + timedelta(days=3)
        ApiKey.objects.update(expires_at=until)
        assert make_key(session_of(program, "manager"), READ, expires=expires) == 200
        assert ApiKey.objects.get(name="made").expires_at == until

    def test_may_do_everything_where_the_host_has_made_it(self, tenant: Tenant) -> None:
        client = opened(create_portal_link(tenant, role="manager")[1])
        assert make_key(client, *Scope.values) == 200
        made = ApiKey.objects.get(name="made")
        assert (set(made.scopes), made.expires_at) == (set(Scope.values), None)


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
        page = f"/admin/webhooks_app/portallink/{link.pk}/acts/revoke/"
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


class TestWhoeverCallsTheFunctions:
    @pytest.mark.parametrize(
        ("held", "values"),
        [
            ([READ, PORTAL], {"role": "manager"}),
            ([READ, PORTAL], {"scopes": [READ, EVENTS]}),
            ([READ, WRITE, PORTAL], {"role": "manager", "scopes": [READ]}),
        ],
    )
    def test_gets_no_link_beyond_the_key(self, tenant: Tenant, held: list[str], values: dict[str, Any]) -> None:
        key, _ = create_api_key(tenant, scopes=held)
        with pytest.raises(NotAllowed):
            create_portal_link(tenant, api_key=key, **values)

    def test_gets_no_link_with_the_key_of_another_tenant(self, tenant: Tenant) -> None:
        key, _ = create_api_key(TenantFactory())
        with pytest.raises(NotAllowed):
            create_portal_link(tenant, api_key=key)

    @pytest.mark.parametrize("scopes", [["nonsense"], "webhooks:read", []])
    def test_names_scopes_that_there_are(self, tenant: Tenant, scopes: Any) -> None:
        with pytest.raises(InvalidApiKey):
            create_portal_link(tenant, scopes=scopes)

    @pytest.mark.parametrize("role", ["viewer", "manager"])
    def test_gets_no_key_from_a_viewers_link_or_another_tenants(self, tenant: Tenant, role: str) -> None:
        owner = tenant if role == "viewer" else TenantFactory()
        link, token = create_portal_link(owner, role=role)
        use_portal_link(token)
        with pytest.raises(InvalidPortalLink):
            create_api_key(tenant, portal_link=link)

    def test_cannot_delete_a_key_whose_link_is_there(self) -> None:
        program = Program()
        program.post("/portal-links")
        with pytest.raises(ProtectedError):
            program.key.delete()

    def test_is_told_of_a_time_without_a_zone(self) -> None:
        program = Program()
        ApiKey.objects.update(expires_at=timezone.now() + timedelta(days=1))
        session_of(program, "manager")
        with pytest.raises(InvalidApiKey):
            create_api_key(program.tenant, portal_link=PortalLink.objects.get(), expires_at=datetime(2999, 1, 1))


class TestAManagersSession:
    def test_revokes_only_keys_that_its_maker_could_have_made(self) -> None:
        program = Program(scopes=[READ, WRITE, PORTAL])
        stronger, _ = create_api_key(program.tenant)
        weaker, _ = create_api_key(program.tenant, scopes=[READ])
        client = session_of(program, "manager")
        assert client.post(f"/webhooks/keys/{stronger.public_id}/revoke").status_code == 403
        assert client.post(f"/webhooks/keys/{weaker.public_id}/revoke").status_code == 302
        assert set(ApiKey.objects.usable()) == {program.key, stronger}

    def test_that_is_over_does_not_act_for_the_login(self, tenant: Tenant) -> None:
        """A form of the link's tenant is still open in the browser."""
        mine = TenantFactory()
        client = visiting(mine)
        link, token = create_portal_link(tenant)
        client.post(reverse("webhooks_app:portal", args=[token]))
        revoke_portal_link(link)
        assert client.post("/webhooks/playground").status_code in (302, 403)
        assert not Endpoint.objects.exists()
        assert client.get(HOME).status_code == 200, "from the next request on the login counts"


class TestItsSession:
    def test_ends_with_the_key_that_made_it(self) -> None:
        program = Program()
        ApiKey.objects.update(expires_at=timezone.now() + timedelta(minutes=5))
        client = session_of(program, "viewer")
        assert client.get(HOME).status_code == 200
        left = PortalLink.objects.get().session_ends_at - timezone.now()  # type: ignore[operator]
        assert timedelta(minutes=4) < left <= timedelta(minutes=5)

    def test_ends_after_hours(self, tenant: Tenant) -> None:
        link, token = create_portal_link(tenant)
        client = opened(token)
        PortalLink.objects.filter(pk=link.pk).update(session_ends_at=timezone.now() - timedelta(seconds=1))
        assert client.get(HOME).status_code == 302

    def test_ends_on_the_server_when_somebody_leaves(self, tenant: Tenant) -> None:
        client = opened(create_portal_link(tenant)[1])
        copied = client.session["webhooks_portal"]
        client.post("/webhooks/leave")
        other: Any = Client()
        session = other.session
        session["webhooks_portal"] = copied
        session.save()
        assert other.get(HOME).status_code == 302

    def test_is_not_begun_by_a_key_that_has_expired(self) -> None:
        program = Program()
        token = program.post("/portal-links")["portal_url"].rpartition("/")[2]
        ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert Client().post(reverse("webhooks_app:portal", args=[token])).status_code == 410

    @pytest.mark.parametrize("kept", [{"tenant": "1", "link": "0" * 32, "until": 9e9}, "nonsense", "", 7])
    def test_of_another_form_is_over(self, tenant: Tenant, kept: object) -> None:
        client = opened(create_portal_link(tenant)[1])
        session: Any = client.session
        session["webhooks_portal"] = kept
        session.save()
        assert client.get(HOME).status_code == 302

    def test_sees_only_its_tenant(self, tenant: Tenant) -> None:
        other = EndpointFactory()
        create_api_key(tenant, name="mine")
        create_api_key(other.tenant, name="theirs")
        page = seen(opened(create_portal_link(tenant, role="manager")[1]).get(KEYS))
        assert "mine" in page
        assert "theirs" not in page
