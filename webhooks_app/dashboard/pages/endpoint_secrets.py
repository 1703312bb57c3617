"""An endpoint's secret: rotate it, or end the old one early. A new one is shown once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from webhooks_app.conf import settings
from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.form_errors import run_action
from webhooks_app.dashboard.one_time_form import form_id, submit_once
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.dashboard.pages.endpoints import own_endpoint, to_endpoint
from webhooks_app.dashboard.sections import ENDPOINTS
from webhooks_app.endpoints.queries import duplicate_of, live_secrets
from webhooks_app.endpoints.secrets import end_old_secret, rotate_secret
from webhooks_app.forms.fields import WriteOnlyInput
from webhooks_app.models import Endpoint
from webhooks_app.snippets import LANGUAGES, has_snippets, snippet
from webhooks_app.wire_formats import get_wire_format

_HOUR = 3600
_OVERLAPS = (0, _HOUR, 24 * _HOUR, 7 * 24 * _HOUR)


class RotationForm(forms.Form):
    """How long the old secret signs, and the new secret."""

    overlap = forms.ChoiceField(label=gettext_lazy("The old secret stays valid"), widget=forms.RadioSelect)
    secret = forms.CharField(
        label=gettext_lazy("Secret of your own"),
        help_text=gettext_lazy("Empty: we make one, which is the safest. What you enter here is not shown again."),
        required=False,
        max_length=500,
        widget=WriteOnlyInput(),
    )

    def __init__(self, data: Any = None) -> None:
        usual = round(settings().ROTATION_OVERLAP_HOURS * _HOUR)
        super().__init__(data, initial={"overlap": str(usual)})
        choices = [(str(seconds), _in_words(seconds)) for seconds in sorted({*_OVERLAPS, usual})]
        self.fields["overlap"].choices = choices  # type: ignore[attr-defined]  # a ChoiceField's

    def values(self) -> dict[str, Any]:
        """Return the values by the argument names of the action."""
        given = self.cleaned_data
        return {"overlap": timedelta(seconds=int(given["overlap"])), "secret": given["secret"] or None}


@dashboard_view("GET", "POST", manages=True)
def endpoint_rotate(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    row = own_endpoint(public_id, visitor)

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
    row = own_endpoint(public_id, visitor)
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
        "duplicate": duplicate_of(row) if why != "rotated" else None,
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


def _in_words(seconds: int) -> str:
    if not seconds:
        return _("not at all, because others may know it")
    hours = round(seconds / _HOUR)
    if hours < 1:
        return _("for %(minutes)s minutes") % {"minutes": max(round(seconds / 60), 1)}
    if hours % 24 or hours < 48:
        return ngettext("for %(hours)s hour", "for %(hours)s hours", hours) % {"hours": hours}
    return ngettext("for %(days)s day", "for %(days)s days", hours // 24) % {"days": hours // 24}


paths = [
    path("endpoints/<str:public_id>/rotate", endpoint_rotate, name="endpoint_rotate"),
    path("endpoints/<str:public_id>/end-old-secret", endpoint_end_old_secret, name="endpoint_end_old_secret"),
]
