"""Plan: what a tenant may use, from the host's own function or the tenant's row."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.module_loading import import_string

from webhooks_app.conf import settings
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.models import Tenant


@dataclass(frozen=True, slots=True)
class Plan:
    """`available`: webhooks are included. `max_endpoints`: None means no limit."""

    available: bool = True
    max_endpoints: int | None = None


def plan_of(tenant: Tenant) -> Plan:
    """Return what the function named by PLAN returns for the tenant; without one, the values of the tenant's row.

    Raises ConfigurationError if that function cannot be imported or does not return a Plan.
    """
    path = settings().PLAN
    if not path:
        return Plan(tenant.webhooks_enabled, tenant.max_endpoints)
    try:
        function = import_string(path)
    except ImportError as error:
        raise ConfigurationError(f"WEBHOOKS['PLAN']: {path!r} cannot be imported: {error}", field="PLAN") from error
    plan = function(tenant)
    if not isinstance(plan, Plan):
        raise ConfigurationError(
            f"WEBHOOKS['PLAN']: {path!r} answered {type(plan).__name__}, not a Plan.", field="PLAN"
        )
    return plan
