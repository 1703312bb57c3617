"""Whose pages somebody sees: those of the tenant that the host names for the request, or of a portal link's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone

from webhooks_app.models import PortalLink, Tenant
from webhooks_app.tenants.access import Role, actor_of, role_of_request, tenant_of_request

_SESSION_KEY = "webhooks_portal"
#: How long somebody who came by a portal link may stay.
PORTAL_STAY = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who may see one tenant's webhooks."""

    tenant: Tenant
    #: For the audit trail.
    actor: str
    role: Role
    #: Came by a portal link, and has no account of the host's.
    by_portal: bool = False

    @property
    def manages(self) -> bool:
        return self.role == Role.MANAGER


def visitor_of(request: HttpRequest) -> Visitor | None:
    """Who asks; None for strangers. Somebody who came by a portal link sees that tenant, also when logged in to the host."""
    by_portal = _by_portal(request)
    if by_portal is not None:
        return by_portal
    if request.user.is_authenticated and (tenant := tenant_of_request(request)) is not None:
        return Visitor(tenant, actor_of(request.user), role_of_request(request))
    return None


def sign_in(request: HttpRequest, link: PortalLink) -> None:
    """Remember who came by this link, under a new session key: one that a stranger knows from before opens nothing."""
    request.session.cycle_key()
    until = timezone.now() + PORTAL_STAY
    request.session[_SESSION_KEY] = {"tenant": str(link.tenant_id), "link": link.pk.hex, "until": until.timestamp()}


def sign_out(request: HttpRequest) -> None:
    """Forget that somebody came by a portal link."""
    request.session.pop(_SESSION_KEY, None)


def _by_portal(request: HttpRequest) -> Visitor | None:
    kept = request.session.get(_SESSION_KEY)
    if not kept or kept["until"] < timezone.now().timestamp():
        return None
    tenant = Tenant.objects.filter(pk=kept["tenant"]).first()
    return Visitor(tenant, f"portal:{kept['link']}", Role.MANAGER, by_portal=True) if tenant else None
