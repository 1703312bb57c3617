"""Publish events from a customer's own program, which must get errors at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from webhooks_app.endpoints.validation import checked_url, checked_wire_format
from webhooks_app.events.emit import EventInput, emit_many
from webhooks_app.exceptions import URLNotAllowed
from webhooks_app.models import Event, Tenant
from webhooks_app.models.database import database_alias


def publish(tenant: Tenant, inputs: Sequence[Mapping[str, Any]]) -> list[Event]:
    """Emit these events, all or none; return them as stored, in the order of the input.

    Each input has the arguments of `emit`. An invalid event always raises the errors of `emit`, whatever STRICT says. A
    `callback_url` must be one that the tenant's wire format allows.
    """
    for values in inputs:
        if values.get("callback_url"):
            _check_callback(values["callback_url"], tenant)
    with transaction.atomic(using=database_alias()):
        made = emit_many([EventInput(tenant=tenant, **values) for values in inputs], strict=True)
        rows = Event.objects.in_bulk([event.pk for event in made])  # for values set by the database
    return [rows[event.pk] for event in made]


def _check_callback(url: str, tenant: Tenant) -> None:
    try:
        checked_url(url, checked_wire_format(None, tenant))
    except URLNotAllowed as error:
        raise URLNotAllowed(str(error), reason=error.reason, field="callback_url") from error
