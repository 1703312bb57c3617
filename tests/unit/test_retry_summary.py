"""What customers read of a wire format's retry rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils.translation import override

from tests.wire_formats import BUILT_IN
from webhooks_app.core.retry import STANDARD_RULES, RetryPolicy, RuleEffect, StatusRule
from webhooks_app.dashboard.retry_summary import retry_rules
from webhooks_app.deliveries.explain import disabled_in_words
from webhooks_app.wire_formats.standard import WIRE_FORMAT

ASKED = "With 429 or 503 and a Retry-After header you decide how long we wait, up to 1 day."
GONE = "410 Gone switches the endpoint off at once."


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    with override("en"):
        yield


def rules(policy: RetryPolicy) -> list[str]:
    return retry_rules(replace(WIRE_FORMAT, retry=policy))


def test_the_standards_rules_are_said_in_order() -> None:
    assert rules(RetryPolicy(disable_after=None))[1:] == [ASKED, GONE]
    assert rules(RetryPolicy(disable_after=None, jitter=0, rules=STANDARD_RULES[1:])) == [GONE]
    assert rules(RetryPolicy.fixed((), disable_after=None)) == []


def test_a_rule_brings_its_words() -> None:
    unavailable = StatusRule(
        statuses=frozenset({451}), effect=RuleEffect.DISABLE, words="451 is 100 %% final.", reason="It answered 451."
    )
    policy = RetryPolicy(jitter=0, disable_after=None, rules=(unavailable,), retry_after_cap=timedelta(hours=1))
    assert rules(policy) == ["451 is 100 % final."]
    assert disabled_in_words(unavailable.reason) == "It answered 451."


@pytest.mark.parametrize("language", ["fr", "pt-br"])
def test_every_word_of_the_standards_rules_is_translated(language: str) -> None:
    in_english = {rule.reason: disabled_in_words(rule.reason) for rule in STANDARD_RULES if rule.reason}
    with override(language):
        assert not set(rules(RetryPolicy())) & {ASKED, GONE}
        assert all(disabled_in_words(reason) != words for reason, words in in_english.items())


@pytest.mark.parametrize("name", ["msgflash", "msgine", "muchaw"])
def test_products_with_a_fixed_schedule_promise_nothing_for_a_status(name: str) -> None:
    assert not any("410" in rule or "Retry-After" in rule for rule in retry_rules(BUILT_IN[name]))
