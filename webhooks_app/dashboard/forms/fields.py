"""Fields that several forms have: JSON, lists, and what is typed in but never shown again."""

from __future__ import annotations

import json
import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from webhooks_app.core.catalogue import EventType

#: Characters of JSON that a form takes. What it means is checked, and limited, by the act.
_LONGEST_JSON = 1_000_000
#: A name in quotes, or one without; and what makes quotes needed.
_WORD = re.compile(r'"(?:[^"\\\n]|\\.)*"|[^\s,]+')
_SPECIAL = re.compile(r'[\s,"]')


class Unechoed(forms.TextInput):
    """A value that goes in and never comes out again, not even into the same form with its errors."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"autocomplete": "off", "spellcheck": "false", **(attrs or {})})

    def format_value(self, value: Any) -> None:
        return None


class JSONText(forms.CharField):
    """JSON as people type it; gives the value. Empty: None."""

    widget = forms.Textarea

    def __init__(self, **options: Any) -> None:
        attrs = {"rows": 5, "spellcheck": "false", "autocapitalize": "off", "autocomplete": "off"}
        super().__init__(**{"required": False, "max_length": _LONGEST_JSON, "widget": forms.Textarea(attrs), **options})
        self.widget.attrs.pop("maxlength", None)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            where = {"line": error.lineno, "column": error.colno}
            raise ValidationError(
                _("This is not JSON: look at line %(line)s, column %(column)s.") % where, "json"
            ) from error
        except (ValueError, RecursionError) as error:  # NaN, numbers of thousands of digits, too deep
            raise ValidationError(_("This JSON has a number or a nesting that cannot be sent."), "json") from error


class Names(forms.CharField):
    """A list of names, with spaces, commas or lines between; one with such in it is written in quotes, as JSON has it."""

    def __init__(self, **options: Any) -> None:
        attrs = {"rows": 3, "spellcheck": "false", "autocapitalize": "off"}
        super().__init__(**{"required": False, "widget": forms.Textarea(attrs), **options})

    def clean(self, value: Any) -> Any:
        return [_unquoted(word) for word in _WORD.findall(str(super().clean(value)))]

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return "\n".join(json.dumps(one, ensure_ascii=False) if _SPECIAL.search(one) else one for one in value)


def _unquoted(word: str) -> str:
    try:
        return str(json.loads(word)) if word.startswith('"') else word
    except ValueError:
        return word


def example_text(type_: EventType) -> str:
    """What stands in such a field before anybody has typed: the type's example, or an empty object."""
    return json.dumps({} if type_.example is None else type_.example, indent=2, ensure_ascii=False, default=str)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
