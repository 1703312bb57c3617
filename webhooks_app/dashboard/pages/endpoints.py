"""The list of endpoints, an endpoint's own page, and its status changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.certificates import shown_certificates, state_at
from webhooks_app.dashboard.forms.endpoint import header_names
from webhooks_app.dashboard.keyset import BEFORE, newest
from webhooks_app.dashboard.one_time_form import form_id
from webhooks_app.dashboard.page_view import dashboard_view, get_own_or_404, render_page
from webhooks_app.dashboard.sections import ENDPOINTS
from webhooks_app.deliveries.explain import disabled_in_words
from webhooks_app.deliveries.outcomes import explanation_of
from webhooks_app.endpoints.authentication import shown_authentication
from webhooks_app.endpoints.health import condition_of, latest_trouble, waiting
from webhooks_app.endpoints.queries import endpoint_rows, live_secrets, recent_deliveries
from webhooks_app.endpoints.settings import shown_settings
from webhooks_app.endpoints.status import (
    delete_endpoint,
    disable_endpoint,
    enable_endpoint,
    pause_endpoint,
    resume_endpoint,
)
from webhooks_app.events.types import event_types
from webhooks_app.exceptions import NotFound
from webhooks_app.forms.test_and_recover import RecoverForm, TestEventForm
from webhooks_app.models import Endpoint, EndpointStatus, database_now
from webhooks_app.stats.charts import latency_figure, requests_figure, requests_sparkline
from webhooks_app.stats.hourly import hours_of_endpoint, requests_of
from webhooks_app.tenants.plan import plan_of

#: The time spans of the charts: hours, label.
SPANS = {"24h": (24, _("24 hours")), "7d": (7 * 24, _("7 days")), "30d": (30 * 24, _("30 days"))}
#: Above this many hours, charts have one column per day.
_DAILY_FROM = 8 * 24
_SWITCHES: dict[str, Callable[..., Endpoint]] = {
    "pause": pause_endpoint,
    "resume": resume_endpoint,
    "disable": lambda row, actor: disable_endpoint(row, notify=False, actor=actor),
    "enable": enable_endpoint,
}
_DONE = {
    "deleted": _("The endpoint was deleted. What waited for it was cancelled."),
    "changed": _("Your changes are saved."),
    "duplicate": _(
        "Your changes are saved. Another endpoint has this URL: an event that both want is sent there twice."
    ),
    "same": _("Nothing was changed."),
    "pause": _("Paused. New events wait until you resume."),
    "resume": _("Resumed. What has waited is being sent."),
    "disable": _("Disabled. New events are not kept for this endpoint; you can recover them later."),
    "enable": _("Enabled, with a clean record. To get what was missed meanwhile, recover it below."),
    "certificates": _("The certificates are saved. They apply within a few seconds."),
    "ended": _("The old secret is no longer used."),
}


@dashboard_view()
def home(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    endpoints = Endpoint.objects.visible().filter(tenant=visitor.tenant).defer("client_tls")
    listed = newest(endpoints.select_related("queue").prefetch_related("subscriptions"), request.GET.get(BEFORE, ""))
    rows = endpoint_rows(listed.rows, database_now())
    context = {
        "section": ENDPOINTS,
        "rows": [(row, requests_sparkline(row.hours), disabled_in_words(row.endpoint.status_reason)) for row in rows],
        "plan": plan_of(visitor.tenant),
        "total": endpoints.counted().count(),
        "slice": listed,
        "done": _DONE.get(request.GET.get("done", "")),
    }
    return render_page(request, visitor, "home", context)


@dashboard_view()
def endpoint(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    """Render the page, also for a deleted endpoint: its history is readable until it is pruned."""
    rows = Endpoint.objects.without_callbacks().select_related("queue").prefetch_related("subscriptions")
    row, now = get_own_or_404(rows, "wh", public_id, visitor), database_now()
    condition = condition_of(row, now)
    trouble = latest_trouble(row, condition)
    context: dict[str, Any] = {
        "section": ENDPOINTS,
        "endpoint": row,
        "condition": condition,
        "trouble": trouble,
        "explanation": explanation_of(trouble.last_outcome, trouble.last_status) if trouble else None,
        "reason": disabled_in_words(row.status_reason),
        "secrets": live_secrets(row),
        "header_names": header_names(row),
        "authentication": shown_authentication(row),
        "settings": shown_settings(row),
        "certificates": shown_certificates(row, now),
        "certificate_state": "" if row.is_deleted else state_at(row.certificate_expires_at, now),
        "deliveries": recent_deliveries(row),
        "done": _DONE.get(request.GET.get("done", "")),
        **_charts(row, request.GET.get("span", ""), now),
    }
    if visitor.manages and not row.is_deleted:
        # Each form has its own id, and each can be submitted once.
        context["test_form"] = TestEventForm(types=event_types(), patterns=row.patterns)
        context["recover_form"] = RecoverForm()
        context["form_id"], context["recover_form_id"] = form_id(), form_id()
    return render_page(request, visitor, "endpoint", context)


@dashboard_view("POST")
def switch(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    row = own_endpoint(public_id, visitor)
    name = request.POST.get("act", "")
    if name not in _SWITCHES:
        raise NotFound()
    _SWITCHES[name](row, actor=visitor.actor)
    return to_endpoint(row, name)


@dashboard_view("GET", "POST", manages=True)
def delete(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    row = own_endpoint(public_id, visitor)
    if request.method == "POST":
        delete_endpoint(row, actor=visitor.actor)
        return redirect(f"{reverse('webhooks_app:home')}?done=deleted")
    context = {"section": ENDPOINTS, "endpoint": row, "waiting": waiting(row)}
    return render_page(request, visitor, "endpoint_delete", context)


@dashboard_view(manages=True)
def ask_to_disable(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    """Explain what disabling does, and what pausing does instead; the form goes to `switch`."""
    row = own_endpoint(public_id, visitor)
    if row.status not in (EndpointStatus.ACTIVE, EndpointStatus.PAUSED):
        return to_endpoint(row, "")
    return render_page(request, visitor, "endpoint_disable", {"section": ENDPOINTS, "endpoint": row})


def own_endpoint(public_id: str, visitor: Visitor) -> Endpoint:
    """Return an endpoint of the visitor's that can be changed: neither deleted nor behind a callback URL. Raises NotFound."""
    return get_own_or_404(Endpoint.objects.visible(), "wh", public_id, visitor)


def to_endpoint(row: Endpoint, done: str) -> HttpResponse:
    """Redirect to the endpoint's page, which shows what was done."""
    return redirect(f"{reverse('webhooks_app:endpoint', args=[row.public_id])}?done={done}")


def _charts(row: Endpoint, wanted: str, now: datetime) -> dict[str, Any]:
    span = wanted if wanted in SPANS else next(iter(SPANS))
    length, _title = SPANS[span]
    hours = hours_of_endpoint(row.pk, now, length)
    daily = length >= _DAILY_FROM
    if not (requests_of(hours) or row.queue.last_success_at or row.queue.last_failure_at):
        return {}  # nothing to draw in any time span: tests do not count
    return {
        "span": span,
        "spans": [(name, title) for name, (_length, title) in SPANS.items()],
        "requests_chart": requests_figure(hours, key="requests", title=str(_("Requests by outcome")), daily=daily),
        "latency_chart": latency_figure(hours, key="latency", title=str(_("Time until the answer")), daily=daily),
    }


paths = [
    path("", home, name="home"),
    path("endpoints/<str:public_id>", endpoint, name="endpoint"),
    path("endpoints/<str:public_id>/switch", switch, name="endpoint_switch"),
    path("endpoints/<str:public_id>/disable", ask_to_disable, name="endpoint_disable"),
    path("endpoints/<str:public_id>/delete", delete, name="endpoint_delete"),
]
