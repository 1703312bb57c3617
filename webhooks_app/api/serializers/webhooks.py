"""Serializers of webhooks, which is the API's word for endpoints."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from webhooks_app.api.serializers import OUTCOMES, WEBHOOK_STATUSES
from webhooks_app.api.serializers.authentication import (
    AUTHENTICATION_HELP,
    AuthenticationInput,
    AuthenticationSerializer,
)
from webhooks_app.api.serializers.client_tls import ClientTLSInputSerializer, ClientTLSSerializer
from webhooks_app.api.serializers.fields import (
    InputList,
    InputTime,
    PublicIdField,
    StrictBoolean,
    StrictText,
    help_text,
)
from webhooks_app.api.serializers.settings import input_field, read_field, with_settings
from webhooks_app.exceptions import SealingError
from webhooks_app.models import Endpoint, EndpointStatus

_URL = "The URL that events are sent to."
_EVENTS = "1 to 50 event types, families (`message.*`) or `*`."
_ACTIVE = "Whether events are sent. False: the webhook is paused or disabled; `status` says which."
_NEW = "The new secret. It is shown only in this response."
_GIVEN = "Your own secret. Without it, one is generated."


class HealthSerializer(serializers.Serializer[Any]):
    """The recent health of a webhook."""

    failures_in_a_row = serializers.IntegerField(
        source="consecutive_failures", help_text="The number of failed attempts since the last success."
    )
    failing_since = serializers.DateTimeField(
        allow_null=True, help_text="When the first of these attempts failed; null if the last attempt succeeded."
    )
    last_success_at = serializers.DateTimeField(allow_null=True, help_text="When an attempt last succeeded.")
    last_failure_at = serializers.DateTimeField(allow_null=True, help_text="When an attempt last failed.")


class WebhookSerializer(serializers.Serializer[Any]):
    """A webhook: a URL that receives events."""

    id = PublicIdField("wh")
    url = serializers.CharField(help_text=_URL)
    events = serializers.ListField(child=serializers.CharField(), source="patterns", read_only=True, help_text=_EVENTS)
    header_names = serializers.SerializerMethodField(
        help_text="Names of the custom headers. Their values are never shown."
    )
    authentication = serializers.SerializerMethodField(help_text=AUTHENTICATION_HELP)
    client_tls = ClientTLSSerializer(
        read_only=True,
        allow_null=True,
        help_text="The client certificate and the certificate authorities; null if there are none.",
    )
    wire_format = serializers.CharField(help_text=help_text(Endpoint, "wire_format"))
    active = serializers.SerializerMethodField(help_text=_ACTIVE)
    status = serializers.ChoiceField(choices=WEBHOOK_STATUSES, help_text="The status of the webhook.")
    status_reason = serializers.CharField(help_text="Why the webhook is paused or disabled; empty if it is active.")
    health = HealthSerializer(source="queue", help_text="The recent health of the webhook.")
    created_at = serializers.DateTimeField(help_text="When the webhook was created.")

    def get_fields(self) -> dict[str, Any]:
        return with_settings(super().get_fields(), read_field)

    def get_header_names(self, row: Endpoint) -> list[str]:
        try:
            return sorted(row.custom_headers())
        except SealingError:  # the encryption key is missing: nothing is sent, but the webhook can be read
            return []

    @extend_schema_field(AuthenticationSerializer(allow_null=True))
    def get_authentication(self, row: Endpoint) -> dict[str, str] | None:
        try:
            found = row.opened_authentication()
        except SealingError:  # as above
            return None
        return found.shown() if found else None

    def get_active(self, row: Endpoint) -> bool:
        return row.status == EndpointStatus.ACTIVE


class WebhookWithSecretSerializer(WebhookSerializer):
    """A webhook with its new secret, if one was generated. The secret is shown only once."""

    secret = serializers.CharField(required=False, help_text=_NEW)


class WebhookInputSerializer(serializers.Serializer[Any]):
    """The settings of a webhook. Each value is checked when it is saved."""

    url = StrictText(help_text=_URL)
    events = InputList(child=StrictText(), help_text=_EVENTS)
    headers = serializers.JSONField(
        required=False, write_only=True, help_text="Custom request headers: a JSON object of strings."
    )
    authentication = AuthenticationInput()
    client_tls = ClientTLSInputSerializer(
        required=False,
        allow_null=True,
        write_only=True,
        help_text="A client certificate, and certificate authorities. Null removes both.",
    )
    active = StrictBoolean(required=False, help_text="False disables the webhook, true enables it.")
    secret = StrictText(required=False, write_only=True, help_text=_GIVEN)

    def get_fields(self) -> dict[str, Any]:
        return with_settings(super().get_fields(), input_field)


class NewWebhookSerializer(WebhookInputSerializer):
    """The settings of a new webhook. Each value is checked when it is saved."""

    wire_format = StrictText(required=False, help_text=help_text(Endpoint, "wire_format"))


class RotationInputSerializer(serializers.Serializer[Any]):
    """The options of a rotation."""

    secret = StrictText(required=False, write_only=True, help_text=_GIVEN)
    overlap_hours = serializers.FloatField(
        required=False,
        min_value=0,
        max_value=24 * 365,
        help_text="How long the old secret stays valid beside the new one, in hours. 0: it ends at once.",
    )


class RotationSerializer(serializers.Serializer[Any]):
    """The result of a rotation."""

    secret = serializers.CharField(source="text", required=False, help_text=_NEW)
    previous_expires_at = serializers.DateTimeField(
        allow_null=True, help_text="The old secret stays valid until this time; null if it is not valid any more."
    )


class TestInputSerializer(serializers.Serializer[Any]):
    """A test event to send."""

    type = StrictText(help_text="An event type of the catalogue.")
    data = serializers.JSONField(  # type: ignore[assignment]  # a field's name, and a serializer's own
        required=False, help_text="The event's data. Default: the example of the event type."
    )


class RecoverInputSerializer(serializers.Serializer[Any]):
    """What to recover."""

    since = InputTime(help_text="Recover the events published at this time or later.")


class RecoverSerializer(serializers.Serializer[Any]):
    """The result of a recovery."""

    resent = serializers.IntegerField(help_text="The number of failed deliveries that are resent.")
    created = serializers.IntegerField(
        help_text="The number of deliveries created for events that had none for this webhook."
    )
    more = serializers.BooleanField(
        help_text="True if more events may have to be sent. Send the request again, with `after`."
    )
    after = serializers.CharField(
        allow_null=True, help_text="The value of `after` for the next request; null if nothing is left."
    )


class HourSerializer(serializers.Serializer[Any]):
    """One hour: the number of attempts by outcome, and the response times."""

    hour = serializers.DateTimeField(help_text="The start of the hour.")
    succeeded = serializers.IntegerField(help_text="Attempts that got a 2xx response.")
    redirect = serializers.IntegerField(help_text="Attempts that got a 3xx response.")
    client_error = serializers.IntegerField(help_text="Attempts that got a 4xx response.")
    server_error = serializers.IntegerField(help_text="Attempts that got a 5xx response.")
    timeout = serializers.IntegerField(help_text="Attempts that got no response in time.")
    unreachable = serializers.IntegerField(help_text="Attempts whose connection failed.")
    exhausted = serializers.IntegerField(help_text="Deliveries that failed permanently.")
    latency_mean_ms = serializers.FloatField(
        allow_null=True, help_text="The mean response time in milliseconds; null if there was no response."
    )
    latency_max_ms = serializers.FloatField(help_text="The longest response time in milliseconds.")


class StatsSerializer(serializers.Serializer[Any]):
    """Statistics by the hour."""

    since = serializers.DateTimeField(help_text="The start of the period.")
    until = serializers.DateTimeField(help_text="The end of the period.")
    hours = HourSerializer(many=True, help_text="The hours with attempts, oldest first.")


class AttemptSerializer(serializers.Serializer[Any]):
    """An attempt: one request and its response."""

    id = PublicIdField("att")
    number = serializers.IntegerField(help_text="The number of the attempt, from 1.")
    url = serializers.CharField(help_text="The URL that the request was sent to.")
    started_at = serializers.DateTimeField(help_text="When the request was sent.")
    duration_ms = serializers.FloatField(help_text="The time until the response was complete, in milliseconds.")
    outcome = serializers.ChoiceField(choices=OUTCOMES, help_text="The outcome of the attempt.")
    status = serializers.IntegerField(
        allow_null=True, help_text="The HTTP status of the response; null if there was no response."
    )
    http_version = serializers.CharField(help_text="The HTTP version of the response; empty if it is not known.")
    response_headers = serializers.CharField(
        source="shown_headers", help_text="The headers of the response, one in a line."
    )
    response_body = serializers.SerializerMethodField(help_text="The beginning of the response body, as text.")
    response_truncated = serializers.BooleanField(help_text="Whether the response body was longer than what is kept.")

    def get_response_body(self, row: Any) -> str:
        return str(row.shown_body.decode("utf-8", "replace"))
