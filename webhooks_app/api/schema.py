"""OpenAPI extensions for what drf-spectacular cannot detect: authentication and the format of errors."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from webhooks_app.api.access import HasScope, needed_scope
from webhooks_app.api.idempotency import HEADER
from webhooks_app.api.parameters import id_text

if TYPE_CHECKING:
    from webhooks_app.api.views.base import ApiViewSet


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The API key in either of two headers."""

    target_class = "webhooks_app.api.access.ApiKeyAuthentication"
    name = ["ApiKeyHeader", "BearerKey"]

    def get_security_definition(self, auto_schema: Any) -> Any:
        return [
            {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
            {"type": "http", "scheme": "bearer", "description": "An API key in the header `Authorization`."},
        ]


class PersonScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "webhooks_app.api.access.PersonAuthentication"
    name = "Session"

    def get_security_definition(self, auto_schema: Any) -> Any:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "The session of a logged-in user.",
        }


class FaultSerializer(serializers.Serializer[Any]):
    """One invalid field."""

    field = serializers.CharField(help_text="The name of the field, such as `url` or `events.2`.")
    detail = serializers.CharField(help_text="What is wrong, in English.")


class ProblemSerializer(serializers.Serializer[Any]):
    """An error in the format of RFC 9457."""

    type = serializers.CharField(help_text="Always `about:blank`; `code` tells errors apart.")
    title = serializers.CharField(help_text="The name of the HTTP status.")
    status = serializers.IntegerField(help_text="The HTTP status.")
    code = serializers.CharField(help_text="The kind of error, for programs. It does not change between versions.")
    detail = serializers.CharField(help_text="What is wrong and what to do, in English.")
    field = serializers.CharField(required=False, help_text="The field or parameter that is invalid, if it is one.")
    errors = FaultSerializer(  # type: ignore[assignment]  # a serializer has one of its own
        many=True, required=False, help_text="All invalid fields, if there are any."
    )


#: Errors that an operation may return, by the kind of operation.
_ALWAYS = {
    401: "The API key is missing, unknown, expired or revoked. Send a valid one in `X-API-Key` or `Authorization: Bearer`.",
    403: "The API key lacks the scope of this operation, or the plan does not include it.",
    429: "Too many requests. Wait for as many seconds as the header `Retry-After` says.",
}
_NOT_FOUND = "No object has this ID. Check the ID, and that the key belongs to the same tenant."
_CONFLICT = "The object is in a state that does not allow this."
_WRITING = {
    400: "The request is invalid. `detail` says what is wrong, and `field` where.",
    409: f"{_CONFLICT} Or the `Idempotency-Key` was used for another request.",
    413: "The request body, or the event's data, is too large. Send less at once.",
    415: "The request body is not JSON. Send `Content-Type: application/json`.",
}


class Schema(AutoSchema):
    """Add to every operation its possible errors, and to every POST its Idempotency-Key."""

    def get_override_parameters(self) -> list[Any]:
        parameters = list(super().get_override_parameters())
        if self.method == "POST":
            text = (
                "A key of your own for this request. If you repeat the request with the same key, it has no effect and gets "
                "the same response, without secrets."
            )
            parameters.append(OpenApiParameter(HEADER, str, OpenApiParameter.HEADER, description=text))
        return parameters

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular's own
        text = super().get_description() or ""
        if HasScope in getattr(self.view, "permission_classes", ()):
            text = f"{text}\n\nScope: `{needed_scope(self.view, self.method)}`.".strip()
        return text

    def _resolve_path_parameters(self, variables: Any) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super()._resolve_path_parameters(variables)  # type: ignore[no-untyped-call]
        for parameter in parameters:
            parameter.setdefault("description", id_text(cast("ApiViewSet", self.view).prefix))
        return parameters

    def _get_response_for_code(self, serializer: Any, status_code: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the response, described by its serializer unless it has a description already."""
        response: dict[str, Any] = super()._get_response_for_code(  # type: ignore[no-untyped-call]
            serializer, status_code, *args, **kwargs
        )
        if not response["description"]:
            one = getattr(serializer, "child", serializer)
            text = inspect.getdoc(one if inspect.isclass(one) else type(one)) or ""
            response["description"] = (
                text if one is serializer else f"A list. Each item is {text[:1].lower()}{text[1:]}"
            )
        return response

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
            errors |= {404: _NOT_FOUND}
        if self.method in ("POST", "PATCH"):
            errors |= _WRITING
        if self.method == "GET":
            errors |= {400: "A query parameter is invalid. `field` names it, and `detail` says what is wrong."}
            errors.setdefault(404, "The cursor is invalid. Use the links `next` and `previous` of a page.")
        if self.method == "DELETE":
            errors |= {409: _CONFLICT}
        return errors
