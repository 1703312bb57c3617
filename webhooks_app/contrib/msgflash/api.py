"""MsgFlash's API: `/api/v1/webhooks`, keys in `x-api-key`, everything inside `data`.

Ids are bare UUIDs in responses; paths accept `wh_…` too. The document shows three errors. The others have the same format,
`{"error": {"code", "message"}}`, with the standard API's codes.
"""

from __future__ import annotations

from typing import Any

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app.api.dialect import DialectView
from webhooks_app.api.idempotency import idempotent
from webhooks_app.api.serializers.fields import InputList, StrictText
from webhooks_app.api.views.base import NoSuchPath
from webhooks_app.core.envelope import iso_ms
from webhooks_app.endpoints.status import delete_endpoint
from webhooks_app.models import Endpoint

#: Error code → the documented text, used instead of ours.
_TEXTS = {
    "WEBHOOKS_NOT_AVAILABLE_ON_PLAN": "Feature no disponible",
    "MAX_WEBHOOK_ENDPOINTS_REACHED": "Limit reached",
    "NOT_FOUND": "Webhook not found",
}


class NewWebhook(serializers.Serializer[Any]):
    """The body of a request to create a webhook. `create_endpoint` checks the number and names of the events."""

    url = StrictText()
    events = InputList(child=StrictText())


class MsgFlashView(DialectView):
    wire_format = "msgflash"

    def error(self, status: int, code: str, detail: str, field: str) -> dict[str, Any]:
        named = f"{field}: {detail}" if code == "INVALID_FIELD" and field else detail
        return {"error": {"code": code, "message": _TEXTS.get(code, named)}}


class WebhooksView(MsgFlashView):
    def get(self, request: Request) -> Response:
        return Response({"data": [_shown(row) for row in self.endpoints()]})

    @idempotent
    def post(self, request: Request) -> Response:
        row, secret = self.make(**self.read(NewWebhook))
        return Response({"data": _shown(row, secret)}, status=201)


class WebhookView(MsgFlashView):
    def get(self, request: Request, text: str) -> Response:
        return Response({"data": _shown(self.named(text))})

    def delete(self, request: Request, text: str) -> Response:
        delete_endpoint(self.named(text), actor=self.access.actor)
        return Response(status=204)


class NoSuchPathView(NoSuchPath, MsgFlashView):
    """See `webhooks_app.api.urls_with_fallback`."""


def _shown(row: Endpoint, secret: str | None = None) -> dict[str, Any]:
    """Return the webhook as data, with its secret if it was just created."""
    return {
        "id": str(row.pk),
        "url": row.url,
        "events": row.patterns,
        **({} if secret is None else {"secret": secret}),
        "createdAt": iso_ms(row.created_at),
    }


# The converter is `path`, so that an id that contains a slash is an unknown id and not an unknown path.
urlpatterns = [
    path("api/v1/webhooks", WebhooksView.as_view()),
    path("api/v1/webhooks/<path:text>", WebhookView.as_view()),
]
