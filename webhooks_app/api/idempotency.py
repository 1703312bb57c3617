"""Idempotency-Key on POST: a repeated request has no effect and gets the first response, without values shown only once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks_app import idempotency
from webhooks_app.exceptions import InvalidEvent

if TYPE_CHECKING:
    from webhooks_app.api.views.base import ApiView

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY = 255
#: Never stored, so never repeated.
_SHOWN_ONCE = ("secret", "portal_url")

View = Callable[..., Response]


def idempotent(method: View) -> View:
    """Decorate a view's method. Errors are not stored: a failed request may be repeated with its key."""

    @wraps(method)
    def answer(view: ApiView, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return method(view, request, *args, **kwargs)
        if not 0 < len(key) <= MAX_KEY or not key.isprintable():
            raise InvalidEvent(f"{HEADER} must have 1 to {MAX_KEY} printable characters.", field=HEADER)
        begun = idempotency.start(view.access.tenant, key, _fingerprint(request))
        if isinstance(begun, idempotency.Answered):
            return Response(begun.body, status=begun.status, headers={REPLAYED: "true"})
        try:
            response = method(view, request, *args, **kwargs)
        except BaseException:
            idempotency.discard(begun)
            raise
        idempotency.complete(begun, response.status_code, _storable(response.data))
        return response

    return answer


def _fingerprint(request: Request) -> str:
    body = json.dumps(request.data, sort_keys=True, default=str)
    return hashlib.sha256(
        "\n".join((str(request.method), request.path, body)).encode("utf-8", "surrogatepass")
    ).hexdigest()


def _storable(data: Any) -> Any:
    return json.loads(json.dumps(_without_shown_once(data), cls=DjangoJSONEncoder))


def _without_shown_once(data: Any) -> Any:
    """Remove these values, also inside `data`, where some dialects put their result."""
    if not isinstance(data, dict):
        return data
    kept = {key: value for key, value in data.items() if key not in _SHOWN_ONCE}
    return {key: _without_shown_once(value) if key == "data" else value for key, value in kept.items()}
