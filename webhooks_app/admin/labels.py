"""What pages for staff call models and fields, in the reader's language. The names in the models are for migrations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

#: Name of a model → one, several.
_MODELS: dict[str, tuple[Any, Any]] = {
    "ApiKey": (_("API key"), _("API keys")),
    "Attempt": (pgettext_lazy("model", "request"), _("Requests")),
    "AuditEntry": (_("audit entry"), _("Audit trail")),
    "Delivery": (_("delivery"), _("Deliveries")),
    "Endpoint": (_("endpoint"), _("Endpoints")),
    "EndpointNumber": (_("endpoint number"), _("Endpoint numbers")),
    "EndpointQueue": (_("queue of an endpoint"), _("Queues of endpoints")),
    "Engine": (_("engine"), _("Engines")),
    "Event": (_("event"), _("Events")),
    "EventChannel": (_("channel of an event"), _("Channels of events")),
    "EventType": (_("event type"), _("Event types")),
    "HourlyStat": (_("hour of an endpoint"), _("Statistics by the hour")),
    "Notification": (_("notification"), _("Notifications")),
    "PortalLink": (_("portal link"), _("Portal links")),
    "Secret": (_("secret"), _("Secrets")),
    "IdempotencyRecord": (_("stored reply"), _("Stored replies")),
    "Subscription": (_("subscription"), _("Subscriptions")),
    "Tenant": (_("tenant"), _("Tenants")),
}

#: Name of a field → its label, in lists, on pages and in forms. The words are those of the customers' pages.
FIELDS: dict[str, Any] = {
    "actor": _("Who"),
    "address": _("IP address"),
    "alive_until": _("Alive until"),
    "callback_url": _("Callback URL"),
    "channel": _("Channel"),
    "channels": _("Channels"),
    "client_error": _("Refused by the server"),
    "count": _("Count"),
    "created_at": _("Made"),
    "description": _("Description"),
    "detail": _("Detail"),
    "email": _("E-mail address"),
    "example": _("Example"),
    "exhausted": _("Deliveries that failed"),
    "expires_at": _("Valid until"),
    "failing_since": _("Failing since"),
    "fifo": _("In order (FIFO)"),
    "filters": _("Filters"),
    "group": _("Group"),
    "hidden": _("Behind a callback URL"),
    "hint": _("First characters"),
    "host": _("Host"),
    "hour": _("Hour"),
    "http_version": _("HTTP version"),
    "id": _("Id"),
    "idempotency_key": _("Idempotency key"),
    "key": _("Key"),
    "kind": _("Kind"),
    "last_failure_at": _("Last failure"),
    "last_success_at": _("Last success"),
    "latency_max_ms": _("Longest time to answer (ms)"),
    "latency_sum_ms": _("Time to answer, added up (ms)"),
    "max_endpoints": _("Endpoints at most"),
    "max_in_flight": _("Requests at once"),
    "metadata": _("Metadata"),
    "name": _("Name"),
    "number": _("Number"),
    "pattern": _("Pattern"),
    "pid": _("Process"),
    "wire_format": _("Wire format"),
    "rate_limit": _("Rate limit"),
    "redirect": _("Redirect"),
    "retired": _("Retired"),
    "draining": _("Finishing"),
    "schema": _("JSON Schema"),
    "scopes": _("Scopes"),
    "sequence": _("Place in the order"),
    "server_error": _("Server error"),
    "size": _("Bytes"),
    "started_at": _("Started"),
    "status": _("HTTP status"),
    "consecutive_failures": _("Failures in a row"),
    "subject": _("Your id"),
    "succeeded": _("Accepted"),
    "crash_takeovers": _("Taken over"),
    "target": _("What"),
    "tenant": _("Tenant"),
    "tenant_uid": _("Tenant"),
    "timeout": _("No answer in time"),
    "type": _("Event type"),
    "uid": _("Uid"),
    "unreachable": _("Not reached"),
    "url": _("URL"),
    "used_at": _("Used"),
    "verb": _("Did"),
    "webhooks_enabled": _("Webhooks are on"),
}

#: Name of a field → what is said below it. Forms may say more.
HELPS: dict[str, Any] = {
    "email": _("Who is told when deliveries fail for good or an endpoint is disabled."),
    "max_endpoints": _("Empty: no limit."),
    "max_in_flight": _("At most. Empty: as many as the setting says."),
    "rate_limit": _("Requests a second at most. Empty: no limit."),
    "uid": _("Your own product's key of this customer."),
    "webhooks_enabled": _("Off: webhooks are not part of this customer's plan."),
}


def several_named(object_name: str) -> str:
    return str(_MODELS[object_name][1])


def one_of(model: type[Model]) -> str:
    return str(_MODELS[str(model._meta.object_name)][0])


def several_of(model: type[Model]) -> str:
    return several_named(str(model._meta.object_name))


def title_of(model: type[Model], *, add: bool, change: bool) -> str:
    """Django's heading for the page of a row, with our name for it."""
    form = _("Add %s") if add else _("Change %s") if change else _("View %s")
    return str(form) % one_of(model)


def column(field: str, *, boolean: bool = False) -> Callable[[Any], Any]:
    """A column of a list that shows the field as it is, under its label."""

    @admin.display(description=FIELDS[field], boolean=boolean)
    def show(row: Any) -> Any:
        return getattr(row, field)

    show.__name__ = field
    return show
