"""Inspect the requests that a playground received: check whether a receiver with the endpoint's secret would accept them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from webhooks_app.core.playground import ArrivedRequest, arrived
from webhooks_app.core.scheme_help import timestamp_in
from webhooks_app.exceptions import SealingError, VerificationFailed
from webhooks_app.models import Attempt, Delivery, Endpoint, Secret, database_now
from webhooks_app.receiver import verify
from webhooks_app.wire_formats import get_wire_format
from webhooks_app.wire_formats.base import WireFormat

#: The number of newest requests shown, from as many of the newest deliveries.
LAST = 50
_SECRETS = 20
_EPOCH_SECONDS = re.compile(r"[0-9]{9,12}", re.ASCII)


class Verdict(StrEnum):
    """The result of the signature check of a request."""

    CURRENT = "current"  # signed with the current secret
    REPLACED = "replaced"  # signed with a replaced secret that is still valid
    ENDED = "ended"  # signed with a secret that is no longer valid
    UNFIT = "unfit"  # signed with none of this endpoint's secrets
    INCOMPLETE = "incomplete"  # too large to be stored completely, so it cannot be checked


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """`ends_at`: when the secret that signed it ends, for REPLACED and ENDED. `reason`: why it is UNFIT."""

    verdict: Verdict
    ends_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One received request, with its attempt (its delivery and event are read with it)."""

    attempt: Attempt
    request: ArrivedRequest
    check: SignatureCheck
    #: Seconds between signing and arrival; None if the wire format has no timestamp.
    age: int | None

    @property
    def is_test(self) -> bool:
        return self.attempt.delivery.event.is_test

    @property
    def is_retry(self) -> bool:
        return self.attempt.number > 1


@dataclass(frozen=True, slots=True)
class _Opened:
    """A decrypted secret of the endpoint, kept only while one page is built."""

    text: str = field(repr=False)
    row: Secret


def arrivals(endpoint: Endpoint, *, after: uuid.UUID | None = None) -> list[Arrival]:
    """Return the newest requests received, newest first, always in four queries.

    `after`: only those later than this attempt.
    """
    newest = Delivery.objects.filter(endpoint_id=endpoint.pk).order_by("-id")
    ids = list(newest.values_list("pk", flat=True)[:LAST])
    attempts = Attempt.objects.filter(delivery_id__in=ids)
    if after is not None:
        attempts = attempts.filter(pk__gt=after)
    rows = list(attempts.select_related("delivery__event").defer("delivery__event__data").order_by("-id")[:LAST])
    if not rows:
        return []
    wire_format, secrets, now = get_wire_format(endpoint.wire_format), _opened(endpoint), database_now()
    looked_at = ((row, arrived(row.shown_body)) for row in rows)
    return [_arrival(row, request, wire_format, secrets, now) for row, request in looked_at if request is not None]


def _arrival(
    row: Attempt, request: ArrivedRequest, wire_format: WireFormat, secrets: Sequence[_Opened], now: datetime
) -> Arrival:
    headers = dict(request.headers)
    check = _check(row, request.body, headers, wire_format, secrets, now)
    signed_at = _signed_at(headers, wire_format)
    return Arrival(row, request, check, None if signed_at is None else int(row.started_at.timestamp()) - signed_at)


def _check(
    row: Attempt,
    body: bytes,
    headers: Mapping[str, str],
    wire_format: WireFormat,
    secrets: Sequence[_Opened],
    now: datetime,
) -> SignatureCheck:
    """Check the signature as of the time of arrival: a request must not expire while a user looks at it."""
    if row.response_truncated:
        return SignatureCheck(Verdict.INCOMPLETE)
    reason = "The secret is not there any more."
    for secret in secrets:
        try:
            verify(body, headers, secret.text, wire_format=wire_format, now=row.started_at.timestamp())
        except VerificationFailed as error:
            reason = str(error)
            continue
        ends_at = secret.row.expires_at
        if ends_at is None:
            return SignatureCheck(Verdict.CURRENT)
        return SignatureCheck(Verdict.REPLACED if ends_at > now else Verdict.ENDED, ends_at)
    return SignatureCheck(Verdict.UNFIT, reason=reason)


def _opened(endpoint: Endpoint) -> list[_Opened]:
    """Return the endpoint's secrets, newest first, including replaced and ended ones; leave out those whose key is lost."""
    opened = []
    for row in Secret.objects.filter(endpoint_id=endpoint.pk).order_by("-created_at", "-id")[:_SECRETS]:
        try:
            opened.append(_Opened(row.reveal(), row))
        except SealingError:
            continue
    return opened


def _signed_at(headers: Mapping[str, str], wire_format: WireFormat) -> int | None:
    """Return when the request was signed, in epoch seconds; None if its signature does not say."""
    text = timestamp_in(wire_format.scheme, {name.lower(): value for name, value in headers.items()})
    return int(text) if text and _EPOCH_SECONDS.fullmatch(text) else None
