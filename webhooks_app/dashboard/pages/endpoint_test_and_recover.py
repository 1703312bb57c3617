"""Send a test event, and recover missed events. Each is a page of its own, or a card that is swapped in place."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.form_errors import run_action
from webhooks_app.dashboard.one_time_form import form_id, submit_once
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.dashboard.pages.endpoints import own_endpoint
from webhooks_app.dashboard.sections import ENDPOINTS
from webhooks_app.deliveries.outcomes import explanation_of, outcome_name
from webhooks_app.deliveries.pretty_body import pretty_body
from webhooks_app.deliveries.recover import recover_part
from webhooks_app.deliveries.test_event import send_test_event
from webhooks_app.events.types import event_types
from webhooks_app.forms.test_and_recover import RecoverForm, TestEventForm
from webhooks_app.models import Attempt, Endpoint
from webhooks_app.models.ids import public_id as public_id_of


@dashboard_view("GET", "POST", manages=True)
def endpoint_test(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    row = own_endpoint(public_id, visitor)
    types = event_types()

    def send() -> HttpResponse:
        form = TestEventForm(request.POST, types=types)

        attempt = run_action(form, lambda: send_test_event(row, **form.cleaned_data, actor=visitor.actor))
        return _test_card(request, visitor, row, form, attempt, status=422 if attempt is None else 200)

    if request.method == "POST":
        return submit_once(request, visitor, send)
    return _test_card(
        request, visitor, row, TestEventForm(types=types, chosen=request.GET.get("type", ""), patterns=row.patterns)
    )


@dashboard_view("GET", "POST", manages=True)
def endpoint_recover(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    row = own_endpoint(public_id, visitor)

    def give_back() -> HttpResponse:
        form = RecoverForm(request.POST)
        report = run_action(form, lambda: recover_part(row, **form.cleaned_data, actor=visitor.actor))
        if report is None:
            return _recover_card(request, visitor, row, form, status=422)
        was_continued = form.cleaned_data["after"] is not None
        form.continue_after(public_id_of("evt", report.position) if report.position is not None else "")
        return _recover_card(request, visitor, row, form, report=report, was_continued=was_continued)

    if request.method == "POST":
        return submit_once(request, visitor, give_back)
    return _recover_card(request, visitor, row, RecoverForm())


def _test_card(
    request: HttpRequest,
    visitor: Visitor,
    row: Endpoint,
    form: TestEventForm,
    attempt: Attempt | None = None,
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {"test_form": form, "form_id": form_id()}
    if attempt is not None:
        context |= {
            "attempt": attempt,
            "outcome": outcome_name(attempt.outcome),
            "explanation": explanation_of(attempt.outcome, attempt.status, attempt.detail),
            "answer": pretty_body(attempt.shown_body).text,
            "delivery_id": public_id_of("dlv", attempt.delivery_id),
        }
    return _card_or_page(request, visitor, row, "endpoint_test", context, status)


def _recover_card(
    request: HttpRequest, visitor: Visitor, row: Endpoint, form: RecoverForm, **context: Any
) -> HttpResponse:
    status = context.pop("status", 200)
    shown = {"recover_form": form, "recover_form_id": form_id(), **context}
    return _card_or_page(request, visitor, row, "endpoint_recover", shown, status)


def _card_or_page(
    request: HttpRequest, visitor: Visitor, row: Endpoint, name: str, context: dict[str, Any], status: int
) -> HttpResponse:
    """Return only the card for htmx, which swaps it into the page, else the page."""
    template = f"{name}_card" if request.headers.get("HX-Request") == "true" else name
    return render_page(request, visitor, template, {"section": ENDPOINTS, "endpoint": row, **context}, status=status)


paths = [
    path("endpoints/<str:public_id>/test", endpoint_test, name="endpoint_test"),
    path("endpoints/<str:public_id>/recover", endpoint_recover, name="endpoint_recover"),
]
