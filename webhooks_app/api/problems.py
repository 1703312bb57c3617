"""Errors as RFC 9457 problem details, each with a stable `code` and, if one is at fault, the field."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from rest_framework import exceptions as drf
from rest_framework.response import Response
from rest_framework.views import set_rollback

from webhooks_app import exceptions as errors
from webhooks_app.api.serializers.fields import MOST_FAULTS

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

#: The HTTP status of each error class; the first match counts.
_STATUS: tuple[tuple[type[errors.WebhooksError], HTTPStatus], ...] = (
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.PayloadTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (errors.IdempotencyConflict, HTTPStatus.CONFLICT),
    (errors.IdempotencyInProgress, HTTPStatus.CONFLICT),
    (errors.ConflictingState, HTTPStatus.CONFLICT),
    (errors.BacklogFull, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.TooManyCallbackHosts, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.NotAllowed, HTTPStatus.FORBIDDEN),
    (errors.NotAvailableOnPlan, HTTPStatus.FORBIDDEN),
    (errors.TooManyEndpoints, HTTPStatus.FORBIDDEN),
    (errors.TooManyApiKeys, HTTPStatus.FORBIDDEN),
    (errors.SealingError, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.ConfigurationError, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.WebhooksError, HTTPStatus.BAD_REQUEST),
)
#: Errors that say when to try again.
_LATER = (errors.BacklogFull, errors.TooManyCallbackHosts)
#: What Django raises for an unreadable body, for example in its CSRF check, which reads forms.
_UNREADABLE = (MultiPartParserError, SuspiciousOperation, UnreadablePostError)
#: Errors of the operator: the details go to the log, not to customers.
_OURS = "This request failed because of a fault on our side, which we have been notified of. Try again later."
#: What DRF's own errors say.
_DETAILS: dict[type[drf.APIException], str] = {
    drf.NotAuthenticated: "Send an API key in the header `Authorization: Bearer …` or `X-API-Key`.",
    drf.UnsupportedMediaType: "The request body must be JSON. Send it with `Content-Type: application/json`.",
    drf.NotAcceptable: "Responses are JSON. Send `Accept: application/json`, or no Accept header.",
    drf.MethodNotAllowed: "This path does not support the method. The header `Allow` lists those that it supports.",
    drf.Throttled: "Too many requests. Wait for as many seconds as the header `Retry-After` says.",
}
_CODES = {
    drf.ParseError: "MALFORMED_REQUEST",
    drf.ValidationError: "INVALID_FIELD",
    drf.AuthenticationFailed: "INVALID_API_KEY",
    drf.NotAuthenticated: "NOT_AUTHENTICATED",
    drf.PermissionDenied: "FORBIDDEN",
    drf.NotFound: "NOT_FOUND",
    drf.MethodNotAllowed: "METHOD_NOT_ALLOWED",
    drf.NotAcceptable: "NOT_ACCEPTABLE",
    drf.UnsupportedMediaType: "UNSUPPORTED_MEDIA_TYPE",
    drf.Throttled: "TOO_MANY_REQUESTS",
}


def problem(status: int, code: str, detail: str, field: str = "", **more: Any) -> dict[str, Any]:
    """Return the body of an error."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code, "detail": detail}
    if field:
        body["field"] = field
    return {**body, **more}


def status_of(error: errors.WebhooksError) -> int:
    return next(int(status) for kind, status in _STATUS if isinstance(error, kind))


def text_of(error: errors.WebhooksError) -> str:
    """Return the text of the error for customers."""
    if status_of(error) == HTTPStatus.SERVICE_UNAVAILABLE:
        logger.error("webhooks: the API cannot serve a request: %s", error)
        return _OURS
    return str(error)


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """Handle exceptions of the API's views for DRF. Return None for a bug, which leaves it to Django."""
    if isinstance(error, RequestDataTooBig):
        error = errors.PayloadTooLarge("The request body is too large. Send less at once.")
    if isinstance(error, errors.WebhooksError):
        set_rollback()
        status = status_of(error)
        headers = {"Retry-After": str(error.retry_after)} if isinstance(error, _LATER) else None
        return _response(problem(status, error.code, text_of(error), error.field), context, headers)
    if isinstance(error, Http404):
        error = drf.NotFound()
    elif isinstance(error, PermissionDenied):
        error = drf.PermissionDenied()
    elif isinstance(error, _UNREADABLE):
        error = drf.ParseError("The request body cannot be read. Send JSON.")
    if not isinstance(error, drf.APIException):
        return None
    set_rollback()
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "ERROR")
    if isinstance(error, drf.ValidationError):
        return _response(_invalid(error), context)
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait) + 1)
    detail = next((text for kind, text in _DETAILS.items() if isinstance(error, kind)), str(error.detail))
    return _response(problem(error.status_code, code, detail), context, headers)


def _invalid(error: drf.ValidationError) -> dict[str, Any]:
    faults = islice(_faults(error.detail), MOST_FAULTS)
    found = [{"field": field, "detail": detail} for field, detail in faults]
    return problem(400, "INVALID_FIELD", found[0]["detail"], found[0]["field"], errors=found)


def _faults(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Flatten DRF's nested details: yield paths such as `events.2` with what is wrong."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            name = "" if key == "non_field_errors" else str(key)
            yield from _faults(value, ".".join(part for part in (path, name) if part))
    elif isinstance(detail, list):
        for number, value in enumerate(detail):
            deeper = isinstance(value, (dict, list))
            yield from _faults(value, f"{path}.{number}" if deeper and path else path)
    else:
        yield path, str(detail)


def _response(body: dict[str, Any], context: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    renderer = getattr(context.get("request"), "accepted_renderer", None)
    content_type = None if getattr(renderer, "format", "") == "api" else CONTENT_TYPE  # a browser gets a page
    return Response(body, status=body["status"], headers=headers, content_type=content_type)
