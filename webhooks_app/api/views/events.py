"""`/events`: publish, list, replay and erase events."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app.api.idempotency import idempotent
from webhooks_app.api.parameters import of_event, period, query
from webhooks_app.api.publishing import publish
from webhooks_app.api.serializers import events as shapes
from webhooks_app.api.views.base import ApiViewSet, by_time
from webhooks_app.deliveries.erase import erase_event, erase_subject
from webhooks_app.deliveries.resend import resend_event
from webhooks_app.models import Event, Scope

#: The most events that one request erases.
MOST_ERASED = 10_000
_FILTERS = [
    *of_event("events"),
    query("subject", "Only events with this subject, your own ID of an event."),
    *period("events published"),
]


@extend_schema(tags=["Events"])
class EventViewSet(ApiViewSet):
    """Published events."""

    prefix = "evt"
    scopes = {"create": Scope.EVENTS_WRITE, "batch": Scope.EVENTS_WRITE}

    def rows(self) -> QuerySet[Event]:
        return Event.objects.filter(quarantine_reason="")

    @extend_schema(parameters=_FILTERS, responses=shapes.EventSerializer(many=True))
    def list(self, request: Request) -> Response:
        """List events, newest first."""
        rows, asked = self.rows(), request.query_params
        for name in ("type", "subject"):
            if name in asked:
                rows = rows.filter(**{name: asked[name]})
        if "channel" in asked:
            rows = rows.filter(channel_rows__channel=asked["channel"], channel_rows__tenant_id=self.access.tenant.pk)
        return self.page(by_time(rows, request), shapes.EventSerializer)

    @extend_schema(request=shapes.NewEventSerializer, responses={201: shapes.EventSerializer})
    @idempotent
    def create(self, request: Request) -> Response:
        """Publish one event."""
        [event] = publish(self.access.tenant, [self.read(shapes.NewEventSerializer)])
        return Response(shapes.EventSerializer(event).data, status=201)

    @extend_schema(request=shapes.NewEventsSerializer, responses={201: shapes.EventsSerializer})
    @action(detail=False, methods=["post"])
    @idempotent
    def batch(self, request: Request) -> Response:
        """Publish up to 100 events. If one of them is invalid, none is published."""
        events = publish(self.access.tenant, self.read(shapes.NewEventsSerializer)["events"])
        return Response(shapes.EventsSerializer({"events": events}).data, status=201)

    @extend_schema(responses=shapes.EventSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Return one event."""
        return Response(shapes.EventSerializer(self.one(self.rows(), pk)).data)

    @extend_schema(request=None, responses=shapes.ReplayedSerializer)
    @action(detail=True, methods=["post"])
    @idempotent
    def replay(self, request: Request, pk: str) -> Response:
        """Replay an event: resend it to every webhook that it was sent to."""
        event = self.one(self.rows().defer("data"), pk)
        return Response({"deliveries": resend_event(event, actor=self.access.actor)})

    @extend_schema(request=None, responses=shapes.EventSerializer)
    @action(detail=True, methods=["post"])
    @idempotent
    def erase(self, request: Request, pk: str) -> Response:
        """Erase an event: its data, what receivers responded, and everything it is searched by. It cannot be sent again.

        Its pending deliveries are cancelled; its deliveries and their outcomes stay. This cannot be undone.
        """
        event = self.one(self.rows().defer("data"), pk)
        return Response(shapes.EventSerializer(erase_event(event, actor=self.access.actor)).data)

    @extend_schema(
        operation_id="events_erase_many", request=shapes.EraseEventsSerializer, responses=shapes.ErasedSerializer
    )
    @action(detail=False, methods=["post"], url_path="erase")
    @idempotent
    def erase_many(self, request: Request) -> Response:
        """Erase up to 10,000 events with this subject, as the operation for one event does."""
        subject = self.read(shapes.EraseEventsSerializer)["subject"]
        report = erase_subject(self.access.tenant, subject, most=MOST_ERASED, actor=self.access.actor)
        return Response({"events": report.events, "more": report.more})
