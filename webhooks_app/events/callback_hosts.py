"""A limit on new hosts: how many hosts the callback URLs of one tenant may name within an hour for the first time.

Each process counts for itself, in memory, so several processes together admit several times as many. A host is not new if the
tenant has a callback endpoint there. That is looked up once; the next events for the same host cost nothing.
"""

from __future__ import annotations

import time
import uuid
from urllib.parse import urlsplit

from django.db import Error as DatabaseError

from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.engine.faults import FaultLog
from webhooks_app.exceptions import TooManyCallbackHosts, gettext_noop
from webhooks_app.models import Endpoint, Tenant
from webhooks_app.telemetry.logs import log_ids
from webhooks_app.tenants.plan import Plan, plan_of

_HOUR = 3600.0
#: Hosts and tenants in memory. When there are more, they are forgotten: hosts are looked up again, tenants without new hosts
#: have nothing to remember.
_MOST_KEPT = 50_000

#: The hosts that were named before, by database and tenant.
_seen: set[tuple[str, uuid.UUID, str]] = set()
#: When (monotonic) new hosts were named within the last hour, by database and tenant.
_new: dict[tuple[str, uuid.UUID], list[float]] = {}
_faults = FaultLog()


def check_callback_host(tenant_id: uuid.UUID, url: str, using: str) -> None:
    """Count the host of a callback URL if it is new. `url`: as `check_url` returns it. Raises TooManyCallbackHosts."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}/"
    if (using, tenant_id, origin) in _seen:
        return
    limit = _plan(tenant_id, using).callback_host_limit
    if limit is not None and not _has_endpoint(tenant_id, origin, using):
        _count_new((using, tenant_id), limit, time.monotonic())
    if len(_seen) >= _MOST_KEPT:
        _seen.clear()
    _seen.add((using, tenant_id, origin))


def reset() -> None:
    """Forget all hosts; for tests."""
    _seen.clear()
    _new.clear()


def _plan(tenant_id: uuid.UUID, using: str) -> Plan:
    """Return the tenant's plan. If PLAN fails, return the usual limits, so that no event is lost."""
    tenant = Tenant.objects.using(using).filter(pk=tenant_id).first()
    if tenant is None:  # the tenant's first event comes before its row
        return Plan()
    try:
        return plan_of(tenant)
    except DatabaseError:  # it may have ended the host's transaction
        raise
    except Exception as error:  # noqa: BLE001 - the host's own function
        _faults.report(
            "PLAN",
            "PLAN failed; callback URLs have the usual limit of new hosts",
            error=error,
            ids=log_ids(tenant=tenant_id),
        )
        return Plan()


def _has_endpoint(tenant_id: uuid.UUID, origin: str, using: str) -> bool:
    callbacks = Endpoint.objects.using(using).filter(tenant_id=tenant_id, kind=EndpointKind.CALLBACK)
    return callbacks.filter(url__startswith=origin).exists()


def _count_new(key: tuple[str, uuid.UUID], limit: int, now: float) -> None:
    times = [moment for moment in _new.get(key, ()) if moment > now - _HOUR]
    if len(times) >= limit:
        raise TooManyCallbackHosts(
            gettext_noop(
                "The callback URLs of this tenant have named %(most)s new hosts within an hour, which is the limit. "
                "Try again later, or use hosts that were named before."
            ),
            field="callback_url",
            most=limit,
        )
    if len(_new) >= _MOST_KEPT:
        for idle in [each for each, moments in _new.items() if moments[-1] <= now - _HOUR]:
            del _new[idle]
    _new[key] = [*times, now]
