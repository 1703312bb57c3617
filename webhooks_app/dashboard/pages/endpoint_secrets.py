"""An endpoint's secret: rotate it, or end the old one early. A new one is shown once."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.urls import path

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.form_errors import run_action
from webhooks_app.dashboard.forms.secrets import RotationForm
from webhooks_app.dashboard.one_time_form import form_id, submit_once
from webhooks_app.dashboard.page_view import dashboard_view, get_own_or_404, render_page
from webhooks_app.dashboard.pages.endpoints import to_endpoint, visible_endpoints
from webhooks_app.dashboard.sections import ENDPOINTS
from webhooks_app.endpoints.queries import live_secrets, twin_of
from webhooks_app.endpoints.secrets import end_old_secret, rotate_secret
from webhooks_app.models import Endpoint
from webhooks_app.snippets import LANGUAGES, has_snippets, snippet
from webhooks_app.wire_formats import get_wire_format


@dashboard_view("GET", "POST", manages=True)
def endpoint_rotate(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    row = get_own_or_404(visible_endpoints(), "wh", public_id, visitor)

    def rotate() -> HttpResponse:
        form = RotationForm(request.POST)
        rotated = run_action(form, lambda: rotate_secret(row, **form.values(), actor=visitor.actor))
        if rotated is None:
            return _form_page(request, visitor, row, form, status=422)
        old_until = rotated.previous_expires_at if form.values()["overlap"] else None
        return secret_shown(request, visitor, row, rotated.text, "rotated", old_until)

    if request.method == "POST":
        return submit_once(request, visitor, rotate)
    return _form_page(request, visitor, row, RotationForm())


@dashboard_view("POST")
def endpoint_end_old_secret(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    row = get_own_or_404(visible_endpoints(), "wh", public_id, visitor)
    end_old_secret(row, actor=visitor.actor)
    return to_endpoint(row, "ended")


def secret_shown(
    request: HttpRequest,
    visitor: Visitor,
    row: Endpoint,
    secret: str,
    why: str,
    old_until: datetime | None = None,
) -> HttpResponse:
    """Render the page with the secret, only this once. `why`: "created", "moved" or "rotated"."""
    wire_format = get_wire_format(row.wire_format)
    context = {
        "section": ENDPOINTS,
        "endpoint": row,
        "secret": secret,
        "why": why,
        "old_until": old_until,
        "twin": twin_of(row) if why != "rotated" else None,
        "snippets": [(one, snippet(wire_format, one)) for one in LANGUAGES] if has_snippets(wire_format) else [],
    }
    return render_page(request, visitor, "secret_shown", context)


def _form_page(
    request: HttpRequest, visitor: Visitor, row: Endpoint, form: RotationForm, status: int = 200
) -> HttpResponse:
    context = {
        "section": ENDPOINTS,
        "endpoint": row,
        "form": form,
        "form_id": request.POST.get("form_id") or form_id(),
        "wire_format": get_wire_format(row.wire_format),
        "old": [one for one in live_secrets(row) if one.expires_at],
    }
    return render_page(request, visitor, "endpoint_rotate", context, status=status)


paths = [
    path("endpoints/<str:public_id>/rotate", endpoint_rotate, name="endpoint_rotate"),
    path("endpoints/<str:public_id>/end-old-secret", endpoint_end_old_secret, name="endpoint_end_old_secret"),
]
