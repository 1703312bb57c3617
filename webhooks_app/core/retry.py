"""Decide what an outcome means for its delivery: done, retry at t, or failed. No clock, no database, no settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from webhooks_app.core.outcome import SLOWING_KINDS as SLOWING_KINDS
from webhooks_app.core.outcome import UNSENT_KINDS as UNSENT_KINDS
from webhooks_app.core.outcome import Outcome as Outcome
from webhooks_app.core.outcome import OutcomeKind as OutcomeKind
from webhooks_app.core.outcome import outcome_of_status as outcome_of_status
from webhooks_app.core.retry_after import LONGEST_RETRY_AFTER
from webhooks_app.core.validation import (
    LONGEST,
    check_collection,
    check_durations,
    check_flags,
    check_instance,
    check_texts,
    check_whole_numbers,
    is_duration,
    reject,
)
from webhooks_app.exceptions import gettext_noop as _


def _seconds(*values: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=value) for value in values)


STANDARD_DELAYS = _seconds(5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
#: The maximum number of retries of a policy, and of failures that it may count.
MAX_DELAYS = 1000
_MOST_FAILURES = 2**31 - 1


class RuleEffect(StrEnum):
    """What a `StatusRule` does. Implemented by `decide`, `asked_delay` and `core.circuit_breaker`."""

    DISABLE = "disable"  # fail the delivery, and disable the endpoint at once
    RETRY_AFTER = "retry_after"  # wait as long as the Retry-After header asks, up to `retry_after_cap`
    SLOW_DOWN = (
        "slow_down"  # hold the endpoint's other deliveries back too, from `backoff_first` doubling to `backoff_last`
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRule:
    """What a retry policy does besides its schedule when a request fails with one of these statuses or outcome kinds.

    Raises ConfigurationError for an invalid field.
    """

    effect: RuleEffect
    #: HTTP statuses from 100 to 999, except those that mean success.
    statuses: frozenset[int] = frozenset()
    #: Failures without a status, such as a timeout.
    kinds: frozenset[OutcomeKind] = frozenset()
    #: The rule in one sentence for customers, empty if it needs none. `%(time)s` is the policy's `retry_after_cap`.
    words: str = ""
    #: DISABLE only: the reason, in at most 255 characters. It is stored with the endpoint and sent with the signal …
    reason: str = ""
    #: … and the same as a sentence. Empty: the reason is shown unchanged.
    reason_words: str = ""

    def __post_init__(self) -> None:
        check_instance(self, "effect", RuleEffect)
        if type(self.statuses) is not frozenset or not all(map(_may_have_a_rule, self.statuses)):
            reject(self, "statuses", _STATUSES_WANTED)
        check_collection(self, "kinds", frozenset, OutcomeKind, _KINDS_WANTED)
        if not self.kinds.isdisjoint(UNSENT_KINDS | {OutcomeKind.SUCCEEDED}):
            reject(self, "kinds", _KINDS_WANTED)
        check_texts(self, "words", "reason", "reason_words")
        if not _WORDS.fullmatch(self.words):
            reject(self, "words", "a sentence whose only placeholder is %(time)s; write %% for a percent sign")
        if (self.effect is RuleEffect.DISABLE) != (0 < len(self.reason) <= 255):
            reject(self, "reason", "a text of 1 to 255 characters where the effect is DISABLE, and else empty")

    def covers(self, outcome: Outcome) -> bool:
        return outcome.status in self.statuses or outcome.kind in self.kinds


def _may_have_a_rule(status: object) -> bool:
    """Return whether it is the status of a failure: an int, or a member of HTTPStatus, which are ints."""
    if not isinstance(status, int) or isinstance(status, bool):
        return False
    return 100 <= status <= 999 and not 200 <= status < 300


_WORDS = re.compile(r"(?:[^%]|%%|%\(time\)s)*")
_STATUSES_WANTED = "a plain frozenset of HTTP statuses from 100 to 999, none of them 2xx"
_KINDS_WANTED = "a plain frozenset of OutcomeKind, all of them failures of a request"

RETRY_AFTER = StatusRule(
    # The statuses of which RFC 9110 and RFC 6585 say that a Retry-After asks the sender to wait.
    statuses=frozenset({429, 503}),
    effect=RuleEffect.RETRY_AFTER,
    words=_("With 429 or 503 and a Retry-After header you decide how long we wait, up to %(time)s."),
)
GONE = StatusRule(
    statuses=frozenset({410}),
    effect=RuleEffect.DISABLE,
    words=_("410 Gone switches the endpoint off at once."),
    reason="gone",
    reason_words=_("The receiver answered 410 Gone, which asks us to stop."),
)
OVERLOADED = StatusRule(statuses=frozenset({429, 502, 503, 504}), kinds=SLOWING_KINDS, effect=RuleEffect.SLOW_DOWN)
#: The default rules of a policy. Customers see their words in this order.
STANDARD_RULES = (RETRY_AFTER, GONE, OVERLOADED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When to try again and when to stop.

    `delays[i]` is the wait after the (i+1)th request, so a delivery makes at most `len(delays) + 1` requests. No wait may
    be longer than 366 days. A plain value: a wire format refuses a subclass. Raises ConfigurationError for a field that is wrong,
    so that nothing fails later.
    """

    delays: tuple[timedelta, ...] = STANDARD_DELAYS
    #: Each delay is spread by ± this share of itself.
    jitter: float = 0.2
    #: Additional effects of certain statuses and failures. Of two rules with the same effect, the first match applies.
    rules: tuple[StatusRule, ...] = STANDARD_RULES
    retry_after_cap: timedelta = timedelta(hours=24)
    #: After `breaker_threshold` failures in a row the endpoint gets one probe per backoff step; other deliveries wait.
    breaker: bool = True
    breaker_threshold: int = 5
    backoff_first: timedelta = timedelta(seconds=5)
    backoff_last: timedelta = timedelta(minutes=5)
    #: A delivery that waits behind an open breaker for longer than this fails.
    max_age: timedelta = timedelta(days=5)
    #: Disable the endpoint after this many failed requests in a row (None: never for this reason) …
    disable_after_failures: int | None = None
    #: … or after failing this long without one success (None: never for this reason).
    disable_after: timedelta | None = timedelta(days=5)

    def __post_init__(self) -> None:
        self._check_delays()
        check_collection(self, "rules", tuple, StatusRule, "a plain tuple of StatusRule (no subclasses)")
        check_flags(self, "breaker")
        check_durations(self, "retry_after_cap", zero=True)
        check_durations(self, "backoff_first", "backoff_last", "max_age")
        if self.backoff_first > self.backoff_last:
            reject(self, "backoff_first", f"at most backoff_last ({self.backoff_last!r})")
        check_durations(self, "disable_after", none=True)
        check_whole_numbers(self, "breaker_threshold", least=1, most=_MOST_FAILURES)
        check_whole_numbers(self, "disable_after_failures", least=1, most=_MOST_FAILURES, none=True)

    def _check_delays(self) -> None:
        good = type(self.delays) is tuple and len(self.delays) <= MAX_DELAYS
        if not (good and all(is_duration(delay, zero=True) for delay in self.delays)):
            reject(
                self,
                "delays",
                f"a plain tuple of at most {MAX_DELAYS} plain timedeltas, each from 0 to {LONGEST.days} days",
            )
        jitter = self.jitter
        if not (isinstance(jitter, (int, float)) and not isinstance(jitter, bool) and 0 <= jitter < 1):
            reject(self, "jitter", "a number from 0 up to, but not including, 1")

    @classmethod
    def fixed(
        cls,
        delays: tuple[timedelta, ...],
        *,
        jitter: float = 0.0,
        disable_after_failures: int | None = None,
        disable_after: timedelta | None = timedelta(days=5),
    ) -> Self:
        """Return a policy that only follows its schedule: every failure is retried after the next delay, and holds no other
        deliveries back. For products whose documents promise exactly this: no current or future rule applies to it.
        """
        return cls(
            delays=delays,
            jitter=jitter,
            rules=(),
            breaker=False,
            disable_after_failures=disable_after_failures,
            disable_after=disable_after,
        )

    def rule_for(self, outcome: Outcome, effect: RuleEffect) -> StatusRule | None:
        """Return the rule that gives this failure this effect, None if there is none."""
        return next((rule for rule in self.rules if rule.effect is effect and rule.covers(outcome)), None)

    @property
    def slows_down(self) -> bool:
        """Return whether any failure holds the endpoint's other deliveries back."""
        return any(rule.effect is RuleEffect.SLOW_DOWN for rule in self.rules)

    @property
    def honours_retry_after(self) -> bool:
        """Return whether any failure waits as long as its receiver asks."""
        return any(rule.effect is RuleEffect.RETRY_AFTER for rule in self.rules)

    @property
    def max_attempts(self) -> int:
        return len(self.delays) + 1


class DeliveryVerdict(StrEnum):
    SUCCEEDED = "succeeded"
    RETRY = "retry"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the delivery. `at` is set for RETRY only; `disable` is the reason to disable the endpoint, if any.

    `uses_step` is False if the attempt never left this app: the delivery keeps all retries of its policy.
    """

    verdict: DeliveryVerdict
    at: datetime | None = None
    disable: str = ""
    uses_step: bool = True


_SUCCEEDED = Decision(DeliveryVerdict.SUCCEEDED)
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
            a replay restarts the policy while the attempt numbers continue.
        roll: A number in [0, 1) that places the retry inside the jitter.
        unsent: How many earlier attempts of this delivery ended as NOT_SENT; see `unsent_attempts`.
        expires_at: When a delivery that cannot be sent fails. None: never.
    """
    if outcome.succeeded:
        return _SUCCEEDED
    if outcome.kind is OutcomeKind.NOT_SENT:
        return _decide_unsent(now, unsent, expires_at)
    if rule := policy.rule_for(outcome, RuleEffect.DISABLE):
        return Decision(DeliveryVerdict.GIVE_UP, disable=rule.reason)
    step = max(step, 0)
    if outcome.kind in _NEVER_RETRIED or step >= len(policy.delays):
        return Decision(DeliveryVerdict.GIVE_UP)
    spread = 1 + policy.jitter * (2 * roll - 1)
    delay = max(policy.delays[step] * spread, asked_delay(outcome, policy))
    return Decision(DeliveryVerdict.RETRY, at=later(now, delay))


def _decide_unsent(now: datetime, unsent: int, expires_at: datetime | None) -> Decision:
    if expires_at is not None and now >= expires_at:
        return Decision(DeliveryVerdict.GIVE_UP, uses_step=False)
    delay = min(_UNSENT_DELAY * 2 ** min(max(unsent, 0), 6), _LONGEST_UNSENT_DELAY)
    return Decision(DeliveryVerdict.RETRY, at=later(now, delay), uses_step=False)


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
    """Return `now + delay`, or the latest possible datetime if the sum is beyond it."""
    try:
        return now + delay
    except OverflowError:
        return datetime.max.replace(tzinfo=now.tzinfo)


def asked_delay(outcome: Outcome, policy: RetryPolicy) -> timedelta:
    """Return how long the receiver asked to wait: its Retry-After, up to the policy's cap; zero if no rule honours it."""
    if outcome.retry_after is None or policy.rule_for(outcome, RuleEffect.RETRY_AFTER) is None:
        return timedelta(0)
    # max() first: it also turns "not a number" into 0.
    return min(timedelta(seconds=min(max(0.0, outcome.retry_after), LONGEST_RETRY_AFTER)), policy.retry_after_cap)
