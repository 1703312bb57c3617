"""`db.divided`: what fails alone is found, and how long that may take is limited."""

from __future__ import annotations

import math
import time

import pytest

from webhooks_app.db import divided


def divide(
    bad: set[int], number: int, seconds: float = math.inf, pause: float = 0.0
) -> tuple[set[int], set[int], set[int]]:
    """Return the numbers that went well, those that failed, and those that were not reached."""
    done: set[int] = set()
    failed: dict[int, Exception] = {}

    def work(some: list[int]) -> None:
        time.sleep(pause)
        if bad.intersection(some):
            raise ValueError("one of them")
        done.update(some)

    late = divided(work, range(number), failed.__setitem__, seconds=seconds)
    return done, set(failed), set(late)


@pytest.mark.parametrize("bad", [set(), {0}, {7}, {3, 4}, set(range(10))])
def test_those_that_fail_are_found_and_the_others_done(bad: set[int]) -> None:
    assert divide(bad, 10) == (set(range(10)) - bad, bad, set())


def test_those_that_were_not_reached_in_time_are_returned() -> None:
    done, failed, late = divide(set(range(100)), 100, seconds=0.05, pause=0.01)
    assert done == set()
    assert failed
    assert late
    assert failed | late == set(range(100))
    assert not failed & late
