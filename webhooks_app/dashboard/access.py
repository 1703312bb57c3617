"""Resolve the tenant and role of a dashboard request, from the host's functions or a portal session."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.http import HttpRequest

from webhooks_app.core.role import Role
from webhooks_app.models import PortalLink, Tenant
from webhooks_app.tenants.access import actor_of, role_of_request, tenant_of_request
from webhooks_app.tenants.portal import end_session, open_session

_SESSION_KEY = "webhooks_portal"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A user who may see one tenant's webhooks."""

    tenant: Tenant
    #: For the audit log.
    actor: str
    role: Role
    #: Signed in by this portal link, without an account of the host.
    portal_link: PortalLink | None = None

    @property
    def by_portal(self) -> bool:
        return self.portal_link is not None

    @property
    def manages(self) -> bool:
        return self.role == Role.MANAGER


def visitor_of(request: HttpRequest) -> Visitor | None:
    """Return the visitor of a request; None if there is none. A portal session takes precedence over a login to the host.

    When the portal session is over, the next request counts for the login only if it changes nothing: a form of the link's
    tenant may still be open.
    """
    if _SESSION_KEY in request.session:
        by_portal = _by_portal(request)
        if by_portal is not None:
            return by_portal
        del request.session[_SESSION_KEY]
        if request.method not in ("GET", "HEAD"):
            return None
    if request.user.is_authenticated and (tenant := tenant_of_request(request)) is not None:
        return Visitor(tenant, actor_of(request.user), role_of_request(request))
    return None


def sign_in(request: HttpRequest, link: PortalLink) -> None:
    """Start a portal session with a new session key, so that a session key known to an attacker gives no access."""
    request.session.cycle_key()
    request.session[_SESSION_KEY] = link.pk.hex


def sign_out(request: HttpRequest) -> None:
    """End the portal session, also on other devices that have a copy of its cookie."""
    link_id = _link_id(request)
    if link_id is not None:
        end_session(link_id)
    request.session.pop(_SESSION_KEY, None)


def _by_portal(request: HttpRequest) -> Visitor | None:
    link_id = _link_id(request)
    link = None if link_id is None else open_session(link_id)
    return None if link is None else Visitor(link.tenant, f"portal:{link.pk.hex}", Role(link.role), link)


def _link_id(request: HttpRequest) -> uuid.UUID | None:
    """Return the id of the link in the session; None if there is none, or something else in its place."""
    try:
        return uuid.UUID(request.session.get(_SESSION_KEY))
    except (ValueError, TypeError, AttributeError):
        return None
