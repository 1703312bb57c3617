"""One event: its data and its deliveries; resend it to all of them, or erase it."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import ngettext

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.one_time_form import form_id, submit_once
from webhooks_app.dashboard.page_view import dashboard_view, get_own_or_404, render_page
from webhooks_app.dashboard.pages.deliveries import mark_of
from webhooks_app.dashboard.sections import DELIVERIES
from webhooks_app.deliveries.erase import erase_event
from webhooks_app.deliveries.outlook import Waiting, waiting_in_words, waiting_of
from webhooks_app.deliveries.pretty_body import pretty_body
from webhooks_app.deliveries.resend import resend_event
from webhooks_app.models import Delivery, DeliveryStatus, EndpointStatus, Event, database_now

#: The page shows this many of the event's first deliveries.
MOST_SHOWN = 100


@dashboard_view()
def event(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    """Render the page. With `mark`, for htmx: return what changed since the page with that mark, or 204 if nothing did."""
    row = get_own_or_404(_rows(), "evt", public_id, visitor)
    context = _context(row)
    if "mark" not in request.GET:
        more = {"data": pretty_body(row.shown_data), "done": _done(request)}
        return render_page(request, visitor, "event", {**context, **more})
    if request.GET["mark"] == context["mark"]:
        return HttpResponse(status=204)
    return render_page(request, visitor, "event_now", context)


@dashboard_view("GET", "POST", manages=True)
def event_replay(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    """Replay an event. GET asks for confirmation, and says who gets it a second time."""
    row = get_own_or_404(_rows(), "evt", public_id, visitor)
    if request.method == "GET":
        return render_page(request, visitor, "event_replay", {**_context(row), "form_id": form_id()})

    def act() -> HttpResponse:
        count = resend_event(row.pk, actor=visitor.actor)
        deliveries = Delivery.objects.filter(event_id=row.pk)
        waiting = waiting_of(deliveries, database_now())
        counts = urlencode({"sent": count, "off": waiting.off, "held": waiting.held})
        return redirect(f"{reverse('webhooks_app:event', args=[row.public_id])}?{counts}")

    return submit_once(request, visitor, act)


@dashboard_view("GET", "POST", manages=True)
def event_erase(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    """Erase an event. GET asks for confirmation."""
    row = get_own_or_404(_rows(), "evt", public_id, visitor)
    if request.method == "GET":
        return render_page(request, visitor, "event_erase", {"section": DELIVERIES, "event": row})
    erase_event(row.pk, actor=visitor.actor)
    return redirect(reverse("webhooks_app:event", args=[row.public_id]))


def _rows() -> QuerySet[Event]:
    """Return events, without those never sent, which only staff see. Their data, which may be large, is loaded on demand."""
    return Event.objects.filter(quarantine_reason="").defer("data")


def _context(row: Event) -> dict[str, Any]:
    deliveries = Delivery.objects.filter(event_id=row.pk, tenant_id=row.tenant_id)
    several = list(deliveries.select_related("endpoint__queue").order_by("endpoint_id")[: MOST_SHOWN + 1])
    shown = several[:MOST_SHOWN]
    there = [one for one in shown if one.endpoint.status != EndpointStatus.DELETED]
    again = [one for one in there if one.status != DeliveryStatus.PENDING]
    mark = mark_of(shown, timezone.now(), row.fanned_out_at is None)
    under_way = row.fanned_out_at is None or any(one.status == DeliveryStatus.PENDING for one in shown)
    return {
        "section": DELIVERIES,
        "event": row,
        "mark": mark,
        "next_look": urlencode({"mark": mark}) if under_way else "",
        "deliveries": shown,
        "more": len(several) > len(shown),
        "again": again,
        "under_way": [one for one in there if one.status == DeliveryStatus.PENDING],
    }


def _done(request: HttpRequest) -> str | None:
    """Return the result of a replay; the numbers come from the URL, and are only shown."""
    sent, off, held = (_number(request.GET.get(name, "")) for name in ("sent", "off", "held"))
    if sent is None:
        return None
    text = ngettext(
        "It is to be sent again to %(count)d endpoint.", "It is to be sent again to %(count)d endpoints.", sent
    )
    if not off and not held:
        text = ngettext(
            "It is sent again now, to %(count)d endpoint.", "It is sent again now, to %(count)d endpoints.", sent
        )
    waits = waiting_in_words(Waiting(off or 0, held or 0))
    return " ".join(filter(None, [text % {"count": sent}, waits]))


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= 9 else None


paths = [
    path("events/<str:public_id>", event, name="event"),
    path("events/<str:public_id>/replay", event_replay, name="event_replay"),
    path("events/<str:public_id>/erase", event_erase, name="event_erase"),
]
