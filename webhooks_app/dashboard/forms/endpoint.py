"""The forms to create and change an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.comparisons import OPERATORS
from webhooks_app.core.filters import EVERYTHING
from webhooks_app.dashboard.form_errors import add_error, error_message
from webhooks_app.dashboard.forms.events import Chosen, Group, groups_of, unknown_families
from webhooks_app.dashboard.forms.headers import header_rows
from webhooks_app.endpoints.settings import NAMES, SETTINGS, FormPart
from webhooks_app.exceptions import SealingError, WebhooksError
from webhooks_app.forms.authentication import ERROR_FIELDS, FIELD_NAMES, AuthenticationForm, stored_authentication
from webhooks_app.forms.fields import WriteOnlyInput
from webhooks_app.forms.settings import SettingsForm
from webhooks_app.models import Endpoint
from webhooks_app.wire_formats.base import WireFormat

_ALL, _SOME = "all", "some"
#: Fields below "advanced", which is expanded if one of them has an error.
_ADVANCED = {"secret", *(setting.name for setting in SETTINGS if setting.part is FormPart.HOW)}


class EndpointForm(AuthenticationForm, SettingsForm):
    """`types`: the event types offered. `stored_headers`: the names of existing headers, None for a new endpoint."""

    #: The operators listed in the help on filters.
    filter_operators = tuple(OPERATORS.values())

    url = forms.CharField(
        label=gettext_lazy("URL"),
        help_text=gettext_lazy("Where we send a POST request for each event. It must be reachable from the internet."),
        max_length=2048,
        widget=forms.TextInput(
            {
                "inputmode": "url",
                "autocomplete": "url",
                "spellcheck": "false",
                "placeholder": "https://example.com/webhooks",
            }
        ),
    )
    which = forms.ChoiceField(
        label=gettext_lazy("Events"),
        choices=[
            (_ALL, gettext_lazy("All events, including future types")),
            (_SOME, gettext_lazy("Only those I choose")),
        ],
        widget=forms.RadioSelect,
        initial=_SOME,
    )
    events = Chosen(label=gettext_lazy("Choose the events"), required=False)
    patterns = forms.CharField(
        label=gettext_lazy("Other types or families"),
        help_text=gettext_lazy("With spaces or commas between, such as message.* order.paid"),
        required=False,
        max_length=4000,
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}),
    )
    anyway = forms.BooleanField(label=gettext_lazy("Save it anyway"), required=False)

    def __init__(
        self,
        data: Any = None,
        *,
        types: Sequence[EventType],
        stored_headers: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(data, **options)
        self.types = types
        self.headers = header_rows(stored_headers or (), data, first=stored_headers is None)
        #: The error of an action about the headers.
        self.header_error = ""
        #: Whether something is saved only after the user has confirmed it.
        self.asks_anyway = bool(data and data.get("anyway"))

    def is_valid(self) -> bool:
        return all([super().is_valid(), self.headers.is_valid()])

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if given.get("which") == _SOME and not self._chosen():
            self.add_error("events", _("Choose at least one event, or all events."))
        if given.get("which") == _SOME and not given.get("anyway"):
            self._ask_about_families()
        return given

    def _ask_about_families(self) -> None:
        """Ask for confirmation of a family that matches no event type, which is usually a typo. Skip this without any types."""
        known = self.initial.get("events") or ()
        new = [name for name in self._chosen() if name not in known]
        if self.types and (unknown := unknown_families(new, self.types)):
            self.asks_anyway = True
            number = len(self.types)
            error_message = ngettext(
                "%(names)s fits none of today’s %(number)s type.",
                "%(names)s fits none of today’s %(number)s types.",
                number,
            )
            self.add_error("patterns", error_message % {"names": ", ".join(unknown), "number": number})

    def values(self) -> dict[str, Any]:
        """Return the input except the headers, by the argument names of `create_endpoint` and `change_endpoint`."""
        given = self.cleaned_data
        events = [EVERYTHING] if given["which"] == _ALL else self._chosen()
        url = {"url": given["url"]} if "url" in self.fields else {}
        return {**url, "events": events, **self.setting_values()}

    def groups(self) -> list[Group]:
        """Return the events to choose from, checked as submitted or as stored."""
        chosen = self["events"].value() or []
        return groups_of(self.types, [str(name) for name in chosen])

    def refuse(self, error: WebhooksError) -> None:
        """Show the error of an action beside its field."""
        if error.field == "headers":
            self.header_error = error_message(error)
            self.add_error(None, _("Look at the headers below."))
        else:
            add_error(self, error, ERROR_FIELDS.get(error.field, ""))

    @property
    def is_narrowed(self) -> bool:
        """Return whether a field that narrows the endpoint's events is filled in or has an error."""
        return any(field.value() or field.errors for field in self.in_part()[FormPart.WHAT.value])

    @property
    def is_advanced(self) -> bool:
        """Return whether a field below "advanced" is filled in or has an error."""
        wrong = _ADVANCED.intersection(self.errors) or self.header_error or any(self.headers.errors)
        filled = any(self[name].value() for name in _ADVANCED.intersection(self.fields) - {"secret"})
        return bool(wrong or filled or self.headers.initial)

    def _chosen(self) -> list[str]:
        given = self.cleaned_data
        written = given.get("patterns", "").replace(",", " ").split()
        return list(dict.fromkeys([*given.get("events", []), *written]))


class NewEndpointForm(EndpointForm):
    """The form of a new endpoint, which may have an imported secret. `wire_formats`: the choices; a single one is not offered."""

    wire_format = forms.ChoiceField(
        label=gettext_lazy("Wire format"),
        help_text=gettext_lazy("How requests look and are signed. It cannot be changed later."),
    )

    secret = forms.CharField(
        label=gettext_lazy("Secret of your own"),
        help_text=gettext_lazy(
            "Only where your server has one already. Empty: we make one, which is the safest. "
            "What you enter here is not shown again."
        ),
        required=False,
        max_length=500,
        widget=WriteOnlyInput(),
    )

    def __init__(self, data: Any = None, *, wire_formats: Sequence[WireFormat], **options: Any) -> None:
        super().__init__(data, **options)
        if len(wire_formats) > 1:
            choices = [(wire_format.name, wire_format.title) for wire_format in wire_formats]
            self.fields["wire_format"].choices = choices  # type: ignore[attr-defined]  # a ChoiceField's
        else:
            del self.fields["wire_format"]
        self.usual_wire_format = wire_formats[0].name

    def values(self) -> dict[str, Any]:
        given = self.cleaned_data
        more = {"secret": given["secret"] or None, "headers": self.headers.values()}
        more["authentication"] = self.authentication()
        more["wire_format"] = given.get("wire_format", self.usual_wire_format)
        return {**super().values(), **more}

    def remind_of_secrets(self) -> None:
        super().remind_of_secrets()
        if self.data.get("secret") and not self.errors.get("secret"):
            self.add_error("secret", _("Enter your secret once more; it is not shown again here."))


class ChangeEndpointForm(EndpointForm):
    """The form of an existing endpoint."""

    def __init__(self, data: Any = None, *, endpoint: Endpoint, types: Sequence[EventType]) -> None:
        self.endpoint, self.stored = endpoint, stored_values(endpoint)
        events = self.stored["events"]
        authentication = stored_authentication(endpoint)
        self.shows_authentication = bool(authentication)
        initial = {**self.stored, **authentication, "which": _ALL if EVERYTHING in events else _SOME}
        super().__init__(data, types=types, stored_headers=header_names(endpoint) or [], initial=initial)
        self.note_stored_secrets(authentication)
        if endpoint.is_playground:  # it has no URL that users may see or change
            for name in ("url", *FIELD_NAMES):
                del self.fields[name]

    def changes(self) -> dict[str, Any]:
        """Return the values that differ from the stored ones."""
        values = self.values()
        same_events = set(values["events"]) == set(self.stored["events"])
        changes = {name: value for name, value in values.items() if value != self.stored[name]}
        if same_events:
            changes.pop("events", None)
        if self.headers.changes or (changes.get("url") and header_names(self.endpoint)):
            changes["headers"] = self.headers.values()
        # An authentication that cannot be decrypted is not shown: without a kind, the input does not remove it.
        if self.changes_authentication or (changes.get("url") and self.shows_authentication):
            changes["authentication"] = self.authentication()
        return changes


def stored_values(endpoint: Endpoint) -> dict[str, Any]:
    """Return the endpoint's values by the names of the form's fields, except the headers."""
    return {**{name: getattr(endpoint, name) for name in ("url", *NAMES)}, "events": endpoint.patterns}


def header_names(endpoint: Endpoint) -> list[str] | None:
    """Return the names of the headers; None if they cannot be decrypted because their key is lost."""
    try:
        return sorted(endpoint.custom_headers())
    except SealingError:
        return None
