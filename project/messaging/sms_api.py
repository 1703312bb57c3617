"""A simulation of MsGine's documented message API: a message arrives at once, or fails for numbers that end in 0000.

Its webhooks use the `msgine` wire format. `callbackUrl` sends the events of one message there instead of to the account's
webhooks. A product with this API alone would set DEFAULT_WIRE_FORMAT; here several exist side by side, so it is set on the
account.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app.api import DialectView, NoSuchPath, idempotent, publish
from webhooks_app.models import Scope, Tenant

WIRE_FORMAT = "msgine"
_SENDER = "MyApp"
_FAILURE = {"failureReason": "Invalid phone number", "errorCode": "invalid_phone_number"}


class SmsSerializer(serializers.Serializer[Any]):
    """The documented request; `from` is the sender's name."""

    to = serializers.RegexField(r"^\+[1-9][0-9]{6,14}$", error_messages={"invalid": "A number such as +256701521269."})
    message = serializers.CharField(max_length=480)
    callbackUrl = serializers.CharField(required=False)  # noqa: N815 - as documented


class MsGineView(DialectView):
    """Errors are `{"error": …}`, as the document's own samples answer, and have a code for programs."""

    wire_format = WIRE_FORMAT

    def error(self, status: int, code: str, detail: str, field: str) -> dict[str, Any]:
        return {"error": f"{field}: {detail}" if code == "INVALID_FIELD" and field else detail, "code": code}


class SmsView(MsGineView):
    """`POST /api/v1/messages/sms`"""

    scopes = {"post": Scope.EVENTS_WRITE}

    @idempotent
    def post(self, request: Request) -> Response:
        serializer = SmsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        message_id, sid = f"msg_{uuid.uuid4().hex[:16]}", f"SM{uuid.uuid4().hex[:16]}"
        data = {"messageId": message_id, "to": asked["to"], "from": _SENDER, "sid": sid}
        failed = asked["to"].endswith("0000")
        to_emit = [
            ("message.sent", data),
            ("message.failed", data | _FAILURE) if failed else ("message.delivered", data),
        ]
        publish(
            self._account(),
            [
                {"type": type_, "data": data, "subject": message_id, "callback_url": asked.get("callbackUrl", "")}
                for type_, data in to_emit
            ],
        )
        answer = {"id": message_id, "status": "sent", "to": asked["to"], "from": _SENDER, "sid": sid}
        return Response(answer, status=201)

    def _account(self) -> Tenant:
        tenant = self.access.tenant
        if not tenant.wire_format:
            tenant.wire_format = WIRE_FORMAT
            tenant.save(update_fields=["wire_format"])
        return tenant


class NoSuchPathView(NoSuchPath, MsGineView):
    """See `webhooks_app.api.urls_with_fallback`."""


urlpatterns = [path("api/v1/messages/sms", SmsView.as_view())]
