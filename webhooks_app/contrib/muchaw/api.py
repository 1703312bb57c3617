"""Muchaw DEV's API: `/api/webhooks`, keys in `Authorization: Bearer`, flat responses.

`numberIds` are the endpoint's channels, each `number:<id>`. Without any, the webhook receives the events of every number; with
some, it does not receive events without a number. The document shows no errors. Here they are flat like its responses,
`{"error": "<what is wrong>", "code": "<CODE>"}`, with the standard API's statuses and codes.
"""

from __future__ import annotations

from typing import Any

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app.api import services
from webhooks_app.api.dialect import DialectView
from webhooks_app.api.idempotency import idempotent
from webhooks_app.api.serializers.fields import InputList, StrictBoolean, StrictText
from webhooks_app.api.views.base import NoSuchPath
from webhooks_app.contrib.muchaw import WIRE_FORMAT
from webhooks_app.core.envelope import iso_ms
from webhooks_app.endpoints.status import delete_endpoint
from webhooks_app.endpoints.validation import MAX_CHANNELS
from webhooks_app.events.payload import MAX_CHANNEL
from webhooks_app.models import Endpoint, EndpointStatus

_PREFIX = WIRE_FORMAT.channel_prefix


class NumberId(StrictText):
    """The id of a number, as used in channel names."""

    def __init__(self) -> None:
        super().__init__(max_length=MAX_CHANNEL - len(_PREFIX))

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not text.isprintable():
            raise serializers.ValidationError("Not a valid number id.")
        return text


class WebhookChanges(serializers.Serializer[Any]):
    """The body of a request to change a webhook. Omitted fields stay unchanged."""

    url = StrictText(required=False)
    events = InputList(child=StrictText(), required=False)
    numberIds = InputList(  # noqa: N815 - the document's name
        child=NumberId(), required=False, max_length=MAX_CHANNELS, source="channels"
    )
    active = StrictBoolean(required=False)

    def validate_numberIds(self, numbers: list[str]) -> list[str]:  # noqa: N802 - DRF finds it by the field's name
        return [_PREFIX + number for number in numbers]


class NewWebhook(WebhookChanges):
    url = StrictText()
    events = InputList(child=StrictText())


class MuchawView(DialectView):
    wire_format = WIRE_FORMAT.name

    def error(self, status: int, code: str, detail: str, field: str) -> dict[str, Any]:
        return {"error": f"{field}: {detail}" if code == "INVALID_FIELD" and field else detail, "code": code}


class WebhooksView(MuchawView):
    def get(self, request: Request) -> Response:
        return Response([_shown(row) for row in self.endpoints()])

    @idempotent
    def post(self, request: Request) -> Response:
        row, secret = self.make(**self.read(NewWebhook))
        return Response(_shown(row, secret), status=201)


class WebhookView(MuchawView):
    def get(self, request: Request, text: str) -> Response:
        return Response(_shown(self.named(text)))

    def patch(self, request: Request, text: str) -> Response:
        """Change the webhook. As in the standard API, another scheme, host or port gets a new secret, which is returned."""
        row = self.named(text)
        secret = services.change(self.access, row, **self.read(WebhookChanges))
        return Response(_shown(self.found(row.pk), secret))

    def delete(self, request: Request, text: str) -> Response:
        delete_endpoint(self.named(text), actor=self.access.actor)
        return Response(status=204)


class RotateSecretView(MuchawView):
    @idempotent
    def post(self, request: Request, text: str) -> Response:
        """Rotate the secret. The old one stays valid until `previousSecretExpiresAt`. The request body is ignored."""
        rotated = services.rotate(self.access, self.named(text))
        ends = rotated.previous_expires_at
        return Response({"secret": rotated.text, "previousSecretExpiresAt": iso_ms(ends) if ends else None})


class NoSuchPathView(NoSuchPath, MuchawView):
    """See `webhooks_app.api.urls_with_fallback`."""


def _shown(row: Endpoint, secret: str | None = None) -> dict[str, Any]:
    """Return the webhook as data, with its secret if it was just created."""
    numbers = [name.removeprefix(_PREFIX) for name in row.channels if name.startswith(_PREFIX)]
    return {
        "id": row.public_id,
        "url": row.url,
        **({} if secret is None else {"secret": secret}),
        "events": row.patterns,
        "numberIds": numbers,
        "active": row.status == EndpointStatus.ACTIVE,
        "createdAt": iso_ms(row.created_at),
    }


# The converter is `path`, so that an id that contains a slash is an unknown id and not an unknown path.
urlpatterns = [
    path("api/webhooks", WebhooksView.as_view()),
    path("api/webhooks/<path:text>/rotate-secret", RotateSecretView.as_view()),
    path("api/webhooks/<path:text>", WebhookView.as_view()),
]
