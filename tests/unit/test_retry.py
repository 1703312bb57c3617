"""What an outcome means for its delivery, and how long a receiver may make us wait."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import OUTCOMES
from webhooks_app.core.circuit_breaker import Health, longest_own_hold, queue_blocked_until
from webhooks_app.core.retry import (
    GONE,
    OVERLOADED,
    RETRY_AFTER,
    STANDARD_DELAYS,
    STANDARD_RULES,
    UNSENT_KINDS,
    Decision,
    DeliveryVerdict,
    Outcome,
    OutcomeKind,
    RetryPolicy,
    RuleEffect,
    StatusRule,
    asked_delay,
    decide,
    outcome_of_status,
    unsent_attempts,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXACT = RetryPolicy(jitter=0.0)
FAILURE = outcome_of_status(500)


def after(seconds: float) -> Decision:
    return Decision(DeliveryVerdict.RETRY, at=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, OutcomeKind.SUCCEEDED),
        (204, OutcomeKind.SUCCEEDED),
        (299, OutcomeKind.SUCCEEDED),
        (300, OutcomeKind.REDIRECT),
        (399, OutcomeKind.REDIRECT),
        (400, OutcomeKind.CLIENT_ERROR),
        (499, OutcomeKind.CLIENT_ERROR),
        (500, OutcomeKind.SERVER_ERROR),
        (599, OutcomeKind.SERVER_ERROR),
        (0, OutcomeKind.SERVER_ERROR),
        (199, OutcomeKind.SERVER_ERROR),
        (600, OutcomeKind.SERVER_ERROR),
    ],
)
def test_only_2xx_is_success(status: int, kind: OutcomeKind) -> None:
    outcome = outcome_of_status(status, 3.0)
    assert (outcome.kind, outcome.status, outcome.retry_after) == (kind, status, 3.0)
    assert outcome.succeeded == (kind is OutcomeKind.SUCCEEDED)


def test_a_success_ends_the_delivery() -> None:
    assert decide(outcome_of_status(204), 0, NOW, EXACT) == Decision(DeliveryVerdict.SUCCEEDED)
    assert decide(outcome_of_status(200), 99, NOW, EXACT) == Decision(DeliveryVerdict.SUCCEEDED)


def test_each_step_waits_for_its_own_delay_and_the_last_gives_up() -> None:
    decisions = [decide(FAILURE, step, NOW, EXACT) for step in range(11)]
    assert decisions[:9] == [Decision(DeliveryVerdict.RETRY, at=NOW + delay) for delay in STANDARD_DELAYS]
    assert decisions[9:] == [Decision(DeliveryVerdict.GIVE_UP)] * 2
    assert EXACT.max_attempts == 10
    assert sum(STANDARD_DELAYS, timedelta()) == timedelta(days=3, hours=3, minutes=35, seconds=5)


def test_a_policy_without_delays_makes_one_request() -> None:
    policy = RetryPolicy(delays=())
    assert policy.max_attempts == 1
    assert decide(FAILURE, 0, NOW, policy) == Decision(DeliveryVerdict.GIVE_UP)


SENT_KINDS = [kind for kind in OutcomeKind if kind not in (OutcomeKind.SUCCEEDED, OutcomeKind.NOT_SENT)]


@pytest.mark.parametrize("kind", SENT_KINDS)
def test_every_failure_is_retried_except_expired_and_quarantined(kind: OutcomeKind) -> None:
    never = kind in (OutcomeKind.EXPIRED, OutcomeKind.QUARANTINED)
    assert decide(Outcome(kind), 0, NOW, EXACT) == (Decision(DeliveryVerdict.GIVE_UP) if never else after(5))


# --- what this app could not send ------------------------------------------------------------------------------------

UNSENT = Outcome(OutcomeKind.NOT_SENT, detail="the signing key could not be opened")


@pytest.mark.parametrize(
    ("unsent", "minutes"), [(-1, 1), (0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (7, 60), (10_000, 60), (2**63, 60)]
)
def test_what_could_not_be_sent_is_retried_without_using_a_step(unsent: int, minutes: int) -> None:
    at = NOW + timedelta(minutes=minutes)
    for policy in (EXACT, RetryPolicy(delays=())):
        for step in (0, 9, 99):
            decision = decide(UNSENT, step, NOW, policy, unsent=unsent)
            assert decision == Decision(DeliveryVerdict.RETRY, at=at, uses_step=False)


@pytest.mark.parametrize(
    ("attempts", "step", "minutes", "unsent"),
    [
        (0, 0, 0, 0),
        (5, 3, 60, 2),
        (5, 3, 600_000, 2),
        (3, 5, 60, 0),  # the receiver's failures only
        (10, 0, 0, 0),  # ten attempts before a replay
        (11, 0, 1, 1),
        (12, 0, 3, 2),
        (13, 0, 7, 3),
        (10, 0, 62, 5),
        (10, 0, 600_000, 10),
        (10, 0, -1, 10),  # the policy's maximum age was raised
    ],
)
def test_attempts_before_a_replay_are_not_counted_as_unsent(
    attempts: int, step: int, minutes: int, unsent: int
) -> None:
    assert unsent_attempts(attempts, step, timedelta(minutes=minutes)) == unsent


def test_what_could_not_be_sent_is_given_up_once_it_has_expired() -> None:
    second = timedelta(seconds=1)
    for expires_at in (None, NOW + second, NOW + timedelta(days=5)):
        assert decide(UNSENT, 0, NOW, EXACT, expires_at=expires_at).verdict is DeliveryVerdict.RETRY
    for expires_at in (NOW, NOW - second):
        assert decide(UNSENT, 0, NOW, EXACT, expires_at=expires_at) == Decision(
            DeliveryVerdict.GIVE_UP, uses_step=False
        )


def test_the_expiry_concerns_only_what_could_not_be_sent() -> None:
    assert decide(FAILURE, 0, NOW, EXACT, unsent=3, expires_at=NOW) == after(5)
    assert after(5).uses_step


def test_gone_gives_up_and_names_why_unless_the_policy_has_no_such_rule() -> None:
    gone = outcome_of_status(410)
    assert decide(gone, 0, NOW, EXACT) == Decision(DeliveryVerdict.GIVE_UP, disable="gone")
    assert decide(gone, 9, NOW, EXACT) == Decision(DeliveryVerdict.GIVE_UP, disable="gone")
    assert decide(gone, 0, NOW, RetryPolicy(jitter=0.0, rules=(RETRY_AFTER, OVERLOADED))) == after(5)


@pytest.mark.parametrize(("roll", "seconds"), [(0.0, 4), (0.25, 4.5), (0.5, 5), (0.75, 5.5)])
def test_the_roll_places_the_retry_inside_the_jitter(roll: float, seconds: float) -> None:
    assert decide(FAILURE, 0, NOW, RetryPolicy(jitter=0.2), roll) == after(seconds)


@given(roll=st.floats(0, 1, exclude_max=True), step=st.integers(0, 8))
def test_jitter_stays_within_its_share(roll: float, step: int) -> None:
    decision = decide(FAILURE, step, NOW, RetryPolicy(jitter=0.2), roll)
    assert decision.at is not None
    assert abs(decision.at - NOW - STANDARD_DELAYS[step]) <= STANDARD_DELAYS[step] * 0.2
    assert decide(FAILURE, step, NOW, EXACT, roll).at == NOW + STANDARD_DELAYS[step]


@pytest.mark.parametrize("status", sorted(RETRY_AFTER.statuses))
def test_retry_after_moves_a_retry_back_but_never_forward(status: int) -> None:
    assert decide(outcome_of_status(status, 60), 0, NOW, EXACT) == after(60)
    assert decide(outcome_of_status(status, 60), 1, NOW, EXACT) == after(300)
    assert decide(outcome_of_status(status, 60), 9, NOW, EXACT) == Decision(DeliveryVerdict.GIVE_UP)


@pytest.mark.parametrize(
    ("outcome", "seconds"),
    [
        (outcome_of_status(503, 10), 10),
        (outcome_of_status(503, 0.5), 0.5),
        (outcome_of_status(503, None), 0),
        (outcome_of_status(500, 10), 0),
        (outcome_of_status(404, 10), 0),
        (outcome_of_status(503, -10), 0),
        (outcome_of_status(429, 86_401), 86_400),
        (outcome_of_status(429, float("inf")), 86_400),
        (outcome_of_status(429, float("nan")), 0),
        (Outcome(OutcomeKind.TIMEOUT, None, 10), 0),
    ],
)
def test_how_long_a_receiver_may_make_us_wait(outcome: Outcome, seconds: float) -> None:
    assert asked_delay(outcome, EXACT) == timedelta(seconds=seconds)
    assert asked_delay(outcome, RetryPolicy(rules=(GONE, OVERLOADED))) == timedelta(0)


# --- rules as data ---------------------------------------------------------------------------------------------------

LEGAL = StatusRule(statuses=frozenset({451}), effect=RuleEffect.DISABLE, reason="legal")
PATIENT = StatusRule(statuses=frozenset({451, 500}), effect=RuleEffect.RETRY_AFTER)


def test_a_rule_for_another_status_is_an_entry_in_the_table() -> None:
    refused = outcome_of_status(451)
    policy = RetryPolicy(jitter=0.0, rules=(*STANDARD_RULES, LEGAL, PATIENT))
    assert decide(refused, 0, NOW, EXACT) == after(5)
    assert decide(refused, 0, NOW, policy) == Decision(DeliveryVerdict.GIVE_UP, disable="legal")
    assert decide(outcome_of_status(500, 60), 0, NOW, policy) == after(60)
    assert decide(outcome_of_status(410), 0, NOW, policy) == Decision(DeliveryVerdict.GIVE_UP, disable="gone")


def test_a_rule_covers_failures_without_a_status_too() -> None:
    unreachable = StatusRule(
        kinds=frozenset({OutcomeKind.NAME_ERROR}), effect=RuleEffect.DISABLE, reason="no such host"
    )
    policy = RetryPolicy(jitter=0.0, rules=(unreachable,))
    assert decide(Outcome(OutcomeKind.NAME_ERROR), 0, NOW, policy).disable == "no such host"
    assert decide(Outcome(OutcomeKind.TIMEOUT), 0, NOW, policy) == after(5)


@given(outcome=OUTCOMES, step=st.integers(0, 3), roll=st.floats(0, 1))
def test_a_fixed_policy_keeps_to_its_schedule_whatever_rules_are_added_to_the_standard(
    outcome: Outcome, step: int, roll: float
) -> None:
    @dataclass(frozen=True, kw_only=True)
    class NextYears(RetryPolicy):
        rules: tuple[StatusRule, ...] = (
            *STANDARD_RULES,
            LEGAL,
            PATIENT,
            replace(OVERLOADED, statuses=frozenset({500})),
        )

    delays = (timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1))
    for policy in (RetryPolicy.fixed(delays), NextYears.fixed(delays)):
        if outcome.kind not in UNSENT_KINDS and not outcome.succeeded:
            decision = decide(outcome, step, NOW, policy, roll)
            expected = (
                Decision(DeliveryVerdict.RETRY, at=NOW + delays[step])
                if step < 3
                else Decision(DeliveryVerdict.GIVE_UP)
            )
            assert decision == expected
        waits = (
            outcome.kind is OutcomeKind.AUTHENTICATION_FAILED
        )  # not the receiver's failure: nothing can be sent to it
        assert (queue_blocked_until(Health(consecutive_failures=99), outcome, NOW, policy) is not None) is waits
        assert longest_own_hold(Health(consecutive_failures=99), policy) == policy.backoff_last, (
            "the only hold there is"
        )


def test_a_fixed_policy_says_something_of_every_field_that_may_do_more_than_the_schedule() -> None:
    """A new field that acts by default must be turned off in `fixed`; one that does not goes into this list."""
    idle = {"retry_after_cap", "breaker_threshold", "backoff_first", "backoff_last", "max_age", "delays"}
    turned_off = {"rules": (), "breaker": False, "jitter": 0.0}
    asked_for = set(inspect.signature(RetryPolicy.fixed).parameters)
    assert {field.name for field in fields(RetryPolicy)} == idle | set(turned_off) | asked_for
    policy = RetryPolicy.fixed(STANDARD_DELAYS)
    assert {name: getattr(policy, name) for name in turned_off} == turned_off
