"""Serializers of webhooks, which is the API's word for endpoints."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from webhooks_app.api.serializers import OUTCOMES
from webhooks_app.api.serializers.fields import PublicIdField, StrictBoolean, StrictText
from webhooks_app.api.serializers.settings import input_field, read_field, with_settings
from webhooks_app.exceptions import SealingError
from webhooks_app.models import Endpoint, EndpointStatus


class HealthSerializer(serializers.Serializer[Any]):
    """The recent health of a webhook."""

    failures_in_a_row = serializers.IntegerField(source="consecutive_failures")
    failing_since = serializers.DateTimeField(allow_null=True)
    last_success_at = serializers.DateTimeField(allow_null=True)
    last_failure_at = serializers.DateTimeField(allow_null=True)


class WebhookSerializer(serializers.Serializer[Any]):
    """A webhook."""

    id = PublicIdField("wh")
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.CharField(), source="patterns", read_only=True)
    header_names = serializers.SerializerMethodField(
        help_text="Names of the custom headers; their values are never shown."
    )
    wire_format = serializers.CharField(help_text="The wire format. Fixed when the webhook is made.")
    active = serializers.SerializerMethodField()
    status = serializers.ChoiceField(choices=EndpointStatus.choices)
    status_reason = serializers.CharField(help_text="Why it is not active, where it is not.")
    health = HealthSerializer(source="queue")
    created_at = serializers.DateTimeField()

    def get_fields(self) -> dict[str, Any]:
        return with_settings(super().get_fields(), read_field)

    def get_header_names(self, row: Endpoint) -> list[str]:
        try:
            return sorted(row.custom_headers())
        except SealingError:  # the encryption key is missing: nothing is sent, but the webhook can be read
            return []

    def get_active(self, row: Endpoint) -> bool:
        return row.status == EndpointStatus.ACTIVE


class WebhookWithSecretSerializer(WebhookSerializer):
    """A webhook with its new secret, if one was generated. The secret is shown only once."""

    secret = serializers.CharField(required=False, help_text="Shown this once.")


class WebhookInputSerializer(serializers.Serializer[Any]):
    """The settings of a webhook. Each value is checked when it is saved."""

    url = StrictText()
    events = serializers.ListField(child=StrictText(), help_text="1 to 50 event types, families (`message.*`) or `*`.")
    headers = serializers.JSONField(required=False, write_only=True, help_text="Custom headers: an object of texts.")
    active = StrictBoolean(required=False)
    secret = StrictText(required=False, write_only=True, help_text="One of your own; without it one is made.")

    def get_fields(self) -> dict[str, Any]:
        return with_settings(super().get_fields(), input_field)


class NewWebhookSerializer(WebhookInputSerializer):
    wire_format = StrictText(required=False)


class RotationInputSerializer(serializers.Serializer[Any]):
    secret = StrictText(required=False, write_only=True)
    overlap_hours = serializers.FloatField(
        required=False,
        min_value=0,
        max_value=24 * 365,
        help_text="How long the old secret signs too; 0 ends it at once.",
    )


class RotationSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(source="text", required=False, help_text="Shown this once.")
    previous_expires_at = serializers.DateTimeField(allow_null=True)


class TestInputSerializer(serializers.Serializer[Any]):
    type = StrictText(help_text="An event type of the catalogue.")
    data = serializers.JSONField(  # type: ignore[assignment]  # a field's name, and a serializer's own
        required=False, help_text="Instead of the type's example."
    )


class RecoverInputSerializer(serializers.Serializer[Any]):
    since = serializers.DateTimeField()


class RecoverSerializer(serializers.Serializer[Any]):
    resent = serializers.IntegerField(help_text="Deliveries that had failed.")
    created = serializers.IntegerField(help_text="Deliveries made for events that had none here.")


class HourSerializer(serializers.Serializer[Any]):
    """One hour: the number of requests by outcome, and the response times."""

    hour = serializers.DateTimeField()
    succeeded = serializers.IntegerField()
    redirect = serializers.IntegerField()
    client_error = serializers.IntegerField()
    server_error = serializers.IntegerField()
    timeout = serializers.IntegerField()
    unreachable = serializers.IntegerField()
    exhausted = serializers.IntegerField(help_text="Deliveries given up.")
    latency_mean_ms = serializers.FloatField(allow_null=True)
    latency_max_ms = serializers.FloatField()


class StatsSerializer(serializers.Serializer[Any]):
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    hours = HourSerializer(many=True)


class AttemptSerializer(serializers.Serializer[Any]):
    """One request and its response."""

    id = PublicIdField("att")
    number = serializers.IntegerField()
    url = serializers.CharField()
    started_at = serializers.DateTimeField()
    duration_ms = serializers.FloatField()
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    status = serializers.IntegerField(allow_null=True, help_text="The HTTP status; null where no answer came.")
    http_version = serializers.CharField()
    response_headers = serializers.CharField()
    response_body = serializers.SerializerMethodField(help_text="The beginning of the body, as text.")
    response_truncated = serializers.BooleanField()

    def get_response_body(self, row: Any) -> str:
        return bytes(row.response_body).decode("utf-8", "replace")
