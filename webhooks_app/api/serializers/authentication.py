"""The API's fields of an endpoint's authentication, created from their declaration in `core.authentication`."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from webhooks_app.core.authentication import KINDS, AuthenticationField

#: The choices, each with its description.
AUTHENTICATION_KINDS = [(kind.value, f"{described.name}. {described.help}") for kind, described in KINDS.items()]
AUTHENTICATION_HELP = "How requests authenticate to the receiver, with an `Authorization` header; null: they do not."


class AuthenticationSerializer(serializers.Serializer[Any]):
    """How requests authenticate to the receiver. Each kind has fields of its own. Secrets are never returned."""

    kind = serializers.ChoiceField(choices=AUTHENTICATION_KINDS, help_text="The kind of authentication.")

    def get_fields(self) -> dict[str, Any]:
        described = {one.name: _field(kind.value, one) for kind, shape in KINDS.items() for one in shape.fields}
        return {**super().get_fields(), **described}


def _field(kind: str, one: AuthenticationField) -> serializers.Field[Any, Any, Any, Any]:
    kept = " Left out of a change, it stays as it is." if one.is_secret else ""
    optional = "" if one.required else ", optional"
    common: dict[str, Any] = {
        "required": False,
        "write_only": one.is_secret,
        "help_text": f"{one.label} (`{kind}`{optional}). {one.help}".rstrip() + kept,
    }
    if one.choices:
        return serializers.ChoiceField(choices=list(one.choices), **common)
    return serializers.CharField(max_length=one.most, **common)


@extend_schema_field(AuthenticationSerializer)
class AuthenticationInput(serializers.JSONField):
    """Takes any JSON: `endpoints.authentication` checks it."""

    def __init__(self) -> None:
        super().__init__(required=False, allow_null=True, write_only=True, help_text=AUTHENTICATION_HELP)
