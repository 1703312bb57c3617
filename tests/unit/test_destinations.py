"""Destinations: what one tenant sends to one host, over all of its endpoints there."""

from __future__ import annotations

import itertools

import pytest

from tests.unit.windows import a_queue, a_window, add, finish, start
from webhooks_app.engine.destinations import host_and_port
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.sql.types import QueueClass
from webhooks_app.models.ids import new_id

TENANT = new_id()


def queues(number: int, deliveries: int = 1, **values: object) -> list[LeasedQueue]:
    """Queues of one tenant at one host."""
    return [a_queue(deliveries, **{"tenant_id": TENANT, **values}) for _ in range(number)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://example.com/a?b=c", "example.com:443"),
        ("http://example.com/", "example.com:80"),
        ("https://example.com:8443/", "example.com:8443"),
        ("https://[2606:4700::1111]/x", "2606:4700::1111:443"),
        # Rows that were changed by hand:
        ("https://example.com:port/", "https://example.com:port/"),
        ("http://[::1/hook", "http://[::1/hook"),
    ],
)
def test_a_host_is_named_with_its_port_and_without_its_path(url: str, where: str) -> None:
    assert host_and_port(url) == where


class TestRequestsInFlight:
    def test_to_one_host_are_limited_over_all_endpoints_of_a_tenant(self) -> None:
        window = a_window(*queues(10), host_in_flight=3)
        started = start(window)
        assert len(started) == 3
        assert not start(window, now=5.0)
        finish(window, started[0])
        assert len(start(window, now=5.0)) == 1

    def test_of_two_tenants_do_not_count_together(self) -> None:
        window = a_window(*queues(5), *queues(5, tenant_id=new_id()), host_in_flight=3)
        assert len(start(window)) == 6

    def test_to_another_host_do_not_wait(self) -> None:
        window = a_window(*queues(8), host_in_flight=3)
        assert len(start(window)) == 3
        add(window, *queues(2, url="https://other.example/"))
        assert len(start(window)) == 2

    def test_that_are_slow_still_count(self) -> None:
        window = a_window(*queues(8), host_in_flight=3, slow=4)
        assert len(start(window)) == 3
        assert not start(window, now=5.0)

    def test_that_were_put_back_or_forgotten_count_no_more(self) -> None:
        window = a_window(*queues(8), host_in_flight=3)
        window.put_back(start(window))
        assert len(start(window)) == 3
        window.forget_in_flight()
        add(window, *queues(8))
        assert len(start(window)) == 3

    def test_are_unlimited_with_0(self) -> None:
        window = a_window(*queues(20), host_in_flight=0, host_rate=0)
        assert len(start(window)) == 20


class TestRequestsASecond:
    def test_to_one_host_keep_their_pace_after_a_second_s_worth(self) -> None:
        window = a_window(*queues(25), host_rate=10)
        assert len(start(window, now=100.0)) == 11, "a second's worth may start at once"
        assert window.earliest_slot() == pytest.approx(100.1)
        assert not start(window, now=100.05)
        assert [len(start(window, now=100.11 + turn / 10)) for turn in range(3)] == [1, 1, 1]

    def test_that_were_put_back_cost_nothing(self) -> None:
        window = a_window(*queues(25), host_rate=10)
        window.put_back(start(window, now=100.0))
        assert len(start(window, now=100.0)) == 11


class TestAQueueThatWaitsForItsHost:
    def test_is_released_after_a_moment_so_that_others_are_leased(self) -> None:
        held = queues(30)
        window = a_window(*held, size=40, host_in_flight=3)
        assert len(start(window, now=0.0)) == 3
        assert not window.take_finished(0.4)
        full = window.lease_capacity()[QueueClass.NEW]
        assert TENANT in full.full
        released = window.take_finished(0.6)
        assert len(released) == 27
        assert TENANT not in window.lease_capacity()[QueueClass.NEW].full
        assert len(window) == 3, "those with requests in flight stay"

    def test_is_due_again_one_by_one(self) -> None:
        window = a_window(*queues(30), host_in_flight=3, host_rate=10)
        finish(window, *start(window, now=0.0))
        start(window, now=0.0)
        due = sorted(queue.sending.next_slot for queue in window.take_finished(0.6))
        assert due[0] >= 1.6, "not at once"
        steps = [later - earlier for earlier, later in itertools.pairwise(due)]
        assert steps == [pytest.approx(0.1)] * 23
        assert due[-1] < 61

    def test_is_due_again_later_if_the_requests_in_flight_hang(self) -> None:
        """Each lease costs the database as much as one that sends something."""
        window = a_window(*queues(30), host_in_flight=3, host_rate=100)
        started = start(window, now=0.0)
        due = sorted(queue.sending.next_slot for queue in window.take_finished(0.6))
        steps = [later - earlier for earlier, later in itertools.pairwise(due)]
        assert steps == [pytest.approx(0.2)] * 26
        finish(window, *started)
        add(window, *queues(12))
        start(window, now=1.0)
        due = sorted(queue.sending.next_slot for queue in window.take_finished(1.6))
        steps = [later - earlier for earlier, later in itertools.pairwise(due)]
        assert steps == [pytest.approx(0.01)] * 8

    def test_loses_nothing_that_was_read_for_it_alone(self) -> None:
        """It is not a failure: what was read ahead stays pending in the database, and counts no attempt."""
        window = a_window(*queues(5, deliveries=4), host_in_flight=1)
        start(window, now=0.0)
        released = window.take_finished(0.6)
        assert len(released) == 4
        assert all(queue.empty and queue.sending.hold_until is None and not queue.lost for queue in released)
        assert all(queue.health.consecutive_failures == 0 for queue in released)

    def test_that_could_start_meanwhile_is_kept(self) -> None:
        window = a_window(*queues(2, deliveries=3), host_in_flight=1)
        for turn in range(4):
            (delivery,) = start(window, now=turn * 0.2)
            assert not [queue for queue in window.take_finished(turn * 0.2 + 0.1) if queue.sending.next_slot]
            finish(window, delivery)

    def test_is_kept_while_it_waits_for_its_own_rate_limit_and_its_host_was_free(self) -> None:
        ahead, waiting = queues(1)[0], queues(1, rate_limit=1)[0]
        window = a_window(ahead, waiting, host_in_flight=1)
        (request,) = start(window, now=0.0)
        assert waiting.sending.held_since == 0.0
        finish(window, request)
        waiting.sending.next_slot = 9.0
        assert not start(window, now=0.2)
        add(window, *queues(1))
        assert len(start(window, now=0.6)) == 1, "the host is at its limit again"
        window.take_finished(0.7)
        assert not waiting.sending.stopping

    def test_is_kept_while_it_waits_for_room_in_the_window_and_its_host_is_free(self) -> None:
        ahead, waiting = queues(2)
        window = a_window(ahead, waiting, host_in_flight=1)
        (request,) = start(window, now=0.0)
        assert waiting.sending.held_since == 0.0
        finish(window, request)  # and no queue is looked at, since the window is full
        window.take_finished(0.7)
        assert not waiting.sending.stopping

    def test_does_not_keep_idle_destinations_in_memory(self) -> None:
        window = a_window(host_rate=10)
        for number in range(300):
            (queue,) = queues(1, url=f"https://host-{number}.example/")
            add(window, queue)
            finish(window, *start(window, now=number * 10.0))
            queue.sending.in_memory.clear()
            window.take_finished(number * 10.0)
        assert len(window._destinations._known) < 100
