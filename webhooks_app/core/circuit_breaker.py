"""The circuit breaker of an endpoint: its health, whether the breaker is open, and how long its queue waits.

Pure: no clock, no database, no settings. "Open" is not stored: it follows from the health and the retry policy. It opens in
`engine.settle`, when `record_outcome` has counted enough failures in a row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from webhooks_app.core.retry import (
    UNSENT_KINDS,
    Outcome,
    OutcomeKind,
    RetryPolicy,
    RuleEffect,
    asked_delay,
    later,
)


@dataclass(frozen=True, slots=True)
class Health:
    """The failure streak of one endpoint. Requests that overlapped in time count once in `consecutive_failures`."""

    consecutive_failures: int = 0
    failing_since: datetime | None = None
    last_failure_at: datetime | None = None
    last_success_at: datetime | None = None


def record_outcome(health: Health, outcome: Outcome, started_at: datetime, finished_at: datetime) -> Health:
    """Return the health after one more finished request.

    A failure that began before the last counted failure ended belongs to the same incident and does not count again, so
    that a two-second outage under load does not disable an endpoint. Outcomes without a request do not count either:
    a signing key that this app lost must not disable every endpoint.
    """
    if outcome.kind in UNSENT_KINDS:
        return health
    if outcome.succeeded:
        return Health(last_success_at=finished_at, last_failure_at=health.last_failure_at)
    overlaps = (
        health.consecutive_failures > 0 and health.last_failure_at is not None and started_at < health.last_failure_at
    )
    if overlaps:
        return health
    return replace(
        health,
        consecutive_failures=health.consecutive_failures + 1,
        failing_since=health.failing_since or started_at,
        last_failure_at=finished_at,
    )


def queue_blocked_until(health: Health, outcome: Outcome, now: datetime, policy: RetryPolicy) -> datetime | None:
    """Return until when the whole queue is held after this outcome, None if it may continue at once.

    There are three reasons: the receiver is overloaded or unreachable (throttling); it has failed `breaker_threshold` times in
    a row (the breaker); its token server issues no token (whatever the policy's rules: nothing can be sent meanwhile). All hold
    the queue longer with every further failure, from `backoff_first` doubling to `backoff_last`. An outcome without a request
    holds nothing: the engine decides how long it waits after its own faults.
    """
    if outcome.succeeded or outcome.kind in UNSENT_KINDS:
        return None
    waits = [asked_delay(outcome, policy)]
    if policy.rule_for(outcome, RuleEffect.SLOW_DOWN) or outcome.kind is OutcomeKind.AUTHENTICATION_FAILED:
        waits.append(_backoff(max(health.consecutive_failures, 1), policy))
    if breaker_is_open(health, policy):
        waits.append(_backoff(health.consecutive_failures - policy.breaker_threshold + 1, policy))
    longest = max(waits)
    return later(now, longest) if longest > timedelta(0) else None


def longest_own_hold(health: Health, policy: RetryPolicy) -> timedelta:
    """Return the longest time that this app itself holds the queue after the last failure. A longer hold was requested by the
    receiver (Retry-After). If the policy ignores such requests, every hold is our own."""
    if (policy.slows_down or not policy.honours_retry_after) and health.consecutive_failures:
        return _backoff(health.consecutive_failures, policy)
    return (
        _backoff(health.consecutive_failures - policy.breaker_threshold + 1, policy)
        if breaker_is_open(health, policy)
        else timedelta(0)
    )


def breaker_is_open(health: Health, policy: RetryPolicy) -> bool:
    """Return whether the breaker is open: after `breaker_threshold` failures in a row, only one probe a back-off step is sent."""
    return policy.breaker and health.consecutive_failures >= policy.breaker_threshold


def disable_reason(health: Health, now: datetime, policy: RetryPolicy, outcome: Outcome | None = None) -> str:
    """Return why this endpoint should now be disabled: "failures", "days", or an empty string if it should not.

    `outcome` is the latest one. An outcome without a request never disables an endpoint: days on which this app cannot send
    do not count as days on which the endpoint fails.
    """
    if outcome is not None and outcome.kind in UNSENT_KINDS:
        return ""
    if policy.disable_after_failures is not None and health.consecutive_failures >= policy.disable_after_failures:
        return "failures"
    if policy.disable_after is not None and health.failing_since and now - health.failing_since >= policy.disable_after:
        return "days"
    return ""


def _backoff(step: int, policy: RetryPolicy) -> timedelta:
    """Return `backoff_first`, doubled with every step up to `backoff_last`. Compares before it multiplies: after a long streak
    the product would exceed a timedelta's range."""
    doubled = 1 << min(max(step - 1, 0), 64)
    if doubled >= policy.backoff_last / policy.backoff_first:
        return policy.backoff_last
    return policy.backoff_first * doubled
