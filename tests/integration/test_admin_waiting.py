"""What the admin says of a delivery that waits, or is sent once more, is what is so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.factories import AttemptFactory, DeliveryFactory
from tests.staff import action_page, messages_of, on_list, page, text_of, viewer
from tests.waiting import FAILING, NOW, SOON
from webhooks_app.deliveries.explain import format_timestamp
from webhooks_app.models import Delivery

pytestmark = pytest.mark.django_db


def test_a_delivery_that_is_held_back_has_one_time_for_its_next_request():
    row = DeliveryFactory(**FAILING, next_attempt_at=NOW - timedelta(hours=1))
    text = text_of(viewer(), page(row))
    assert f"its endpoint is failing and held back until {format_timestamp(SOON)}" in text
    assert text.count(format_timestamp(SOON)) == 2
    assert format_timestamp(row.next_attempt_at) not in text


def test_what_was_accepted_and_is_sent_once_more_was_accepted():
    row = DeliveryFactory(attempts=1, last_outcome="succeeded", last_status=200)
    attempt = AttemptFactory(delivery=row, outcome="succeeded", status=200, started_at=NOW)
    client = viewer()
    text = text_of(client, page(row))
    assert (
        f"Yes. The receiver accepted it on {format_timestamp(attempt.started_at)}. It is to be sent once more." in text
    )
    Delivery.objects.update(status="exhausted", completed_at=SOON, attempts=11, last_outcome="timeout")
    text = text_of(client, page(row))
    assert f"Sent once more, it was given up on {format_timestamp(SOON)}." in text


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "Send now: it is on its way."),
        (FAILING, "Send now: it is on its way."),
        ({"endpoint__status": "paused"}, "Not yet: its endpoint is paused."),
        ({"endpoint__status": "disabled"}, "Not yet: its endpoint is disabled."),
        ({**FAILING, "endpoint__queue__not_before": NOW + timedelta(hours=9)}, "held back until"),
    ],
)
def test_sending_now_tells_what_came_of_it(values: dict[str, Any], says: str):
    row = DeliveryFactory(**values)
    [message] = messages_of(viewer("retry_delivery").post(action_page(row, "retry"), follow=True))
    assert says in message
    assert ("done" in message) is False


def test_sending_several_tells_which_of_them_wait():
    rows = [DeliveryFactory(), DeliveryFactory(endpoint__status="paused"), DeliveryFactory(endpoint__status="paused")]
    answer = on_list(viewer("retry_delivery"), "delivery", "retry", rows)
    first, second = messages_of(answer)
    assert first == "Send now: 3 of 3 done."
    assert "2 wait" in second
    assert "its endpoint is paused" in second
    assert rows[1].public_id in second


def test_an_event_that_is_sent_again_tells_how_many_wait():
    row = DeliveryFactory(exhausted=True, endpoint__status="paused")
    [message] = messages_of(viewer("replay_event").post(action_page(row.event, "replay"), follow=True))
    assert message.startswith("1 delivery is to be sent again. 1 waits until its endpoint, which is paused or")


def test_a_test_event_has_a_badge():
    row = DeliveryFactory(event__is_test=True)
    client = viewer()
    for shown in (row, row.event):
        assert '<span class="webhooks-state">test</span>' in text_of(client, page(shown))
