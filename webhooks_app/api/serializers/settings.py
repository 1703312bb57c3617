"""The API's fields of an endpoint's settings, created from their declaration in `endpoints.settings`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rest_framework import serializers

from webhooks_app.api.serializers.fields import InputList, StrictBoolean, StrictText
from webhooks_app.endpoints.settings import SETTINGS, Setting, ValueType

Field = serializers.Field[Any, Any, Any, Any]


def read_field(setting: Setting) -> Field:
    """Return a new field for the setting in responses."""
    common: dict[str, Any] = {"help_text": str(setting.field.help_text)}
    match setting.value_type:
        case ValueType.FLAG:
            return serializers.BooleanField(**common)
        case ValueType.NUMBER:
            return serializers.IntegerField(allow_null=True, **common)
        case ValueType.NAMES:
            return serializers.ListField(child=serializers.CharField(), **common)
        case ValueType.OBJECT:
            return serializers.DictField(**common)
    return serializers.CharField(**common)


def input_field(setting: Setting) -> Field:
    """Return a new field for the setting in requests."""
    common: dict[str, Any] = {"required": False, "help_text": str(setting.field.help_text)}
    match setting.value_type:
        case ValueType.FLAG:
            return StrictBoolean(**common)
        case ValueType.NUMBER:
            return serializers.IntegerField(allow_null=True, **common)
        case ValueType.NAMES:
            return InputList(child=StrictText(), **common)
        case ValueType.OBJECT:
            return serializers.JSONField(**common)
    return StrictText(allow_blank=True, **common)


def with_settings(fields: dict[str, Any], make: Callable[[Setting], Field]) -> dict[str, Any]:
    """Return a serializer's fields with one for each setting, after the field `events`."""
    placed: dict[str, Any] = {}
    for name, field in fields.items():
        placed[name] = field
        if name == "events":
            placed.update((setting.name, make(setting)) for setting in SETTINGS)
    return placed
