"""The form of an endpoint. `endpoints.service` checks its values; secrets, header values and private keys are write-only."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.service_admin import Lines, ServiceForm
from webhooks_app.admin.tenants import wire_format_choices
from webhooks_app.core.authentication import KINDS
from webhooks_app.endpoints.settings import NAMES, SETTINGS
from webhooks_app.forms.authentication import (
    ERROR_FIELDS,
    FIELD_NAMES,
    AuthenticationForm,
    names_of,
    stored_authentication,
)
from webhooks_app.forms.client_tls import FIELDS, FIELDS_OF, ClientTLSFields
from webhooks_app.forms.fields import WriteOnlyTextarea
from webhooks_app.forms.settings import form_field
from webhooks_app.models import Endpoint


class StaffEndpointForm(AuthenticationForm, ClientTLSFields, ServiceForm):
    fields_of: ClassVar[dict[str, str]] = {"headers": "new_headers", **ERROR_FIELDS, **FIELDS_OF}

    url = forms.CharField(
        widget=forms.TextInput(attrs={"class": "vTextField", "type": "url"}),
        help_text=_(
            "Another scheme, host or port is another receiver: the secret is replaced then, and headers, authentication and "
            "certificates are removed."
        ),
    )
    events = Lines(label=_("Events"), help_text=_("One a line: message.sent, message.* or *."))
    wire_format = forms.ChoiceField(required=False)
    new_headers = forms.CharField(
        label=_("New headers"),
        required=False,
        widget=WriteOnlyTextarea(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
        help_text=_("One a line, as “Name: value”. They replace all there are. Values are never shown again."),
    )
    drop_headers = forms.BooleanField(label=_("Remove all headers"), required=False)

    class Meta:
        model = Endpoint
        fields = (
            "tenant", "url", "wire_format", "events", *NAMES, "new_headers", "drop_headers", *FIELD_NAMES, *FIELDS
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for setting in SETTINGS:
            if setting.name in self.fields:  # users with view permission only have none of them
                self.fields[setting.name] = _styled(form_field(setting))
        for name in FIELD_NAMES:
            if name in self.fields:
                _styled(self.fields[name])
        if "wire_format" in self.fields:
            self.fields["wire_format"].choices = wire_format_choices(_("the tenant's wire format"))  # type: ignore[attr-defined]
        if not self.instance._state.adding:
            rows = self.instance.subscriptions.order_by("pk")
            self.initial["events"] = list(rows.values_list("pattern", flat=True))
            authentication = stored_authentication(self.instance)
            self.initial.update(authentication)
            self.note_stored_secrets(authentication)
        elif "wire_format" in self.fields:
            self.initial["wire_format"] = ""

    def full_clean(self) -> None:
        super().full_clean()
        if self.is_bound and self.errors:
            self.remind_of_secrets()

    def clean_new_headers(self) -> dict[str, str] | None:
        """Return the headers; None if nothing was entered. Errors name the line number only: its text may be a credential."""
        headers: dict[str, str] = {}
        for number, line in enumerate(self.cleaned_data["new_headers"].splitlines(), start=1):
            name, colon, value = line.partition(":")
            if not line.strip():
                continue
            if not colon or not name.strip() or name.strip() in headers:
                raise ValidationError(
                    _("Line %(number)s: write “Name: value”, each name once."), params={"number": number}
                )
            headers[name.strip()] = value.strip()
        return headers or None

    def values(self) -> dict[str, Any]:
        """Return the arguments of `create_endpoint`, except the tenant."""
        left_out = {"tenant", "drop_headers", *FIELD_NAMES, *FIELDS}
        values = {name: value for name, value in self.cleaned_data.items() if name not in left_out}
        more = {
            "wire_format": values["wire_format"] or None,
            "authentication": self.authentication(),
            "client_tls": self.client_tls() or None,
        }
        return {**_renamed(values), **more}

    def changes(self) -> dict[str, Any]:
        """Return the arguments of `change_endpoint`."""
        changed = {name: value for name, value in super().changes().items() if name not in (*FIELD_NAMES, *FIELDS)}
        if self.changes_authentication:
            changed["authentication"] = self.authentication()
        if client_tls := self.client_tls():
            changed["client_tls"] = client_tls
        if changed.pop("drop_headers", False):
            changed["new_headers"] = {}
        if changed.get("new_headers", {}) is None:
            del changed["new_headers"]
        return _renamed(changed)

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if values.get("drop_headers") and values.get("new_headers"):
            self.add_error("drop_headers", _("Either remove the headers or give new ones."))
        return values


def authentication_fieldsets(*shown: str) -> tuple[Any, ...]:
    """Return the part of the page with the fields of all kinds. `shown`: fields to show before them."""
    first = (_("Authentication"), {"fields": (*shown, FIELD_NAMES[0])})
    kinds = (
        (_(shape.name), {"fields": names_of(kind), "description": _(shape.help), "classes": ("collapse",)})
        for kind, shape in KINDS.items()
    )
    return (first, *kinds)


def _styled(field: forms.Field) -> forms.Field:
    """Return the field with the width of the admin's own fields."""
    match field.widget:
        case forms.NumberInput():
            field.widget.attrs["class"] = "vIntegerField"
        case forms.Textarea():
            field.widget.attrs.update({"class": "vLargeTextField", "rows": 4})
        case forms.TextInput():
            field.widget.attrs["class"] = "vTextField"
    return field


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    return {"headers" if name == "new_headers" else name: value for name, value in values.items()}
