"""messages.dev's API: `/webhooks`. Each webhook belongs to one line (`from`); to delete one, send its id in the body."""

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
from webhooks_app.contrib.messages_dev import WIRE_FORMAT
from webhooks_app.core.envelope import epoch_ms
from webhooks_app.endpoints.status import delete_endpoint
from webhooks_app.events.payload import MAX_CHANNEL
from webhooks_app.models import Endpoint, EndpointStatus

MAX_LINE = MAX_CHANNEL - len(WIRE_FORMAT.channel_prefix)


class NewWebhook(serializers.Serializer[Any]):
    """The body of a request to create a webhook. `from` is its line; it is added below because it is a Python keyword."""

    url = StrictText()
    events = InputList(child=StrictText())

    def get_fields(self) -> dict[str, Any]:
        return {"from": StrictText(max_length=MAX_LINE), **super().get_fields()}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        line = attrs["from"]
        if not line.isprintable() or any(character.isspace() or character in ",;" for character in line):
            raise serializers.ValidationError({"from": "Enter one line, such as +15551234567."})
        return attrs


class DeletedWebhook(serializers.Serializer[Any]):
    id = StrictText()


class MessagesDevView(DialectView):
    wire_format = WIRE_FORMAT.name

    def error(self, status: int, code: str, detail: str, field: str) -> dict[str, Any]:
        message = f"{field}: {detail}" if code == "INVALID_FIELD" and field else detail
        return {"error": {"code": code, "message": message}}


class WebhooksView(MessagesDevView):
    @idempotent
    def post(self, request: Request) -> Response:
        values = self.read(NewWebhook)
        channel = WIRE_FORMAT.channel_prefix + values["from"]
        row, secret = self.make(url=values["url"], events=values["events"], channels=[channel])
        return Response({**_shown(row), "secret": secret}, status=201)

    def get(self, request: Request) -> Response:
        return Response({"data": [_shown(row) for row in self.endpoints()]})

    def delete(self, request: Request) -> Response:
        delete_endpoint(self.named(self.read(DeletedWebhook)["id"]), actor=self.access.actor)
        return Response(status=204)


class NoSuchPathView(NoSuchPath, MessagesDevView):
    """See `webhooks_app.api.urls_with_fallback`."""


def _shown(row: Endpoint) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "from": _line(row),
        "url": row.url,
        "events": row.patterns,
        "active": row.status == EndpointStatus.ACTIVE,
        "created_at": epoch_ms(row.created_at),
    }


def _line(row: Endpoint) -> str | None:
    """Return the line; None for an endpoint of every line, which only the dashboard and the standard API can create."""
    prefix = WIRE_FORMAT.channel_prefix
    return next((one.removeprefix(prefix) for one in row.channels if one.startswith(prefix)), None)


urlpatterns = [path("webhooks", WebhooksView.as_view())]
