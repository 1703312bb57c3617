"""Find out why a customer cannot verify a signature: report the step at which the check fails.

The check uses the secret that the customer enters, never a stored one. Anyone who has that secret
could compute the result, and it reveals nothing about other secrets.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from webhooks_app.core.message import Message
from webhooks_app.core.scheme_help import help_of, timestamp_in
from webhooks_app.core.signing import ED25519_PRIVATE, ED25519_PUBLIC, TOLERANCE, Key, key_of
from webhooks_app.exceptions import InvalidSecret, VerificationFailed
from webhooks_app.models import Event, Tenant
from webhooks_app.models.ids import parse_public_id
from webhooks_app.tracebacks import hide_locals
from webhooks_app.wire_formats.base import WireFormat

logger = logging.getLogger(__name__)

#: Seconds; in effect unlimited.
_ANY_AGE = 10**15


class SignatureProblem(StrEnum):
    """What is wrong, in the order in which a receiver would notice it."""

    NO_HEADERS = "no_headers"  # the input contains no headers
    HEADER_MISSING = "header_missing"  # `detail`: the name of the header
    UNUSABLE_KEY = "unusable_key"  # `detail`: why
    TIME_UNREADABLE = "time_unreadable"  # `detail`: the value found
    TOO_OLD = "too_old"  # the signature matches; `seconds` off
    TOO_EARLY = "too_early"
    LINE_BREAKS = "line_breaks"  # it matches the body with other line breaks, or without the last one
    BODY_RESERIALIZED = "body_reserialized"  # it matches the same JSON without spaces: something parsed the body
    BODY_CHANGED = "body_changed"  # the secret is right, but we sent another body under this id
    UNUSUAL_KEY_FORMAT = "unusual_key_format"  # nothing matches, and the secret lacks the usual prefix: `detail`
    WRONG_KEY = "wrong_key"  # the body is the one that we sent under this id
    NO_MATCH = "no_match"  # either of the two; `detail`: what the check reports


@dataclass(frozen=True, slots=True)
class SignatureCheckResult:
    """The result of the check.

    `problem`: None if the request is genuine. `detail` and `error` reveal nothing of the secret.
    """

    problem: SignatureProblem | None = None
    detail: str = ""
    seconds: int = 0
    #: If nothing matches: how many seconds the timestamp is in the past as well; negative: in the future; 0: it is neither.
    late: int = 0
    #: Why a secret cannot sign anything.
    error: InvalidSecret | None = None


def check_signature(
    tenant: Tenant, wire_format: WireFormat, *, headers: str, body: str, secret: str, now: datetime
) -> SignatureCheckResult:
    """Return what a receiver with this secret would find out about this request.

    `headers`: one per line (`name: value`), or a JSON object. `body`: as received. If the headers name an event of the
    tenant, one query reads it, to distinguish a changed body from a wrong secret.
    """
    found = parsed_headers(headers)
    if not found:
        return SignatureCheckResult(SignatureProblem.NO_HEADERS)
    missing = [name for name in wire_format.scheme.header_names if not found.get(name)]
    if missing:
        return SignatureCheckResult(SignatureProblem.HEADER_MISSING, missing[0])
    try:
        key = key_of(
            secret if wire_format.secret_format.key_from == "utf8" else secret.strip(), wire_format.secret_format
        )
        result = _Check(tenant, wire_format, found, key, int(now.timestamp())).result(body)
    except InvalidSecret as error:
        return SignatureCheckResult(SignatureProblem.UNUSABLE_KEY, error=error)
    no_match = result.problem in (SignatureProblem.NO_MATCH, SignatureProblem.WRONG_KEY)
    if no_match and not _has_usual_format(secret, wire_format):
        return replace(result, problem=SignatureProblem.UNUSUAL_KEY_FORMAT, detail=wire_format.secret_format.prefix)
    return result


def parsed_headers(text: str) -> dict[str, str]:
    """Return the headers with names in lower case; empty if the text contains none."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        lines = (line.lstrip("<> ").partition(":") for line in text.splitlines())
        given = {name: value for name, colon, value in lines if colon}
    if not isinstance(given, dict):
        return {}
    return {name.strip().lower(): value.strip() for name, value in given.items() if isinstance(value, str)}


@dataclass(frozen=True, slots=True)
class _Check:
    tenant: Tenant
    wire_format: WireFormat
    headers: Mapping[str, str] = field(repr=False)
    key: Key = field(repr=False)
    now: int

    def result(self, text: str) -> SignatureCheckResult:
        body = text.encode(errors="replace")
        dated = timestamp_in(self.wire_format.scheme, self.headers)
        if dated is not None and not (dated.isascii() and dated.isdigit() and len(dated) <= 12):
            return SignatureCheckResult(SignatureProblem.TIME_UNREADABLE, dated)
        fault = self._fault(body)
        if not fault:
            return self._in_time(int(dated or self.now))
        for reason, other in _variants(text):
            if not self._fault(other):
                return SignatureCheckResult(reason)
        late = self.now - int(dated or self.now)
        return replace(self._compared(body, fault), late=late if abs(late) > TOLERANCE else 0)

    def _fault(self, body: bytes) -> str:
        """Return what the receiver's own check reports for this body, ignoring the request's age; empty if it is genuine."""
        try:
            self.wire_format.scheme.verify(self.headers, body, [self.key], now=self.now, tolerance=_ANY_AGE)
        except VerificationFailed as error:
            return str(error)
        except Exception as error:
            hide_locals(error)
            logger.exception("webhooks: the scheme of wire format %s could not verify", self.wire_format.name)
            return "the check itself failed"
        return ""

    def _in_time(self, dated: int) -> SignatureCheckResult:
        late = self.now - dated
        if abs(late) <= TOLERANCE:
            return SignatureCheckResult()
        problem = SignatureProblem.TOO_OLD if late > 0 else SignatureProblem.TOO_EARLY
        return SignatureCheckResult(problem, seconds=abs(late))

    def _compared(self, body: bytes, fault: str) -> SignatureCheckResult:
        sent = self._sent()
        if sent is None:
            return SignatureCheckResult(SignatureProblem.NO_MATCH, fault)
        if sent == body:
            return SignatureCheckResult(SignatureProblem.WRONG_KEY)
        if self._fault(sent):
            return SignatureCheckResult(SignatureProblem.NO_MATCH, fault)
        return SignatureCheckResult(SignatureProblem.BODY_CHANGED)

    def _sent(self) -> bytes | None:
        """Return the body that we sent under the id in the headers; None if they name no (or an erased) event of the tenant."""
        name = help_of(self.wire_format.scheme).event_id_header or "webhook-id"
        key = parse_public_id(self.headers.get(name, ""), "evt")
        events = Event.objects.not_erased().filter(tenant_id=self.tenant.pk)
        event = events.filter(pk=key).first() if key else None
        if event is None:
            return None
        try:
            return self.wire_format.envelope(Message(event.public_id, event.type, event.occurred_at, event.data))
        except Exception:  # noqa: BLE001 - a host's envelope may raise anything
            return None


def _has_usual_format(secret: str, wire_format: WireFormat) -> bool:
    """Return whether the secret looks like a generated one. Imported secrets may look different and still match, so ask this
    only of a secret that does not match."""
    return secret.strip().startswith((wire_format.secret_format.prefix, ED25519_PRIVATE, ED25519_PUBLIC))


def _variants(text: str) -> Iterator[tuple[SignatureProblem, bytes]]:
    """Yield the bodies that this one may have been before something on the way changed it."""
    with_lf = text.replace("\r\n", "\n")
    for other in (with_lf, with_lf.strip(), text.strip()):
        yield SignatureProblem.LINE_BREAKS, other.encode(errors="replace")
    try:
        data = json.loads(text)
        written = [json.dumps(data, ensure_ascii=ascii_only, separators=(",", ":")) for ascii_only in (False, True)]
    except (ValueError, RecursionError):
        return
    for other in written:
        yield SignatureProblem.BODY_RESERIALIZED, other.encode(errors="replace")
