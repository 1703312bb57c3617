"""The playground: an endpoint of the tenant that leads to a built-in receiver, so that users can try webhooks without a server.

It is a normal endpoint with a secret, subscriptions, deliveries and retries; only its URL is internal and cannot be entered.
A tenant has at most one. It does not count in the plan's limit and causes no notifications.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models.functions import Coalesce

from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.core.playground import DEFAULT_RESPONSE, PLAYGROUND_RESPONSES, url_of
from webhooks_app.db import in_fresh_transaction, in_one_transaction
from webhooks_app.deliveries import bulk_updates
from webhooks_app.deliveries.test_event import EXAMPLE, new_test_event
from webhooks_app.endpoints.secrets import validate_or_generate
from webhooks_app.endpoints.service import check_plan_limit, insert_endpoint
from webhooks_app.endpoints.status import delete_endpoint, disable_endpoint, reset_and_activate
from webhooks_app.endpoints.validation import checked_events, checked_wire_format
from webhooks_app.events import worker_hint
from webhooks_app.exceptions import ConflictingState, InvalidEndpoint, gettext_noop
from webhooks_app.locking import locked_endpoint
from webhooks_app.models import Endpoint, EndpointStatus, Event, Tenant
from webhooks_app.models.database import database_alias
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.tenants.identify import TenantLike, tenant_for

#: A playground unused for this long gets no more events: each of them is stored twice while it does.
IDLE_AFTER = timedelta(days=7)
#: The reason stored when an idle playground is disabled.
IDLE_REASON = "idle"


def playground_of(tenant: Tenant) -> Endpoint | None:
    """Return the tenant's playground; None if none is open."""
    endpoints = Endpoint.objects.visible().playgrounds()
    return endpoints.filter(tenant_id=tenant.pk).first()


@in_one_transaction
def open_playground(
    tenant: TenantLike, *, events: Sequence[str] = ("*",), actor: str = SYSTEM
) -> tuple[Endpoint, str | None]:
    """Return the tenant's playground, created if there is none, and the text of its secret.

    The text is returned only this once; None if the playground was already open. Raises NotAvailableOnPlan, InvalidEndpoint.
    """
    owner = tenant_for(tenant)
    check_plan_limit(owner, counted=False)
    there = playground_of(owner)
    if there is not None:
        return there, None
    wire = checked_wire_format(None, owner)
    patterns = checked_events(events, wire)
    text = validate_or_generate(None, wire.secret_format)
    endpoint = Endpoint(
        kind=EndpointKind.PLAYGROUND,
        tenant=owner,
        wire_format=wire.name,
        url=url_of(DEFAULT_RESPONSE),
        description="Playground",
    )
    insert_endpoint(endpoint, patterns, text)
    record_audit_entry(owner.pk, actor, "playground.opened", endpoint.public_id, events=patterns)
    return endpoint, text


@in_one_transaction
def answer_with(tenant: Tenant, answer: str, *, actor: str = SYSTEM) -> Endpoint:
    """Set the playground's response: one of `core.playground.PLAYGROUND_RESPONSES`.

    A disabled playground is enabled again, and deliveries that wait for a retry are sent now. A paused one stays paused.
    Raises InvalidEndpoint for an unknown response, ConflictingState if no playground is open.
    """
    if answer not in PLAYGROUND_RESPONSES:
        raise InvalidEndpoint(f"The answer is one of: {', '.join(PLAYGROUND_RESPONSES)}.", field="answer")
    row, queue = locked_endpoint(_open_one(tenant))
    row.url = url_of(answer)
    row.save(update_fields=["url"])
    if row.status != EndpointStatus.PAUSED:
        bulk_updates.make_due_now(row)
        reset_and_activate(row, queue)
        _hint()
    record_audit_entry(row.tenant_id, actor, "playground.answers", row.public_id, answer=answer)
    return row


def send_to_playground(tenant: Tenant, *, type: str, data: object = EXAMPLE, actor: str = SYSTEM) -> Event:  # noqa: A002
    """Send a test event of this type to the playground alone, whatever it subscribes to.

    It takes the normal way, through an engine and with retries. `data`: replaces the type's example. Raises InvalidEvent, and
    ConflictingState if no playground is open or it is disabled.
    """
    row = _open_one(tenant)
    if row.status == EndpointStatus.DISABLED:
        raise ConflictingState(
            gettext_noop("The playground is switched off, so nothing is sent to it. Choose an answer first.")
        )
    event = new_test_event(row, type, data)
    in_fresh_transaction(lambda: _send(row, event, actor))
    return event


def _send(row: Endpoint, event: Event, actor: str) -> None:
    event.save(force_insert=True)
    bulk_updates.create_deliveries(row, [event.pk])
    record_audit_entry(row.tenant_id, actor, "playground.tested", row.public_id, type=event.type)
    _hint()


def _hint() -> None:
    """Send the workers a hint: a user is waiting, and the next sweep would be too late."""
    transaction.on_commit(worker_hint.send_hint, using=database_alias(), robust=True)


def close_playground(tenant: Tenant, *, actor: str = SYSTEM) -> Endpoint:
    """Delete the playground; its requests stay readable with their deliveries until pruned.

    Raises ConflictingState if none is open.
    """
    return delete_endpoint(_open_one(tenant), actor=actor)


def disable_idle_playgrounds(now: datetime) -> int:
    """Disable the playgrounds that were not used for IDLE_AFTER; return how many. Uses its own transactions."""
    endpoints = Endpoint.objects.playgrounds().filter(status=EndpointStatus.ACTIVE)
    touched = Coalesce("status_changed_at", "created_at")
    idle = endpoints.annotate(touched_at=touched).filter(touched_at__lt=now - IDLE_AFTER)
    keys = list(idle.values_list("pk", flat=True))
    for key in keys:
        disable_endpoint(key, IDLE_REASON, notify=False)
    return len(keys)


def _open_one(tenant: Tenant) -> Endpoint:
    row = playground_of(tenant)
    if row is None:
        raise ConflictingState(gettext_noop("There is no playground open. Open it first."))
    return row
