"""What a host may put into a policy, a wire format and a secret format, and that what is accepted never fails later."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import HEALTHS, MOMENTS, OUTCOMES, POLICIES
from tests.wire_formats import BUILT_IN
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
    MAX_DELAYS,
    UNSENT_KINDS,
    DeliveryVerdict,
    Outcome,
    OutcomeKind,
    RetryPolicy,
    RuleEffect,
    StatusRule,
    decide,
    later,
)
from webhooks_app.core.signing import HexScheme, SecretFormat, TimestampedHexScheme
from webhooks_app.core.validation import LONGEST
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.wire_formats import standard
from webhooks_app.wire_formats.base import WireFormat

NAN, INFINITE = float("nan"), float("inf")
TOO_LONG = LONGEST + timedelta(microseconds=1)
NEGATIVE = timedelta(microseconds=-1)
NOTHING = timedelta(0)
NO_SPAN = (None, 5, 5.0, "5", NEGATIVE, TOO_LONG, timedelta.max, timedelta.min)
NO_FLAG = (None, 0, 1, "yes")
NO_COUNT = (0, -1, 1.5, True, "5", NAN, 2**31)
NO_SECONDS = (None, 0, -1, NAN, INFINITE, 3600.5, "15", True, timedelta(seconds=15))


BAD_HEADERS = ("", "X Signature", "X-Signature:", "X-Signature\r\n", "X-Sïgnature")


class WithoutNames:
    headers = staticmethod(lambda **values: ())


class WithoutHeaders:
    header_names = ("x-signature",)


class OwnDuration(timedelta):
    """As libraries of dates have them."""


class OwnTuple(tuple[Any, ...]):
    __slots__ = ()


class OwnSet(frozenset[Any]):
    pass


@dataclass(frozen=True, kw_only=True)
class OwnPolicy(RetryPolicy):
    """Looks up the customer's plan on the sending thread."""

    def rule_for(self, outcome: Outcome, effect: RuleEffect) -> StatusRule | None:
        time.sleep(3)
        return None


class OwnRule(StatusRule):
    def covers(self, outcome: Outcome) -> bool:
        time.sleep(3)
        return False


class OwnSecretFormat(SecretFormat):
    pass


OWN_HOUR = OwnDuration(hours=1)
OWN_RULE = OwnRule(effect=RuleEffect.SLOW_DOWN)


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


WRONG: dict[type, dict[str, tuple[Any, ...]]] = {
    RetryPolicy: {
        "delays": (
            *(None, 5, [timedelta(seconds=5)], (5,), ("5",), (timedelta(seconds=5), None), (NEGATIVE,), (TOO_LONG,)),
            (timedelta.max,),
            (NOTHING,) * (MAX_DELAYS + 1),
            OwnTuple([timedelta(hours=1)]),
            (OWN_HOUR,),
        ),
        "jitter": (None, "0.1", True, -0.1, 1, 1.0, NAN, INFINITE, Unspeakable()),
        "rules": (None, 5, [GONE], (None,), ("410",), frozenset({GONE}), OwnTuple([GONE]), (OWN_RULE,)),
        "retry_after_cap": (*NO_SPAN, OWN_HOUR),
        "breaker": NO_FLAG,
        "breaker_threshold": (*NO_COUNT, None),
        "backoff_first": (*NO_SPAN, NOTHING, timedelta(minutes=6), OwnDuration(seconds=5)),
        "backoff_last": (*NO_SPAN, NOTHING, OWN_HOUR),
        "max_age": (*NO_SPAN, NOTHING, OWN_HOUR),
        "disable_after_failures": NO_COUNT,
        "disable_after": (*NO_SPAN[1:], NOTHING, OWN_HOUR),
    },
    StatusRule: {
        "effect": (None, "disable", "nothing"),
        "statuses": (
            *(None, 410, [410], (410,), {410}, frozenset({"410"}), frozenset({True}), frozenset({410.0})),
            OwnSet({410}),
            *map(frozenset, ({99}, {1000}, {-1}, {410, 200}, {299})),
        ),
        "kinds": (
            *(None, OutcomeKind.TIMEOUT, [OutcomeKind.TIMEOUT], {OutcomeKind.TIMEOUT}, frozenset({"timeout"})),
            OwnSet({OutcomeKind.TIMEOUT}),
            *(frozenset({kind}) for kind in (*UNSENT_KINDS, OutcomeKind.SUCCEEDED)),
        ),
        "words": (None, 5, "100%", "%(seconds)s", "%s", "%(time)d"),
        "reason": (None, 5, "", "a" * 256),
        "reason_words": (None, 5),
    },
    SecretFormat: {
        "prefix": (None, 5, b"whsec_"),
        "random_bytes": (*NO_COUNT, None, 15, 4097),
        "written_as": (None, "", "base32", ["hex"]),
        "key_from": (None, "hex", 1),
        "min_key_bytes": (*NO_COUNT, None, 65),
        "max_key_bytes": (*NO_COUNT, None, 4097),
    },
    HexScheme: {"header": (None, 5, b"X-Signature"), "prefix": (None, 5, b"sha256=")},
    TimestampedHexScheme: {"header": (None, 5, b"X-Signature")},
    WireFormat: {
        "name": (None, "", 5, "a" * 65),
        "title": (None, 5),
        "scheme": (
            None,
            "hex",
            HexScheme,
            WithoutNames(),
            WithoutHeaders(),
            Unspeakable(),
            *map(HexScheme, BAD_HEADERS),
        ),
        "envelope": (None, b"{}"),
        "extra_headers": (None, (("X-A", "1"),)),
        "secret_format": (None, "whsec_", SecretFormat, OwnSecretFormat()),
        "single_signature": NO_FLAG,
        "retry": (None, {}, RetryPolicy, (timedelta(seconds=5),), OwnPolicy()),
        "connect_timeout": NO_SECONDS,
        "total_timeout": NO_SECONDS,
        "https_only": NO_FLAG,
        "warn_body_bytes": NO_COUNT,
        "event_types": (None, [], ("message.sent",), OwnTuple()),
        "numbers_endpoints": NO_FLAG,
        "channel_prefix": (None, 5),
    },
}
RIGHT: dict[type, Any] = {
    RetryPolicy: RetryPolicy(),
    StatusRule: GONE,
    SecretFormat: SecretFormat(),
    HexScheme: HexScheme("X-Signature"),
    TimestampedHexScheme: TimestampedHexScheme("X-Signature"),
    WireFormat: standard.WIRE_FORMAT,
}


@pytest.mark.parametrize("type_", WRONG)
def test_every_field_is_checked(type_: type) -> None:
    assert set(WRONG[type_]) == set(type_.__dataclass_fields__)


@pytest.mark.parametrize(
    ("type_", "field", "value"),
    [
        (type_, field, value)
        for type_, by_field in WRONG.items()
        for field, values in by_field.items()
        for value in values
    ],
    ids=lambda value: getattr(value, "__name__", None) or (value if isinstance(value, str) else type(value).__name__),
)
def test_a_wrong_field_is_named_with_what_is_allowed(type_: type, field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"{type_.__name__}\.{field} must be .+, not ") as caught:
        replace(RIGHT[type_], **{field: value})
    assert caught.value.field == field
    assert len(str(caught.value)) < 250


def test_what_is_allowed_at_the_edges() -> None:
    RetryPolicy(delays=(NOTHING, LONGEST) * (MAX_DELAYS // 2), jitter=0, retry_after_cap=NOTHING, disable_after=LONGEST)
    RetryPolicy(delays=(), jitter=0.999, breaker_threshold=1, backoff_first=LONGEST, backoff_last=LONGEST)
    RetryPolicy(disable_after_failures=1, disable_after=None, max_age=timedelta(microseconds=1))
    RetryPolicy(rules=())
    StatusRule(effect=RuleEffect.SLOW_DOWN)
    StatusRule(effect=RuleEffect.RETRY_AFTER, statuses=frozenset({100, 199, 300, 999}), words="100 %% of %(time)s")
    StatusRule(effect=RuleEffect.DISABLE, kinds=frozenset({OutcomeKind.TIMEOUT}), reason="a" * 255)
    StatusRule(effect=RuleEffect.SLOW_DOWN, statuses=frozenset({HTTPStatus.GONE}))
    SecretFormat(prefix="", random_bytes=16, min_key_bytes=1, max_key_bytes=1)
    replace(standard.WIRE_FORMAT, connect_timeout=0.001, total_timeout=3600, warn_body_bytes=1)
    for wire_format in BUILT_IN.values():
        assert replace(wire_format) == wire_format


@pytest.mark.parametrize("effect", [RuleEffect.RETRY_AFTER, RuleEffect.SLOW_DOWN])
def test_only_a_rule_that_disables_has_a_reason(effect: RuleEffect) -> None:
    with pytest.raises(ConfigurationError, match=r"StatusRule\.reason must be .+, not 'gone'\."):
        replace(GONE, effect=effect)


# --- what is accepted never fails ------------------------------------------------------------------------------------


@given(
    outcome=OUTCOMES,
    step=st.integers(-(2**31), 2**63),
    now=MOMENTS,
    policy=POLICIES,
    roll=st.floats(0, 1),
    unsent=st.integers(-(2**31), 2**63),
    expires_at=st.none() | MOMENTS,
)
def test_a_decision_never_fails(
    outcome: Outcome,
    step: int,
    now: datetime,
    policy: RetryPolicy,
    roll: float,
    unsent: int,
    expires_at: datetime | None,
) -> None:
    decision = decide(outcome, step, now, policy, roll, unsent=unsent, expires_at=expires_at)
    assert (decision.at is not None) == (decision.verdict is DeliveryVerdict.RETRY)
    assert decision.at is None or now <= decision.at <= later(now, 2 * LONGEST)
    assert decision.uses_step == (outcome.kind is not OutcomeKind.NOT_SENT)


@given(health=HEALTHS, outcome=OUTCOMES, started=MOMENTS, now=MOMENTS, policy=POLICIES)
def test_health_never_fails(
    health: Health, outcome: Outcome, started: datetime, now: datetime, policy: RetryPolicy
) -> None:
    changed = record_outcome(health, outcome, started, now)
    assert changed.consecutive_failures <= health.consecutive_failures + 1
    until = queue_blocked_until(changed, outcome, now, policy)
    assert until is None or now <= until <= later(now, LONGEST)
    rule = policy.rule_for(outcome, RuleEffect.DISABLE)
    assert rule is None or rule.reason
    assert disable_reason(changed, now, policy, outcome) in ("", "failures", "days")
    assert breaker_is_open(changed, policy) in (True, False)
    assert NOTHING <= longest_own_hold(changed, policy) <= policy.backoff_last


def test_a_back_off_that_doubles_beyond_every_timedelta_stays_at_its_last() -> None:
    policy = RetryPolicy(backoff_first=timedelta(days=200), backoff_last=LONGEST)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for consecutive_failures in (7, 31, 1000, 2**31, 2**63):
        assert (
            queue_blocked_until(
                Health(consecutive_failures=consecutive_failures), Outcome(OutcomeKind.TIMEOUT), now, policy
            )
            == now + LONGEST
        )


def test_a_retry_beyond_the_last_year_is_put_at_its_end() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    policy = RetryPolicy(delays=(LONGEST,), jitter=0.5)
    assert decide(Outcome(OutcomeKind.TIMEOUT), 0, last, policy).at == last
    assert decide(Outcome(OutcomeKind.NOT_SENT), 0, last, policy).at == last
