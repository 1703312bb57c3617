"""The audit log, and the notifications to tenants and staff."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.base import LargeTableAdmin, field_label, related
from webhooks_app.admin.filters import TimeFilter
from webhooks_app.admin.links import link, time
from webhooks_app.deliveries.explain import disabled_in_words
from webhooks_app.models import AuditEntry, Delivery, Endpoint, Notification
from webhooks_app.models.ids import public_id
from webhooks_app.notifications.kinds import label_of


@admin.register(AuditEntry)
class AuditEntryAdmin(LargeTableAdmin):
    """Who did what. Append-only; contains no secrets and no payloads."""

    narrowed_by = ("tenant", "target")
    list_filter = (TimeFilter,)
    list_display = ("made", "actor", "verb", "target", "of_tenant")
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


@admin.register(Notification)
class NotificationAdmin(LargeTableAdmin):
    narrowed_by = ("tenant",)
    list_filter = (TimeFilter,)
    list_display = ("made", "shown_kind", "of_tenant", "of_endpoint", "count", "sent")
    list_display_links = ("made",)
    fields = ("made", "shown_kind", "of_tenant", "of_endpoint", "count", "example", "because", "sent")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("tenant")

    @admin.display(description=_("made"))
    def made(self, row: Notification) -> SafeString | str:
        return time(row.created_at)

    @admin.display(description=_("tenant"))
    def of_tenant(self, row: Notification) -> SafeString | str:
        return link(related(row, "tenant"))

    @admin.display(description=_("endpoint"))
    def of_endpoint(self, row: Notification) -> SafeString | str:
        return link(Endpoint(pk=row.endpoint_id), public_id("wh", row.endpoint_id))

    @admin.display(description=field_label(Notification, "kind"))
    def shown_kind(self, row: Notification) -> str:
        return label_of(row.kind)

    @admin.display(description=_("an example"))
    def example(self, row: Notification) -> SafeString | str:
        return link(Delivery(pk=row.delivery_id), public_id("dlv", row.delivery_id)) if row.delivery_id else "–"

    @admin.display(description=_("because"))
    def because(self, row: Notification) -> str:
        return disabled_in_words(row.reason) or "–"

    @admin.display(description=_("sent"))
    def sent(self, row: Notification) -> SafeString | str:
        return time(row.sent_at)
