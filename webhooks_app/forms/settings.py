"""The form fields of an endpoint's settings, created from their declaration in `endpoints.settings`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from webhooks_app.endpoints.settings import SETTINGS, FormPart, Setting, ValueType
from webhooks_app.forms.fields import JSONText, Names

_HOW_TO_WRITE = {
    ValueType.NAMES: _(
        'With spaces, commas or lines between. A name that has a space in it stands in quotes: "north west".'
    ),
    ValueType.OBJECT: _("Write it as a JSON object."),
}


class SettingsForm(forms.Form):
    """Base class of forms with a field for each setting."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for setting in SETTINGS:
            # Not at class level: the largest numbers come from the site's settings.
            self.fields[setting.name] = form_field(setting)

    def setting_values(self) -> dict[str, Any]:
        """Return the values entered, by the names of the settings."""
        return {setting.name: self.cleaned_data[setting.name] for setting in SETTINGS}

    def in_part(self) -> dict[str, list[forms.BoundField]]:
        """Return the fields by the name of their part, for templates."""
        return {part.value: [self[setting.name] for setting in SETTINGS if setting.part is part] for part in FormPart}


def form_field(setting: Setting) -> forms.Field:
    """Return a new form field for a setting."""
    field = setting.field
    how = _HOW_TO_WRITE.get(setting.value_type)
    common: dict[str, Any] = {
        "label": field.verbose_name,
        "help_text": format_lazy("{} {}", field.help_text, how) if how else field.help_text,
        "required": False,
    }
    most = setting.most() if setting.most else None
    match setting.value_type:
        case ValueType.FLAG:
            return forms.BooleanField(**common)
        case ValueType.NUMBER:
            return forms.IntegerField(**common, min_value=1, max_value=most)
        case ValueType.NAMES:
            return Names(**common)
        case ValueType.OBJECT:
            return JSONText(**common, when_empty=dict)
    return forms.CharField(**common, max_length=most)
