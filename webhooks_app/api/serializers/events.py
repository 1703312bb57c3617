"""Serializers of events, deliveries, event types and everything else except webhooks."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from webhooks_app.api.parameters import CHANNEL, SUBJECT
from webhooks_app.api.serializers import DELIVERY_STATUSES, OUTCOMES
from webhooks_app.api.serializers.fields import (
    AnyField,
    InputList,
    InputTime,
    JSONTextField,
    PublicIdField,
    StrictText,
    help_text,
)
from webhooks_app.core.role import Role
from webhooks_app.deliveries.outlook import outlook_in_list
from webhooks_app.models import Delivery, Event, EventType

_TYPE = "The event type, for example `message.delivered`."
_DATA = "The event's data: any JSON value."
_SHOWN_DATA = f"{_DATA} Fields that the type redacts have the value `[redacted]`."
_CHANNELS = f"The event's channels. {CHANNEL}"
_IDEMPOTENCY_KEY = "A key that publishes the event only once, however often you send it."
_CALLBACK_URL = "The URL that this event is sent to instead of your webhooks; empty: your webhooks."
_OCCURRED_AT = "When the event occurred."


class EventSerializer(serializers.Serializer[Event]):
    """An event that was published."""

    id = PublicIdField("evt")
    type = serializers.CharField(help_text=_TYPE)
    data = JSONTextField(source="shown_data", help_text=_SHOWN_DATA)  # type: ignore[assignment]  # a field's name, and a serializer's own
    channels = serializers.ListField(child=serializers.CharField(), help_text=_CHANNELS)
    subject = serializers.CharField(help_text=SUBJECT)
    idempotency_key = serializers.CharField(allow_null=True, help_text=_IDEMPOTENCY_KEY)
    callback_url = serializers.CharField(help_text=_CALLBACK_URL)
    occurred_at = serializers.DateTimeField(help_text=_OCCURRED_AT)
    created_at = serializers.DateTimeField(help_text="When the event was published.")
    erased_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When the event's data was erased: `data` is null from then on, and the event cannot be replayed.",
    )


class EraseEventsSerializer(serializers.Serializer[Any]):
    """The events to erase."""

    subject = StrictText(help_text="The subject of the events to erase, your own ID of an event.")


class ErasedSerializer(serializers.Serializer[Any]):
    """The result of erasing events."""

    events = serializers.IntegerField(help_text="The number of events that were erased.")
    more = serializers.BooleanField(help_text="True if more events have this subject. Send the request again.")


class NewEventSerializer(serializers.Serializer[Any]):
    """An event to publish."""

    type = StrictText(help_text=_TYPE)
    data = serializers.JSONField(help_text=_DATA)  # type: ignore[assignment]  # a field's name, and a serializer's own
    channels = InputList(child=StrictText(), required=False, help_text=_CHANNELS)
    subject = StrictText(required=False, allow_blank=True, help_text=SUBJECT)
    idempotency_key = StrictText(required=False, help_text=_IDEMPOTENCY_KEY)
    callback_url = StrictText(required=False, allow_blank=True, help_text=_CALLBACK_URL)
    occurred_at = InputTime(required=False, help_text=f"{_OCCURRED_AT} Default: now.")


class NewEventsSerializer(serializers.Serializer[Any]):
    """The events to publish together."""

    events = InputList(
        child=NewEventSerializer(), min_length=1, max_length=100, help_text="The events, in the order to publish them."
    )


class EventsSerializer(serializers.Serializer[Any]):
    """The events that were published together."""

    events = EventSerializer(many=True, help_text="The events, in the order of the request.")


class ReplayedSerializer(serializers.Serializer[Any]):
    """The result of a replay."""

    deliveries = serializers.IntegerField(help_text="The number of deliveries that are resent.")


class DeliverySerializer(serializers.Serializer[Delivery]):
    """A delivery: one event for one webhook."""

    id = PublicIdField("dlv")
    event = PublicIdField("evt", source="event_id")
    event_type = serializers.CharField(source="event.type", help_text="The type of the event.")
    webhook = PublicIdField("wh", source="endpoint_id")
    status = serializers.ChoiceField(choices=DELIVERY_STATUSES, help_text="The status of the delivery.")
    attempts = serializers.IntegerField(help_text="The number of attempts so far.")
    next_attempt_at = serializers.SerializerMethodField(
        help_text="When the next attempt is made. Null if none is to come, or its time is not known."
    )
    last_outcome = serializers.ChoiceField(
        choices=OUTCOMES, allow_blank=True, help_text="The outcome of the last attempt; empty if there was none."
    )
    last_status = serializers.IntegerField(
        allow_null=True, help_text="The HTTP status of the last response; null if there was none."
    )
    created_at = serializers.DateTimeField(help_text="When the delivery was created.")
    completed_at = serializers.DateTimeField(
        allow_null=True, help_text="When the delivery succeeded, failed permanently or was cancelled."
    )

    def get_next_attempt_at(self, row: Delivery) -> str | None:
        outlook = outlook_in_list(row, timezone.now())
        return serializers.DateTimeField().to_representation(outlook.at) if outlook and outlook.at else None


class BulkRetrySerializer(serializers.Serializer[Any]):
    """The result of a bulk retry."""

    retried = serializers.IntegerField(help_text="The number of deliveries that are resent.")
    more = serializers.BooleanField(
        help_text="True if more deliveries may match the filters. Send the request again, with `after`."
    )
    after = serializers.CharField(
        allow_null=True, help_text="The value of `after` for the next request; null if no more deliveries match."
    )


class EventTypeSerializer(serializers.Serializer[Any]):
    """An event type of the catalogue."""

    name = serializers.CharField(help_text=help_text(EventType, "name"))
    group = serializers.CharField(help_text="The group that the catalogue lists the type under; may be empty.")
    description = serializers.CharField(help_text="What events of this type mean; may be empty.")
    example = AnyField(help_text="An example of the data of such an event.")
    schema = AnyField(help_text=help_text(EventType, "schema"))
    retired = serializers.BooleanField(help_text=help_text(EventType, "retired"))


class NewPortalLinkSerializer(serializers.Serializer[Any]):
    """The options of a portal link."""

    role = serializers.ChoiceField(
        choices=[
            (Role.VIEWER.value, "Sees everything except secrets."),
            (Role.MANAGER.value, "May also make changes."),
        ],
        default=Role.VIEWER.value,
        help_text="What the user of the link may do.",
    )


class PortalLinkSerializer(serializers.Serializer[Any]):
    """A portal link."""

    portal_url = serializers.CharField(
        required=False, help_text="The URL of the link. It works once and is shown only in this response."
    )
    expires_at = serializers.DateTimeField(help_text="The link must be opened before this time.")


class EgressSerializer(serializers.Serializer[Any]):
    """Where requests come from."""

    addresses = serializers.ListField(
        child=serializers.CharField(), help_text="IP addresses and networks. Empty if they are not fixed."
    )
