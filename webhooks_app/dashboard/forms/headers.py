"""Custom request headers: rows of names and values. Stored values are never shown again, and stay unless changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks_app.endpoints.headers import KEEP_VALUE, MAX_HEADERS, MAX_NAME, MAX_VALUE, KeepValue
from webhooks_app.forms.fields import WriteOnlyInput

#: The number of empty rows below the filled ones.
_EMPTY_ROWS = 2
#: For a new endpoint: a user who needs more rows would have to save first.
_EMPTY_ROWS_AT_FIRST = 5
_ACTS = (
    ("keep", gettext_lazy("keep its value")),
    ("replace", gettext_lazy("replace its value")),
    ("remove", gettext_lazy("remove it")),
)


class HeaderForm(forms.Form):
    """One row. A stored one also has a choice to keep, replace or remove it."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        required=False,
        max_length=MAX_NAME,
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false", "placeholder": "X-My-Header"}),
    )
    act = forms.ChoiceField(label=gettext_lazy("What becomes of it"), required=False, choices=_ACTS)
    value = forms.CharField(label=gettext_lazy("Value"), required=False, max_length=MAX_VALUE, widget=WriteOnlyInput())

    @property
    def is_stored(self) -> bool:
        return bool(self.initial.get("name"))

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if self.is_stored:
            given["name"] = self.initial["name"]
            wants_value = given.get("act") == "replace"
        else:
            wants_value = bool(given.get("name"))
            if given.get("value") and not given.get("name"):
                self.add_error("name", _("Give the header a name."))
        if wants_value and not given.get("value") and "value" not in self.errors:
            self.add_error("value", _("Enter the value. One that was entered before is not shown again."))
        return given


class _Rows(forms.BaseFormSet):  # type: ignore[type-arg]  # it has none at run time
    def clean(self) -> None:
        """Reject two rows with the same name: the action takes a mapping, which would silently drop the first."""
        seen: set[str] = set()
        for form in self.forms:
            name = getattr(form, "cleaned_data", {}).get("name", "")
            if name and name.lower() in seen:
                form.add_error("name", _("This header is there already. Upper and lower case are the same."))
            seen.add(name.lower())

    @property
    def changes(self) -> bool:
        """Return whether any header differs from the stored ones."""
        return any(form.cleaned_data.get("value") or form.cleaned_data.get("act") == "remove" for form in self.forms)

    def values(self) -> dict[str, str | KeepValue]:
        """Return all headers as the action takes them."""
        values: dict[str, str | KeepValue] = {}
        for form in self.forms:
            given = form.cleaned_data
            if not given.get("name") or (form.is_stored and given.get("act") == "remove"):
                continue
            kept = form.is_stored and given.get("act") != "replace"
            values[given["name"]] = KEEP_VALUE if kept else given["value"]
        return values


def header_rows(stored: Sequence[str], data: Any = None, *, first: bool = False) -> _Rows:
    """Return rows for the stored headers, by name, and some empty ones; more of these if `first` is true."""
    empty = _EMPTY_ROWS_AT_FIRST if first else _EMPTY_ROWS
    factory = forms.formset_factory(
        HeaderForm,
        formset=_Rows,
        extra=min(empty, max(MAX_HEADERS - len(stored), 0)),
        max_num=MAX_HEADERS,
        validate_max=True,
        absolute_max=MAX_HEADERS + empty,
    )
    rows = factory(data, initial=[{"name": name, "act": "keep"} for name in stored], prefix="header")
    assert isinstance(rows, _Rows)
    return rows
