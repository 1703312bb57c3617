"""Serializers of events, deliveries, event types and everything else except webhooks."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from webhooks_app.api.serializers import OUTCOMES
from webhooks_app.api.serializers.fields import AnyField, JSONTextField, PublicIdField, StrictText
from webhooks_app.core.role import Role
from webhooks_app.deliveries.outlook import outlook_in_list
from webhooks_app.models import Delivery, DeliveryStatus, Event


class EventSerializer(serializers.Serializer[Event]):
    id = PublicIdField("evt")
    type = serializers.CharField()
    data = JSONTextField()  # type: ignore[assignment]  # a field's name, and a serializer's own
    channels = serializers.ListField(child=serializers.CharField())
    subject = serializers.CharField()
    idempotency_key = serializers.CharField(allow_null=True)
    callback_url = serializers.CharField()
    occurred_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()


class NewEventSerializer(serializers.Serializer[Any]):
    """An event to publish."""

    type = StrictText()
    data = serializers.JSONField()  # type: ignore[assignment]  # a field's name, and a serializer's own
    channels = serializers.ListField(child=StrictText(), required=False)
    subject = StrictText(required=False, allow_blank=True)
    idempotency_key = StrictText(required=False)
    callback_url = StrictText(required=False, allow_blank=True)
    occurred_at = serializers.DateTimeField(required=False)


class NewEventsSerializer(serializers.Serializer[Any]):
    events = serializers.ListField(child=NewEventSerializer(), min_length=1, max_length=100)


class EventsSerializer(serializers.Serializer[Any]):
    events = EventSerializer(many=True)


class ReplayedSerializer(serializers.Serializer[Any]):
    deliveries = serializers.IntegerField(help_text="How many deliveries are sent again.")


class DeliverySerializer(serializers.Serializer[Delivery]):
    id = PublicIdField("dlv")
    event = PublicIdField("evt", source="event_id")
    event_type = serializers.CharField(source="event.type")
    webhook = PublicIdField("wh", source="endpoint_id")
    status = serializers.ChoiceField(choices=DeliveryStatus.choices)
    attempts = serializers.IntegerField()
    next_attempt_at = serializers.SerializerMethodField(help_text="Null where no attempt is to come.")
    last_outcome = serializers.ChoiceField(choices=OUTCOMES, allow_blank=True)
    last_status = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)

    def get_next_attempt_at(self, row: Delivery) -> str | None:
        prospect = outlook_in_list(row, timezone.now())
        return serializers.DateTimeField().to_representation(prospect.at) if prospect and prospect.at else None


class BulkRetrySerializer(serializers.Serializer[Any]):
    retried = serializers.IntegerField()
    more = serializers.BooleanField(help_text="True if more may match the filters: ask again, with `after`.")
    after = serializers.CharField(allow_null=True, help_text="For the query of the next request; null if that was all.")


class EventTypeSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    group = serializers.CharField()
    description = serializers.CharField()
    example = AnyField()
    schema = AnyField(help_text="A JSON Schema; null: none.")
    retired = serializers.BooleanField()


class NewPortalLinkSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(
        choices=[role.value for role in Role],
        default=Role.VIEWER.value,
        help_text="A viewer sees everything except secrets; a manager may also make changes.",
    )


class PortalLinkSerializer(serializers.Serializer[Any]):
    portal_url = serializers.CharField(required=False, help_text="Good for one use; shown this once.")
    expires_at = serializers.DateTimeField()


class EgressSerializer(serializers.Serializer[Any]):
    addresses = serializers.ListField(child=serializers.CharField())
