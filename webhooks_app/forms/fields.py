"""Fields for JSON, for lists of names, and for values that are entered but never shown again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from webhooks_app.core.catalogue import EventType

#: The most characters of JSON that a form accepts. The content is checked, and limited, when it is saved.
_LONGEST_JSON = 1_000_000
#: A name with or without quotes; and the characters that make quotes necessary.
_WORD = re.compile(r'"(?:[^"\\\n]|\\.)*"|[^\s,]+')
_SPECIAL = re.compile(r'[\s,"]')


class WriteOnlyInput(forms.TextInput):
    """An input whose value is never rendered, not even in the same form with its errors."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"autocomplete": "off", "spellcheck": "false", **(attrs or {})})

    def format_value(self, value: Any) -> None:
        return None


class WriteOnlyTextarea(forms.Textarea):
    """The same as a text area."""

    def format_value(self, value: Any) -> None:
        return None


class JSONText(forms.CharField):
    """JSON entered as text; cleans to its value. An initial value that is not a string is shown as JSON.

    `when_empty`: returns the value of empty input, and of `null`.
    """

    def __init__(self, *, when_empty: Callable[[], Any] = lambda: None, **options: Any) -> None:
        self.when_empty = when_empty
        attrs = {"rows": 5, "spellcheck": "false", "autocapitalize": "off", "autocomplete": "off"}
        widget = forms.Textarea(attrs)
        super().__init__(**{"required": False, "max_length": _LONGEST_JSON, "widget": widget, **options})
        self.widget.attrs.pop("maxlength", None)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return self.when_empty()
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            where = {"line": error.lineno, "column": error.colno}
            raise ValidationError(
                _("This is not JSON: look at line %(line)s, column %(column)s.") % where, "json"
            ) from error
        except (ValueError, RecursionError) as error:  # NaN, numbers of thousands of digits, too deep
            raise ValidationError(_("This JSON has a number or a nesting that cannot be sent."), "json") from error
        return self.when_empty() if value is None else value

    def prepare_value(self, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        return json.dumps(value, indent=2, ensure_ascii=False) if value else ""

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((self.clean(data) or None) != (initial or None))
        except ValidationError:
            return True  # shown as an error


class Names(forms.CharField):
    """A list of names, separated by spaces, commas or lines. A name that contains these is written in quotes, as in JSON."""

    def __init__(self, **options: Any) -> None:
        widget = forms.Textarea({"rows": 3, "spellcheck": "false", "autocapitalize": "off"})
        super().__init__(**{"required": False, "widget": widget, **options})

    def clean(self, value: Any) -> Any:
        return [_unquoted(word) for word in _WORD.findall(str(super().clean(value)))]

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return "\n".join(json.dumps(one, ensure_ascii=False) if _SPECIAL.search(one) else one for one in value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.clean(data) != (initial or []))
        except ValidationError:
            return True  # shown as an error


def _unquoted(word: str) -> str:
    try:
        return str(json.loads(word)) if word.startswith('"') else word
    except ValueError:
        return word


def example_text(type_: EventType) -> str:
    """Return the initial text of a JSON field: the type's example, or an empty object."""
    return json.dumps({} if type_.example is None else type_.example, indent=2, ensure_ascii=False, default=str)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
