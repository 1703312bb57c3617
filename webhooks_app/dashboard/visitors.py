"""Whose pages somebody sees: those of the tenant that the host names for the request, or of a portal link's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone

from webhooks_app.actions.people import actor_of, tenant_of_request
from webhooks_app.models import PortalLink, Tenant
from webhooks_app.pipeline.transactions import pipeline_alias

_SESSION_KEY = "webhooks_portal"
#: How long somebody who came by a portal link may stay.
PORTAL_STAY = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who may see and manage one tenant's webhooks. `actor` is for the audit trail."""

    tenant: Tenant
    actor: str


def visitor_of(request: HttpRequest) -> Visitor | None:
    """Who asks; None for strangers."""
    if request.user.is_authenticated and (tenant := tenant_of_request(request)) is not None:
        return Visitor(tenant, actor_of(request.user))
    return _by_portal(request)


def let_in(request: HttpRequest, link: PortalLink) -> None:
    """Remember who came by this link, in a session of its own: what a stranger had put into the old one is not trusted."""
    request.session.cycle_key()
    until = timezone.now() + PORTAL_STAY
    request.session[_SESSION_KEY] = {"tenant": str(link.tenant_id), "link": link.pk.hex, "until": until.timestamp()}


def _by_portal(request: HttpRequest) -> Visitor | None:
    kept = request.session.get(_SESSION_KEY)
    if not kept or kept["until"] < timezone.now().timestamp():
        return None
    tenant = Tenant.objects.using(pipeline_alias()).filter(pk=kept["tenant"]).first()
    return Visitor(tenant, f"portal:{kept['link']}") if tenant else None
