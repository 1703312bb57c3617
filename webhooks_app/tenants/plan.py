"""Plan: what a tenant may have. The host's own function says so, or the tenant's row."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.module_loading import import_string

from webhooks_app.conf import settings
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.models import Tenant


@dataclass(frozen=True, slots=True)
class Plan:
    """`available`: webhooks are part of it. `max_endpoints`: None: as many as they like."""

    available: bool = True
    max_endpoints: int | None = None


def plan_of(tenant: Tenant) -> Plan:
    """What the function that PLAN names answers for the tenant; without one, what the tenant's row says.

    Raises ConfigurationError where that function cannot be imported or answers with something that is no Plan.
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
