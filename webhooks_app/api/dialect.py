"""Base of all dialects: their endpoints have one wire format, and all errors have the dialect's own format."""

from __future__ import annotations

import logging
import uuid
from abc import abstractmethod
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app.api import problems, services
from webhooks_app.api.access import ApiKeyAuthentication
from webhooks_app.api.renderers import BodyRenderer
from webhooks_app.api.views.base import ApiView
from webhooks_app.exceptions import NotFound
from webhooks_app.models import Endpoint
from webhooks_app.models.ids import parse_public_id
from webhooks_app.tracebacks import hide_locals

logger = logging.getLogger(__name__)


class JSONAlways(DefaultContentNegotiation):
    """Always respond with JSON, whatever Accept says: clients written for the product's own API send any value."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class DialectView(ApiView):
    """A view of one dialect. Subclasses name their wire format and format their errors."""

    authentication_classes = (ApiKeyAuthentication,)
    renderer_classes = (BodyRenderer,)
    content_negotiation_class = JSONAlways
    #: Treat OPTIONS like any other method; the dialects do not document it.
    metadata_class = None
    #: Not part of the standard API's description.
    schema = None
    #: The wire format of the endpoints that this dialect creates and shows.
    wire_format: ClassVar[str]

    @abstractmethod
    def error(self, status: int, code: str, detail: str, field: str) -> dict[str, Any]:
        """Return the body of an error. `code` and `field` are as in the standard API; `detail` is for readers."""

    def get_exception_handler(self) -> Any:
        return self._handle

    def _handle(self, error: Exception, context: dict[str, Any]) -> Response:
        response = problems.handle(error, context)
        if response is None:
            hide_locals(error)
            logger.exception("webhooks: a bug in the dialect of %s", self.wire_format, exc_info=error)
            return Response(self.error(500, "ERROR", "Internal server error", ""), status=500)
        problem: dict[str, Any] = response.data
        body = self.error(problem["status"], problem["code"], problem["detail"], problem.get("field", ""))
        headers = {name: response[name] for name in ("WWW-Authenticate", "Retry-After") if name in response}
        return Response(body, status=problem["status"], headers=headers)

    def endpoints(self) -> QuerySet[Endpoint]:
        """Return the tenant's endpoints of this dialect, newest first."""
        rows = Endpoint.objects.visible().filter(tenant_id=self.access.tenant.pk, wire_format=self.wire_format)
        return rows.prefetch_related("subscriptions").order_by("-id")

    def found(self, key: uuid.UUID | None, message: str = "Webhook not found") -> Endpoint:
        """Return the endpoint with this key; None means that the id was invalid. Raises NotFound."""
        row = self.endpoints().filter(pk=key).first() if key else None
        if row is None:
            raise NotFound(message)
        return row

    def named(self, text: str) -> Endpoint:
        """Return the endpoint with this public id or bare UUID. Raises NotFound."""
        return self.found(parse_public_id(text, "wh"))

    def make(self, **values: Any) -> tuple[Endpoint, str]:
        """Create an endpoint with this dialect's wire format; return it and its secret's text."""
        row, secret = services.create(self.access, wire_format=self.wire_format, **values)
        return self.endpoints().get(pk=row.pk), secret
