"""API keys, portal links and stored replies. Neither the text of a key nor its digest is shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.base import LargeTableAdmin, time_column
from webhooks_app.admin.filters import TimeFilter
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
    row_actions = (
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
    fieldsets = ((None, {"fields": list_display}),)  # all of them read-only
    add_fieldsets = ((None, {"fields": ApiKeyForm.Meta.fields}),)
    fetched = ("tenant",)
    deferred = ("digest",)
    expires = time_column(_("valid until"), "expires_at")
    used = time_column(_("last used"), "last_used_at")
    revoked = time_column(_("revoked"), "revoked_at")

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

    @admin.display(description=_("scopes"))
    def shown_scopes(self, row: ApiKey) -> str:
        return ", ".join(row.scopes)


@admin.register(PortalLink)
class PortalLinkAdmin(RowActionsMixin, LargeTableAdmin):
    row_actions = (
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
    fetched = ("tenant",)
    deferred = ("digest",)


@admin.register(IdempotencyRecord)
class StoredReplyAdmin(LargeTableAdmin):
    shows_payload = True
    narrowed_by = ("tenant",)
    list_display = ("key", "of_tenant", "status", "created_at")
    fetched = ("tenant",)
    deferred = ("fingerprint", "body")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = "body_shown" if may_see_payloads(request) else "body_hidden"
        return ("key", "of_tenant", "status", "created_at", shown)

    @admin.display(description=_("body"))
    def body_shown(self, row: IdempotencyRecord) -> SafeString:
        return shown_json(row.body)

    @admin.display(description=_("body"))
    def body_hidden(self, row: IdempotencyRecord) -> SafeString:
        return hidden()
