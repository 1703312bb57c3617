"""Find the tenant that a command names."""

from __future__ import annotations

from django.core.management.base import CommandError

from webhooks_app.models import Tenant


def tenant_with(uid: str) -> Tenant:
    """Return the tenant with this uid. Raises CommandError if there is none: a command does not create tenants."""
    tenant = Tenant.objects.filter(uid=uid).first()
    if tenant is None:
        raise CommandError(f"There is no tenant with the uid {uid!r}.")
    return tenant
