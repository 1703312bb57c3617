"""`/deliveries`: the delivery log, with attempts, retries and cancellation."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app.api.idempotency import idempotent
from webhooks_app.api.pagination import LogPages
from webhooks_app.api.parameters import of_event, period, query
from webhooks_app.api.serializers.events import BulkRetrySerializer, DeliverySerializer
from webhooks_app.api.serializers.webhooks import AttemptSerializer
from webhooks_app.api.views.base import ApiViewSet, id_filter, time_filter
from webhooks_app.deliveries.bulk_retry import Retried, retry_many
from webhooks_app.deliveries.log import DeliveryLog, LogFilter
from webhooks_app.deliveries.resend import cancel_delivery, resend
from webhooks_app.exceptions import InvalidFilter, NotFound
from webhooks_app.models import Attempt, Delivery, DeliveryStatus, Endpoint
from webhooks_app.models.ids import public_id

#: The most deliveries that one bulk retry renews.
MOST_RETRIED = 10_000
_OF_ENDPOINT = ("id", "status", "wire_format", "queue")
_FILTERS = [
    query("webhook", "Only deliveries to the webhook with this ID (`wh_…`)."),
    query("event", "Only deliveries of the event with this ID (`evt_…`)."),
    query("status", "Only deliveries with this status.", enum=list(DeliveryStatus.values)),
    *of_event("deliveries"),
    *period("deliveries created"),
]


@extend_schema(tags=["Deliveries"])
class DeliveryViewSet(ApiViewSet):
    """Deliveries: each is one event for one webhook."""

    prefix = "dlv"

    def rows(self) -> QuerySet[Delivery]:
        """Return deliveries with their endpoints and queues, which determine the time of the next attempt."""
        endpoints = Endpoint.objects.select_related("queue").only(*_OF_ENDPOINT)
        rows = Delivery.objects.select_related("event")
        return rows.prefetch_related(Prefetch("endpoint", endpoints))

    @extend_schema(parameters=_FILTERS, responses=DeliverySerializer(many=True))
    def list(self, request: Request) -> Response:
        """List deliveries, newest first. A page may be shorter than `limit`, or empty; go on until `next` is null."""
        try:
            log = DeliveryLog(self.access.tenant.pk, _filter_of(request))
        except NotFound:  # the webhook is another tenant's, or nobody's
            log = None
        pages = LogPages()
        rows: Any = pages.paginate_log(log, request)
        return pages.get_paginated_response(DeliverySerializer(rows, many=True).data)

    @extend_schema(responses=DeliverySerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Return one delivery."""
        return Response(DeliverySerializer(self.found(pk)).data)

    @extend_schema(responses=AttemptSerializer(many=True))
    @action(detail=True, methods=["get"])
    def attempts(self, request: Request, pk: str) -> Response:
        """List the attempts of a delivery, newest first."""
        delivery = self.found(pk)
        attempts = Attempt.objects.filter(delivery_id=delivery.pk)
        return self.page(attempts, AttemptSerializer)

    @extend_schema(request=None, responses=DeliverySerializer)
    @action(detail=True, methods=["post"])
    @idempotent
    def retry(self, request: Request, pk: str) -> Response:
        """Resend a delivery, whatever its outcome. A pending delivery is sent at once."""
        row = resend(self.found(pk).pk, actor=self.access.actor)
        return Response(DeliverySerializer(self.rows().get(pk=row.pk)).data)

    @extend_schema(request=None, responses=DeliverySerializer)
    @action(detail=True, methods=["post"])
    @idempotent
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel a delivery: no more attempts are made."""
        row = cancel_delivery(self.found(pk).pk, actor=self.access.actor)
        return Response(DeliverySerializer(self.rows().get(pk=row.pk)).data)

    @extend_schema(
        operation_id="deliveries_retry_many",
        request=None,
        parameters=[*_FILTERS, query("after", "The value of `after` in the last response.")],
        responses=BulkRetrySerializer,
    )
    @action(detail=False, methods=["post"], url_path="retry")
    @idempotent
    def retry_many(self, request: Request) -> Response:
        """Resend all permanently failed (`exhausted`) deliveries that match the filters, oldest first, except test events."""
        wanted, after = _filter_of(request), id_filter(request, "after", "dlv")
        done = Retried(0, None)
        if wanted.status in ("", DeliveryStatus.EXHAUSTED):
            with suppress(NotFound):  # the webhook is another tenant's, or nobody's
                done = retry_many(self.access.tenant, wanted, most=MOST_RETRIED, after=after, actor=self.access.actor)
        after_next = done.position and public_id("dlv", done.position)
        return Response({"retried": done.count, "more": after_next is not None, "after": after_next})

    def found(self, text: str) -> Delivery:
        return self.one(self.rows(), text)


def _filter_of(request: Request) -> LogFilter:
    """Return the filter in the query parameters. Raises InvalidFilter."""
    asked = request.query_params
    status = asked.get("status", "")
    if "status" in asked and status not in DeliveryStatus.values:
        raise InvalidFilter(
            f"{status[:80]!r} is not a status. Choose one of {', '.join(DeliveryStatus.values)}.", field="status"
        )
    return LogFilter(
        endpoint_id=id_filter(request, "webhook", "wh"),
        event_id=id_filter(request, "event", "evt"),
        type=asked.get("type", ""),
        status=status,
        channel=asked.get("channel", ""),
        since=time_filter(request, "since"),
        until=time_filter(request, "until"),
    )
