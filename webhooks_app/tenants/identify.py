"""Determine which tenant an object of the host belongs to."""

from __future__ import annotations

import uuid
from typing import Any, TypeGuard

from django.db.models import Model
from django.utils.module_loading import import_string

from webhooks_app.conf import settings
from webhooks_app.exceptions import InvalidEvent
from webhooks_app.models import Tenant

MAX_UID = 255

#: Anything that identifies a tenant: a Tenant, a uid, or an object of the host (user, organisation …).
TenantLike = Model | str | int | Any


def tenant_uid(tenant: Any) -> str:
    """Return the uid for a Tenant, a uid string, a number, or an object of the host.

    A model instance becomes "app_label.model:pk", so that user 5 and organisation 5 are two tenants; TENANT_UID_FUNCTION
    names a function of the host that overrides this. Raises InvalidEvent if no uid can be determined.
    """
    if isinstance(tenant, Tenant):
        return tenant.uid
    resolver = settings().TENANT_UID_FUNCTION
    uid = _ask_host(resolver, tenant) if resolver and not isinstance(tenant, str) else _default_uid(tenant)
    if not storable(uid, MAX_UID) or not uid:
        raise InvalidEvent(f"{uid!r} is no tenant: a uid is a text of 1 to {MAX_UID} characters.", field="tenant")
    return uid


def storable(value: object, longest: int) -> TypeGuard[str]:
    """Return whether the value is a string that every database can store: without NUL and lone surrogates, and not too long."""
    if not isinstance(value, str) or len(value) > longest or "\x00" in value:
        return False
    return not any("\ud800" <= char <= "\udfff" for char in value)


def _ask_host(resolver: str, tenant: Any) -> Any:
    try:
        return import_string(resolver)(tenant)
    except Exception as error:  # whatever the host's function raises, in production the host's request must continue
        raise InvalidEvent(f"WEBHOOKS['TENANT_UID_FUNCTION'] ({resolver}) failed: {error!r}", field="tenant") from error


def _default_uid(tenant: Any) -> str:
    if isinstance(tenant, str):
        return tenant
    if isinstance(tenant, (int, uuid.UUID)) and not isinstance(tenant, bool):
        return str(tenant)
    if isinstance(tenant, Model):
        if tenant.pk is None:
            raise InvalidEvent(
                "This tenant object is not saved yet; save it before emitting its events.", field="tenant"
            )
        return f"{tenant._meta.label_lower}:{tenant.pk}"
    raise InvalidEvent(
        f"{type(tenant).__name__} is no tenant: pass a Tenant, a uid (text), a saved model instance, or set TENANT_UID_FUNCTION.",
        field="tenant",
    )


def tenant_for(tenant: Any) -> Tenant:
    """Return the Tenant row for an object of the host. Create it if there is none yet."""
    if isinstance(tenant, Tenant):
        return tenant
    uid = tenant_uid(tenant)
    name = str(tenant) if isinstance(tenant, Model) else ""
    email = getattr(tenant, "email", "") if isinstance(tenant, Model) else ""
    row, _ = Tenant.objects.get_or_create(
        id=Tenant.id_for(uid), defaults={"uid": uid, "name": name[:MAX_UID], "email": email or ""}
    )
    return row
