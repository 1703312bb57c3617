"""Hypothesis strategies that several tests share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from webhooks_app.core.circuit_breaker import Health
from webhooks_app.core.retry import (
    STANDARD_RULES,
    UNSENT_KINDS,
    Outcome,
    OutcomeKind,
    RetryPolicy,
    RuleEffect,
    StatusRule,
)
from webhooks_app.core.validation import LONGEST

TICK = timedelta(microseconds=1)
WAITS = st.timedeltas(timedelta(0), LONGEST)
SPANS = st.timedeltas(TICK, LONGEST)
MANY = st.integers(1, 2**31 - 1)
ZONES = st.just(UTC) | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
#: Any moment that a datetime can express, the first and the last one, too.
MOMENTS = st.datetimes(timezones=ZONES) | st.sampled_from([datetime.min, datetime.max]).map(
    lambda moment: moment.replace(tzinfo=UTC)
)

OUTCOMES = st.builds(
    Outcome,
    st.sampled_from(OutcomeKind),
    st.none() | st.integers(-1, 1000) | st.sampled_from([200, 410, 429, 503]),
    st.none() | st.floats() | st.integers(-(10**400), 10**400),
)
HEALTHS = st.builds(
    Health,
    st.integers(0, 2**63),
    st.none() | MOMENTS,
    st.none() | MOMENTS,
    st.none() | MOMENTS,
)


def _rule(effect: RuleEffect, **values: Any) -> StatusRule:
    return StatusRule(effect=effect, reason="gone" if effect is RuleEffect.DISABLE else "", **values)


#: The rules of the standard, and every other that passes validation.
RULES = st.sampled_from(STANDARD_RULES) | st.builds(
    _rule,
    st.sampled_from(RuleEffect),
    statuses=st.frozensets(st.sampled_from([199, *range(300, 1000)])),
    kinds=st.frozensets(st.sampled_from(sorted(set(OutcomeKind) - UNSENT_KINDS - {OutcomeKind.SUCCEEDED}))),
)


def _policy(backoffs: list[timedelta], **values: Any) -> RetryPolicy:
    return RetryPolicy(backoff_first=min(backoffs), backoff_last=max(backoffs), **values)


#: Every policy that passes validation, with its extremes.
POLICIES = st.builds(
    _policy,
    st.lists(SPANS, min_size=1, max_size=2),
    delays=st.lists(WAITS, max_size=5).map(tuple),
    jitter=st.floats(0, 1, exclude_max=True),
    rules=st.lists(RULES, max_size=4).map(tuple),
    retry_after_cap=WAITS,
    breaker=st.booleans(),
    breaker_threshold=st.integers(1, 10) | MANY,
    max_age=SPANS,
    disable_after_failures=st.none() | st.integers(1, 10) | MANY,
    disable_after=st.none() | SPANS,
)
