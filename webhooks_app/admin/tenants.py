"""Tenants: each customer of the host, with links to everything sent to it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.filters import LabelledFilter, TimeFilter
from webhooks_app.admin.links import endpoint_link, link_list, list_of
from webhooks_app.admin.search import tenants_like
from webhooks_app.admin.service_admin import ServiceAdmin, ServiceForm
from webhooks_app.admin.states import endpoint_state
from webhooks_app.models import ApiKey, AuditEntry, Delivery, Endpoint, Event, Notification, Tenant, database_now
from webhooks_app.stats.charts import requests_figure
from webhooks_app.stats.hourly import hours_of_tenant
from webhooks_app.tenants.access import staff_actor_of
from webhooks_app.tenants.service import change_tenant, create_tenant
from webhooks_app.wire_formats import wire_format_names

_ENDPOINTS_SHOWN = 50


def wire_format_choices(empty: Any) -> list[tuple[str, Any]]:
    return [("", empty), *((name, name) for name in wire_format_names())]


class TenantForm(ServiceForm):
    wire_format = forms.ChoiceField(required=False)

    class Meta:
        model = Tenant
        fields = (
            "uid", "name", "email", "wire_format", "webhooks_enabled", "max_endpoints", "retention_days",
            "drop_body_when_delivered",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "wire_format" in self.fields:
            self.fields["wire_format"].choices = wire_format_choices(_("the default wire format"))  # type: ignore[attr-defined]


@admin.register(Tenant)
class TenantAdmin(ServiceAdmin):
    form = TenantForm
    finds = tenants_like
    search_fields = ("uid", "name", "email")
    search_help_text = _("A part of uid, name or e-mail address.")
    list_display = ("shown_uid", "shown_name", "enabled", "wire_format", "made")
    list_filter = (TimeFilter, ("webhooks_enabled", LabelledFilter))
    ordering = ("uid",)
    fieldsets = (
        (None, {"fields": TenantForm.Meta.fields}),
        (_("What belongs to it"), {"fields": ("lists", "endpoints", "made")}),
    )
    add_fieldsets = ((None, {"fields": TenantForm.Meta.fields}),)
    readonly_fields = ("uid", "lists", "endpoints", "made")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its history depends on it; disable its webhooks instead

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        tenant = self.get_object(request, object_id)
        if tenant is not None and self.has_view_permission(request, tenant):
            hours = hours_of_tenant(tenant.pk, database_now())
            figure = requests_figure(hours, key="requests", title=str(_("Requests by the hour")))
            extra_context = {"figure": figure, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        actor = staff_actor_of(request.user)
        if change:
            change_tenant(obj, actor=actor, **form.changes())
        else:
            values = {name: value for name, value in form.cleaned_data.items() if name != "uid"}
            obj.pk = create_tenant(form.cleaned_data["uid"], actor=actor, **values).pk
        obj.refresh_from_db()

    @admin.display(description=_("uid"))
    def shown_uid(self, row: Tenant) -> str:
        return row.uid

    @admin.display(description=_("name"))
    def shown_name(self, row: Tenant) -> str:
        return row.name or "–"

    @admin.display(description=_("webhooks"), boolean=True)
    def enabled(self, row: Tenant) -> bool:
        return row.webhooks_enabled

    @admin.display(description=_("endpoints"))
    def endpoints(self, row: Tenant) -> SafeString | str:
        rows = Endpoint.objects.filter(tenant_id=row.pk).select_related("queue")
        return format_html_join(
            "",
            "<div>{} {}</div>",
            ((endpoint_link(one), endpoint_state(one)) for one in rows.order_by("-pk")[:_ENDPOINTS_SHOWN]),
        ) or _("none")  # type: ignore[return-value]

    @admin.display(description=_("lists"))
    def lists(self, row: Tenant) -> SafeString:
        kinds = ((Endpoint, _("endpoints")), (Event, _("events")), (Delivery, _("deliveries")), (ApiKey, _("API keys")),
                 (Notification, _("notifications")), (AuditEntry, _("audit log")))  # fmt: skip
        return link_list((list_of(model, tenant=row.pk), label) for model, label in kinds)
