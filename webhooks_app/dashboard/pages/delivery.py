"""One delivery: what was sent, what came back, why it failed; send it again, or do not send it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from webhooks_app.actions.replay import cancel, replay
from webhooks_app.dashboard.keyset import BEFORE, newest
from webhooks_app.dashboard.once import form_id, once
from webhooks_app.dashboard.page import found, page, show
from webhooks_app.dashboard.sections import DELIVERIES
from webhooks_app.dashboard.visitors import Visitor
from webhooks_app.models import IDLE, Attempt, Delivery, DeliveryStatus, EndpointStatus
from webhooks_app.pipeline.transactions import pipeline_alias
from webhooks_app.reports.bodies import readable
from webhooks_app.reports.outcomes import Explanation, explanation_of

#: Attempts that one page shows.
MOST_SHOWN = 20
#: Characters of an answer's body that it shows; all of it, and the request, are on the attempt's own page.
MOST_OF_ANSWER = 8 * 1024
DONE = {
    "again": _("It is sent again now."),
    "cancelled": _("Cancelled: it is not sent any more."),
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One attempt as the page tells it. `answer`: the body that came back, or only its beginning where `is_cut`."""

    attempt: Attempt
    explanation: Explanation
    answer: str
    is_cut: bool

    @property
    def has_answer(self) -> bool:
        return self.attempt.status is not None


@page()
def delivery(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    """With `mark`, for htmx: what is new since the page was that; 204 where nothing is."""
    row = found(_rows(), "dlv", public_id, visitor)
    mark, is_look = _mark(row), "mark" in request.GET
    if is_look and request.GET["mark"] == mark:
        return HttpResponse(status=204)
    attempts = Attempt.objects.using(pipeline_alias()).filter(delivery_id=row.pk)
    shown = newest(attempts, request.GET.get(BEFORE, ""), size=MOST_SHOWN)
    context: dict[str, Any] = {
        "section": DELIVERIES,
        "delivery": row,
        "done": DONE.get(request.GET.get("done", "")),
        "explanation": explanation_of(row.last_outcome, row.last_status) if row.last_outcome else None,
        "next_at": _next_at(row),
        "exchanges": [_exchange(attempt) for attempt in shown.rows],
        "earlier": shown.older,
        "from_the_newest": not shown.later,
        "is_look": is_look,
        "next_look": urlencode({"mark": mark}) if row.status == DeliveryStatus.PENDING and not shown.later else "",
        # What the network said names addresses inside it: for staff alone, and not within a customer's portal.
        "for_staff": request.user.is_staff and not visitor.by_portal,
        "form_id": form_id(),
    }
    return show(request, visitor, "delivery_now" if is_look else "delivery", context)


@page("GET", "POST", manages=True)
def delivery_retry(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    """GET asks whether it is meant: a receiver that has accepted it gets it a second time."""
    row = found(_rows(), "dlv", public_id, visitor)
    if request.method == "GET":
        return show(request, visitor, "delivery_retry", _question(row))

    def act() -> HttpResponse:
        replay(row.pk, actor=visitor.actor)
        return redirect(_address(row, "again"))

    return once(request, visitor, act)


@page("GET", "POST", manages=True)
def delivery_cancel(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    row = found(_rows(), "dlv", public_id, visitor)
    if request.method == "GET":
        return show(request, visitor, "delivery_cancel", _question(row))
    cancel(row.pk, actor=visitor.actor)
    return redirect(_address(row, "cancelled"))


# --- what the page shows ---------------------------------------------------------------------------------------------


def _rows() -> QuerySet[Delivery]:
    rows = Delivery.objects.using(pipeline_alias()).select_related("event", "endpoint__queue")
    return rows.defer("event__data")


def _question(row: Delivery) -> dict[str, Any]:
    return {"section": DELIVERIES, "delivery": row, "form_id": form_id()}


def _address(row: Delivery, done: str) -> str:
    return f"{reverse('webhooks_app:delivery', args=[row.public_id])}?done={done}"


def _exchange(attempt: Attempt) -> Exchange:
    answer = readable(bytes(attempt.response_body)).text
    return Exchange(
        attempt=attempt,
        explanation=explanation_of(attempt.outcome, attempt.status),
        answer=answer[:MOST_OF_ANSWER],
        is_cut=len(answer) > MOST_OF_ANSWER,
    )


def _mark(row: Delivery) -> str:
    """Differs where the page would."""
    next_at = _next_at(row)
    return f"{row.status}-{row.attempts}-{row.endpoint.status}-{next_at.timestamp() if next_at else 0:.0f}"


def _next_at(row: Delivery) -> datetime | None:
    """When the next attempt may be made; None where none is to come while things are as they are."""
    if row.status != DeliveryStatus.PENDING or row.endpoint.status != EndpointStatus.ACTIVE:
        return None
    held_until = row.endpoint.queue.not_before
    return row.next_attempt_at if held_until >= IDLE else max(row.next_attempt_at, held_until)


paths = [
    path("deliveries/<str:public_id>", delivery, name="delivery"),
    path("deliveries/<str:public_id>/retry", delivery_retry, name="delivery_retry"),
    path("deliveries/<str:public_id>/cancel", delivery_cancel, name="delivery_cancel"),
]
