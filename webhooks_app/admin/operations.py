"""The operations page: engines, backlog and failures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks_app.admin.links import MOST_OF_URL, endpoint_link, id_link, link, list_of, short_time, time
from webhooks_app.admin.payloads import may_see_payloads, record_payload_views
from webhooks_app.admin.row_actions import prevent_caching
from webhooks_app.admin.states import endpoint_state
from webhooks_app.maintenance.operations import FailingEndpoint, Operations, operations
from webhooks_app.maintenance.schedule import PERIODIC
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, Event, database_now
from webhooks_app.stats.charts import latency_figure, requests_figure, requests_sparkline
from webhooks_app.telemetry.installation_state import MOST_COUNTED, PendingWork

if TYPE_CHECKING:
    from webhooks_app.admin.base import StaffAdmin

#: The time spans of the charts, in hours before now.
_SPANS = {
    6: gettext_lazy("6 hours"),
    24: gettext_lazy("24 hours"),
    72: gettext_lazy("3 days"),
    168: gettext_lazy("7 days"),
}
_DEFAULT_SPAN = 24
_SWEEP_SECONDS = next(one.every_seconds for one in PERIODIC if one.name == "webhooks_app.sweep")
#: Work that is pending for longer should have been found by beat's sweep and started by an engine: two sweeps, plus the time
#: that a worker may need to start. Before that, no running engine is normal: engines that Celery starts end when there is no
#: work.
STUCK_AFTER = timedelta(seconds=2 * _SWEEP_SECONDS + 20)


def operations_view(request: HttpRequest, model_admin: StaffAdmin) -> HttpResponse:
    """Render the page. Needs the permission `view_operations`. `?hours=` sets the time span of the charts."""
    if not model_admin.may(request, "view_operations"):
        raise PermissionDenied
    hours = _span(request)
    report = operations(database_now(), hours)
    with_payload = may_see_payloads(request)
    if with_payload:
        record_payload_views(request, [event for event in report.quarantined if event.erased_at is None])
    context = {
        **model_admin.admin_site.each_context(request),
        **_shown(report, with_payload),
        "title": _("Operations"),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "hours": hours,
        "spans": _SPANS.items(),
    }
    request.current_app = model_admin.admin_site.name
    return prevent_caching(TemplateResponse(request, "admin/webhooks_app/operations.html", context))


def _span(request: HttpRequest) -> int:
    asked = request.GET.get("hours", "")
    return int(asked) if asked in map(str, _SPANS) else _DEFAULT_SPAN


def _shown(report: Operations, with_payload: bool) -> dict[str, Any]:
    alive = sum(state.alive for state in report.engines)
    return {
        "report": report,
        "most": MOST_COUNTED,
        "now": time(report.now),
        "alive": alive,
        "stuck": not alive and _overdue(report.waiting, report.now),
        "with_payload": with_payload,
        **_charts(report),
        **_work(report),
        "failing": _failing(report.failing),
        "quarantined": [
            {"row": one, "link": id_link(one), "at": time(one.created_at), "reason": one.quarantine_reason}
            for one in report.quarantined
        ],
        "lists": _lists(),
    }


def _overdue(waiting: PendingWork, now: datetime) -> bool:
    """Return whether there is work that should have been started long ago."""
    waits = [since for since in (waiting.oldest_due, waiting.oldest_event) if since is not None]
    return bool(waits) and now - min(waits) > STUCK_AFTER


def _charts(report: Operations) -> dict[str, Any]:
    return {
        "sparkline": requests_sparkline(report.hours),
        "requests_figure": requests_figure(report.hours, key="requests", title=_("Requests by the hour")),
        "latency_figure": latency_figure(report.hours, key="latency", title=_("Time to answer, by the hour")),
    }


def _work(report: Operations) -> dict[str, Any]:
    """Return the context with the backlog and the running engines."""
    waiting = report.waiting
    return {
        "oldest_due": time(waiting.oldest_due) if waiting.oldest_due else "",
        "oldest_unmade": time(waiting.oldest_event) if waiting.oldest_event else "",
        "engines": [
            {"state": state, "heard": time(state.heard), "age": report.now - state.heard} for state in report.engines
        ],
        "held": [{"queue": one, "link": endpoint_link(one.queue.endpoint)} for one in report.held],
    }


def _failing(endpoints: Sequence[FailingEndpoint]) -> list[dict[str, Any]]:
    return [
        {
            "one": one,
            "tenant": link(one.endpoint.tenant),
            "link": endpoint_link(one.endpoint, MOST_OF_URL),
            "state": endpoint_state(one.endpoint, one.queue),
            "since": short_time(one.queue.failing_since),
            "off_at": short_time(one.off_at),
            "given_up": list_of(Delivery, endpoint=one.endpoint.pk, status="exhausted"),
        }
        for one in endpoints
    ]


def _lists() -> dict[str, str]:
    return {
        "queues": list_of(EndpointQueue),
        "endpoints": list_of(Endpoint),
        "unmade": list_of(Event, state="unmade"),
        "quarantined": list_of(Event, state="quarantined"),
        "pending": list_of(Delivery, status="pending"),
    }
