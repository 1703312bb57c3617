"""The playground: an endpoint of the tenant's that leads to the inspector, so that everything can be tried without a server.

It is an endpoint like any other, but for its URL, which nobody can type: it has a secret, subscriptions, deliveries and
retries. A tenant has one at most. It does not count in the plan's limit, and nobody is notified about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models.functions import Coalesce

from webhooks_app.core.playground import ANSWERS, DEFAULT_ANSWER, url_of
from webhooks_app.db import in_fresh_transaction, in_one_transaction
from webhooks_app.deliveries import bulk_updates
from webhooks_app.deliveries.test_event import EXAMPLE, new_test_event
from webhooks_app.endpoints.checks import checked_events, checked_wire_format
from webhooks_app.endpoints.secrets import validate_or_generate
from webhooks_app.endpoints.service import check_plan_limit, insert_endpoint
from webhooks_app.endpoints.status import delete_endpoint, disable_endpoint, reset_and_activate
from webhooks_app.events import worker_wakeup
from webhooks_app.exceptions import ConflictingState, InvalidEndpoint, gettext_noop
from webhooks_app.locking import locked_endpoint
from webhooks_app.models import Endpoint, EndpointStatus, Event, Tenant
from webhooks_app.models.database import database_alias
from webhooks_app.tenants.audit import SYSTEM, note
from webhooks_app.tenants.identify import TenantLike, tenant_for

#: A playground that nobody has touched for so long gets no more events: each is kept twice while it does.
IDLE_AFTER = timedelta(days=7)
#: The reason that is stored with one that was switched off so.
IDLE_REASON = "idle"


def playground_of(tenant: Tenant) -> Endpoint | None:
    """The tenant's playground; None where it has none open."""
    endpoints = Endpoint.objects.visible().playgrounds()
    return endpoints.filter(tenant_id=tenant.pk).first()


@in_one_transaction
def open_playground(
    tenant: TenantLike, *, events: Sequence[str] = ("*",), actor: str = SYSTEM
) -> tuple[Endpoint, str | None]:
    """The tenant's playground, made where it has none; with the text of its secret, which is shown this once, or None
    where it was open already. Raises NotAvailableOnPlan, InvalidEndpoint."""
    owner = tenant_for(tenant)
    check_plan_limit(owner, counted=False)
    there = playground_of(owner)
    if there is not None:
        return there, None
    wire = checked_wire_format(None, owner)
    patterns = checked_events(events, wire)
    text = validate_or_generate(None, wire.secret_format)
    endpoint = Endpoint(tenant=owner, wire_format=wire.name, url=url_of(DEFAULT_ANSWER), description="Playground")
    insert_endpoint(endpoint, patterns, text)
    note(owner.pk, actor, "playground.opened", endpoint.public_id, events=patterns)
    return endpoint, text


@in_one_transaction
def answer_with(tenant: Tenant, answer: str, *, actor: str = SYSTEM) -> Endpoint:
    """From now on the playground answers so: one of `core.inspector.ANSWERS`. It begins afresh: where it was switched off
    it is on again, and what waits for a retry is sent now. A paused one stays paused.

    Raises InvalidEndpoint for an unknown answer, ConflictingState where no playground is open.
    """
    if answer not in ANSWERS:
        raise InvalidEndpoint(f"The answer is one of: {', '.join(ANSWERS)}.", field="answer")
    row, queue = locked_endpoint(_open_one(tenant))
    row.url = url_of(answer)
    row.save(update_fields=["url"])
    if row.status != EndpointStatus.PAUSED:
        bulk_updates.make_due_now(row)
        reset_and_activate(row, queue)
        _hint()
    note(row.tenant_id, actor, "playground.answers", row.public_id, answer=answer)
    return row


def send_to_playground(tenant: Tenant, *, type: str, data: object = EXAMPLE, actor: str = SYSTEM) -> Event:  # noqa: A002
    """Send a test event of this type to the playground alone, whatever it subscribes to, the way that every event goes:
    through an engine, with retries. `data`: instead of the type's example.

    Raises InvalidEvent, and ConflictingState where no playground is open or it is switched off.
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
    note(row.tenant_id, actor, "playground.tested", row.public_id, type=event.type)
    _hint()


def _hint() -> None:
    """Somebody looks on: the next sweep would be late."""
    transaction.on_commit(worker_wakeup.send, using=database_alias(), robust=True)


def close_playground(tenant: Tenant, *, actor: str = SYSTEM) -> Endpoint:
    """Delete the playground; what arrived stays readable with its deliveries until it is pruned. Raises ConflictingState
    where none is open."""
    return delete_endpoint(_open_one(tenant), actor=actor)


def rest_idle_playgrounds(now: datetime) -> int:
    """Switch off the playgrounds that nobody has touched for IDLE_AFTER; returns how many. Own transactions."""
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
