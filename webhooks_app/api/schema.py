"""OpenAPI extensions for what drf-spectacular cannot detect: authentication and the format of errors."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from webhooks_app.api.access import HasScope, needed_scope
from webhooks_app.api.idempotency import HEADER


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The API key in either of two headers."""

    target_class = "webhooks_app.api.access.ApiKeyAuthentication"
    name = ["ApiKeyHeader", "BearerKey"]

    def get_security_definition(self, auto_schema: Any) -> Any:
        return [{"type": "apiKey", "in": "header", "name": "X-API-Key"}, {"type": "http", "scheme": "bearer"}]


class PersonScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "webhooks_app.api.access.PersonAuthentication"
    name = "Session"

    def get_security_definition(self, auto_schema: Any) -> Any:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


class FaultSerializer(serializers.Serializer[Any]):
    field = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """An error in the format of RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable: for programs.")
    detail = serializers.CharField(help_text="For people.")
    field = serializers.CharField(required=False, help_text="The field that is at fault.")
    errors = FaultSerializer(many=True, required=False)  # type: ignore[assignment]  # a serializer has one of its own


#: Errors that an operation may return, by the kind of operation.
_ALWAYS = {
    401: "No key, or one that is not good.",
    403: "The key lacks the scope, or the plan.",
    429: "Too many requests.",
}
_WITH_ID = {404: "There is no such object."}
_WRITING = {400: "Something is not acceptable.", 409: "Not in this state, or a used Idempotency-Key."}


class Schema(AutoSchema):
    """Add to every operation its possible errors, and to every POST its Idempotency-Key."""

    def get_override_parameters(self) -> list[Any]:
        parameters = list(super().get_override_parameters())
        if self.method == "POST":
            text = "The same request again under this key does nothing, and gets the same answer without secrets."
            parameters.append(OpenApiParameter(HEADER, str, OpenApiParameter.HEADER, description=text))
        return parameters

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular's own
        text = super().get_description() or ""
        if HasScope in getattr(self.view, "permission_classes", ()):
            text = f"{text}\n\nScope: `{needed_scope(self.view, self.method)}`.".strip()
        return text

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        problem = self.resolve_serializer(ProblemSerializer, direction).ref
        for status, text in self._errors().items():
            bodies.setdefault(
                str(status), {"description": text, "content": {"application/problem+json": {"schema": problem}}}
            )
        return bodies

    def _errors(self) -> dict[int, str]:
        errors = dict(_ALWAYS)
        if "{" in self.path:
            errors |= _WITH_ID
        if self.method in ("POST", "PATCH"):
            errors |= {**_WRITING, 413: "The body, or the event's data, is too large.", 415: "The body is not JSON."}
        if self.method == "GET":
            errors |= {400: "A filter is not understood.", 404: "There is no such object, or no such page."}
        if self.method == "DELETE":
            errors |= {409: "Not in this state."}
        return errors
