"""The catalogue, portal links, the account secret, and the IP addresses that requests come from."""

from __future__ import annotations

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app.api import services
from webhooks_app.api.idempotency import idempotent
from webhooks_app.api.serializers import events as shapes
from webhooks_app.api.serializers.webhooks import RotationInputSerializer, RotationSerializer
from webhooks_app.api.views.base import ApiView
from webhooks_app.conf import settings
from webhooks_app.core.role import Role
from webhooks_app.events.types import event_types
from webhooks_app.models import Scope
from webhooks_app.tenants.portal import create_portal_link


@extend_schema(tags=["Event types"])
class EventTypesView(ApiView):
    @extend_schema(operation_id="event_types_list", responses=shapes.EventTypeSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List all event types, with schema and example."""
        return Response(shapes.EventTypeSerializer(event_types(), many=True).data)


@extend_schema(tags=["Portal"])
class PortalLinksView(ApiView):
    scopes = {"post": Scope.PORTAL_WRITE}

    @extend_schema(request=shapes.NewPortalLinkSerializer, responses={201: shapes.PortalLinkSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Create a link to the dashboard. It works once and expires after a few minutes. Its session ends with the key."""
        role = Role(self.read(shapes.NewPortalLinkSerializer)["role"])
        link, token = create_portal_link(
            self.access.tenant,
            role=role,
            scopes=self.access.scopes,
            api_key=self.access.key,
            actor=self.access.actor,
        )
        url = request.build_absolute_uri(reverse("webhooks_app:portal", args=[token]))
        return Response(
            shapes.PortalLinkSerializer({"portal_url": url, "expires_at": link.expires_at}).data, status=201
        )


@extend_schema(tags=["Account"])
class AccountSecretView(ApiView):
    @extend_schema(request=RotationInputSerializer, responses=RotationSerializer)
    @idempotent
    def post(self, request: Request) -> Response:
        """Rotate the account secret, which signs requests to callback URLs. The new secret is shown only once. The old secret
        stays valid until `previous_expires_at`."""
        rotated = services.rotate(self.access, self.access.tenant, **self.read(RotationInputSerializer))
        return Response(RotationSerializer(rotated).data)


@extend_schema(tags=["Egress"])
class EgressView(ApiView):
    @extend_schema(responses=shapes.EgressSerializer)
    def get(self, request: Request) -> Response:
        """List the IP addresses that requests come from, for firewall rules."""
        return Response({"addresses": list(settings().EGRESS.ADDRESSES)})
