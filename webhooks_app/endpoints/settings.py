"""An endpoint's settings, each declared once, for the API's fields, both forms, the settings page and the checks.

Label, help text, default and type of the value come from the model's field. To add a setting, add a field to the model (and its
migration), a key to `EndpointSettings` and a line to SETTINGS. What the engine honours also goes into
`engine.types.EndpointConfig` and `engine.endpoint_config`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypedDict

from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from webhooks_app.conf import settings
from webhooks_app.endpoints.validation import (
    MAX_DESCRIPTION,
    MAX_RATE_LIMIT,
    checked_channels,
    checked_description,
    checked_fifo,
    checked_filters,
    checked_metadata,
    checked_whole_number,
)
from webhooks_app.models import Endpoint


class ValueType(Enum):
    """The type of a setting's value."""

    TEXT = "text"
    NUMBER = "whole number, or None"
    FLAG = "bool"
    NAMES = "list of strings"
    OBJECT = "JSON object"


class FormPart(Enum):
    """The part of the customers' form that shows a setting."""

    WHERE = "where"
    WHAT = "what"
    HOW = "how"


class EndpointSettings(TypedDict, total=False):
    """The settings as `create_endpoint` and `change_endpoint` take them; omitted ones stay unchanged."""

    description: str
    channels: Sequence[str]
    filters: Mapping[str, Any] | None
    rate_limit: int | None
    max_in_flight: int | None
    fifo: bool
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of an endpoint."""

    name: str
    part: FormPart
    #: Returns the value to store, or raises InvalidEndpoint that names the field.
    check: Callable[[Any], Any]
    #: Returns the largest number or the length of the longest text.
    most: Callable[[], int] | None = None
    #: Returns the value in words for the settings page; an empty string: the value is shown unchanged.
    in_words: Callable[[Any], str] = lambda value: ""

    @property
    def field(self) -> models.Field[Any, Any]:
        field = Endpoint._meta.get_field(self.name)
        assert isinstance(field, models.Field)
        return field

    @property
    def value_type(self) -> ValueType:
        match self.field:
            case models.BooleanField():
                return ValueType.FLAG
            case models.IntegerField():
                return ValueType.NUMBER
            case models.JSONField():
                return ValueType.NAMES if self.field.default is list else ValueType.OBJECT
        return ValueType.TEXT


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """A row of the settings page: shows `words` if there are any, else the value."""

    label: str
    words: str
    value: Any

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)

    @property
    def is_object(self) -> bool:
        return isinstance(self.value, dict)


SETTINGS = (
    Setting("description", FormPart.WHERE, checked_description, lambda: MAX_DESCRIPTION),
    Setting("channels", FormPart.WHAT, checked_channels, in_words=lambda names: "" if names else _("every channel")),
    Setting("filters", FormPart.WHAT, checked_filters, in_words=lambda filters: "" if filters else _("none")),
    Setting(
        "rate_limit", FormPart.HOW, lambda value: checked_whole_number("rate_limit", value, MAX_RATE_LIMIT),
        lambda: MAX_RATE_LIMIT,
        in_words=lambda rate: _rate_in_words(rate),
    ),
    Setting(
        "max_in_flight", FormPart.HOW, lambda value: checked_whole_number("max_in_flight", value, settings().MAX_IN_FLIGHT),
        lambda: settings().MAX_IN_FLIGHT,
    ),
    Setting(
        "fifo", FormPart.HOW, checked_fifo,
        in_words=lambda fifo: _("yes, one request at a time") if fifo else _("no"),
    ),
    Setting("metadata", FormPart.HOW, checked_metadata),
)  # fmt: skip
NAMES = tuple(setting.name for setting in SETTINGS)


def apply_settings(endpoint: Endpoint, given: Mapping[str, Any]) -> None:
    """Check the settings that are given and put them into the endpoint; the caller saves. Raises InvalidEndpoint."""
    for setting in SETTINGS:
        if setting.name in given:
            setattr(endpoint, setting.name, setting.check(given[setting.name]))


def shown_settings(endpoint: Endpoint) -> list[ShownSetting]:
    """Return the rows of the settings page, without settings that are empty and have no words for that."""
    shown = []
    for setting in SETTINGS:
        value = getattr(endpoint, setting.name)
        words = setting.in_words(value)
        if words or value:
            shown.append(ShownSetting(str(setting.field.verbose_name), words, value))
    return shown


def _rate_in_words(rate: int | None) -> str:
    if not rate:
        return pgettext("limit", "none")
    return ngettext("%(number)s request a second", "%(number)s requests a second", rate) % {"number": rate}
