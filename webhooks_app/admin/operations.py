"""The operations page: is everything running, what waits, what fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from webhooks_app.admin.acts import unkept
from webhooks_app.admin.links import id_link, link, list_of, time
from webhooks_app.admin.payloads import may_see_payloads
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, Event, database_now
from webhooks_app.pipeline.transactions import pipeline_alias
from webhooks_app.reports.drawings import latency_figure, requests_figure, requests_sparkline
from webhooks_app.reports.operations import MOST_COUNTED, Operations, operations

if TYPE_CHECKING:
    from webhooks_app.admin.base import StaffAdmin

#: What a reader may choose: hours back from now.
_SPANS = (6, 24, 72, 168)
_DEFAULT_SPAN = 24


def operations_view(request: HttpRequest, model_admin: StaffAdmin) -> HttpResponse:
    """Permission `view_operations`. `?hours=` chooses how far back the charts go."""
    if not model_admin.may(request, "view_operations"):
        raise PermissionDenied
    using = pipeline_alias()
    hours = _span(request)
    report = operations(database_now(using), hours, using=using)
    context = {
        **model_admin.admin_site.each_context(request),
        **_shown(report, may_see_payloads(request)),
        "title": _("Operations"),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "hours": hours,
        "spans": _SPANS,
    }
    request.current_app = model_admin.admin_site.name
    return unkept(TemplateResponse(request, "admin/webhooks_app/operations.html", context))


def _span(request: HttpRequest) -> int:
    asked = request.GET.get("hours", "")
    return int(asked) if asked in map(str, _SPANS) else _DEFAULT_SPAN


def _shown(report: Operations, with_payload: bool) -> dict[str, Any]:
    backlog, alive = report.backlog, sum(state.alive for state in report.engines)
    return {
        "report": report,
        "most": MOST_COUNTED,
        "sparkline": requests_sparkline(report.hours),
        "requests_figure": requests_figure(report.hours, key="requests", title=_("Requests by the hour")),
        "latency_figure": latency_figure(report.hours, key="latency", title=_("Time to answer, by the hour")),
        "now": time(report.now),
        "oldest_due": time(backlog.oldest_due) if backlog.oldest_due else "",
        "oldest_unmade": time(backlog.oldest_unmade) if backlog.oldest_unmade else "",
        "alive": alive,
        # Engines that Celery starts end when there is nothing to do: none is as it should be then.
        "stuck": not alive and bool(backlog.due_queues or backlog.unmade_events),
        "engines": [
            {"state": state, "heard": time(state.heard), "age": report.now - state.heard} for state in report.engines
        ],
        "held": [{"queue": one, "link": link(one.queue.endpoint)} for one in report.held],
        "failing": [
            {
                "one": one,
                "link": id_link(one.endpoint),
                "since": time(one.queue.failing_since),
                "off_at": time(one.off_at) if one.off_at else "",
                "given_up": list_of(Delivery, endpoint=one.endpoint.pk, status="exhausted"),
            }
            for one in report.failing
        ],
        "quarantined": [
            {"row": one, "link": id_link(one), "at": time(one.created_at), "reason": one.quarantine_reason}
            for one in report.quarantined
        ],
        "with_payload": with_payload,
        "lists": {
            "queues": list_of(EndpointQueue),
            "endpoints": list_of(Endpoint),
            "unmade": list_of(Event, state="unmade"),
            "quarantined": list_of(Event, state="quarantined"),
            "pending": list_of(Delivery, status="pending"),
        },
    }
