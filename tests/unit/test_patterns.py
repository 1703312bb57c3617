"""Patterns: the same matches as `re`, in a bounded number of steps."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhooks_app.core import patterns
from webhooks_app.core.patterns import MAX_PATTERN, InvalidPattern, Pattern


class Steps:
    def __init__(self) -> None:
        self.spent = 0

    def spend(self, steps: int) -> None:
        self.spent += steps


def found(pattern: str, text: str) -> bool:
    return Pattern(pattern).search(text, Steps().spend)


ATOMS = st.sampled_from(
    [
        "a",
        "b",
        ".",
        r"\d",
        r"\w",
        r"\s",
        r"\D",
        r"\W",
        r"\S",
        "[ab]",
        "[^a]",
        "[a-c1]",
        r"[^\w-]",
        "_",
        "1",
        r"\.",
        "\n",
    ]
)
ZERO_WIDTH = st.sampled_from(["^", "$", r"\b", r"\B", r"\A", r"\Z", ""])
REPEATS = st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,}", "{2,3}?", "{0}"])
PATTERNS = st.recursive(
    st.tuples(ATOMS, REPEATS).map("".join) | ZERO_WIDTH,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, REPEATS).map(lambda two: f"({two[0]}){two[1]}"),
    ),
    max_leaves=8,
)
TEXTS = st.text(alphabet="aabbc1_-. \né²", max_size=12)


@settings(max_examples=1500, deadline=None)
@given(pattern=PATTERNS, texts=st.lists(TEXTS, min_size=1, max_size=5))
def test_a_search_finds_what_re_finds(pattern: str, texts: list[str]) -> None:
    mine = Pattern(pattern)
    for text in texts:
        if not text and r"\B" in pattern:
            continue  # an empty text has this only from Python 3.14 on
        assert mine.search(text, Steps().spend) is bool(re.search(pattern, text)), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("", ""),
        ("^[A-Z]{2}[0-9]{4}$", "AB1234"),
        ("^[A-Z]{2}[0-9]{4}$", "AB12345"),
        ("^$", "\n"),
        ("a$", "a\n"),
        ("a$", "a\nb"),
        (r"a\Z", "a\n"),
        ("^.{1,255}$", "x" * 255),
        ("^.{1,255}$", "x" * 256),
        (r"^[^@\s]+@[^@\s]+\.[^@\s]+$", "anna@example.com"),
        (r"^\d{4}-\d{2}-\d{2}T", "2026-01-01T00:00:00Z"),
        ("^(?:cus|sub)_[a-zA-Z0-9]+$", "cus_1a"),
        ("(?P<name>a)b", "xab"),
    ],
)
def test_patterns_that_people_write_match_as_in_re(pattern: str, text: str) -> None:
    assert found(pattern, text) is bool(re.search(pattern, text))


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "no regular expression"),
        ("a{2,1}", "no regular expression"),
        ("a{99999999999999999999}", "no regular expression"),
        ("(?=a)", "look-around"),
        ("(?<!a)b", "look-around"),
        (r"(a)\1", "back-reference"),
        ("(?i)a", "flag"),
        ("(?i:a)", "flag"),
        ("(?s-m:a)", "flag"),
        ("(?>a)", "atomic group"),
        ("a*+", "atomic group"),
        ("(a)?(?(1)b|c)", "back-reference"),
        ("a" * (MAX_PATTERN + 1), "longer than 1000 characters"),
        ("((a{100}){100}){100}", "counting its repetitions"),
        ("(" * 490 + "a" + ")" * 490, "nested too deeply"),
    ],
)
def test_patterns_that_cannot_be_searched_in_this_way_are_refused(pattern: str, why: str) -> None:
    with pytest.raises(InvalidPattern, match=why):
        Pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 50_000 + "!"),
        ("^(a|aa)+$", "a" * 50_000 + "!"),
        (r"^(\w+\s?)*$", "a" * 50_000 + "!"),
        ("a*a*a*a*a*b", "a" * 50_000),
        ("(.*)(.*)(.*)(.*)x", "a" * 50_000),
        ("((a*)*)*b", "a" * 50_000),
    ],
)
def test_patterns_that_take_for_ever_elsewhere_read_each_character_once(pattern: str, text: str) -> None:
    steps = Steps()
    assert not Pattern(pattern).search(text, steps.spend)
    assert steps.spent < 1000


@pytest.mark.parametrize("pattern", ["(a|b)*a(a|b){14}$", "(a|b)*a(a|b){300}x", "(a{0,20}){0,20}b"])
def test_patterns_with_many_sets_of_places_count_each_step(pattern: str) -> None:
    """How often a place is visited is what a search costs."""
    text = "".join("ab"[number.bit_count() % 2] for number in range(400))
    steps, mine = Steps(), Pattern(pattern)
    visits = 0
    closure = mine._closure

    def counted(*args: object) -> object:
        nonlocal visits
        reached = closure(*args)  # type: ignore[arg-type]
        visits += len(reached)
        return reached

    mine._closure = counted  # type: ignore[method-assign, assignment]
    mine.search(text, steps.spend)
    assert visits <= steps.spent <= visits + 1 + len(text)


def test_a_search_ends_where_no_steps_are_left() -> None:
    class Enough(Exception):
        pass

    left = 100

    def spend(steps: int) -> None:
        nonlocal left
        left -= steps
        if left < 0:
            raise Enough

    with pytest.raises(Enough):
        Pattern("(a|b)*a(a|b){300}x").search("ab" * 1000, spend)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_MOST_KNOWN", 50)
    mine = Pattern("^[a-z]+$|x.y")
    for number in range(2000):
        mine.search(chr(1000 + number) + "abc", Steps().spend)
    assert mine._count <= 55
    assert len(mine._states) <= 50
    assert mine.search("abc", Steps().spend)


@pytest.mark.parametrize(
    "pattern", ["(){2000000}", "(){0,2000000}", "(a{0}){2000000}", "((){1000}){1000}", "(){1000,2000000}x?"]
)
def test_repeating_nothing_costs_nothing(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often an empty group is repeated, it is looked at a few times only."""
    calls = 0
    sequence = patterns._Builder.sequence

    def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        assert calls < 20
        return sequence(*args)

    monkeypatch.setattr(patterns._Builder, "sequence", counted)
    assert Pattern(pattern).search("b", Steps().spend)
