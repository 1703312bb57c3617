"""Portal links: access to the dashboard for a tenant's users without an account of their own."""

from __future__ import annotations

import secrets
from datetime import timedelta

from webhooks_app.conf import settings
from webhooks_app.core.secrets import token_digest
from webhooks_app.db import in_one_transaction
from webhooks_app.exceptions import InvalidPortalLink
from webhooks_app.models import PortalLink, database_now
from webhooks_app.tenants.audit import SYSTEM, note
from webhooks_app.tenants.identify import TenantLike, tenant_for

_RANDOM_BYTES = 32


@in_one_transaction
def create_portal_link(tenant: TenantLike, *, actor: str = SYSTEM) -> tuple[PortalLink, str]:
    """Create a link for one use within PORTAL_LINK_MINUTES; return it and the token for its URL, which is returned only once."""
    owner = tenant_for(tenant)
    token = secrets.token_urlsafe(_RANDOM_BYTES)
    link = PortalLink(
        tenant=owner,
        digest=token_digest(token),
        actor=actor,
        expires_at=database_now() + timedelta(minutes=settings().PORTAL_LINK_MINUTES),
    )
    link.save(force_insert=True)
    note(owner.pk, actor, "portal_link.created", link.pk.hex)
    return link, token


@in_one_transaction
def use_portal_link(token: str) -> PortalLink:
    """Use up the link: it cannot be used again. Raises InvalidPortalLink if it is unknown, used or expired."""
    now = database_now()
    links = PortalLink.objects.filter(digest=token_digest(token))
    if not links.filter(used_at__isnull=True, expires_at__gt=now).update(used_at=now):
        raise InvalidPortalLink()
    link = links.select_related("tenant").get()
    note(link.tenant_id, link.actor, "portal_link.used", link.pk.hex)
    return link
