"""Portal links: access to the dashboard for a tenant's users without an account of their own."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from webhooks_app.conf import settings
from webhooks_app.core.role import Role
from webhooks_app.core.secrets import token_digest
from webhooks_app.db import in_one_transaction
from webhooks_app.exceptions import InvalidPortalLink, NotAllowed, gettext_noop
from webhooks_app.models import ApiKey, PortalLink, Scope, database_now
from webhooks_app.models.times import Now
from webhooks_app.tenants.access import actor_of
from webhooks_app.tenants.api_keys import checked_scopes, hold_key, revoke_portal_link
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.tenants.identify import TenantLike, tenant_for

_RANDOM_BYTES = 32
#: How long a portal session lasts at most.
PORTAL_STAY = timedelta(hours=8)
#: What its session may do.
_NEEDED = {
    Role.VIEWER: frozenset({Scope.WEBHOOKS_READ.value}),
    Role.MANAGER: frozenset({Scope.WEBHOOKS_READ.value, Scope.WEBHOOKS_WRITE.value}),
}


@in_one_transaction
def create_portal_link(
    tenant: TenantLike,
    *,
    role: Role | str = Role.VIEWER,
    scopes: Collection[str] | None = None,
    api_key: ApiKey | None = None,
    actor: str = SYSTEM,
) -> tuple[PortalLink, str]:
    """Create a link for one use within PORTAL_LINK_MINUTES; return it and the token for its URL, which is returned only once.

    `role`: "viewer" (sees everything except secrets) or "manager". `scopes`: those of its maker, and the most that a key may have
    that is made in its session; None: those of `api_key`, or all. `api_key`: the key that asks for the link; revoking it ends the
    session. Raises ValueError for another role, InvalidApiKey for unknown scopes or an unusable key, and NotAllowed if the link
    would give more than its maker has.
    """
    owner = tenant_for(tenant)
    held = frozenset(Scope.values if api_key is None else api_key.scopes)
    allowed = held if scopes is None else frozenset(checked_scopes(scopes))
    lacking = (_NEEDED[Role(role)] - allowed) | (allowed - held)
    if lacking:
        raise NotAllowed(
            gettext_noop("To make a link for a %(role)s, this key lacks %(scopes)s."),
            role=Role(role).value,
            scopes=", ".join(sorted(lacking)),
        )
    if api_key is not None:
        if api_key.tenant_id != owner.pk:
            raise NotAllowed()
        hold_key(api_key)
    token = secrets.token_urlsafe(_RANDOM_BYTES)
    link = PortalLink(
        tenant=owner,
        digest=token_digest(token),
        role=Role(role).value,
        scopes=[scope for scope in Scope.values if scope in allowed],
        api_key=api_key,
        actor=actor,
        expires_at=database_now() + timedelta(minutes=settings().DASHBOARD.PORTAL_LINK_MINUTES),
    )
    link.save(force_insert=True)
    record_audit_entry(owner.pk, actor, "portal_link.created", link.pk.hex, role=link.role)
    return link, token


@in_one_transaction
def use_portal_link(token: str) -> PortalLink:
    """Use up the link: it cannot be used again. Raises InvalidPortalLink if it is unknown, used, expired or revoked."""
    now = database_now()
    links = PortalLink.objects.open().select_related("tenant", "api_key")
    link = links.filter(digest=token_digest(token), used_at__isnull=True).first()
    if link is None:
        raise InvalidPortalLink()
    link.used_at, link.session_ends_at = now, min(filter(None, (now + PORTAL_STAY, link.maker_expires_at)))
    if link.session_ends_at <= now:
        raise InvalidPortalLink()
    unused = PortalLink.objects.filter(pk=link.pk, used_at__isnull=True)
    if not unused.update(used_at=now, session_ends_at=link.session_ends_at):  # a concurrent request was faster
        raise InvalidPortalLink()
    record_audit_entry(link.tenant_id, link.actor, "portal_link.used", link.pk.hex)
    return link


def open_session(link_id: uuid.UUID) -> PortalLink | None:
    """Return the used link with its tenant while its session lasts: neither over, nor revoked with the link or its maker."""
    links = PortalLink.objects.open().select_related("tenant")
    return links.filter(pk=link_id, used_at__isnull=False).first()


@in_one_transaction
def end_portal_sessions(tenant: TenantLike, *, made_by: Any = None, actor: str = SYSTEM) -> int:
    """Revoke all portal links of a tenant that are open, or whose keys are usable, with their sessions and these keys; return how
    many.

    `made_by`: only the links that this user has made, for example because the user is no manager any more.
    """
    links = PortalLink.objects.alive().filter(tenant=tenant_for(tenant))
    if made_by is not None:
        links = links.filter(actor=actor_of(made_by))
    revoked = list(links)
    for link in revoked:
        revoke_portal_link(link, actor=actor)
    return len(revoked)


def end_session(link_id: uuid.UUID) -> None:
    """End the session of this link, for a user who signs out. Keys that were created in it stay."""
    PortalLink.objects.filter(pk=link_id, session_ends_at__gt=Now()).update(session_ends_at=Now())
