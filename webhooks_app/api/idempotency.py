"""Idempotency-Key on POST: a repeated request has no effect and gets the first response, without values shown only once.

Payloads and receivers' responses are not stored with the reply. A repetition reads them from the event and the attempt, so it
does not show what was erased since.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.crypto import salted_hmac
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from webhooks_app import idempotency
from webhooks_app.api.renderers import JSONText
from webhooks_app.api.serializers.events import EventSerializer
from webhooks_app.api.serializers.webhooks import AttemptSerializer
from webhooks_app.exceptions import InvalidEvent
from webhooks_app.models import Attempt, Event, Tenant
from webhooks_app.models.ids import parse_public_id

if TYPE_CHECKING:
    from webhooks_app.api.views.base import ApiView

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY = 255
#: Never stored, so never repeated.
_SHOWN_ONCE = ("secret", "portal_url")

View = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class _Content:
    """The fields of an object that are not stored with the reply, each with the value in their place."""

    prefix: str
    model: type[Event] | type[Attempt]
    serializer: type[Serializer[Any]]
    blank: Mapping[str, Any]


_CONTENTS = (
    _Content("evt", Event, EventSerializer, {"data": None}),
    _Content("att", Attempt, AttemptSerializer, {"response_headers": "", "response_body": ""}),
)


class _WithoutPayloads(DjangoJSONEncoder):
    def default(self, o: Any) -> Any:
        return None if isinstance(o, JSONText) else super().default(o)


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
            return Response(
                _with_content(view.access.tenant, begun.body), status=begun.status, headers={REPLAYED: "true"}
            )
        try:
            response = method(view, request, *args, **kwargs)
        except BaseException:
            idempotency.discard(begun)
            raise
        idempotency.complete(begun, response.status_code, _storable(response.data))
        return response

    return answer


def _fingerprint(request: Request) -> str:
    """Return a fingerprint of the request, by which a repetition is recognised. It is keyed with SECRET_KEY: otherwise a password
    in the body could be guessed from it."""
    body = json.dumps(request.data, sort_keys=True, default=str)
    content = "\n".join((str(request.method), request.get_full_path(), body)).encode("utf-8", "surrogatepass")
    return salted_hmac("webhooks_app.idempotency", content, algorithm="sha256").hexdigest()


def _storable(data: Any) -> Any:
    body = json.loads(json.dumps(_without_shown_once(data), cls=_WithoutPayloads))
    for content in _CONTENTS:
        for shown in _shown_in(body, content):
            shown.update(content.blank)
    return body


def _with_content(tenant: Tenant, body: Any) -> Any:
    """Read what is not stored from the rows. It stays blank if a row was deleted since."""
    for content in _CONTENTS:
        places: dict[uuid.UUID, list[dict[str, Any]]] = {}  # a batch may return the same event more than once
        for shown in _shown_in(body, content):
            if pk := parse_public_id(shown["id"], content.prefix):
                places.setdefault(pk, []).append(shown)
        rows = content.model._default_manager.filter(tenant_id=tenant.pk, pk__in=list(places)) if places else ()
        for row in rows:
            values = content.serializer(row).data
            for shown in places[row.pk]:
                shown.update({name: values[name] for name in content.blank})
    return body


def _shown_in(body: Any, content: _Content) -> Iterator[dict[str, Any]]:
    """Yield the objects of this kind in the body: the body itself, and the items of `events`."""
    if not isinstance(body, dict):
        return
    events = body.get("events")
    for shown in (body, *(events if isinstance(events, list) else ())):
        if not isinstance(shown, dict) or not content.blank.keys() <= shown.keys():
            continue
        if str(shown.get("id")).startswith(f"{content.prefix}_"):
            yield shown


def _without_shown_once(data: Any) -> Any:
    """Remove these values, also inside `data`, where some dialects put their result."""
    if not isinstance(data, dict):
        return data
    kept = {key: value for key, value in data.items() if key not in _SHOWN_ONCE}
    return {key: _without_shown_once(value) if key == "data" else value for key, value in kept.items()}
