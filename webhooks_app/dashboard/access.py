"""Resolve the tenant and role of a dashboard request, from the host's functions or a portal session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone

from webhooks_app.models import PortalLink, Tenant
from webhooks_app.tenants.access import Role, actor_of, role_of_request, tenant_of_request

_SESSION_KEY = "webhooks_portal"
#: How long a portal session lasts.
PORTAL_STAY = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A user who may see one tenant's webhooks."""

    tenant: Tenant
    #: For the audit log.
    actor: str
    role: Role
    #: Signed in by a portal link, without an account of the host.
    by_portal: bool = False

    @property
    def manages(self) -> bool:
        return self.role == Role.MANAGER


def visitor_of(request: HttpRequest) -> Visitor | None:
    """Return the visitor of a request; None if there is none. A portal session takes precedence over a login to the host."""
    by_portal = _by_portal(request)
    if by_portal is not None:
        return by_portal
    if request.user.is_authenticated and (tenant := tenant_of_request(request)) is not None:
        return Visitor(tenant, actor_of(request.user), role_of_request(request))
    return None


def sign_in(request: HttpRequest, link: PortalLink) -> None:
    """Start a portal session with a new session key, so that a session key known to an attacker gives no access."""
    request.session.cycle_key()
    until = timezone.now() + PORTAL_STAY
    request.session[_SESSION_KEY] = {"tenant": str(link.tenant_id), "link": link.pk.hex, "until": until.timestamp()}


def sign_out(request: HttpRequest) -> None:
    """End the portal session."""
    request.session.pop(_SESSION_KEY, None)


def _by_portal(request: HttpRequest) -> Visitor | None:
    kept = request.session.get(_SESSION_KEY)
    if not kept or kept["until"] < timezone.now().timestamp():
        return None
    tenant = Tenant.objects.filter(pk=kept["tenant"]).first()
    return Visitor(tenant, f"portal:{kept['link']}", Role.MANAGER, by_portal=True) if tenant else None
