"""`db.divided`: what fails alone is found, and how long that may take is limited."""

from __future__ import annotations

import math

import pytest

from webhooks_app.db import divided


def divide(bad: set[int], number: int, seconds: float = math.inf) -> tuple[set[int], set[int], set[int]]:
    """Return the numbers that went well, those that failed, and those that were not reached."""
    done: set[int] = set()
    failed: dict[int, Exception] = {}

    def work(some: list[int]) -> None:
        if bad.intersection(some):
            raise ValueError("one of them")
        done.update(some)

    late = divided(work, range(number), failed.__setitem__, seconds=seconds)
    return done, set(failed), set(late)


@pytest.mark.parametrize("bad", [set(), {0}, {7}, {3, 4}, set(range(10))])
def test_those_that_fail_are_found_and_the_others_done(bad: set[int]) -> None:
    assert divide(bad, 10) == (set(range(10)) - bad, bad, set())


def test_when_time_is_up_one_is_found_and_the_others_are_returned() -> None:
    done, failed, late = divide(set(range(100)), 100, seconds=0.0)
    assert (done, failed) == (set(), {0})
    assert late == set(range(1, 100))
