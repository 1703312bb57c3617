"""Endpoints and their related rows: subscriptions, secrets (never their texts) and numbers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.base import ReadOnlyAdmin, field_label, time_column
from webhooks_app.admin.endpoint_actions import ROW_ACTIONS
from webhooks_app.admin.endpoint_form import StaffEndpointForm, authentication_fieldsets
from webhooks_app.admin.filters import EndpointStatusFilter, LabelledFilter, TimeFilter
from webhooks_app.admin.links import (
    MOST_OF_URL,
    endpoint_link,
    id_link,
    link_list,
    list_of,
    short_time,
    time,
    url_shown,
)
from webhooks_app.admin.row_actions import RowActionsMixin
from webhooks_app.admin.search import endpoints_like
from webhooks_app.admin.secret_page import ShowSecretOnceMixin
from webhooks_app.admin.service_admin import ServiceAdmin
from webhooks_app.admin.states import endpoint_state, state
from webhooks_app.deliveries.explain import disabled_in_words
from webhooks_app.endpoints.authentication import shown_authentication
from webhooks_app.endpoints.client_tls import client_tls_facts
from webhooks_app.endpoints.health import condition_of
from webhooks_app.endpoints.service import change_endpoint, create_endpoint
from webhooks_app.endpoints.settings import NAMES
from webhooks_app.exceptions import SealingError
from webhooks_app.forms.client_tls import FIELDS
from webhooks_app.models import (
    AuditEntry,
    Delivery,
    Endpoint,
    EndpointNumber,
    EndpointQueue,
    Secret,
    Subscription,
    database_now,
)
from webhooks_app.stats.charts import latency_figure, requests_figure
from webhooks_app.stats.hourly import hours_of_endpoint
from webhooks_app.tenants.access import staff_actor_of

_DELIVERIES_SHOWN = 15


@admin.register(Endpoint)
class EndpointAdmin(ShowSecretOnceMixin, RowActionsMixin, ServiceAdmin):
    form = StaffEndpointForm
    prefix = "wh"
    row_actions = ROW_ACTIONS
    finds = endpoints_like
    search_fields = ("url",)
    search_help_text = _("wh_…, a part of URL or description, a tenant's uid or name.")
    list_display = ("named", "of_tenant", "shown_status", "last_success", "failing_since", "made_shortly")
    narrowed_by = ("tenant",)
    list_filter = (TimeFilter, EndpointStatusFilter, ("kind", LabelledFilter), ("fifo", LabelledFilter))
    autocomplete_fields = ("tenant",)
    _settings = ("url", "events", *NAMES)
    _headers = ("header_names", "new_headers", "drop_headers")
    add_fieldsets = (
        (None, {"fields": ("tenant", *_settings, "wire_format")}),
        (_("Request headers"), {"fields": ("new_headers",)}),
        *authentication_fieldsets(),
        (_("Certificates"), {"fields": [name for name in FIELDS if not name.startswith("remove_")]}),
    )
    fieldsets = (
        (None, {"fields": ("shown_id", "of_tenant", "shown_status", "reason", "wire_format", *_settings)}),
        (_("Request headers"), {"fields": _headers}),
        *authentication_fieldsets("authentication_now"),
        (_("Certificates"), {"fields": ("certificates", *FIELDS)}),
        (_("What belongs to it"), {"fields": ("secrets", "lists", "made")}),
    )
    view_fieldsets = (
        (None, {"fields": ("shown_id", "of_tenant", "shown_status", "reason", "wire_format", "shown_url", "patterns",
                           *NAMES, "header_names", "authentication_now", "certificates")}),
        (_("What belongs to it"), {"fields": ("secrets", "lists", "made")}),
    )  # fmt: skip
    readonly_fields = (
        "shown_id",
        "of_tenant",
        "shown_status",
        "reason",
        "wire_format",
        "header_names",
        "authentication_now",
        "certificates",
        "secrets",
        "lists",
        "made",
        "patterns",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("tenant", "queue")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = super().get_fieldsets(request, obj)
        if obj is None:
            return shown
        shown = shown if self.has_change_permission(request, obj) else self.view_fieldsets
        return shown if obj.status_reason else _without(shown, "reason")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        closed = obj is not None and (obj.is_callback or obj.is_deleted)
        return not closed and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a separate action deletes it and keeps the history

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        actor = staff_actor_of(request.user)
        if change:
            changes = form.changes()
            text = change_endpoint(obj.pk, **changes, actor=actor)[1] if changes else None
        else:
            row, text = create_endpoint(form.cleaned_data["tenant"], **form.values(), actor=actor)
            obj.pk = row.pk
        obj.refresh_from_db()
        self.show_once(request, text)

    def page_context(self, request: HttpRequest, row: Endpoint) -> dict[str, Any]:
        """Return the context with the endpoint's health and its latest deliveries."""
        now = database_now()
        hours = hours_of_endpoint(row.pk, now)
        latest = Delivery.objects.filter(endpoint_id=row.pk).order_by("-pk")[:_DELIVERIES_SHOWN]
        return {
            **super().page_context(request, row),
            "condition": condition_of(row, now),
            "requests_figure": requests_figure(hours, key="requests", title=str(_("Requests by the hour"))),
            "latency_figure": latency_figure(hours, key="latency", title=str(_("Time to answer, by the hour"))),
            "latest": [{"row": one, "link": id_link(one), "state": state(one.status)} for one in latest],
        }

    @admin.display(description=_("URL"))
    def shown_url(self, row: Endpoint) -> SafeString:
        return url_shown(row.url)

    @admin.display(description=_("URL"))
    def named(self, row: Endpoint) -> SafeString:
        return url_shown(row.url, MOST_OF_URL)

    @admin.display(description=field_label(EndpointQueue, "last_success_at"))
    def last_success(self, row: Endpoint) -> SafeString | str:
        return short_time(_queue_of(row).last_success_at)

    @admin.display(description=field_label(EndpointQueue, "failing_since"))
    def failing_since(self, row: Endpoint) -> SafeString | str:
        return short_time(_queue_of(row).failing_since)

    @admin.display(description=_("status"))
    def shown_status(self, row: Endpoint) -> SafeString:
        label = _("belongs to a callback URL") if row.is_callback else ""
        return format_html("{} {}", endpoint_state(row), label)

    @admin.display(description=_("because"))
    def reason(self, row: Endpoint) -> str:
        return disabled_in_words(row.status_reason) or "–"

    @admin.display(description=_("events"))
    def patterns(self, row: Endpoint) -> str:
        return ", ".join(row.patterns) or "–"

    @admin.display(description=_("headers now"))
    def header_names(self, row: Endpoint) -> Any:
        try:
            names = list(row.custom_headers())
        except SealingError:
            return _("They cannot be opened: their key is not in ENCRYPTION_KEYS.")
        return format_html_join("", "<div><code>{}: ••••••</code></div>", ((name,) for name in names)) or _("none")

    @admin.display(description=_("authentication now"))
    def authentication_now(self, row: Endpoint) -> Any:
        shown = shown_authentication(row)
        if shown is None:
            return _("It cannot be decrypted: its key is not in ENCRYPTION_KEYS.")
        return format_html_join("", "<div>{}: {}</div>", shown) or _("none")

    @admin.display(description=_("certificates now"))
    def certificates(self, row: Endpoint) -> Any:
        try:
            facts = client_tls_facts(row)
        except SealingError:
            return _("They cannot be opened: their key is not in ENCRYPTION_KEYS.")
        shown = [(_("client certificate"), facts.certificate)] if facts.certificate is not None else []
        shown += [(_("certificate authority"), one) for one in facts.authorities]
        lines = (
            (label, one.subject, _("issued by"), one.issuer, _("valid until"), time(one.not_after), one.fingerprint)
            for label, one in shown
        )
        return format_html_join("", "<div>{}: {}, {} {}, {} {}<br><code>{}</code></div>", lines) or _("none")

    @admin.display(description=_("secrets"))
    def secrets(self, row: Endpoint) -> SafeString:
        rows = Secret.objects.filter(endpoint_id=row.pk).defer("value").order_by("-pk")[:10]
        current = _("the current one")
        return format_html_join(
            "",
            "<div>{} {}, {}</div>",
            (
                (_("made on"), time(one.created_at), current if one.expires_at is None else
                 format_html("{} {}", _("valid until"), time(one.expires_at)))
                for one in rows
            ),
        )  # fmt: skip

    @admin.display(description=_("lists"))
    def lists(self, row: Endpoint) -> SafeString:
        audit = list_of(AuditEntry, tenant=row.tenant_id, target=row.public_id)
        shown = (
            (list_of(Delivery, endpoint=row.pk), _("deliveries")),
            (list_of(Delivery, endpoint=row.pk, status="exhausted"), _("deliveries that failed")),
            (list_of(Delivery, endpoint=row.pk, made="day"), _("deliveries of the last 24 hours")),
            (audit, _("audit log")),
        )
        return link_list(shown)


def _without(fieldsets: Any, name: str) -> Any:
    return tuple((title, {"fields": tuple(one for one in more["fields"] if one != name)}) for title, more in fieldsets)


def _queue_of(row: Endpoint) -> EndpointQueue:
    """Return the endpoint's queue; an empty one if the endpoint is being removed and has none any more."""
    return getattr(row, "queue", None) or EndpointQueue()


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    list_display = ("pattern", "of_endpoint")
    fields = ("of_endpoint", "pattern")
    search_fields = ("pattern",)
    narrowed_by = ("endpoint",)
    fetched = ("endpoint",)


@admin.register(Secret)
class SecretAdmin(ReadOnlyAdmin):
    """When which secret was valid. The texts of secrets are never shown here."""

    narrowed_by = ("tenant", "endpoint")
    list_display = ("made", "of_tenant", "of_endpoint", "ends", "accepted")
    list_display_links = ("made",)
    fields = ("of_tenant", "of_endpoint", "made", "ends", "accepted")
    fetched = ("tenant",)
    deferred = ("value", "endpoint__headers", "endpoint__authentication", "endpoint__client_tls")
    accepted = time_column(_("last accepted"), "accepted_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("endpoint")

    @admin.display(description=_("endpoint"))
    def of_endpoint(self, row: Secret) -> Any:
        return endpoint_link(row.endpoint) if row.endpoint else _("the tenant's account secret, for callback URLs")

    @admin.display(description=_("valid until"))
    def ends(self, row: Secret) -> Any:
        return _("the current one") if row.expires_at is None else time(row.expires_at)


@admin.register(EndpointNumber)
class EndpointNumberAdmin(ReadOnlyAdmin):
    list_display = ("id", "of_endpoint")
    fields = ("id", "of_endpoint")
    search_fields = ("=id",)
    fetched = ("endpoint",)
