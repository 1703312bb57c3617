"""The catalogue of event types."""

from __future__ import annotations

from itertools import groupby

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.schemas import properties
from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.dashboard.sections import EVENT_TYPES
from webhooks_app.deliveries.pretty_body import pretty_body
from webhooks_app.endpoints.example_request import example_request
from webhooks_app.events.types import event_type, event_types
from webhooks_app.wire_formats import get_wire_format


@dashboard_view()
def catalogue(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    query = request.GET.get("q", "").strip()[:100]
    types = [one for one in event_types() if query.lower() in f"{one.name} {one.group} {one.description}".lower()]
    return render_page(
        request, visitor, "event_types", {"section": EVENT_TYPES, "groups": _grouped(types), "wanted": query}
    )


@dashboard_view()
def one_type(request: HttpRequest, visitor: Visitor, name: str) -> HttpResponse:
    type_ = event_type(name)
    wire_format = get_wire_format(visitor.tenant.wire_format_name)
    headers, body = example_request(type_, wire_format, timezone.now()) or ((), b"")
    context = {
        "section": EVENT_TYPES,
        "type": type_,
        "wire_format": wire_format,
        "properties": properties(type_.schema),
        "headers": headers,
        "body": pretty_body(body).text,
    }
    return render_page(request, visitor, "event_type", context)


def _grouped(types: list[EventType]) -> list[tuple[str, list[EventType]]]:
    """Return the types by group, ungrouped ones last; retired types come at the end of their group."""
    ordered = sorted(types, key=lambda type_: (not type_.group, type_.group, type_.retired, type_.name))
    return [(group, list(members)) for group, members in groupby(ordered, key=lambda type_: type_.group)]


paths = [
    path("event-types", catalogue, name="event_types"),
    path("event-types/<str:name>", one_type, name="event_type"),
]
