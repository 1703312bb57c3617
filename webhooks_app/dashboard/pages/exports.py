"""Export the delivery log as a file: CSV for spreadsheets, JSON for programs. Payloads are not included."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.forms.delivery_log import LogForm
from webhooks_app.dashboard.page_view import dashboard_view
from webhooks_app.dashboard.pages.deliveries import place
from webhooks_app.deliveries.log import DeliveryLog
from webhooks_app.deliveries.outlook import outlook_in_list
from webhooks_app.models import Delivery
from webhooks_app.models.ids import public_id

#: The most deliveries in one file, the newest first; `?before=` continues after the last one.
MOST = 10_000
#: Spreadsheets take these for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = (
    *("delivery", "status", "event", "event_type", "webhook", "url", "attempts", "last_outcome", "last_status"),
    *("created_at", "completed_at", "next_attempt_at"),
)


@dashboard_view()
def as_csv(request: HttpRequest, visitor: Visitor) -> HttpResponseBase:
    return _file(request, visitor, "csv", "text/csv; charset=utf-8", _csv)


@dashboard_view()
def as_json(request: HttpRequest, visitor: Visitor) -> HttpResponseBase:
    return _file(request, visitor, "json", "application/json", _json)


def _file(request: HttpRequest, visitor: Visitor, kind: str, content_type: str, write: Any) -> HttpResponseBase:
    """Return the streamed file, which needs no memory; times are in UTC, since a file may be opened anywhere."""
    form = LogForm(request.GET, visitor)
    if not form.is_valid():  # the log shows the errors
        return redirect(f"{reverse('webhooks_app:deliveries')}?{request.GET.urlencode()}")
    log = DeliveryLog(visitor.tenant.pk, form.wanted)
    rows = log.newest_first(MOST, before=place(request, "before"))
    return StreamingHttpResponse(
        write(rows),
        content_type=content_type,
        headers={
            "Content-Disposition": f'attachment; filename="deliveries-{timezone.now():%Y-%m-%d}.{kind}"',
            "X-Most-Deliveries": str(MOST),
        },
    )


def _csv(rows: Iterator[Delivery]) -> Iterator[str]:
    writer = csv.writer(_Lines())
    yield writer.writerow(COLUMNS)
    for row in rows:
        yield writer.writerow([_cell(value) for value in _values(row).values()])


def _json(rows: Iterator[Delivery]) -> Iterator[str]:
    """Yield the JSON text. `next`: the value of `before` for older deliveries; null if there are none."""
    yield '{"deliveries": ['
    count, last = 0, None
    for count, row in enumerate(rows, start=1):  # noqa: B007 - how many there were
        yield ("," if last else "") + "\n" + json.dumps(_values(row), ensure_ascii=False)
        last = row.public_id
    yield f'\n], "next": {json.dumps(last if count == MOST else None)}}}\n'


class _Lines:
    """A file for `csv` whose `write` returns the line."""

    def write(self, line: str) -> str:
        return line


def _values(row: Delivery) -> dict[str, Any]:
    outlook = outlook_in_list(row, timezone.now())
    next_at = outlook.at if outlook else None
    return {
        "delivery": row.public_id,
        "status": row.status,
        "event": public_id("evt", row.event_id),
        "event_type": row.event.type,
        "webhook": public_id("wh", row.endpoint_id),
        # The playground's internal URL is useless to others.
        "url": None if row.endpoint.is_playground else row.endpoint.url,
        "attempts": row.attempts,
        "last_outcome": row.last_outcome,
        "last_status": row.last_status,
        "created_at": row.created_at.isoformat(timespec="milliseconds"),
        "completed_at": row.completed_at.isoformat(timespec="milliseconds") if row.completed_at else None,
        "next_attempt_at": next_at.isoformat(timespec="milliseconds") if next_at else None,
    }


def _cell(value: Any) -> str:
    """Return the text, with an apostrophe before anything that a spreadsheet would run as a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


paths = [
    path("deliveries.csv", as_csv, name="deliveries_csv"),
    path("deliveries.json", as_json, name="deliveries_json"),
]
