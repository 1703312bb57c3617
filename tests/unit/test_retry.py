"""What an outcome means for its delivery, and how long a receiver may make us wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks_app.core.retry import (
    STANDARD_DELAYS,
    Decision,
    Outcome,
    OutcomeKind,
    RetryPolicy,
    Verdict,
    asked_delay,
    decide,
    outcome_of_status,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXACT = RetryPolicy(jitter=0.0)
FAILURE = outcome_of_status(500)


def after(seconds: float) -> Decision:
    return Decision(Verdict.RETRY, at=NOW + timedelta(seconds=seconds))


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
    assert decide(outcome_of_status(204), 0, NOW, EXACT) == Decision(Verdict.SUCCEEDED)
    assert decide(outcome_of_status(200), 99, NOW, EXACT) == Decision(Verdict.SUCCEEDED)


def test_each_step_waits_for_its_own_delay_and_the_last_gives_up() -> None:
    decisions = [decide(FAILURE, step, NOW, EXACT) for step in range(11)]
    assert decisions[:9] == [Decision(Verdict.RETRY, at=NOW + delay) for delay in STANDARD_DELAYS]
    assert decisions[9:] == [Decision(Verdict.GIVE_UP)] * 2
    assert EXACT.max_attempts == 10
    assert sum(STANDARD_DELAYS, timedelta()) == timedelta(days=3, hours=3, minutes=35, seconds=5)


def test_a_policy_without_delays_makes_one_request() -> None:
    policy = RetryPolicy(delays=())
    assert policy.max_attempts == 1
    assert decide(FAILURE, 0, NOW, policy) == Decision(Verdict.GIVE_UP)


@pytest.mark.parametrize("kind", [kind for kind in OutcomeKind if kind is not OutcomeKind.SUCCEEDED])
def test_every_failure_is_retried_but_those_that_say_never(kind: OutcomeKind) -> None:
    never = kind in (OutcomeKind.EXPIRED, OutcomeKind.QUARANTINED)
    assert decide(Outcome(kind), 0, NOW, EXACT) == (Decision(Verdict.GIVE_UP) if never else after(5))


def test_gone_gives_up_and_names_why_unless_the_policy_has_no_such_rule() -> None:
    gone = outcome_of_status(410)
    assert decide(gone, 0, NOW, EXACT) == Decision(Verdict.GIVE_UP, disable="gone")
    assert decide(gone, 9, NOW, EXACT) == Decision(Verdict.GIVE_UP, disable="gone")
    assert decide(gone, 0, NOW, RetryPolicy(jitter=0.0, gone_disables=False)) == after(5)


@pytest.mark.parametrize(("roll", "seconds"), [(0.0, 4), (0.25, 4.5), (0.5, 5), (0.75, 5.5)])
def test_the_roll_places_the_retry_inside_the_jitter(roll: float, seconds: float) -> None:
    assert decide(FAILURE, 0, NOW, RetryPolicy(jitter=0.2), roll) == after(seconds)


@given(roll=st.floats(0, 1, exclude_max=True), step=st.integers(0, 8))
def test_jitter_stays_within_its_share(roll: float, step: int) -> None:
    decision = decide(FAILURE, step, NOW, RetryPolicy(jitter=0.2), roll)
    assert decision.at is not None
    assert abs(decision.at - NOW - STANDARD_DELAYS[step]) <= STANDARD_DELAYS[step] * 0.2
    assert decide(FAILURE, step, NOW, EXACT, roll).at == NOW + STANDARD_DELAYS[step]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_moves_a_retry_back_but_never_forward(status: int) -> None:
    assert decide(outcome_of_status(status, 60), 0, NOW, EXACT) == after(60)
    assert decide(outcome_of_status(status, 60), 1, NOW, EXACT) == after(300)
    assert decide(outcome_of_status(status, 60), 9, NOW, EXACT) == Decision(Verdict.GIVE_UP)


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
    assert asked_delay(outcome, RetryPolicy(honours_retry_after=False)) == timedelta(0)
