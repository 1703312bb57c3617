"""`/webhooks`: endpoints, their secrets, tests, statistics and recovery."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app.api import services
from webhooks_app.api.idempotency import idempotent
from webhooks_app.api.parameters import period, query
from webhooks_app.api.serializers import webhooks as shapes
from webhooks_app.api.views.base import ApiViewSet, id_filter, time_filter
from webhooks_app.deliveries.recover import recover_part
from webhooks_app.deliveries.test_event import EXAMPLE, send_test_event
from webhooks_app.endpoints.status import delete_endpoint, set_active
from webhooks_app.models import Endpoint, HourlyStat, database_now
from webhooks_app.models.ids import public_id

_LONGEST_STATS = timedelta(days=31)
_TAG = ["Webhooks"]


@extend_schema(tags=_TAG)
class WebhookViewSet(ApiViewSet):
    """Webhooks: URLs that receive your events."""

    prefix = "wh"

    def rows(self) -> QuerySet[Endpoint]:
        visible = Endpoint.objects.visible()
        return visible.select_related("queue").prefetch_related("subscriptions")

    @extend_schema(responses=shapes.WebhookSerializer(many=True))
    def list(self, request: Request) -> Response:
        """List webhooks, newest first."""
        return self.page(self.rows(), shapes.WebhookSerializer)

    @extend_schema(request=shapes.NewWebhookSerializer, responses={201: shapes.WebhookWithSecretSerializer})
    @idempotent
    def create(self, request: Request) -> Response:
        """Create a webhook. The response contains its secret, which is shown only once."""
        row, secret = services.create(self.access, **self.read(shapes.NewWebhookSerializer))
        return Response(self.shown(row, secret), status=201)

    @extend_schema(responses=shapes.WebhookSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Return one webhook."""
        return Response(self.shown(self.found(pk)))

    @extend_schema(request=shapes.WebhookInputSerializer(partial=True), responses=shapes.WebhookWithSecretSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change the given fields. A URL with another scheme, host or port gets a new secret, which the response contains."""
        row = self.found(pk)
        secret = services.change(self.access, row, **self.read(shapes.WebhookInputSerializer, partial=True))
        return Response(self.shown(row, secret))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a webhook. Its pending deliveries are cancelled, and its log stays readable."""
        delete_endpoint(self.found(pk), actor=self.access.actor)
        return Response(status=204)

    @extend_schema(request=None, responses=shapes.WebhookSerializer)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: str) -> Response:
        """Enable a disabled webhook and reset its failures, or resume a paused one."""
        row = self.found(pk)
        set_active(row, on=True, actor=self.access.actor)
        return Response(self.shown(row))

    @extend_schema(request=None, responses=shapes.WebhookSerializer)
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: str) -> Response:
        """Disable a webhook: no deliveries are created for it. Pending ones are kept; `recover` sends the missed events."""
        row = self.found(pk)
        set_active(row, on=False, actor=self.access.actor)
        return Response(self.shown(row))

    @extend_schema(request=shapes.RotationInputSerializer, responses=shapes.RotationSerializer)
    @action(detail=True, methods=["post"], url_path="rotate-secret")
    @idempotent
    def rotate_secret(self, request: Request, pk: str) -> Response:
        """Rotate the secret. The old secret stays valid until `previous_expires_at`."""
        rotated = services.rotate(self.access, self.found(pk), **self.read(shapes.RotationInputSerializer))
        return Response(shapes.RotationSerializer(rotated).data)

    @extend_schema(request=shapes.TestInputSerializer, responses=shapes.AttemptSerializer)
    @action(detail=True, methods=["post"])
    @idempotent
    def test(self, request: Request, pk: str) -> Response:
        """Send a test event now, and return the attempt."""
        row = self.found(pk)
        values = self.read(shapes.TestInputSerializer)
        attempt = send_test_event(row, type=values["type"], data=values.get("data", EXAMPLE), actor=self.access.actor)
        return Response(shapes.AttemptSerializer(attempt).data)

    @extend_schema(
        request=shapes.RecoverInputSerializer,
        parameters=[query("after", "The value of `after` in the last response.")],
        responses=shapes.RecoverSerializer,
    )
    @action(detail=True, methods=["post"])
    @idempotent
    def recover(self, request: Request, pk: str) -> Response:
        """Resend the deliveries that failed since a time, and send the events missed while the webhook was disabled.

        A request ends after some seconds. If `more` is true, send it again with the `after` of the response, until it is false.
        """
        row = self.found(pk)
        since = self.read(shapes.RecoverInputSerializer)["since"]
        done = recover_part(row, since, after=id_filter(request, "after", "evt"), actor=self.access.actor)
        after = done.position and public_id("evt", done.position)
        return Response({"resent": done.resent, "created": done.created, "more": after is not None, "after": after})

    @extend_schema(
        parameters=period("hours that start"),
        responses=shapes.StatsSerializer,
    )
    @action(detail=True, methods=["get"])
    def stats(self, request: Request, pk: str) -> Response:
        """Return statistics by the hour: for the last day, or for up to 31 days between `since` and `until`."""
        row = self.found(pk)
        until = time_filter(request, "until") or database_now()
        since = max(time_filter(request, "since") or until - timedelta(days=1), until - _LONGEST_STATS)
        hours = HourlyStat.objects.filter(endpoint_id=row.pk, hour__gte=since, hour__lt=until)
        shown = {"since": since, "until": until, "hours": [_hour(one) for one in hours.order_by("hour")]}
        return Response(shapes.StatsSerializer(shown).data)

    def found(self, text: str) -> Endpoint:
        return self.one(self.rows(), text)

    def shown(self, row: Endpoint, secret: str | None = None) -> dict[str, Any]:
        """Return the current webhook as data, with its new secret if there is one."""
        shown = shapes.WebhookSerializer(self.rows().get(pk=row.pk)).data
        return shown if secret is None else {**shown, "secret": secret}


def _hour(row: HourlyStat) -> dict[str, Any]:
    answered = sum(getattr(row, f"latency_{number}") for number in range(10))
    return {**vars(row), "latency_mean_ms": row.latency_sum_ms / answered if answered else None}
