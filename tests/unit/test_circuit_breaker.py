"""The failing streak of an endpoint, the breaker, and when an endpoint is switched off."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from webhooks_app.core.circuit_breaker import (
    Health,
    breaker_is_open,
    disable_reason,
    longest_own_hold,
    queue_blocked_until,
    record_outcome,
)
from webhooks_app.core.retry import (
    GONE,
    RETRY_AFTER,
    UNSENT_KINDS,
    Outcome,
    OutcomeKind,
    RetryPolicy,
    outcome_of_status,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RetryPolicy()
#: Nothing but Retry-After and the breaker holds the queue back.
UNHURRIED = RetryPolicy(rules=(RETRY_AFTER, GONE))
SUCCESS, FAILURE = outcome_of_status(200), outcome_of_status(500)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def waits(consecutive_failures: int, outcome: Outcome, policy: RetryPolicy = POLICY) -> float:
    """For how many seconds the queue is held back."""
    until = queue_blocked_until(Health(consecutive_failures=consecutive_failures), outcome, NOW, policy)
    return 0 if until is None else (until - NOW).total_seconds()


# --- the streak ------------------------------------------------------------------------------------------------------


def test_failures_one_after_the_other_count_each() -> None:
    health = Health()
    for start in (0, 10, 20):
        health = record_outcome(health, FAILURE, at(start), at(start + 2))
    assert health == Health(consecutive_failures=3, failing_since=at(0), last_failure_at=at(22))


def test_failures_that_overlapped_count_once() -> None:
    health = record_outcome(Health(), FAILURE, at(0), at(5))
    assert record_outcome(health, FAILURE, at(1), at(6)) == health
    assert record_outcome(health, FAILURE, at(4.999), at(60)) == health
    assert record_outcome(health, FAILURE, at(5), at(6)).consecutive_failures == 2


def test_a_chain_of_overlapping_failures_still_counts_on() -> None:
    """Eight at a time with 15 s time-outs each: about one counted failure every 15 s, not one for ever."""
    health = Health()
    for start in range(0, 61, 2):
        health = record_outcome(health, FAILURE, at(start), at(start + 15))
    assert health.consecutive_failures == 4


def test_a_success_ends_the_streak_and_remembers_the_last_failure() -> None:
    failing = record_outcome(record_outcome(Health(), SUCCESS, at(0), at(1)), FAILURE, at(2), at(3))
    assert failing == Health(1, failing_since=at(2), last_failure_at=at(3), last_success_at=at(1))
    healthy = record_outcome(failing, SUCCESS, at(4), at(5))
    assert healthy == Health(0, None, last_failure_at=at(3), last_success_at=at(5))
    assert (
        record_outcome(healthy, FAILURE, at(2.5), at(6)).consecutive_failures == 1
    )  # with no streak there is nothing to overlap with


@pytest.mark.parametrize("kind", [OutcomeKind.NOT_SENT, OutcomeKind.EXPIRED, OutcomeKind.QUARANTINED])
def test_what_was_never_sent_says_nothing_of_the_endpoint(kind: OutcomeKind) -> None:
    health = Health(consecutive_failures=2, failing_since=at(-9), last_failure_at=at(-8))
    assert record_outcome(health, Outcome(kind), at(0), at(1)) == health


# --- holding the queue back ------------------------------------------------------------------------------------------


def test_a_success_holds_nothing_back() -> None:
    assert waits(9, SUCCESS) == 0


@pytest.mark.parametrize(
    "outcome", [FAILURE, outcome_of_status(404), outcome_of_status(302), Outcome(OutcomeKind.TLS_ERROR)]
)
def test_one_ordinary_failure_holds_nothing_back(outcome: Outcome) -> None:
    assert waits(1, outcome) == 0


@pytest.mark.parametrize(
    "outcome",
    [*map(outcome_of_status, (429, 502, 503, 504)), Outcome(OutcomeKind.TIMEOUT), Outcome(OutcomeKind.REFUSED)],
)
def test_an_overloaded_or_absent_receiver_is_left_alone_longer_and_longer(outcome: Outcome) -> None:
    assert [waits(consecutive_failures, outcome) for consecutive_failures in (0, 1, 2, 3, 7, 99)] == [
        5,
        5,
        10,
        20,
        300,
        300,
    ]
    assert waits(1, outcome, UNHURRIED) == 0


def test_five_failures_in_a_row_open_the_breaker() -> None:
    assert [waits(consecutive_failures, FAILURE) for consecutive_failures in (4, 5, 6, 7, 11, 10_000)] == [
        0,
        5,
        10,
        20,
        300,
        300,
    ]
    assert waits(10, FAILURE, RetryPolicy(breaker=False)) == 0
    assert waits(2, FAILURE, RetryPolicy(breaker_threshold=2)) == 5
    assert [
        breaker_is_open(Health(consecutive_failures=consecutive_failures), POLICY)
        for consecutive_failures in (0, 4, 5, 6)
    ] == [False, False, True, True]
    assert not breaker_is_open(Health(consecutive_failures=9), RetryPolicy(breaker=False))


def test_the_longest_of_all_reasons_counts() -> None:
    assert waits(5, outcome_of_status(503)) == 80  # throttled five times, the breaker has just opened
    assert waits(1, outcome_of_status(503, 7200)) == 7200
    assert waits(1, outcome_of_status(429, 1)) == 5
    assert waits(1, outcome_of_status(429, 60), UNHURRIED) == 60
    assert waits(1, outcome_of_status(429, 60), RetryPolicy(rules=(GONE,))) == 0
    assert waits(1, outcome_of_status(500, 60)) == 0


# --- switching off ---------------------------------------------------------------------------------------------------


def test_so_many_failures_in_a_row_switch_an_endpoint_off() -> None:
    policy = RetryPolicy(disable_after_failures=10, disable_after=None)
    assert disable_reason(Health(consecutive_failures=9, failing_since=at(-1e7)), NOW, policy) == ""
    assert disable_reason(Health(consecutive_failures=10, failing_since=at(-1)), NOW, policy) == "failures"


def test_so_many_days_without_a_success_switch_an_endpoint_off() -> None:
    day = 86_400
    assert disable_reason(Health(consecutive_failures=99, failing_since=at(-5 * day + 1)), NOW, POLICY) == ""
    assert disable_reason(Health(consecutive_failures=1, failing_since=at(-5 * day)), NOW, POLICY) == "days"
    assert disable_reason(Health(), NOW, POLICY) == ""
    never = RetryPolicy(disable_after=None)
    assert disable_reason(Health(consecutive_failures=99, failing_since=at(-500 * day)), NOW, never) == ""


@pytest.mark.parametrize("kind", [OutcomeKind.TIMEOUT, OutcomeKind.SERVER_ERROR])
@pytest.mark.parametrize("consecutive_failures", [1, 4, 5, 6, 20])
@pytest.mark.parametrize("policy", [POLICY, UNHURRIED, replace(UNHURRIED, breaker=False)])
def test_what_we_wait_of_our_own_accord_is_never_longer_than_is_said(
    policy: RetryPolicy, consecutive_failures: int, kind: OutcomeKind
) -> None:
    longest = longest_own_hold(Health(consecutive_failures=consecutive_failures), policy)
    assert waits(consecutive_failures, Outcome(kind), policy) <= longest.total_seconds() <= 300
    asked = outcome_of_status(503, retry_after=3600)
    assert waits(consecutive_failures, asked, policy) > longest.total_seconds()


@pytest.mark.parametrize("kind", sorted(UNSENT_KINDS))
@pytest.mark.parametrize("consecutive_failures", [0, 1, 5, 20])
def test_an_outcome_without_a_request_holds_nothing_back(kind: OutcomeKind, consecutive_failures: int) -> None:
    """The engine decides how long it waits after a fault of its own."""
    assert waits(consecutive_failures, Outcome(kind, 429, 60)) == 0


@pytest.mark.parametrize("kind", sorted(UNSENT_KINDS))
def test_an_outcome_without_a_request_disables_nothing(kind: OutcomeKind) -> None:
    """Five days after its last success, an endpoint that failed once must not go off because our key is missing."""
    policy = RetryPolicy(disable_after_failures=1)
    long_ago = Health(consecutive_failures=1, failing_since=at(-500 * 86_400))
    assert disable_reason(long_ago, NOW, policy, FAILURE) == "failures"
    assert disable_reason(long_ago, NOW, POLICY, FAILURE) == "days"
    for each in (policy, POLICY):
        assert disable_reason(long_ago, NOW, each, Outcome(kind)) == ""
