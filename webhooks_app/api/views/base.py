"""Base of all views: authentication, the format of errors, and isolation between tenants."""

from __future__ import annotations

import io
import uuid
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_cache_control, patch_vary_headers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSetMixin

from webhooks_app.api import problems
from webhooks_app.api.access import Access, ApiKeyAuthentication, HasScope, KeyThrottle, PersonAuthentication
from webhooks_app.api.pagination import NewestFirst
from webhooks_app.api.parameters import NOUNS
from webhooks_app.api.renderers import BodyRenderer
from webhooks_app.api.schema import Schema
from webhooks_app.exceptions import InvalidFilter, NotFound
from webhooks_app.models.database import database_alias
from webhooks_app.models.ids import first_id, parse_public_id
from webhooks_app.models.times import FIRST_YEAR, LAST_YEAR
from webhooks_app.tracebacks import hidden_locals

Row = TypeVar("Row", bound=Model)


class BodyParser(JSONParser):
    """Parses JSON; a body that is nested too deeply is a client error."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        if isinstance(stream, HttpRequest):  # DRF before 3.18 would read on beyond DATA_UPLOAD_MAX_MEMORY_SIZE
            stream = io.BytesIO(stream.body)
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None


def _outside_transaction(view: Any) -> Any:
    """Run this view without the transaction of ATOMIC_REQUESTS.

    Otherwise a transaction would be open while a receiver responds to a test event. All chunks of a recovery would be one
    transaction, which on SQLite blocks the deliveries of all other tenants.
    """
    return transaction.non_atomic_requests(using=database_alias())(view)


#: The browsable pages load files of Django REST framework only, and have inline styles.
_CSP_OF_PAGES = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_CSP_OF_DATA = "default-src 'none'; frame-ancestors 'none'"


class ApiView(APIView):
    """Base of all views. It ignores the host's REST_FRAMEWORK settings, so that the API is the same in every project."""

    authentication_classes: Any = (ApiKeyAuthentication, PersonAuthentication)
    permission_classes = (HasScope,)
    throttle_classes = (KeyThrottle,)
    parser_classes = (BodyParser,)
    renderer_classes: Any = (BodyRenderer, BrowsableAPIRenderer)
    schema: Any = Schema()
    #: Action → scope, if it is not the default one.
    scopes: ClassVar[dict[str, str]] = {}

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Return the view, without a transaction around the request; each change has its own."""
        return _outside_transaction(super().as_view(**initkwargs))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Respond in English, whatever Accept-Language says: programs read the responses, and developers read them in logs."""
        with translation.override("en"), hidden_locals():
            response = super().dispatch(request, *args, **kwargs)
        response.headers.setdefault("Content-Language", "en")
        return response

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        request.encoding = "utf-8"  # JSON's own; otherwise a sender could name any codec of Python, such as "zlib"
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        for name, values in request.query_params.lists():
            if any("\0" in value for value in values):
                raise InvalidFilter("This parameter contains a NUL character. Leave it out.", field=name)

    def check_permissions(self, request: Request) -> None:
        """Check the rate limit first: refused requests count, too."""
        super().check_throttles(request)
        super().check_permissions(request)

    def check_throttles(self, request: Request) -> None:
        """Done in `check_permissions`."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        final: Response = super().finalize_response(request, response, *args, **kwargs)
        browsable = isinstance(getattr(final, "accepted_renderer", None), BrowsableAPIRenderer)
        final.headers.setdefault("Content-Security-Policy", _CSP_OF_PAGES if browsable else _CSP_OF_DATA)
        # A shared cache could return one tenant's data to another tenant, or to a request without a key.
        patch_cache_control(final, no_store=True, private=True)
        patch_vary_headers(final, ("Authorization", "X-API-Key", "Cookie"))
        return final

    def get_exception_handler(self) -> Any:
        return problems.handle

    @property
    def access(self) -> Access:
        assert isinstance(self.request.auth, Access)  # HasScope has seen to it
        return self.request.auth

    def read(self, shape: type[Serializer[Any]], *, partial: bool = False) -> dict[str, Any]:
        """Return the validated request body. `partial`: fields may be omitted. Raises DRF's ValidationError."""
        serializer = shape(data=self.request.data, partial=partial)
        try:
            serializer.is_valid(raise_exception=True)
        except RecursionError:  # the items of a list are checked deeper in the stack than the body was parsed
            raise ParseError("The JSON is nested too deeply.") from None
        return dict(serializer.validated_data)


class NoSuchPath(ApiView):
    """Responds with 404 to unknown paths, for every user and method. Dialects combine it with their own base view."""

    schema = None
    renderer_classes = (BodyRenderer,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound("There is no such path.")


class ApiViewSet(ViewSetMixin, ApiView):
    """Lists with cursor pagination, objects by public id; only those of the request's tenant."""

    pagination_class = NewestFirst
    lookup_value_regex = "[^/]+"
    #: The prefix of the public ids in the paths.
    prefix: ClassVar[str]

    @classmethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Any:
        """Return the view like `ApiView.as_view`, which DRF's view sets do not call."""
        return _outside_transaction(super().as_view(actions, **initkwargs))

    def one(self, rows: QuerySet[Row], text: str) -> Row:
        """Return the tenant's row with this public id. Raises NotFound, also for another tenant's row."""
        key = parse_public_id(text, self.prefix)
        row = rows.filter(pk=key, tenant_id=self.access.tenant.pk).first() if key else None
        if row is None:
            raise NotFound(f"No {NOUNS[self.prefix]} has the ID {text[:80]!r}. Check the ID.")
        return row

    def page(self, rows: QuerySet[Any], shape: type[Serializer[Any]]) -> Response:
        """Return one page of the tenant's rows."""
        mine = rows.filter(tenant_id=self.access.tenant.pk)
        paginator = self.pagination_class()
        found = paginator.paginate_queryset(mine, self.request, view=self)
        return paginator.get_paginated_response(shape(found, many=True).data)


def id_filter(request: Request, name: str, prefix: str) -> uuid.UUID | None:
    """Return the UUID of a public id in the query parameters."""
    text = request.query_params.get(name)
    if text is None:
        return None
    key = parse_public_id(text, prefix)
    if key is None:
        raise InvalidFilter(f"{text[:80]!r} is not the ID of a {NOUNS[prefix]}, such as {prefix}_0197….", field=name)
    return key


def time_filter(request: Request, name: str) -> datetime | None:
    """Return a time with its zone from the query parameters."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise InvalidFilter(f"{text[:80]!r} is not a time with a time zone, such as 2026-04-01T10:00:05Z.", field=name)
    return moment


def by_time(rows: QuerySet[Row], request: Request) -> QuerySet[Row]:
    """Return the rows created between the query's `since` and `until`, according to their ids."""
    if since := time_filter(request, "since"):
        rows = rows.filter(id__gte=first_id(since))
    if until := time_filter(request, "until"):
        rows = rows.filter(id__lt=first_id(until))
    return rows
