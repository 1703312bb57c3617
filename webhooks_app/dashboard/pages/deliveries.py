"""The delivery log."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.forms.delivery_log import LogForm
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.dashboard.sections import DELIVERIES
from webhooks_app.deliveries.log import LOOKED_AT, DeliveryLog, LogPage
from webhooks_app.deliveries.outlook import outlook_in_list
from webhooks_app.models import Delivery, DeliveryStatus
from webhooks_app.models.ids import parse_public_id

#: The most used filters, above the log: status and label.
QUICK = (
    ("", pgettext_lazy("deliveries", "All")),
    (DeliveryStatus.EXHAUSTED.value, _("Failed")),
    (DeliveryStatus.PENDING.value, _("Pending")),
    (DeliveryStatus.SUCCEEDED.value, _("Succeeded")),
    (DeliveryStatus.CANCELLED.value, _("Cancelled")),
)
#: Stands for the first row of an empty page.
_NONE = uuid.UUID(int=0)


@dashboard_view()
def deliveries(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    form = LogForm(request.GET, visitor)
    context: dict[str, Any] = {"section": DELIVERIES, "form": form, "looked_at": LOOKED_AT}
    if not form.is_valid():
        return render_page(request, visitor, "deliveries", {**context, "quick": _quick(form, form.given)}, status=422)
    log = DeliveryLog(visitor.tenant.pk, form.wanted)
    found = log.page(before=place(request, "before"), after=place(request, "after"))
    paused = request.GET.get("live") == "off"
    context |= {"found": found, "newest": found.newer is None, "paused": paused, **_links(form, paused)}
    context["may_have_failed"] = _may_have_failed(form, found)
    if found.newer is None and not paused:
        context |= _news(request, form, found)
    if request.GET.get("live") != "rows":
        return render_page(request, visitor, "deliveries", context)
    if context.get("mark") == request.GET.get("mark"):
        return HttpResponse(status=204)  # unchanged: nothing is swapped or read out
    if found.rows and place(request, "top") == _NONE:
        return HttpResponse(headers={"HX-Refresh": "true"})  # the first rows of an empty page need the whole page
    return render_page(request, visitor, "deliveries_rows", context)


def place(request: HttpRequest, name: str) -> uuid.UUID | None:
    """Return a position in the log from the URL; None if it is missing or invalid."""
    return parse_public_id(request.GET.get(name, ""), "dlv")


def _links(form: LogForm, paused: bool) -> dict[str, Any]:
    """Return queries that keep the filters: unchanged, for further parameters, and with each other status."""
    kept = {**form.given, **({"live": "off"} if paused else {})}
    return {
        "query": form.query,
        "active": form.active(),
        "kept": urlencode(kept),
        "quick": _quick(form, kept),
    }


def _quick(form: LogForm, kept: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the statuses above the log. None of them is selected if the URL contains an unknown status."""
    others = {name: text for name, text in kept.items() if name != "status"}
    chosen = None if "status" in form.errors else form.given.get("status", "")
    queries = {status: urlencode({**others, "status": status} if status else others) for status, _title in QUICK}
    return [{"title": title, "chosen": chosen == status, "query": queries[status]} for status, title in QUICK]


def _may_have_failed(form: LogForm, found: LogPage) -> bool:
    """Return whether matching deliveries may have failed, as far as the page itself shows: this makes no query."""
    if form.wanted.status not in ("", DeliveryStatus.EXHAUSTED):
        return False
    is_all = found.newer is None and found.older is None and found.looked_at_all
    return not is_all or any(row.status == DeliveryStatus.EXHAUSTED for row in found.rows)


def _news(request: HttpRequest, form: LogForm, found: LogPage) -> dict[str, Any]:
    """Return the parameters of the page's next poll: the rows it shows, and the first row when it was opened."""
    top = place(request, "top") or (found.rows[0].pk if found.rows else _NONE)
    new = sum(row.pk > top for row in found.rows)
    now = timezone.now()
    mark = mark_of(found.rows, now, f"{now:%H%M}")  # "two minutes ago" looks different every minute
    asks = {**form.given, "live": "rows", "mark": mark, "top": top.hex, "said": new}
    return {
        "mark": mark,
        "new": new,
        "announce": new and str(new) != request.GET.get("said"),
        "next_look": urlencode(asks),
    }


def mark_of(rows: Sequence[Delivery], now: datetime, state: object) -> str:
    """Return a value that changes when the rows look different, or `state` changes. Endpoints and queues must be loaded."""
    seen = []
    for row in rows:
        outlook = outlook_in_list(row, now)
        seen.append((row.pk.hex, row.status, row.attempts, row.last_outcome, row.last_status, outlook and outlook.kind))
    return hashlib.sha256(repr((seen, state)).encode()).hexdigest()[:16]


paths = [
    path("deliveries", deliveries, name="deliveries"),
]
