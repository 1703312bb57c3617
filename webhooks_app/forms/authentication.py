"""The form fields of an endpoint's authentication, created from their declaration in `core.authentication`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks_app.core.authentication import KINDS, AuthenticationField, AuthenticationKind
from webhooks_app.endpoints.authentication import PREFIX
from webhooks_app.exceptions import SealingError
from webhooks_app.forms.fields import WriteOnlyInput
from webhooks_app.models import Endpoint

_KIND = "authentication_kind"
_NONE = ("", gettext_lazy("No authentication"))


@dataclass(frozen=True, slots=True)
class KindFields:
    """The fields of one kind in a form, for templates."""

    kind: str
    name: str
    help: str
    fields: list[forms.BoundField]


class AuthenticationForm(forms.Form):
    """Base class of forms with the fields of all kinds; those of the other kinds are ignored.

    Secrets are write-only: an empty one stays as it is stored.
    """

    def note_stored_secrets(self, stored: Mapping[str, str]) -> None:
        """Say of which secrets there is a stored value. `stored`: the result of `stored_authentication`."""
        for name in _SECRETS.intersection(names_of(AuthenticationKind(stored[_KIND])) if _KIND in stored else ()):
            if name in self.fields:
                field = self.fields[name]
                field.help_text = format_lazy("{} {}", field.help_text, gettext_lazy("Empty: the stored value stays."))
                field.widget.attrs["placeholder"] = "••••••"

    def authentication(self) -> dict[str, str] | None:
        """Return the authentication entered, as the services take it."""
        given = self.cleaned_data
        if not given.get(_KIND):
            return None
        kind = AuthenticationKind(given[_KIND])
        values = {one.name: given.get(_name(one)) or "" for one in KINDS[kind].fields}
        return {"kind": kind.value, **{name: value for name, value in values.items() if value}}

    @property
    def changes_authentication(self) -> bool:
        """Return whether the user changed the kind, or a field of the chosen kind. Input without a kind changes nothing: it comes
        from a page without these fields."""
        if self.add_prefix(_KIND) not in self.data:
            return False
        kind = self.cleaned_data.get(_KIND)
        names = names_of(AuthenticationKind(kind)) if kind else ()
        return not {_KIND, *names}.isdisjoint(self.changed_data)

    def remind_of_secrets(self) -> None:
        """Ask for the secrets of the chosen kind again when the form is shown again.

        They are not rendered, and an empty one keeps the stored value.
        """
        kind = self.data.get(self.add_prefix(_KIND))
        chosen = names_of(AuthenticationKind(kind)) if kind in set(AuthenticationKind) else ()
        for name in _SECRETS.intersection(chosen, self.fields):
            if self.data.get(self.add_prefix(name)) and not self.errors.get(name):
                self.add_error(name, _("Enter this value once more; it is not shown again here."))

    def authentication_kinds(self) -> list[KindFields]:
        """Return the fields by kind, for templates."""
        return [
            KindFields(kind.value, _(shape.name), _(shape.help), [self[_name(one)] for one in shape.fields])
            for kind, shape in KINDS.items()
        ]

    @property
    def has_authentication(self) -> bool:
        """Return whether a kind is chosen, or a field has an error."""
        return bool(self[_KIND].value() or any(self.errors.get(name) for name in FIELD_NAMES))


def stored_authentication(endpoint: Endpoint) -> dict[str, str]:
    """Return the initial values of the fields. None of them if the authentication cannot be decrypted because its key is lost."""
    try:
        found = endpoint.opened_authentication()
    except SealingError:
        return {}
    return {f"authentication_{name}": value for name, value in found.shown().items()} if found else {}


def names_of(kind: AuthenticationKind) -> tuple[str, ...]:
    """Return the names of the form's fields of this kind."""
    return tuple(_name(one) for one in KINDS[kind].fields)


def _name(one: AuthenticationField) -> str:
    return f"authentication_{one.name}"


def _form_field(one: AuthenticationField) -> forms.Field:
    help_text: Any = gettext_lazy(one.help) if one.help else ""
    if one.is_secret:
        hidden = gettext_lazy("It is not shown again.")
        help_text = format_lazy("{} {}", help_text, hidden) if one.help else hidden
    common: dict[str, Any] = {"label": gettext_lazy(one.label), "help_text": help_text, "required": False}
    if one.choices:
        choices = [(value, gettext_lazy(text)) for value, text in one.choices]
        return forms.ChoiceField(choices=choices, initial=choices[0][0], **common)
    attrs = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}
    widget = WriteOnlyInput(attrs) if one.is_secret else forms.TextInput(attrs)
    field = forms.CharField(max_length=one.most, widget=widget, **common)
    field.is_needed = one.required  # type: ignore[attr-defined]  # by its kind; read by the template of fields
    return field


_KIND_FIELD = forms.ChoiceField(
    label=gettext_lazy("Authentication"),
    help_text=gettext_lazy("Whether your server requires an Authorization header, for example because of a gateway."),
    choices=[_NONE, *((kind.value, gettext_lazy(shape.name)) for kind, shape in KINDS.items())],
    required=False,
    widget=forms.RadioSelect,
)
_ALL = [one for shape in KINDS.values() for one in shape.fields]
#: The names of all fields, in the order of the form; and those of secrets.
FIELD_NAMES = (_KIND, *map(_name, _ALL))
#: Maps the field of a service's error to that of the form.
ERROR_FIELDS = {"authentication": _KIND, f"{PREFIX}kind": _KIND, **{PREFIX + one.name: _name(one) for one in _ALL}}
_SECRETS = frozenset(_name(one) for one in _ALL if one.is_secret)
# Declared here and not in the class body, because they are created from a table. Subclasses inherit them.
AuthenticationForm.base_fields.update({_KIND: _KIND_FIELD, **{_name(one): _form_field(one) for one in _ALL}})
