"""Rebuild requests as they were sent.

Requests are not stored. The body depends only on the event and the wire format, the signature on the time and the secrets
that were valid then, so both can be rebuilt byte for byte.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from webhooks_app.conf import settings
from webhooks_app.core.authentication import HEADER
from webhooks_app.core.catalogue import registry
from webhooks_app.core.playground import is_playground_url
from webhooks_app.core.redaction import redacted
from webhooks_app.core.retry import UNSENT_KINDS, OutcomeKind
from webhooks_app.core.signing import Headers
from webhooks_app.engine.endpoint_config import opened
from webhooks_app.engine.requests import headers_in_order, signature_headers
from webhooks_app.engine.types import EventBody, SigningKey
from webhooks_app.exceptions import WebhooksError
from webhooks_app.models import Attempt, Delivery, Endpoint, Event, Secret
from webhooks_app.wire_formats import get_wire_format
from webhooks_app.wire_formats.base import WireFormat

#: Replaces the value of the tenant's own headers, which is often a credential, and signatures.
MASKED = "•••"
#: Replaces a signature that cannot be rebuilt.
LOST = "(cannot be shown: the secret is gone)"
#: The request was not sent to the receiver.
_NOT_SENT = UNSENT_KINDS | {OutcomeKind.AUTHENTICATION_FAILED}
#: Two keys that nobody uses, to find the headers that depend on the key.
_PROBES = (b"one", b"other")


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One request.

    `headers`: in the order in which they were sent, without those that every HTTP client adds (Host, Content-Length …). The
    tenant's own headers are those that the endpoint has today, with MASKED values.
    """

    url: str
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    #: True if the tenant had headers of its own: their values are MASKED.
    masks: bool
    #: True if the signature is MASKED.
    hides_signature: bool
    #: True if the type has redacted fields: the body is shown without their values, and the signature, which is that of the real
    #: body, is MASKED.
    redacts: bool
    #: False if a secret that signed the request was removed or cannot be decrypted: the signature is then LOST.
    complete: bool

    @property
    def to_playground(self) -> bool:
        """Return whether the request went to the playground, whose URL works nowhere else."""
        return is_playground_url(self.url)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def sent_request(delivery: Delivery, attempt: Attempt, *, with_signature: bool) -> SentRequest | None:
    """Return the request of an attempt of this delivery; None if none was sent or the event was deleted or erased.

    Exact, with two exceptions: the values of redacted fields are replaced, and a secret replaced in the seconds while the queue
    was leased may have signed instead. Uses one query each for the event, the endpoint and its secrets. `with_signature=False`
    masks the signature, because the receiver accepts a signed request from every sender, for minutes or without a limit.
    """
    event = Event.objects.not_erased().filter(pk=delivery.event_id).first()
    endpoint = Endpoint.objects.filter(pk=delivery.endpoint_id).first()
    if event is None or endpoint is None or OutcomeKind(attempt.outcome) in _NOT_SENT:
        return None
    hidden = registry.redacted_fields(event.type)
    redacts = bool(hidden)
    with_signature = with_signature and not redacts
    secrets = list(_secrets_of(endpoint)) if with_signature else []
    try:
        wire_format = get_wire_format(endpoint.wire_format)
        content = EventBody(event.pk, event.type, event.occurred_at, redacted(event.data, hidden))
        body = content.body(wire_format)
        keys = _keys(attempt, wire_format, secrets)
        instead = LOST if with_signature else MASKED
        signature = _signature(attempt.started_at, content, wire_format, body, keys, instead)
        own = _own_headers(endpoint)
        headers = headers_in_order(wire_format, content.message, settings().USER_AGENT, own, signature)
    except Exception:  # noqa: BLE001 - the host's envelope or scheme may raise anything; then there is nothing to show
        return None
    complete = keys is not None or not with_signature
    return SentRequest(attempt.url, headers, body, bool(own), not with_signature, redacts, complete)


def curl_of(request: SentRequest) -> str:
    """Return a curl command that sends the same request; it names a placeholder for each masked value."""
    parts = ["curl --globoff", _word(request.url)]
    for name, value in request.headers:
        shown = f"<your {name}>" if value == MASKED else value
        parts.append(f"-H {_word(f'{name}: {shown}' if shown else f'{name};')}")
    # curl would take "@…" for a file name.
    option = "--data-raw" if request.body.startswith(b"@") else "--data-binary"
    return " \\\n  ".join([*parts, f"{option} {_word(request.text)}"])


def _word(text: str) -> str:
    return shlex.quote(text.replace("\x00", "�"))  # a shell cannot pass NUL


def _secrets_of(endpoint: Endpoint) -> Iterable[Secret]:
    """Return all stored secrets, newest first: the endpoint's own, or the account's behind a callback URL."""
    rows = Secret.objects.all()
    if endpoint.is_callback:
        rows = rows.filter(tenant_id=endpoint.tenant_id, endpoint__isnull=True)
    else:
        rows = rows.filter(endpoint_id=endpoint.pk)
    return rows.order_by("-created_at", "-id")


def _own_headers(endpoint: Endpoint) -> Headers:
    authentication = ((HEADER, MASKED),) if endpoint.authentication else ()
    try:
        return (*((name, MASKED) for name in endpoint.custom_headers()), *authentication)
    except WebhooksError:
        return (("X-Custom-Headers", MASKED), *authentication)  # the encryption key is lost


def _keys(attempt: Attempt, wire_format: WireFormat, secrets: Sequence[Secret]) -> tuple[SigningKey, ...] | None:
    """Return the keys that signed the request; None if not all of them are available."""
    if wire_format.single_signature:
        used = [secret for secret in secrets if secret.pk == attempt.secret_id]
    else:
        at = attempt.started_at
        used = [one for one in secrets if one.created_at <= at and (one.expires_at is None or one.expires_at > at)]
    try:
        return tuple(opened(secret, wire_format) for secret in used) or None
    except WebhooksError:
        return None


def _signature(
    started: datetime,
    content: EventBody,
    wire_format: WireFormat,
    body: bytes,
    keys: tuple[SigningKey, ...] | None,
    instead: str,
) -> Headers:
    if keys is not None:
        return signature_headers(wire_format, content.message, body, started, tuple(one.key for one in keys))
    # Only the headers that depend on the key are replaced; an id or a time can still be shown.
    probes = [signature_headers(wire_format, content.message, body, started, (probe,)) for probe in _PROBES]
    return tuple(
        (name, value if value == other else instead) for (name, value), (_, other) in zip(*probes, strict=True)
    )
