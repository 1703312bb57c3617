"""Attempts: single requests and their responses."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.base import LargeTableAdmin, related, time_column
from webhooks_app.admin.filters import OutcomeFilter, TimeFilter
from webhooks_app.admin.links import MOST_OF_URL, id_link, short_time, time, url_shown
from webhooks_app.admin.payloads import hidden, may_see_payloads, shown_bytes, shown_headers
from webhooks_app.admin.search import attempts_like
from webhooks_app.deliveries.outcomes import outcome_in_words, outcome_name
from webhooks_app.models import Attempt, Endpoint


@admin.register(Attempt)
class AttemptAdmin(LargeTableAdmin):
    shows_payload = True
    finds = attempts_like
    search_fields = ("id",)
    search_help_text = _("As deliveries are found; then these are their requests, the newest 200.")
    narrowed_by = ("delivery",)
    list_filter = (TimeFilter, OutcomeFilter)
    list_display = ("started_shortly", "shown_outcome", "status", "named_url", "number", "took", "of_delivery")
    list_display_links = ("started_shortly",)
    _words = ("of_delivery", "of_endpoint", "number", "started", "took", "shown_outcome", "words", "status", "detail")
    _ways = ("shown_url", "address", "http_version")
    _answer = ("answer_headers", "answer_body")
    fieldsets = ((None, {"fields": _words}), (_("Where"), {"fields": _ways}), (_("Answer"), {"fields": _answer}))

    deferred = ("response_headers", "response_body")
    started = time_column(_("started"), "started_at")
    started_shortly = time_column(_("started"), "started_at", short_time)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        endpoints = Prefetch("endpoint", Endpoint.objects.defer("headers", "authentication", "client_tls"))
        return super().get_queryset(request).prefetch_related("delivery", endpoints)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if may_see_payloads(request):
            return self.fieldsets
        return (*self.fieldsets[:-1], (_("Answer"), {"fields": ("answer_hidden",)}))

    @admin.display(description=_("outcome"))
    def shown_outcome(self, row: Attempt) -> str:
        return str(outcome_name(row.outcome))

    @admin.display(description=_("delivery"))
    def of_delivery(self, row: Attempt) -> SafeString | str:
        return id_link(related(row, "delivery"))

    @admin.display(description=_("took"))
    def took(self, row: Attempt) -> str:
        return f"{row.duration_ms:.0f} ms"

    @admin.display(description=_("that is"))
    def words(self, row: Attempt) -> str:
        return outcome_in_words(row.outcome, row.status)

    @admin.display(description=_("URL"))
    def shown_url(self, row: Attempt) -> SafeString:
        return url_shown(row.url)

    @admin.display(description=_("URL"))
    def named_url(self, row: Attempt) -> SafeString:
        return url_shown(row.url, MOST_OF_URL)

    @admin.display(description=_("headers"))
    def answer_headers(self, row: Attempt) -> SafeString:
        return shown_headers(row.shown_headers)

    @admin.display(description=_("body"))
    def answer_body(self, row: Attempt) -> SafeString:
        return shown_bytes(row.shown_body, truncated=row.response_truncated)

    @admin.display(description=_("headers and body"))
    def answer_hidden(self, row: Attempt) -> SafeString:
        return hidden()


def shown_attempt(row: Attempt, with_payload: bool) -> dict[str, Any]:
    """Return the context of one attempt for the timeline of its delivery."""
    return {
        "row": row,
        "started": time(row.started_at),
        "outcome": outcome_name(row.outcome),
        "words": outcome_in_words(row.outcome, row.status),
        "url": url_shown(row.url),
        "succeeded": row.outcome == "succeeded",
        "headers": shown_headers(row.shown_headers) if with_payload else "",
        "body": shown_bytes(row.shown_body, truncated=row.response_truncated) if with_payload else "",
    }
