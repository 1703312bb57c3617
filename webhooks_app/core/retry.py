"""What an outcome means for its delivery: done, retry at t, or give up. No clock, no database, no settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class OutcomeKind(StrEnum):
    """What became of one HTTP request. The values are stored with the attempt."""

    SUCCEEDED = "succeeded"  # a 2xx answer
    REDIRECT = "redirect"  # a 3xx answer, never followed
    CLIENT_ERROR = "client_error"  # a 4xx answer
    SERVER_ERROR = "server_error"  # a 5xx answer, or a status outside 100–599
    TIMEOUT = "timeout"  # the total deadline, or the connect deadline, passed
    REFUSED = "refused"  # no connection: refused, reset while connecting, unreachable
    NAME_ERROR = "name_error"  # the host name does not resolve
    TLS_ERROR = "tls_error"  # the certificate or handshake is not acceptable
    PROTOCOL_ERROR = "protocol_error"  # connected, but no valid HTTP answer came back
    ADDRESS_NOT_ALLOWED = "address_not_allowed"  # the name led to an address we do not send to
    NOT_SENT = "not_sent"  # our own fault: the signing key could not be opened, say
    EXPIRED = "expired"  # waited behind an open breaker beyond its maximum age; no request was made
    QUARANTINED = "quarantined"  # took several engines down with it; no request was made


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished request. `retry_after` is in seconds from its end, None where the answer named none."""

    kind: OutcomeKind
    status: int | None = None
    retry_after: float | None = None
    #: For staff: what the network or the library said.
    detail: str = ""

    @property
    def succeeded(self) -> bool:
        return self.kind is OutcomeKind.SUCCEEDED


def outcome_of_status(status: int, retry_after: float | None = None) -> Outcome:
    """Sort an HTTP status into an `Outcome`; only 2xx is success."""
    if 200 <= status < 300:
        kind = OutcomeKind.SUCCEEDED
    elif 300 <= status < 400:
        kind = OutcomeKind.REDIRECT
    elif 400 <= status < 500:
        kind = OutcomeKind.CLIENT_ERROR
    else:
        kind = OutcomeKind.SERVER_ERROR
    return Outcome(kind, status, retry_after)


def _seconds(*values: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=value) for value in values)


STANDARD_DELAYS = _seconds(5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
#: No request reached the endpoint, and through no fault of its own: these say nothing of its health.
UNSENT_KINDS = frozenset({OutcomeKind.NOT_SENT, OutcomeKind.EXPIRED, OutcomeKind.QUARANTINED})
SLOWING_STATUSES = frozenset({429, 502, 503, 504})
SLOWING_KINDS = frozenset({OutcomeKind.TIMEOUT, OutcomeKind.REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When to try again and when to stop.

    `delays[i]` is the wait after the (i+1)th request, so a delivery makes at most `len(delays) + 1` requests.
    """

    delays: tuple[timedelta, ...] = STANDARD_DELAYS
    #: Each delay is spread by ± this share of itself.
    jitter: float = 0.2
    #: Honour Retry-After on 429 and 503, up to the cap.
    honours_retry_after: bool = True
    retry_after_cap: timedelta = timedelta(hours=24)
    #: 410 Gone switches the endpoint off at once.
    gone_disables: bool = True
    #: 429, 502, 503, 504, time-outs and refused connections also hold the endpoint's other deliveries back.
    throttles: bool = True
    #: After `breaker_threshold` failures in a row the endpoint gets one probe a back-off step; the rest wait.
    breaker: bool = True
    breaker_threshold: int = 5
    backoff_first: timedelta = timedelta(seconds=5)
    backoff_last: timedelta = timedelta(minutes=5)
    #: A delivery that waits behind an open breaker longer than this is given up.
    max_age: timedelta = timedelta(days=5)
    #: Switch the endpoint off after this many failed requests in a row (None: never for this reason) …
    disable_after_failures: int | None = None
    #: … or after failing this long without one success (None: never for this reason).
    disable_after: timedelta | None = timedelta(days=5)

    @property
    def max_attempts(self) -> int:
        return len(self.delays) + 1


class Verdict(StrEnum):
    SUCCEEDED = "succeeded"
    RETRY = "retry"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the delivery. `at` is set for RETRY only; `disable` says why the endpoint goes off, if so."""

    verdict: Verdict
    at: datetime | None = None
    disable: str = ""


_NEVER_RETRIED = frozenset({OutcomeKind.EXPIRED, OutcomeKind.QUARANTINED})


def decide(outcome: Outcome, step: int, now: datetime, policy: RetryPolicy, roll: float = 0.5) -> Decision:
    """Decide what an outcome means for its delivery.

    `step` counts the policy's requests made before this one (0 for the first); it is not the attempt number, since a
    replay starts the policy anew while the numbers go on. `roll` in [0, 1) places the retry inside the jitter.
    """
    if outcome.succeeded:
        return Decision(Verdict.SUCCEEDED)
    if outcome.status == 410 and policy.gone_disables:
        return Decision(Verdict.GIVE_UP, disable="gone")
    if outcome.kind in _NEVER_RETRIED or step >= len(policy.delays):
        return Decision(Verdict.GIVE_UP)
    spread = 1 + policy.jitter * (2 * roll - 1)
    delay = max(policy.delays[step] * spread, asked_delay(outcome, policy))
    return Decision(Verdict.RETRY, at=now + delay)


def asked_delay(outcome: Outcome, policy: RetryPolicy) -> timedelta:
    """How long the receiver asked us to wait: its Retry-After on 429 and 503, capped; zero where it asked nothing."""
    if not policy.honours_retry_after or outcome.retry_after is None or outcome.status not in (429, 503):
        return timedelta(0)
    return min(timedelta(seconds=min(max(0.0, outcome.retry_after), 1e9)), policy.retry_after_cap)
