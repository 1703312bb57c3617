"""Portal links: access to the dashboard for a tenant's users without an account of their own."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Collection
from datetime import timedelta

from webhooks_app.conf import settings
from webhooks_app.core.role import Role
from webhooks_app.core.secrets import token_digest
from webhooks_app.db import in_one_transaction
from webhooks_app.exceptions import InvalidPortalLink
from webhooks_app.models import ApiKey, PortalLink, Scope, database_now
from webhooks_app.tenants.api_keys import revoke_portal_link
from webhooks_app.tenants.audit import SYSTEM, note
from webhooks_app.tenants.identify import TenantLike, tenant_for

__all__ = ["create_portal_link", "end_portal_sessions", "open_session", "revoke_portal_link", "use_portal_link"]

_RANDOM_BYTES = 32
#: How long a portal session lasts at most.
PORTAL_STAY = timedelta(hours=8)


@in_one_transaction
def create_portal_link(
    tenant: TenantLike,
    *,
    role: Role | str = Role.VIEWER,
    scopes: Collection[str] = tuple(Scope.values),
    api_key: ApiKey | None = None,
    actor: str = SYSTEM,
) -> tuple[PortalLink, str]:
    """Create a link for one use within PORTAL_LINK_MINUTES; return it and the token for its URL, which is returned only once.

    `role`: "viewer" (sees everything except secrets) or "manager". `scopes`: what the keys may do that a manager makes in the
    session. `api_key`: the key that asks for the link; revoking it ends the session. Raises ValueError for another role.
    """
    owner = tenant_for(tenant)
    token = secrets.token_urlsafe(_RANDOM_BYTES)
    link = PortalLink(
        tenant=owner,
        digest=token_digest(token),
        role=Role(role).value,
        scopes=sorted(scopes),
        api_key=api_key,
        actor=actor,
        expires_at=database_now() + timedelta(minutes=settings().PORTAL_LINK_MINUTES),
    )
    link.save(force_insert=True)
    note(owner.pk, actor, "portal_link.created", link.pk.hex, role=link.role)
    return link, token


@in_one_transaction
def use_portal_link(token: str) -> PortalLink:
    """Use up the link: it cannot be used again. Raises InvalidPortalLink if it is unknown, used, expired or revoked."""
    now = database_now()
    links = PortalLink.objects.select_related("tenant", "api_key")
    link = links.filter(digest=token_digest(token), used_at__isnull=True, expires_at__gt=now).open().first()
    if link is None:
        raise InvalidPortalLink()
    limits = [now + PORTAL_STAY]
    if link.api_key is not None and link.api_key.expires_at is not None:
        limits.append(link.api_key.expires_at)
    link.used_at, link.session_ends_at = now, min(limits)
    unused = PortalLink.objects.filter(pk=link.pk, used_at__isnull=True)
    if not unused.update(used_at=now, session_ends_at=link.session_ends_at):  # somebody else was faster
        raise InvalidPortalLink()
    note(link.tenant_id, link.actor, "portal_link.used", link.pk.hex)
    return link


def open_session(link_id: uuid.UUID) -> PortalLink | None:
    """Return the used link with its tenant while its session lasts: neither over, nor revoked with the link or its maker."""
    links = PortalLink.objects.open().select_related("tenant", "api_key")
    return links.filter(pk=link_id, used_at__isnull=False).first()


@in_one_transaction
def end_portal_sessions(tenant: TenantLike, *, actor: str = SYSTEM) -> int:
    """Revoke all portal links of a tenant that are open, with their sessions and the keys that were made in these; return how
    many."""
    links = list(PortalLink.objects.open().filter(tenant=tenant_for(tenant)))
    for link in links:
        revoke_portal_link(link, actor=actor)
    return len(links)
