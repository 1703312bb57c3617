"""Create and change tenants. Most tenants are created by their first event."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypedDict, Unpack

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from webhooks_app.db import in_one_transaction
from webhooks_app.exceptions import ConfigurationError, InvalidTenant
from webhooks_app.models import Tenant
from webhooks_app.models.lookups import for_change
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.tenants.identify import MAX_UID, storable
from webhooks_app.wire_formats import get_wire_format

MAX_NAME = 255
MAX_EMAIL = 254
MAX_ENDPOINTS = 1_000_000
MAX_DAYS = 36_500


class TenantChanges(TypedDict, total=False):
    """The fields of a tenant that can be set; omitted ones stay unchanged."""

    name: str
    email: str
    wire_format: str
    webhooks_enabled: bool
    max_endpoints: int | None
    retention_days: int | None
    drop_body_when_delivered: bool


@in_one_transaction
def create_tenant(uid: str, *, actor: str = SYSTEM, **values: Unpack[TenantChanges]) -> Tenant:
    """Create the tenant that the host product calls `uid`. Raises InvalidTenant, also if it already exists."""
    if not storable(uid, MAX_UID) or not uid:
        raise InvalidTenant(f"The uid is a text of 1 to {MAX_UID} characters.", field="uid")
    if Tenant.objects.filter(pk=Tenant.id_for(uid)).exists():
        raise InvalidTenant("There is a tenant with this uid already.", field="uid")
    tenant = Tenant(uid=uid, **_checked(values))
    tenant.save(force_insert=True)
    record_audit_entry(tenant.pk, actor, "tenant.created", uid[:64])
    tenant.refresh_from_db()  # for values set by the database
    return tenant


@in_one_transaction
def change_tenant(tenant: Tenant, *, actor: str = SYSTEM, **changes: Unpack[TenantChanges]) -> Tenant:
    """Change the given fields. A new wire format applies to endpoints created from now on. Raises InvalidTenant."""
    values = _checked(changes)
    row = for_change(Tenant.objects.all()).get(pk=tenant.pk)
    for name, value in values.items():
        setattr(row, name, value)
    if values:
        row.save(update_fields=list(values))
        record_audit_entry(row.pk, actor, "tenant.changed", row.uid[:64], fields=sorted(values))
    return row


def _name(value: object) -> str:
    if not storable(value, MAX_NAME):
        raise InvalidTenant(f"The name is a text of at most {MAX_NAME} characters.", field="name")
    return value


def _email(value: object) -> str:
    try:
        if value and storable(value, MAX_EMAIL):
            validate_email(value)
        elif value != "":
            raise ValidationError("too long")
    except ValidationError as error:
        raise InvalidTenant("This is no e-mail address. Leave it empty where there is none.", field="email") from error
    return str(value)


def _wire_format(value: object) -> str:
    name = str(value or "")
    try:
        if name:
            get_wire_format(name)
    except ConfigurationError as error:
        raise InvalidTenant(str(error), field="wire_format") from error
    return name


def _boolean(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidTenant(f"`{field}` is true or false.", field=field)
    return value


def _most(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ENDPOINTS:
        raise InvalidTenant(
            f"A whole number from 0 to {MAX_ENDPOINTS}, or empty for the limit of your settings.", field="max_endpoints"
        )
    return value


def _days(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_DAYS:
        raise InvalidTenant(
            f"A whole number from 1 to {MAX_DAYS}, or empty for the default retention.", field="retention_days"
        )
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "name": _name,
    "email": _email,
    "wire_format": _wire_format,
    "webhooks_enabled": partial(_boolean, "webhooks_enabled"),
    "max_endpoints": _most,
    "retention_days": _days,
    "drop_body_when_delivered": partial(_boolean, "drop_body_when_delivered"),
}


def _checked(values: TenantChanges) -> dict[str, Any]:
    return {name: _CHECKS[name](value) for name, value in values.items()}
