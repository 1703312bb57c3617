"""The window, shares: what slow requests, one tenant or a weak receiver may take of it."""

from __future__ import annotations

from collections import Counter

from tests.unit.windows import a_queue, a_window, add, finish, let_succeed, start
from webhooks_app.core.circuit_breaker import Health
from webhooks_app.engine.sql.types import QueueClass
from webhooks_app.models.ids import new_id


class TestASlowRequest:
    """One that hangs."""

    def test_makes_room_for_another_after_a_second(self) -> None:
        window = a_window(*(a_queue(1) for _ in range(6)), size=4, slow=4)
        assert len(start(window, now=0.0)) == 2
        assert not start(window, now=0.9)
        assert len(start(window, now=1.1)) == 2
        assert len(start(window, now=2.2)) == 2
        assert window.in_flight == 6

    def test_makes_room_earlier_where_the_window_is_crowded(self) -> None:
        hanging = [a_queue(2) for _ in range(4)]
        window = a_window(*hanging, size=4, slow=4)
        finish(window, *start(window), *start(window))
        add(window, a_queue(1))
        started = start(window, now=0.0)
        assert len(started) == 4
        assert not start(window, now=0.2)
        assert start(window, now=0.3)

    def test_leaves_the_window_only_where_there_is_room(self) -> None:
        window = a_window(*(a_queue(1) for _ in range(10)), size=4, slow=1)
        sizes = [len(start(window, now=5.0 * turn)) for turn in range(5)]
        assert sizes == [2, 2, 2, 0, 0], "four are slow, two fill the half of the window"

    def test_of_one_tenant_may_fill_a_quarter_of_the_room(self) -> None:
        tenant_id = new_id()
        window = a_window(*(a_queue(1, tenant_id=tenant_id) for _ in range(50)), size=8, slow=4)
        sizes = [len(start(window, now=5.0 * turn)) for turn in range(7)]
        assert sizes == [2, 2, 2, 2, 0, 0, 0], "eight of 32 are slow: the tenant's share, and it starts nothing more"
        assert tenant_id in window.lease_capacity()[QueueClass.NEW].full
        add(window, a_queue(1))
        assert len(start(window, now=40.0)) == 1, "another tenant's start as before"

    def test_that_stayed_leaves_the_window_when_there_is_room_again(self) -> None:
        window = a_window(*(a_queue(1) for _ in range(10)), size=4, slow=1)
        slow = [one for turn in range(2) for one in start(window, now=5.0 * turn)]
        assert len(start(window, now=10.0)) == 2, "they stay, because four are slow"
        assert not start(window, now=20.0)
        finish(window, *slow[:2])
        assert len(start(window, now=21.0)) == 2

    def test_leaves_its_queue_able_to_answer_late_and_to_go_on(self) -> None:
        queue = a_queue(5)
        window = a_window(queue, size=4, slow=4)
        (delivery,) = start(window, now=0.0)
        assert not start(window, now=5.0)
        assert window.in_flight == 1
        finish(window, delivery)
        assert window.in_flight == 0
        assert len(start(window, now=6.0)) == 2

    def test_is_not_taken_for_the_one_after_it(self) -> None:
        queue = a_queue(2)
        window = a_window(queue, a_queue(1), size=2, slow=4)
        (first,) = start(window, now=0.0)
        finish(window, first, succeeded=False)
        assert len(start(window, now=0.9)) == 1
        assert not start(window, now=1.5)

    def test_of_a_proven_queue_counts_as_any_other(self) -> None:
        window = a_window(a_queue(10), size=4, slow=4)
        let_succeed(window)
        assert len(start(window, now=0.0)) == 2
        add(window, *(a_queue(1, trusted=True) for _ in range(4)))
        assert len(start(window, now=0.2)) == 2
        assert not start(window, now=0.2)
        assert len(start(window, now=0.9)) == 2, "the two proven ones have left the window, which was crowded"

    def test_of_proven_queues_leaves_room_for_other_tenants(self) -> None:
        """Its queues have all succeeded, and hang from now on with all that they may have in flight."""
        tenant_id = new_id()
        queues = [a_queue(40, tenant_id=tenant_id, trusted=True) for _ in range(20)]
        window = a_window(*queues, size=16, slow=1)
        now = 0.0
        for _ in range(12):
            for delivery in start(window, now=now):
                finish(window, delivery)
            now += 0.01
        for _ in range(20):
            start(window, now=now)
            now += 1.0
        assert window.in_flight == 12, (
            "three quarters of the window; with its quarter of the slow pool full, nothing more"
        )
        add(window, *(a_queue(1, trusted=True) for _ in range(4)))
        assert len(start(window, now=now)) == 4

    def test_that_are_expensive_to_build_let_others_go_first(self) -> None:
        expensive, other = a_queue(5), a_queue(5)
        window = a_window(expensive, other)
        let_succeed(window, 2)
        window.charge(expensive, 8.0, 0.5)
        assert {delivery.endpoint_id for delivery in start(window, now=8.2)} == {other.endpoint_id}
        assert window.earliest_slot() == 8.5, "nobody else waits any more"
        assert {delivery.endpoint_id for delivery in start(window, now=8.6)} == {expensive.endpoint_id}

    def test_that_was_put_back_has_its_turn_again(self) -> None:
        queue = a_queue(3)
        window = a_window(queue)
        deliveries = start(window)
        window.put_back(deliveries)
        assert window.in_flight == 0
        assert start(window) == deliveries

    def test_leaves_its_place_among_those_without_success_to_another_queue(self) -> None:
        window = a_window(a_queue(1), a_queue(1), size=4, slow=4)
        assert window.lease_capacity()[QueueClass.NEW].limit == 0
        assert window.lease_capacity()[QueueClass.TRUSTED].limit == 2
        start(window, now=0.0)
        start(window, now=2.0)
        assert window.lease_capacity()[QueueClass.NEW].limit == 2
        assert window.lease_capacity()[QueueClass.TRUSTED].limit == 4


class TestATenant:
    def test_has_its_turn_however_many_queues_another_one_has(self) -> None:
        large = new_id()
        window = a_window(*(a_queue(10, tenant_id=large, trusted=True) for _ in range(50)), size=400)
        small = a_queue(10)
        add(window, small)
        let_succeed(window, 51)
        owners = [delivery.endpoint_id for delivery in start(window, limit=4)]
        assert owners.count(small.endpoint_id) == 2

    def test_may_fill_a_quarter_of_the_window_without_a_success(self) -> None:
        large = new_id()
        window = a_window(*(a_queue(1, tenant_id=large) for _ in range(20)), size=16)
        assert len(start(window)) == 4
        add(window, a_queue(1))
        assert len(start(window)) == 1

    def test_gets_no_more_queues_than_it_may_start(self) -> None:
        large = new_id()
        window = a_window(*(a_queue(1, tenant_id=large) for _ in range(4)), size=16)
        for name in (QueueClass.TRUSTED, QueueClass.NEW, QueueClass.FAILING):
            assert window.lease_capacity()[name].full == {large}
            assert window.lease_capacity()[name].share == (2 if name is QueueClass.FAILING else 4)

    def test_leaves_half_of_the_room_for_failing_queues_to_others(self) -> None:
        large = new_id()
        window = a_window(
            *(a_queue(1, tenant_id=large, health=Health(consecutive_failures=1)) for _ in range(2)), size=16
        )
        capacity = window.lease_capacity()
        assert (capacity[QueueClass.FAILING].limit, capacity[QueueClass.FAILING].full) == (2, {large})
        assert capacity[QueueClass.NEW].full == set()


def test_a_recovering_endpoint_is_ramped_up() -> None:
    window = a_window(a_queue(1000, cap=100))
    [probe] = start(window)
    finish(window, probe, ramp_since=0.0)
    starts = []
    for tick in range(1000):
        for delivery in start(window, now=tick / 100):
            starts.append(tick / 100)
            finish(window, delivery)
    seconds = Counter(int(at) for at in starts)
    assert 20 <= seconds[0] <= 26
    assert 37 <= seconds[5] <= 47
    assert sum(seconds.values()) < 450


def test_a_lack_of_descriptors_shrinks_the_window_until_requests_end_well() -> None:
    queues = [a_queue(50, cap=50) for _ in range(10)]
    window = a_window(*queues, size=20)
    let_succeed(window, 10)
    started = start(window)
    assert len(started) == 20
    window.shrink()
    finish(window, *started[:5], succeeded=False)
    assert start(window) == [], "15 are in flight, and no more may be"
    in_flight = started[5:]
    for _ in range(10):
        finish(window, *in_flight)
        in_flight = start(window)
    assert window.in_flight == 20
