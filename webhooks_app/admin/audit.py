"""The audit trail, and the notices from which people are told."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.base import LargeTableAdmin, related
from webhooks_app.admin.filters import TimeFilter
from webhooks_app.admin.labels import FIELDS, column
from webhooks_app.admin.links import link, time
from webhooks_app.models import AuditEntry, Delivery, Endpoint, Notice, NoticeKind
from webhooks_app.models.ids import public_id
from webhooks_app.reports.explanations import disabled_in_words


@admin.register(AuditEntry)
class AuditEntryAdmin(LargeTableAdmin):
    """Who did what. Append-only; holds no secret and no payload."""

    narrowed_by = ("tenant", "target")
    list_filter = (TimeFilter,)
    list_display = ("made", column("actor"), column("verb"), column("target"), "of_tenant")
    list_display_links = ("made",)
    fields = ("made", "actor", "verb", "target", "of_tenant", "details")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("tenant")

    @admin.display(description=_("at"))
    def made(self, row: AuditEntry) -> SafeString | str:
        return time(row.at)

    @admin.display(description=_("tenant"))
    def of_tenant(self, row: AuditEntry) -> SafeString | str:
        return link(related(row, "tenant"))

    @admin.display(description=_("details"))
    def details(self, row: AuditEntry) -> SafeString:
        text = json.dumps(row.detail, indent=2, ensure_ascii=False)
        return format_html('<pre class="webhooks-payload" tabindex="0">{}</pre>', text)


_KINDS = {
    NoticeKind.EXHAUSTED: _("deliveries that failed"),
    NoticeKind.DISABLED: _("endpoint disabled"),
    NoticeKind.RECOVERED: _("endpoint works again"),
    NoticeKind.BACKLOG_EXPIRING: _("pending deliveries will be dropped"),
    NoticeKind.BACKLOG_DROPPED: _("pending deliveries dropped"),
}


@admin.register(Notice)
class NoticeAdmin(LargeTableAdmin):
    narrowed_by = ("tenant",)
    list_filter = (TimeFilter,)
    list_display = ("made", "shown_kind", "of_tenant", "of_endpoint", column("count"), "told")
    list_display_links = ("made",)
    fields = ("made", "shown_kind", "of_tenant", "of_endpoint", "count", "example", "because", "told")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("tenant")

    @admin.display(description=_("made"))
    def made(self, row: Notice) -> SafeString | str:
        return time(row.created_at)

    @admin.display(description=_("tenant"))
    def of_tenant(self, row: Notice) -> SafeString | str:
        return link(related(row, "tenant"))

    @admin.display(description=_("endpoint"))
    def of_endpoint(self, row: Notice) -> SafeString | str:
        return link(Endpoint(pk=row.endpoint_id), public_id("wh", row.endpoint_id))

    @admin.display(description=FIELDS["kind"])
    def shown_kind(self, row: Notice) -> Any:
        return _KINDS[NoticeKind(row.kind)]

    @admin.display(description=_("an example"))
    def example(self, row: Notice) -> SafeString | str:
        return link(Delivery(pk=row.delivery_id), public_id("dlv", row.delivery_id)) if row.delivery_id else "–"

    @admin.display(description=_("because"))
    def because(self, row: Notice) -> str:
        return disabled_in_words(row.reason) or "–"

    @admin.display(description=_("told"))
    def told(self, row: Notice) -> SafeString | str:
        return time(row.told_at)
