"""API keys, and the portal links that they have created: create, find, revoke.

A key's text is returned once, to be shown once; only its digest is stored.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

from django.utils import timezone

from webhooks_app.conf import settings
from webhooks_app.core.role import Role
from webhooks_app.core.secrets import token_digest
from webhooks_app.db import in_one_transaction
from webhooks_app.exceptions import InvalidApiKey, InvalidPortalLink, TooManyApiKeys, gettext_noop
from webhooks_app.models import ApiKey, PortalLink, Scope, Tenant, database_now
from webhooks_app.models.lookups import any_of, for_change
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.tenants.identify import TenantLike, storable, tenant_for
from webhooks_app.tenants.plan import plan_of
from webhooks_app.tenants.refusals import remember_accepted

_RANDOM_BYTES = 32
_HINT = 10
MAX_NAME = 255
#: Longer than any key ever created; longer texts are not even hashed.
_MAX_TEXT = 256
#: `last_used_at` is written when it is older than this.
_USED_EVERY = timedelta(minutes=1)


@in_one_transaction
def create_api_key(
    tenant: TenantLike,
    *,
    name: str = "",
    scopes: Collection[str] = tuple(Scope.values),
    expires_at: datetime | None = None,
    portal_link: PortalLink | None = None,
    actor: str = SYSTEM,
) -> tuple[ApiKey, str]:
    """Create a key; return it and its text, which is shown only this once.

    `scopes`: some of `Scope.values`; all by default. `expires_at`: aware; None: never. `portal_link`: the link in whose session
    the key is made, which may do no more and last no longer than the key that has made the link. Raises InvalidApiKey,
    TooManyApiKeys, and InvalidPortalLink if the session is over or a viewer's.
    """
    owner = tenant_for(tenant)
    expires_at = _checked_expiry(expires_at)
    _check_limit(owner)
    if portal_link is not None:
        _hold_session(portal_link, owner)
        _check_within(scopes, portal_link)
        expires_at = min(filter(None, (expires_at, portal_link.maker_expires_at)), default=None)
    text = f"{settings().API.KEY_PREFIX}_{secrets.token_urlsafe(_RANDOM_BYTES)}"
    key = ApiKey(
        tenant=owner,
        name=_checked_name(name),
        digest=token_digest(text),
        hint=text[:_HINT],
        scopes=checked_scopes(scopes),
        expires_at=expires_at,
        portal_link=portal_link,
    )
    key.save(force_insert=True)
    record_audit_entry(owner.pk, actor, "api_key.created", key.public_id, name=key.name, scopes=key.scopes)
    key.refresh_from_db()  # for values set by the database
    return key, text


@in_one_transaction
def revoke_api_key(key: ApiKey, *, actor: str = SYSTEM) -> ApiKey:
    """Revoke the key at once, with its portal links, their sessions, and the keys that were created in these."""
    _revoke([key], [], actor)
    key.refresh_from_db()
    return key


@in_one_transaction
def revoke_portal_link(link: PortalLink, *, actor: str = SYSTEM) -> PortalLink:
    """Revoke the link at once: its session ends, and the keys created in it are revoked, with what these have created."""
    _revoke([], [link], actor)
    link.refresh_from_db()
    return link


def _revoke(keys: Collection[ApiKey], links: Collection[PortalLink], actor: str) -> None:
    """Revoke these and whatever came of them, level by level: a chain of keys and links may be long."""
    now = database_now()
    while keys or links:
        for key in keys:
            if ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now):
                record_audit_entry(key.tenant_id, actor, "api_key.revoked", key.public_id)
        for link in links:
            if PortalLink.objects.filter(pk=link.pk, revoked_at__isnull=True).update(revoked_at=now):
                record_audit_entry(link.tenant_id, actor, "portal_link.revoked", link.pk.hex)
        made = PortalLink.objects.alive().filter(any_of("api_key_id", [key.pk for key in keys]))
        keys = list(ApiKey.objects.usable().filter(any_of("portal_link_id", [link.pk for link in links])))
        links = list(made)


def find_api_key(text: str) -> ApiKey | None:
    """Return the usable key with this text, with its tenant; None if there is none. Records its use, to the minute."""
    if not text or len(text) > _MAX_TEXT or not text.isascii():
        return None
    key = ApiKey.objects.usable().select_related("tenant").filter(digest=token_digest(text)).first()
    if key is not None:
        _note_use(key, text)
    return key


def _note_use(key: ApiKey, text: str) -> None:
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > _USED_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
        remember_accepted(text)


def _check_limit(owner: Tenant) -> None:
    """Check that the tenant may have one more key, under its lock, so that two requests cannot both create the last one."""
    row = for_change(Tenant.objects.all()).get(pk=owner.pk)
    limit = plan_of(row).api_key_limit
    if limit is not None and ApiKey.objects.usable().filter(tenant_id=row.pk).count() >= limit:
        raise TooManyApiKeys(
            gettext_noop("You have reached the limit of %(most)s API keys. Revoke one first."), most=limit
        )


def _hold_session(link: PortalLink, owner: Tenant) -> None:
    """Lock the link, so that a concurrent revocation finds the new key. Raises InvalidPortalLink if it cannot create keys."""
    there = for_change(PortalLink.objects.open().filter(pk=link.pk, tenant=owner, role=Role.MANAGER.value))
    if there.first() is None:
        raise InvalidPortalLink()


def hold_key(key: ApiKey) -> None:
    """Lock the key, so that a concurrent revocation finds what it creates now. Raises InvalidApiKey if it is not usable."""
    if for_change(ApiKey.objects.usable().filter(pk=key.pk)).first() is None:
        raise InvalidApiKey(gettext_noop("This API key is expired or revoked."), field="api_key")


def _check_within(scopes: Collection[str], link: PortalLink) -> None:
    if not link.allows(scopes):
        raise InvalidApiKey(
            gettext_noop("Your link to these pages allows fewer scopes: %(scopes)s."),
            field="scopes",
            scopes=", ".join(link.scopes),
        )


def _checked_name(name: str) -> str:
    if not storable(name, MAX_NAME):
        raise InvalidApiKey(
            gettext_noop("The name is a text of at most %(most)s characters."), field="name", most=MAX_NAME
        )
    return name


def checked_scopes(scopes: Collection[str]) -> list[str]:
    chosen = list(dict.fromkeys(scopes))
    unknown = [scope for scope in chosen if scope not in Scope.values]
    if unknown or not chosen:
        raise InvalidApiKey(f"Choose some of these scopes: {', '.join(Scope.values)}.", field="scopes")
    return chosen


def _checked_expiry(expires_at: datetime | None) -> datetime | None:
    if expires_at is None:
        return None
    if timezone.is_naive(expires_at) or expires_at <= database_now():
        raise InvalidApiKey(gettext_noop("The expiry is a time in the future, with a time zone."), field="expires_at")
    return expires_at
