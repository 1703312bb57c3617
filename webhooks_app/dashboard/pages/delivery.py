"""One delivery: what was sent, the responses, why it failed; resend or cancel it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.keyset import BEFORE, newest
from webhooks_app.dashboard.one_time_form import form_id, submit_once
from webhooks_app.dashboard.page_view import dashboard_view, get_own_or_404, render_page
from webhooks_app.dashboard.sections import DELIVERIES
from webhooks_app.deliveries.outcomes import Explanation, explanation_of
from webhooks_app.deliveries.outlook import NOW, DeliveryState, state_of, to_customer
from webhooks_app.deliveries.pretty_body import pretty_body
from webhooks_app.deliveries.resend import cancel_delivery, resend
from webhooks_app.models import Attempt, Delivery, DeliveryStatus, database_now

#: The number of attempts on one page.
MOST_SHOWN = 20
#: The most characters of a response body shown here; the attempt's own page has all of it, and the request.
MOST_OF_ANSWER = 8 * 1024
DONE = {
    "again": _("It is sent again now."),
    "first": _("It is sent now."),
    "paused": _("It waits until the endpoint is resumed."),
    "disabled": _("It waits until the endpoint is switched on again."),
    "waits": _("It is sent as soon as that is possible. Why it waits is said below."),
    "cancelled": _("Cancelled: it is not sent any more."),
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One attempt on the page. `answer`: the response body, or only its beginning if `is_cut`."""

    attempt: Attempt
    explanation: Explanation
    answer: str
    is_cut: bool

    @property
    def has_answer(self) -> bool:
        return self.attempt.status is not None


@dashboard_view()
def delivery(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    """Render the page. With `mark`, for htmx: return what changed since the page with that mark, or 204 if nothing did."""
    row = get_own_or_404(_rows(), "dlv", public_id, visitor)
    state = _state_of(row)
    mark, is_look = _mark(row, state), "mark" in request.GET
    if is_look and request.GET["mark"] == mark:
        return HttpResponse(status=204)
    attempts = Attempt.objects.filter(delivery_id=row.pk)
    shown = newest(attempts, request.GET.get(BEFORE, ""), size=MOST_SHOWN)
    context: dict[str, Any] = {
        "section": DELIVERIES,
        "delivery": row,
        "done": DONE.get(request.GET.get("done", "")),
        "explanation": explanation_of(row.last_outcome, row.last_status) if row.last_outcome else None,
        "state": to_customer(row, state),
        "outlook": state.outlook,
        "is_accepted": state.outlook is not None and row.last_outcome == OutcomeKind.SUCCEEDED,
        "exchanges": [_exchange(attempt) for attempt in shown.rows],
        "earlier": shown.older,
        "from_the_newest": not shown.later,
        "is_look": is_look,
        "next_look": urlencode({"mark": mark}) if row.status == DeliveryStatus.PENDING and not shown.later else "",
        # Network errors contain internal addresses: show them only to staff, and not in a customer's portal.
        "for_staff": request.user.is_staff and not visitor.by_portal,
        "form_id": form_id(),
    }
    return render_page(request, visitor, "delivery_now" if is_look else "delivery", context)


@dashboard_view("GET", "POST", manages=True)
def delivery_retry(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    """Resend a delivery. GET asks for confirmation: a receiver that has accepted it gets it twice."""
    row = get_own_or_404(_rows(), "dlv", public_id, visitor)
    if request.method == "GET":
        return render_page(request, visitor, "delivery_retry", _question(row))

    def act() -> HttpResponse:
        resend(row.pk, actor=visitor.actor)
        return redirect(_address(row, _what_came_of_it(_rows().get(pk=row.pk), row.attempts)))

    return submit_once(request, visitor, act)


@dashboard_view("GET", "POST", manages=True)
def delivery_cancel(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    row = get_own_or_404(_rows(), "dlv", public_id, visitor)
    if request.method == "GET":
        return render_page(request, visitor, "delivery_cancel", _question(row))
    cancel_delivery(row.pk, actor=visitor.actor)
    return redirect(_address(row, "cancelled"))


# --- what the page shows ---------------------------------------------------------------------------------------------


def _rows() -> QuerySet[Delivery]:
    rows = Delivery.objects.select_related("event", "endpoint__queue")
    return rows.defer("event__data")


def _question(row: Delivery) -> dict[str, Any]:
    return {"section": DELIVERIES, "delivery": row, "form_id": form_id()}


def _address(row: Delivery, done: str) -> str:
    return f"{reverse('webhooks_app:delivery', args=[row.public_id])}?done={done}"


def _exchange(attempt: Attempt) -> Exchange:
    answer = pretty_body(attempt.shown_body).text
    return Exchange(
        attempt=attempt,
        explanation=explanation_of(attempt.outcome, attempt.status, attempt.detail),
        answer=answer[:MOST_OF_ANSWER],
        is_cut=len(answer) > MOST_OF_ANSWER,
    )


def _state_of(row: Delivery) -> DeliveryState:
    queue = getattr(row.endpoint, "queue", None)
    return state_of(row, row.endpoint, queue, database_now())


def _what_came_of_it(row: Delivery, attempts: int) -> str:
    """Return the result of a resend as a key of DONE.

    `attempts`: the number before the resend; an engine may already have made one more.
    """
    outlook = _state_of(row).outlook
    if outlook is None or outlook.kind in NOW or row.attempts > attempts:
        return "again" if attempts else "first"
    return outlook.kind.value if outlook.kind.value in DONE else "waits"


def _mark(row: Delivery, state: DeliveryState) -> str:
    """Return a value that changes when the page would look different."""
    kind, at = (state.outlook.kind.value, state.outlook.at) if state.outlook else ("", None)
    return f"{row.status}-{row.attempts}-{row.endpoint.status}-{kind}-{at.timestamp() if at else 0:.0f}"


paths = [
    path("deliveries/<str:public_id>", delivery, name="delivery"),
    path("deliveries/<str:public_id>/retry", delivery_retry, name="delivery_retry"),
    path("deliveries/<str:public_id>/cancel", delivery_cancel, name="delivery_cancel"),
]
