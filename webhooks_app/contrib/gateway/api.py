"""The WhatsApp gateway's API: `/webhooks` with integers as ids, and `{status, code, message, data|error}`."""

from __future__ import annotations

import re
from datetime import UTC
from http import HTTPStatus
from typing import Any

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app.api.access import ApiKeyAuthentication
from webhooks_app.api.dialect import DialectView
from webhooks_app.api.idempotency import idempotent
from webhooks_app.api.serializers.fields import InputList, StrictText
from webhooks_app.api.views.base import NoSuchPath
from webhooks_app.core.filters import EVERYTHING
from webhooks_app.endpoints.numeric_ids import number_endpoints
from webhooks_app.endpoints.status import delete_endpoint
from webhooks_app.exceptions import NotFound, URLNotAllowed
from webhooks_app.models import Endpoint, EndpointStatus
from webhooks_app.models.endpoint_number import MAX_NUMBER

CREATED = "Webhook created successfully"
RETRIEVED = "Webhook retrieved successfully"
LISTED = "Webhooks retrieved successfully"
NOT_HTTPS = "URL must be HTTPS"
NOT_CREATED = "Failed to create webhook"
#: Error code → the documented text for it.
_ERRORS = {
    "NOT_AUTHENTICATED": "Invalid or missing authentication",
    "INVALID_API_KEY": "Invalid or expired JWT token",
}
_MESSAGES = {400: "Bad request", 404: "Not found", 500: "Internal server error"}
_NUMBER = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_OTHER_SCHEME = re.compile(r"(?!https:)[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)


class NewWebhook(serializers.Serializer[Any]):
    """The body of a request to create a webhook. An empty secret or an empty list of events counts as omitted."""

    url = StrictText()
    secret = StrictText(required=False, allow_null=True, allow_blank=True)
    events = InputList(child=StrictText(), required=False, allow_null=True)


class GatewayKey(ApiKeyAuthentication):
    """`Authorization: wk_…`, the bare key. `Bearer wk_…` and the header `X-API-Key` are accepted too."""

    def text_of(self, request: Request) -> str | None:
        scheme, _, rest = str(request.headers.get("Authorization", "")).strip().partition(" ")
        bare = rest.strip() if scheme.lower() == "bearer" else f"{scheme} {rest}".strip()
        return bare or super().text_of(request) or None


class GatewayView(DialectView):
    wire_format = "gateway"
    authentication_classes = (GatewayKey,)

    def error(self, status: int, code: str, detail: str, field: str) -> dict[str, Any]:
        if status >= 500:
            status, detail = 500, NOT_CREATED if self.request.method == "POST" else detail
        elif code == "INVALID_FIELD" and field:
            detail = f"{field}: {detail}"
        message = _MESSAGES.get(status) or HTTPStatus(status).phrase
        return {"status": False, "code": status, "message": message, "error": _ERRORS.get(code, detail)}

    def _handle(self, error: Exception, context: dict[str, Any]) -> Response:
        response = super()._handle(error, context)
        response.status_code = response.data["code"]
        return response

    def numbered(self, text: str) -> Endpoint:
        """Return the tenant's webhook with this number. Raises NotFound."""
        number = int(text) if _NUMBER.fullmatch(text) else 0
        row = self.endpoints().filter(number__id=number).first() if 0 < number <= MAX_NUMBER else None
        if row is None:
            raise NotFound("Webhook not found")
        return row


class WebhooksView(GatewayView):
    @idempotent
    def post(self, request: Request) -> Response:
        values = self.read(NewWebhook)
        brought = values.get("secret") or None
        try:
            row, secret = self.make(url=values["url"], events=values.get("events") or [EVERYTHING], secret=brought)
        except URLNotAllowed as error:
            if _OTHER_SCHEME.match(values["url"]):
                raise URLNotAllowed(NOT_HTTPS, reason=error.reason) from error
            raise
        data = _shown([row])[0]
        if brought is None:
            data["secret"] = secret
        return _answer(201, CREATED, data)

    def get(self, request: Request) -> Response:
        return _answer(200, LISTED, _shown(list(self.endpoints())))


class WebhookView(GatewayView):
    def get(self, request: Request, number: str) -> Response:
        return _answer(200, RETRIEVED, _shown([self.numbered(number)])[0])

    def delete(self, request: Request, number: str) -> Response:
        delete_endpoint(self.numbered(number), actor=self.access.actor)
        return Response(status=204)


class NoSuchPathView(NoSuchPath, GatewayView):
    """See `webhooks_app.api.urls_with_fallback`."""


def _shown(rows: list[Endpoint]) -> list[dict[str, Any]]:
    numbers = number_endpoints(rows)
    return [
        {
            "id": numbers[row.pk],
            "url": row.url,
            "events": row.patterns,
            "active": row.status == EndpointStatus.ACTIVE,
            "created_at": row.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for row in rows
    ]


def _answer(code: int, message: str, data: Any) -> Response:
    return Response({"status": True, "code": code, "message": message, "data": data}, status=code)


# As in the other dialects, an id that contains a slash is an unknown id and not an unknown path.
urlpatterns = [
    path("webhooks", WebhooksView.as_view()),
    path("webhooks/<path:number>", WebhookView.as_view()),
]
