"""`/deliveries`: what was sent where, and its outcome."""

from __future__ import annotations

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app.api.idempotency import idempotent
from webhooks_app.api.serializers.events import BulkRetrySerializer, DeliverySerializer
from webhooks_app.api.serializers.webhooks import AttemptSerializer
from webhooks_app.api.views.base import ApiViewSet, by_time, id_filter
from webhooks_app.deliveries.resend import cancel_delivery, resend, retry_failed
from webhooks_app.exceptions import InvalidFilter
from webhooks_app.models import Attempt, Delivery, DeliveryStatus, Endpoint

#: The most deliveries that one bulk retry renews.
MOST_RETRIED = 10_000
_OF_ENDPOINT = ("id", "status", "wire_format", "queue")
_FILTERS = [
    OpenApiParameter("webhook", type=str, description="wh_…"),
    OpenApiParameter("event", type=str, description="evt_…"),
    OpenApiParameter("type", type=str, description="An event type."),
    OpenApiParameter("status", type=str, enum=list(DeliveryStatus.values)),
    OpenApiParameter("channel", type=str),
    OpenApiParameter("since", type=str, description="A time."),
    OpenApiParameter("until", type=str, description="A time."),
]


@extend_schema(tags=["Deliveries"])
class DeliveryViewSet(ApiViewSet):
    """One event for one webhook."""

    def rows(self) -> QuerySet[Delivery]:
        """With endpoints and queues by their keys: they say when the next attempt may be made."""
        endpoints = Endpoint.objects.select_related("queue").only(*_OF_ENDPOINT)
        rows = Delivery.objects.select_related("event")
        return rows.prefetch_related(Prefetch("endpoint", endpoints))

    def filtered(self, request: Request) -> QuerySet[Delivery]:
        rows, asked = self.rows(), request.query_params
        if webhook := id_filter(request, "webhook", "wh"):
            rows = rows.filter(endpoint_id=webhook)
        if event := id_filter(request, "event", "evt"):
            rows = rows.filter(event_id=event)
        if "type" in asked:
            rows = rows.filter(event__type=asked["type"])
        if "status" in asked:
            if asked["status"] not in DeliveryStatus.values:
                raise InvalidFilter(f"Choose one of {', '.join(DeliveryStatus.values)}.", field="status")
            rows = rows.filter(status=asked["status"])
        if "channel" in asked:
            rows = rows.filter(
                event__channel_rows__channel=asked["channel"], event__channel_rows__tenant_id=self.access.tenant.pk
            )
        return by_time(rows, request)

    @extend_schema(parameters=_FILTERS, responses=DeliverySerializer(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self.filtered(request), DeliverySerializer)

    @extend_schema(responses=DeliverySerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(DeliverySerializer(self.found(pk)).data)

    @extend_schema(responses=AttemptSerializer(many=True))
    @action(detail=True, methods=["get"])
    def attempts(self, request: Request, pk: str) -> Response:
        """Its requests, newest first."""
        delivery = self.found(pk)
        attempts = Attempt.objects.filter(delivery_id=delivery.pk)
        return self.page(attempts, AttemptSerializer)

    @extend_schema(request=None, responses=DeliverySerializer)
    @action(detail=True, methods=["post"])
    @idempotent
    def retry(self, request: Request, pk: str) -> Response:
        """Send it again, whatever became of it; a pending one is sent at once."""
        row = resend(self.found(pk).pk, actor=self.access.actor)
        return Response(DeliverySerializer(self.rows().get(pk=row.pk)).data)

    @extend_schema(request=None, responses=DeliverySerializer)
    @action(detail=True, methods=["post"])
    @idempotent
    def cancel(self, request: Request, pk: str) -> Response:
        """Do not send it any more."""
        row = cancel_delivery(self.found(pk).pk, actor=self.access.actor)
        return Response(DeliverySerializer(self.rows().get(pk=row.pk)).data)

    @extend_schema(
        operation_id="deliveries_retry_many", request=None, parameters=_FILTERS, responses=BulkRetrySerializer
    )
    @action(detail=False, methods=["post"], url_path="retry")
    @idempotent
    def retry_many(self, request: Request) -> Response:
        """Send again all that was given up and fits the filter, oldest first. Test events are left out."""
        tenant_id = self.access.tenant.pk
        rows = self.filtered(request)
        count = retry_failed(rows, tenant_id=tenant_id, most=MOST_RETRIED, actor=self.access.actor)
        return Response({"retried": count, "more": count >= MOST_RETRIED})

    def found(self, text: str) -> Delivery:
        return self.one(self.rows(), "dlv", text)
