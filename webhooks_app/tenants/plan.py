"""Plan: what a tenant may use, from the host's own function or the tenant's row."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.module_loading import import_string

from webhooks_app.conf import settings
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.models import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`available`: webhooks are included. The limits: None means that of LIMITS. For no limit, choose a large number.

    `retention_days`: how many days events are kept; None, or more than RETENTION_DAYS, means RETENTION_DAYS.
    `drop_body_when_delivered`: erase the payload of each event once it is delivered to all of its endpoints.
    """

    available: bool = True
    max_endpoints: int | None = None
    max_api_keys: int | None = None
    #: How many hosts callback URLs may name within an hour for the first time.
    max_callback_hosts_per_hour: int | None = None
    retention_days: float | None = None
    drop_body_when_delivered: bool = False

    def __post_init__(self) -> None:
        if self.retention_days is not None and not self.retention_days > 0:
            raise ConfigurationError(
                f"A Plan has `retention_days` {self.retention_days!r}: use a number above 0, or None.", field="PLAN"
            )

    # The limits that apply; None: no limit.

    @property
    def endpoint_limit(self) -> int | None:
        return _limit(self.max_endpoints, settings().LIMITS.ENDPOINTS)

    @property
    def api_key_limit(self) -> int | None:
        return _limit(self.max_api_keys, settings().LIMITS.API_KEYS)

    @property
    def callback_host_limit(self) -> int | None:
        return _limit(self.max_callback_hosts_per_hour, settings().LIMITS.CALLBACK_HOSTS_PER_HOUR)


def _limit(of_plan: int | None, usual: int) -> int | None:
    return (usual or None) if of_plan is None else of_plan


def plan_of(tenant: Tenant) -> Plan:
    """Return what the function named by PLAN returns for the tenant; without one, the values of the tenant's row.

    Raises ConfigurationError if that function cannot be imported or does not return a Plan.
    """
    path = settings().PLAN
    if not path:
        return Plan(
            available=tenant.webhooks_enabled,
            max_endpoints=tenant.max_endpoints,
            retention_days=tenant.retention_days,
            drop_body_when_delivered=tenant.drop_body_when_delivered,
        )
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
