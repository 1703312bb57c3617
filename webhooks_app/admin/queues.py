"""Queues, engines and hourly statistics, read-only, and the link to the operations page that summarises them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.base import LargeTableAdmin, ReadOnlyAdmin, field_label, related, time_column
from webhooks_app.admin.links import MOST_OF_URL, endpoint_link, short_time
from webhooks_app.admin.operations import operations_view
from webhooks_app.admin.search import endpoints_like
from webhooks_app.models import BLOCKED, NOT_HELD, NOTHING_DUE, EndpointQueue, Engine, HourlyStat
from webhooks_app.models.queue import alive_at
from webhooks_app.models.times import Now


@admin.register(EndpointQueue)
class EndpointQueueAdmin(LargeTableAdmin):
    finds = endpoints_like
    search_fields = ("endpoint_id",)
    search_help_text = _("As endpoints are found.")
    list_display = ("of_endpoint", "due", "held", "holder", "consecutive_failures", "failing", "last_success")
    list_display_links = ("due",)
    _work = ("of_endpoint", "due", "held", "holder", "fifo", "sequence", "crash_takeovers")
    _health = ("consecutive_failures", "failing", "last_failure", "last_success")
    fieldsets = ((None, {"fields": _work}), (_("Health"), {"fields": _health}))
    fetched = ("endpoint",)
    failing = time_column(field_label(EndpointQueue, "failing_since"), "failing_since", short_time)
    last_failure = time_column(field_label(EndpointQueue, "last_failure_at"), "last_failure_at", short_time)
    last_success = time_column(field_label(EndpointQueue, "last_success_at"), "last_success_at", short_time)

    @admin.display(description=_("endpoint"))
    def of_endpoint(self, row: EndpointQueue) -> SafeString | str:
        return endpoint_link(related(row, "endpoint"), MOST_OF_URL)

    @admin.display(description=_("due"))
    def due(self, row: EndpointQueue) -> Any:
        if row.due_at == NOTHING_DUE:
            return _("nothing to do")
        return _("until it is switched on") if row.due_at == BLOCKED else short_time(row.due_at)

    @admin.display(description=_("not before"))
    def held(self, row: EndpointQueue) -> Any:
        if row.not_before == NOT_HELD:
            return "–"
        return _("until it is switched on") if row.not_before == BLOCKED else short_time(row.not_before)

    @admin.display(description=_("held by engine"))
    def holder(self, row: EndpointQueue) -> str:
        return str(row.holder_id or "–")


@admin.register(Engine)
class EngineAdmin(ReadOnlyAdmin):
    list_display = ("host", "pid", "kind", "started_at", "alive_until", "alive", "draining")
    fields = ("id", "host", "pid", "kind", "started_at", "alive_until", "alive", "draining")

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(lambda request: operations_view(request, self))
        return [path("operations/", view, name="webhooks_app_operations"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(alive_now=alive_at(Now()))
        return rows

    @admin.display(description=_("alive"), boolean=True)
    def alive(self, row: Any) -> bool:
        return bool(row.alive_now)


@admin.register(HourlyStat)
class HourlyStatAdmin(LargeTableAdmin):
    narrowed_by = ("endpoint",)
    list_display = (
        "hour",
        "of_endpoint",
        "succeeded",
        "client_error",
        "server_error",
        "timeout",
        "unreachable",
        "exhausted",
    )
    _counts = ("succeeded", "redirect", "client_error", "server_error", "timeout", "unreachable", "exhausted")
    fields = ("hour", "of_endpoint", *_counts, "latency_sum_ms", "latency_max_ms")
    fetched = ("endpoint",)

    @admin.display(description=_("endpoint"))
    def of_endpoint(self, row: HourlyStat) -> SafeString | str:
        return endpoint_link(related(row, "endpoint"), MOST_OF_URL)
