"""What an outcome means for its delivery: done, retry at t, or give up. No clock, no database, no settings."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from webhooks_app.core.validation import LONGEST, check_durations, check_flags, check_whole_numbers, is_duration, reject


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
    EXPIRED = "expired"  # pending for too long: behind an open breaker, or paused or disabled; no request was made
    QUARANTINED = "quarantined"  # crashed an engine: it is isolated, or has reached its maximum age since


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


@lru_cache(maxsize=1024)
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
#: The most retries that a policy may have, and the most failures that it may count.
MAX_DELAYS = 1000
_MOST_FAILURES = 2**31 - 1
SLOWING_STATUSES = frozenset({429, 502, 503, 504})
SLOWING_KINDS = frozenset({OutcomeKind.TIMEOUT, OutcomeKind.REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When to try again and when to stop.

    `delays[i]` is the wait after the (i+1)th request, so a delivery makes at most `len(delays) + 1` requests. No wait may
    be longer than 366 days. Raises ConfigurationError for a field that is wrong, so that nothing fails later.
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

    def __post_init__(self) -> None:
        self._check_delays()
        check_flags(self, "honours_retry_after", "gone_disables", "throttles", "breaker")
        check_durations(self, "retry_after_cap", zero=True)
        check_durations(self, "backoff_first", "backoff_last", "max_age")
        if self.backoff_first > self.backoff_last:
            reject(self, "backoff_first", f"at most backoff_last ({self.backoff_last!r})")
        check_durations(self, "disable_after", none=True)
        check_whole_numbers(self, "breaker_threshold", least=1, most=_MOST_FAILURES)
        check_whole_numbers(self, "disable_after_failures", least=1, most=_MOST_FAILURES, none=True)

    def _check_delays(self) -> None:
        good = isinstance(self.delays, tuple) and len(self.delays) <= MAX_DELAYS
        if not (good and all(is_duration(delay, zero=True) for delay in self.delays)):
            reject(self, "delays", f"a tuple of at most {MAX_DELAYS} timedeltas, each from 0 to {LONGEST.days} days")
        jitter = self.jitter
        if not (isinstance(jitter, (int, float)) and not isinstance(jitter, bool) and 0 <= jitter < 1):
            reject(self, "jitter", "a number from 0 up to, but not including, 1")

    @property
    def max_attempts(self) -> int:
        return len(self.delays) + 1


class Verdict(StrEnum):
    SUCCEEDED = "succeeded"
    RETRY = "retry"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the delivery. `at` is set for RETRY only; `disable` is the reason to disable the endpoint, if any.

    `uses_step` is False where the attempt never left this app: the delivery keeps all retries of its policy.
    """

    verdict: Verdict
    at: datetime | None = None
    disable: str = ""
    uses_step: bool = True


_SUCCEEDED = Decision(Verdict.SUCCEEDED)
_NEVER_RETRIED = frozenset({OutcomeKind.EXPIRED, OutcomeKind.QUARANTINED})
#: A delivery that this app could not send is tried again after this delay, doubled each time up to the longest.
_UNSENT_DELAY = timedelta(minutes=1)
_LONGEST_UNSENT_DELAY = timedelta(hours=1)


def decide(
    outcome: Outcome,
    step: int,
    now: datetime,
    policy: RetryPolicy,
    roll: float = 0.5,
    *,
    unsent: int = 0,
    expires_at: datetime | None = None,
) -> Decision:
    """Decide what an outcome means for its delivery.

    Args:
        step: How many requests the policy has counted before this one, 0 for the first. It is not the attempt number:
            a replay starts the policy anew while the attempt numbers continue.
        roll: A number in [0, 1) that places the retry inside the jitter.
        unsent: How many earlier attempts of this delivery ended as NOT_SENT; see `unsent_attempts`.
        expires_at: When a delivery that cannot be sent is given up. None: never.
    """
    if outcome.succeeded:
        return _SUCCEEDED
    if outcome.kind is OutcomeKind.NOT_SENT:
        return _decide_unsent(now, unsent, expires_at)
    if outcome.status == 410 and policy.gone_disables:
        return Decision(Verdict.GIVE_UP, disable="gone")
    step = max(step, 0)
    if outcome.kind in _NEVER_RETRIED or step >= len(policy.delays):
        return Decision(Verdict.GIVE_UP)
    spread = 1 + policy.jitter * (2 * roll - 1)
    delay = max(policy.delays[step] * spread, asked_delay(outcome, policy))
    return Decision(Verdict.RETRY, at=later(now, delay))


def _decide_unsent(now: datetime, unsent: int, expires_at: datetime | None) -> Decision:
    if expires_at is not None and now >= expires_at:
        return Decision(Verdict.GIVE_UP, uses_step=False)
    delay = min(_UNSENT_DELAY * 2 ** min(max(unsent, 0), 6), _LONGEST_UNSENT_DELAY)
    return Decision(Verdict.RETRY, at=later(now, delay), uses_step=False)


def unsent_attempts(attempts: int, step: int, age: timedelta) -> int:
    """Return how many attempts of a delivery ended as NOT_SENT since it was created or replayed, which was `age` ago.

    `attempts` that used no step are such attempts, but for those before a replay, which sets the step to 0. Each waited twice
    as long as the one before it, so no more of them are counted than fit into the age. An age below zero (the policy's
    `max_age` has changed) is not used.
    """
    unsent = max(attempts - step, 0)
    if not unsent or age < timedelta(0):
        return unsent
    return min(unsent, (age // _UNSENT_DELAY + 1).bit_length() - 1)


def later(now: datetime, delay: timedelta) -> datetime:
    """Return `now + delay`, or the last moment that a datetime can express where the sum is beyond it."""
    try:
        return now + delay
    except OverflowError:
        return datetime.max.replace(tzinfo=now.tzinfo)


# --- Retry-After ------------------------------------------------------------------------------------------------

#: The statuses of which RFC 9110 and RFC 6585 say that a Retry-After asks the sender to wait.
RETRY_AFTER_STATUSES = frozenset({429, 503})
_LONGEST_RETRY_AFTER = LONGEST.total_seconds()
#: An HTTP date has 29 characters; the other forms that mail programs write are not much longer.
_LONGEST_DATE = 64


def asked_delay(outcome: Outcome, policy: RetryPolicy) -> timedelta:
    """Return how long the receiver asked to wait: its Retry-After on 429 and 503, up to the policy's cap; else zero."""
    if not policy.honours_retry_after or outcome.retry_after is None or outcome.status not in RETRY_AFTER_STATUSES:
        return timedelta(0)
    # max() first: it also turns "not a number" into 0.
    return min(timedelta(seconds=min(max(0.0, outcome.retry_after), _LONGEST_RETRY_AFTER)), policy.retry_after_cap)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, from 0 to 366 days; None where it makes no sense.

    The value is a number of seconds or a date. Never raises, whatever the receiver wrote.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text.lstrip("0")[:12] or "0"), _LONGEST_RETRY_AFTER)
    if not 0 < len(text) <= _LONGEST_DATE:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    except Exception:  # noqa: BLE001 - the standard library raises many kinds of errors here, OverflowError among them
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
