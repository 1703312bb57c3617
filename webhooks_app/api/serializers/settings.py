"""The API's fields of an endpoint's settings, created from their declaration in `endpoints.settings`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from webhooks_app.api.serializers.fields import StrictBoolean, StrictText
from webhooks_app.endpoints.settings import SETTINGS, Kind, Setting

Field = serializers.Field[Any, Any, Any, Any]


class ReadsSettings(serializers.Serializer[Any]):
    """Adds the settings to what is read, after the fields named in `settings_after`."""

    settings_after = "events"

    def get_fields(self) -> dict[str, Any]:
        return _inserted(super().get_fields(), self.settings_after, {each.name: read_field(each) for each in SETTINGS})


class TakesSettings(serializers.Serializer[Any]):
    """Adds the settings to what may be sent. Each value is checked when it is saved."""

    settings_after = "events"

    def get_fields(self) -> dict[str, Any]:
        return _inserted(super().get_fields(), self.settings_after, {each.name: input_field(each) for each in SETTINGS})


def read_field(setting: Setting) -> Field:
    """Return a new field that shows the setting."""
    common: dict[str, Any] = {"help_text": str(setting.field.help_text)}
    match setting.kind:
        case Kind.FLAG:
            return serializers.BooleanField(**common)
        case Kind.NUMBER:
            return serializers.IntegerField(allow_null=True, **common)
        case Kind.NAMES:
            return serializers.ListField(child=serializers.CharField(), **common)
        case Kind.OBJECT:
            return serializers.DictField(**common)
    return serializers.CharField(**common)


def input_field(setting: Setting) -> Field:
    """Return a new field that takes the setting."""
    common: dict[str, Any] = {"required": False, "help_text": str(setting.field.help_text)}
    match setting.kind:
        case Kind.FLAG:
            return StrictBoolean(**common)
        case Kind.NUMBER:
            return serializers.IntegerField(allow_null=True, **common)
        case Kind.NAMES:
            return serializers.ListField(child=StrictText(), **common)
        case Kind.OBJECT:
            return serializers.JSONField(**common)
    return StrictText(allow_blank=True, **common)


def _inserted(fields: dict[str, Any], after: str, more: dict[str, Field]) -> dict[str, Any]:
    placed: dict[str, Any] = {}
    for name, field in fields.items():
        placed[name] = field
        if name == after:
            placed.update(more)
    return placed
