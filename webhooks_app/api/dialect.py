"""What dialects share: their endpoints are those of one wire format, and every error has the dialect's own shape."""

from __future__ import annotations

import logging
import uuid
from abc import abstractmethod
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app.api import problems, services
from webhooks_app.api.access import ApiKeyAuthentication
from webhooks_app.api.views.base import ApiView
from webhooks_app.exceptions import NotFound
from webhooks_app.models import Endpoint

logger = logging.getLogger(__name__)


class JSONAlways(DefaultContentNegotiation):
    """Dialects answer in JSON, whatever Accept says: programs that were content with the product's own API name anything."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class DialectView(ApiView):
    """A view of one dialect. Subclasses name their wire format and say what their errors look like."""

    authentication_classes = (ApiKeyAuthentication,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = JSONAlways
    #: OPTIONS is a method like others, and none of theirs.
    metadata_class = None
    #: Not part of the standard API's description.
    schema = None
    #: The wire format of the endpoints that this dialect makes and shows.
    wire_format: ClassVar[str]

    @abstractmethod
    def error(self, status: int, code: str, detail: str, field: str) -> dict[str, Any]:
        """The body of an error. `code` and `field` are as in the standard API; `detail` is for people."""

    def get_exception_handler(self) -> Any:
        return self._handle

    def _handle(self, error: Exception, context: dict[str, Any]) -> Response:
        response = problems.handle(error, context)
        if response is None:
            logger.exception("webhooks: a bug in the dialect of %s", self.wire_format, exc_info=error)
            return Response(self.error(500, "ERROR", "Internal server error", ""), status=500)
        problem: dict[str, Any] = response.data
        body = self.error(problem["status"], problem["code"], problem["detail"], problem.get("field", ""))
        headers = {name: response[name] for name in ("WWW-Authenticate", "Retry-After") if name in response}
        return Response(body, status=problem["status"], headers=headers)

    def endpoints(self) -> QuerySet[Endpoint]:
        """The asker's, of this dialect, newest first."""
        rows = Endpoint.objects.visible().filter(tenant_id=self.access.tenant.pk, wire_format=self.wire_format)
        return rows.prefetch_related("subscriptions").order_by("-id")

    def found(self, key: uuid.UUID | None, message: str = "Webhook not found") -> Endpoint:
        """The endpoint with this key; None stands for an id that is none. Raises NotFound."""
        row = self.endpoints().filter(pk=key).first() if key else None
        if row is None:
            raise NotFound(message)
        return row

    def make(self, **values: Any) -> tuple[Endpoint, str]:
        """Create an endpoint of this dialect's wire format; returns it and its secret's text."""
        row, secret = services.create(self.access, wire_format=self.wire_format, **values)
        return self.endpoints().get(pk=row.pk), secret
