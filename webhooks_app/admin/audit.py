"""The audit log, and the notifications to tenants and staff."""

from __future__ import annotations

import json

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.base import LargeTableAdmin, field_label, time_column
from webhooks_app.admin.filters import TimeFilter
from webhooks_app.admin.links import link
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
    fetched = ("tenant",)
    made = time_column(_("at"), "at")

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
    fetched = ("tenant",)
    sent = time_column(_("sent"), "sent_at")

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
