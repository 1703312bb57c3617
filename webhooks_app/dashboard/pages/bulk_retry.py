"""Resend all failed deliveries that match the log's filters: show how many, then resend part by part with a progress bar."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.forms.delivery_log import LogForm, in_known_years
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.dashboard.sections import DELIVERIES
from webhooks_app.deliveries.bulk_retry import failed_log, retry_part
from webhooks_app.deliveries.outlook import NONE_WAITS, Waiting, waiting_in_words

#: A larger number was not written by the app.
_MOST = 10**12


class ProgressForm(forms.Form):
    """The progress, carried from part to part in hidden fields: the server stores none of it.

    `asked_at`: later failures are not retried. `position`: the last delivery handled. `total`: the number of deliveries,
    if known.
    """

    asked_at = forms.DateTimeField()
    position = forms.UUIDField(required=False)
    so_far = forms.IntegerField(min_value=0, max_value=_MOST)
    total = forms.IntegerField(required=False, min_value=0, max_value=_MOST)
    #: How many of them wait for a disabled or paused endpoint (`off`), or for one that is held back (`held`).
    off = forms.IntegerField(required=False, min_value=0, max_value=_MOST)
    held = forms.IntegerField(required=False, min_value=0, max_value=_MOST)
    stop = forms.BooleanField(required=False)

    def clean_asked_at(self) -> datetime | None:
        return in_known_years(self.cleaned_data["asked_at"])

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.cleaned_data["off"] or 0, self.cleaned_data["held"] or 0)

    @classmethod
    def hidden(
        cls,
        *,
        asked_at: datetime,
        total: int | None,
        position: uuid.UUID | None = None,
        so_far: int = 0,
        waiting: Waiting = NONE_WAITS,
    ) -> dict[str, str]:
        """Return the fields of the next form, by name."""
        given = {"asked_at": asked_at.isoformat(), "position": position, "so_far": so_far, "total": total}
        given |= {"off": waiting.off, "held": waiting.held}
        return {name: str(value) for name, value in given.items() if value is not None}


@dashboard_view("GET", "POST", manages=True)
def deliveries_retry(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Handle the page. The filters are in the URL; a POST resends one part and returns the form for the next."""
    form = LogForm(request.GET, visitor)
    if not form.is_valid():
        return render_page(request, visitor, "deliveries_retry", {"section": DELIVERIES, "form": form}, status=422)
    active = [one for one in form.active() if one["name"] != "status"]  # only failed ones, whatever the log showed
    context = {"section": DELIVERIES, "form": form, "query": form.query, "active": active}
    if request.method == "POST":
        progress = ProgressForm(request.POST)
        if progress.is_valid():
            return render_page(request, visitor, "deliveries_retry", {**context, **_go_on(visitor, form, progress)})
    count, more = failed_log(visitor.tenant, form.wanted).count()
    # Deliveries that fail after this time are not included.
    first = ProgressForm.hidden(asked_at=timezone.now(), total=None if more else count)
    return render_page(request, visitor, "deliveries_retry", {**context, "count": count, "more": more, "hidden": first})


def _go_on(visitor: Visitor, form: LogForm, progress: ProgressForm) -> dict[str, Any]:
    """Resend the next part, unless the user asked to stop."""
    given = progress.cleaned_data
    if given["stop"]:
        return {"done_with": given["so_far"], "stopped": True, "waiting": waiting_in_words(progress.waiting)}
    part = retry_part(
        visitor.tenant, form.wanted, until=given["asked_at"], after=given["position"], actor=visitor.actor
    )
    so_far, before = given["so_far"] + part.count, progress.waiting
    waiting = Waiting(before.off + part.waiting.off, before.held + part.waiting.held)
    if part.position is None:
        return {"done_with": so_far, "stopped": False, "waiting": waiting_in_words(waiting)}
    total = given["total"]
    hidden = ProgressForm.hidden(
        asked_at=given["asked_at"], total=total, position=part.position, so_far=so_far, waiting=waiting
    )
    return {"hidden": hidden, "going": True, "so_far": so_far, "total": total and max(total, so_far)}


paths = [
    path("deliveries/retry", deliveries_retry, name="deliveries_retry"),
]
