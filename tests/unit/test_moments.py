"""How the customers' pages write times: past ones, those to come, and plans that are due."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django.utils.html import strip_tags

from webhooks_app.templatetags.webhooks import due, moment


def said(words: object) -> str:
    return strip_tags(str(words)).replace("\xa0", " ")


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        ({"seconds": 20}, "in a moment"),
        ({"seconds": 70}, "in 1 minute"),
        ({"minutes": 5}, "in 5 minutes"),
        ({"minutes": 59.9}, "in 60 minutes"),
        ({"hours": 24}, "in 24 hours"),
        ({"hours": 47.9}, "in 2 days"),
        ({"days": 5}, "in 5 days"),
        ({"days": 30}, "in 30 days"),
        ({"days": 90}, "in 3 months"),
        ({"days": 365}, "in 12 months"),
        ({"days": 3 * 365.25}, "in 3 years"),
    ],
)
def test_a_time_to_come_is_told_to_the_nearest_unit(ahead: dict[str, float], text: str) -> None:
    at = timezone.now() + timedelta(**ahead)
    assert said(moment(at)).startswith(f"{text} ")
    assert said(due(at)).startswith(f"{text} ")


def test_a_plan_whose_time_has_come_is_due_and_has_not_happened() -> None:
    assert said(due(timezone.now() - timedelta(seconds=5))).startswith("due now ")
    assert said(due(timezone.now() - timedelta(hours=5))).startswith("due now ")
    assert due(None) == "–"


def test_what_has_happened_is_told_as_past() -> None:
    assert said(moment(timezone.now())).startswith("just now ")
    assert said(moment(timezone.now() - timedelta(hours=2, minutes=50))).startswith("2 hours ago ")
