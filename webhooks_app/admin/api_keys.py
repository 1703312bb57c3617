"""API keys, portal links and stored replies. Neither the text of a key nor its digest is shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.base import LargeTableAdmin
from webhooks_app.admin.filters import TimeFilter
from webhooks_app.admin.links import link, time
from webhooks_app.admin.payloads import hidden, may_see_payloads, shown_json
from webhooks_app.admin.row_actions import RowAction, RowActionsMixin
from webhooks_app.admin.secret_page import ShowSecretOnceMixin
from webhooks_app.admin.service_admin import ServiceAdmin, ServiceForm
from webhooks_app.models import ApiKey, IdempotencyRecord, PortalLink, Scope
from webhooks_app.tenants.access import staff_actor_of
from webhooks_app.tenants.api_keys import create_api_key, revoke_api_key, revoke_portal_link


class ApiKeyForm(ServiceForm):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("What the key may do."),
    )

    class Meta:
        model = ApiKey
        fields = ("tenant", "name", "scopes", "expires_at")


@admin.register(ApiKey)
class ApiKeyAdmin(ShowSecretOnceMixin, ServiceAdmin):
    form = ApiKeyForm
    prefix = "key"
    once_template = "admin/webhooks_app/key.html"
    acts = (
        RowAction(
            "revoke",
            _("Revoke"),
            _("Programs that use it are refused from now on. It cannot be taken back."),
            "revoke_apikey",
            revoke_api_key,
            dangerous=True,
            fits=lambda row: row.revoked_at is None,
        ),
    )
    autocomplete_fields = ("tenant",)
    narrowed_by = ("tenant",)
    list_filter = (TimeFilter,)
    search_fields = ("name", "hint", "tenant__uid", "tenant__name")
    search_help_text = _("The key's name or its first characters, a tenant.")
    list_display = ("hint", "name", "of_tenant", "shown_scopes", "made", "expires", "used", "revoked")
    readonly_fields = ("hint", "of_tenant", "shown_scopes", "made", "expires", "used", "revoked")
    fieldsets = (
        (None, {"fields": ("hint", "name", "of_tenant", "shown_scopes", "made", "expires", "used", "revoked")}),
    )
    add_fieldsets = ((None, {"fields": ApiKeyForm.Meta.fields}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("tenant").defer("digest")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a key is created and revoked, never changed

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        values = dict(form.cleaned_data)
        key, text = create_api_key(values.pop("tenant"), **values, actor=staff_actor_of(request.user))
        obj.pk = key.pk
        obj.refresh_from_db()
        self.show_once(request, text)

    @admin.display(description=_("tenant"))
    def of_tenant(self, row: ApiKey) -> SafeString | str:
        return link(row.tenant)

    @admin.display(description=_("scopes"))
    def shown_scopes(self, row: ApiKey) -> str:
        return ", ".join(row.scopes)

    @admin.display(description=_("made"))
    def made(self, row: ApiKey) -> SafeString | str:
        return time(row.created_at)

    @admin.display(description=_("valid until"))
    def expires(self, row: ApiKey) -> SafeString | str:
        return time(row.expires_at)

    @admin.display(description=_("last used"))
    def used(self, row: ApiKey) -> SafeString | str:
        return time(row.last_used_at)

    @admin.display(description=_("revoked"))
    def revoked(self, row: ApiKey) -> SafeString | str:
        return time(row.revoked_at)


@admin.register(PortalLink)
class PortalLinkAdmin(RowActionsMixin, LargeTableAdmin):
    acts = (
        RowAction(
            "revoke",
            _("Revoke"),
            _("The link opens nothing any more, its session ends, and the keys that were made in it are refused."),
            "revoke_portallink",
            revoke_portal_link,
            dangerous=True,
            fits=lambda row: row.revoked_at is None,
        ),
    )
    narrowed_by = ("tenant",)
    list_display = ("of_tenant", "actor", "role", "made", "expires_at", "used_at", "session_ends_at", "revoked_at")
    list_display_links = ("made",)
    fields = ("of_tenant", "actor", "role", "scopes", "made", "expires_at", "used_at", "session_ends_at", "revoked_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("tenant").defer("digest")

    @admin.display(description=_("tenant"))
    def of_tenant(self, row: PortalLink) -> SafeString | str:
        return link(row.tenant)

    @admin.display(description=_("made"))
    def made(self, row: PortalLink) -> SafeString | str:
        return time(row.created_at)


@admin.register(IdempotencyRecord)
class StoredReplyAdmin(LargeTableAdmin):
    narrowed_by = ("tenant",)
    list_display = ("key", "of_tenant", "status", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("tenant").defer("fingerprint", "body")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = "body_shown" if may_see_payloads(request) else "body_hidden"
        return ("key", "of_tenant", "status", "created_at", shown)

    @admin.display(description=_("tenant"))
    def of_tenant(self, row: IdempotencyRecord) -> SafeString | str:
        return link(row.tenant)

    @admin.display(description=_("body"))
    def body_shown(self, row: IdempotencyRecord) -> SafeString:
        return shown_json(row.body)

    @admin.display(description=_("body"))
    def body_hidden(self, row: IdempotencyRecord) -> SafeString:
        return hidden()
