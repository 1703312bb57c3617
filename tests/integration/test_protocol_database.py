"""The protocol, database: slow, failing or locked, it delays deliveries and loses none."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection, transaction

from tests.conftest import Configure
from tests.factories import AttemptFactory
from tests.outages import HEARTBEAT_THREAD, Outage, broken, stalled_database
from tests.pipelines import (
    Gate,
    InThread,
    at_once,
    deliver_until,
    due_delivery,
    endpoint_at,
    eventually,
    pending_event,
    running_engine,
)
from tests.receiver import Receiver
from tests.receiver_behaviours import Delay
from webhooks_app.db import write
from webhooks_app.engine import run as engine
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sql import PortableStore, store_for
from webhooks_app.engine.sql.types import AttemptRow
from webhooks_app.engine.sweep import repair
from webhooks_app.engine.types import EventBody
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue, Event, HourlyStat, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def all_succeeded(count: int) -> Callable[[], bool]:
    return lambda: Delivery.objects.filter(status="succeeded").count() == count


def with_events(endpoint: Endpoint, count: int, **values: Any) -> Endpoint:
    for _ in range(count):
        pending_event(endpoint.tenant, **values)
    return endpoint


class TestAStalledDatabase:
    def test_makes_no_time_out_of_an_answer_that_is_there(self, receiver: Receiver) -> None:
        receiver.on("/hook", Delay(0.2))
        due_delivery(endpoint_at(receiver, wire_format="quick"))  # one second for the whole request
        with running_engine():
            receiver.wait_for(1)
            with stalled_database():
                time.sleep(1.6)
            eventually(all_succeeded(1))
        assert Attempt.objects.get().outcome == "succeeded"

    def test_stops_new_requests_when_too_much_is_unrecorded(
        self, receiver: Receiver, configure: Configure, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(WINDOW=2)
        at_once(monkeypatch, results=5)
        gate = Gate()
        receiver.on("/hook", [gate, 200])
        with_events(endpoint_at(receiver, wire_format="slow"), 60)
        with running_engine():
            receiver.wait_for(1)
            with stalled_database():
                gate.open()
                receiver.wait_for(10)
                time.sleep(0.5)
                most = 5 + 2 * 8 + 2
                assert len(receiver.requests) <= most, "a batch, eight windows of results, and a window in flight"
            eventually(all_succeeded(60))
        assert len(receiver.requests) == 60

    def test_holds_no_bodies_of_what_was_answered(self, receiver: Receiver) -> None:
        gate = Gate()
        receiver.on("/hook", [gate, 200])
        with_events(endpoint_at(receiver, wire_format="slow"), 20)
        others = bodies_in_memory()  # of tests before this one
        with running_engine():
            receiver.wait_for(1)
            with stalled_database():
                gate.open()
                receiver.wait_for(20)
                eventually(lambda: len(bodies_in_memory()) <= len(others))
            eventually(all_succeeded(20))


class TestARequest:
    def test_does_not_keep_the_loop_busy(self, receiver: Receiver) -> None:
        receiver.on("/hook", Delay(0.8))
        due_delivery(endpoint_at(receiver, wire_format="slow"))
        before = time.thread_time()
        deliver_until(all_succeeded(1))
        assert time.thread_time() - before < 0.4

    def test_is_made_with_no_transaction_open(self, receiver: Receiver) -> None:
        gate = Gate()
        receiver.on("/hook", gate)
        due_delivery(endpoint_at(receiver, wire_format="slow"))
        with running_engine():
            receiver.wait_for(1)
            with write("default"):  # on SQLite this waits for whoever writes
                list(EndpointQueue.objects.locked())
                gate.open()
            eventually(all_succeeded(1))


MOMENTS = ["statement", "commit", "answer"]


class TestALostConnection:
    @pytest.mark.parametrize("moment", MOMENTS)
    def test_while_recording_loses_no_attempt_and_doubles_none(
        self, receiver: Receiver, moment: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        receiver.on("/hook", [200, 500, 200])
        outage = Outage("webhooks_app_hourlystat")
        with broken(outage, moment, monkeypatch), running_engine():
            with_events(endpoint_at(receiver, wire_format="quick"), 10)
            eventually(all_succeeded(10))
        assert outage.happened
        assert Attempt.objects.count() == len(receiver.requests) == 11
        assert sum(stat.succeeded + stat.server_error for stat in HourlyStat.objects.all()) == 11
        assert repair() == 0

    def test_while_recording_one_by_one_doubles_none(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        """A batch that the database refuses is written result by result; what is written then is not written again."""
        store = type(store_for("default"))
        insert, singles = store.insert_attempts, []

        def refuse(self: PortableStore, rows: list[AttemptRow]) -> None:
            if len(rows) > 1:
                raise DataError("one of these cannot be stored")
            singles.append(rows)
            if len(singles) == 3:
                raise OperationalError("the connection was lost")
            insert(self, rows)

        monkeypatch.setattr(store, "insert_attempts", refuse)
        with running_engine():
            with_events(endpoint_at(receiver), 10)
            eventually(all_succeeded(10))
        assert len(singles) > 3
        assert Attempt.objects.count() == len(receiver.requests) == 10
        assert sum(stat.succeeded for stat in HourlyStat.objects.all()) == 10

    @pytest.mark.parametrize("moment", MOMENTS)
    @pytest.mark.parametrize("word", ["", "COALESCE"], ids=["taking", "giving back"])
    def test_while_a_queue_changes_hands_leaves_it_to_nobody_for_ever(
        self, receiver: Receiver, moment: str, word: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outage = Outage("UPDATE", "webhooks_app_endpointqueue", "holder_id", word)
        with broken(outage, moment, monkeypatch), running_engine():
            with_events(endpoint_at(receiver), 1)
            eventually(all_succeeded(1))
            eventually(lambda: not EndpointQueue.objects.filter(holder_id__isnull=False).exists())
        assert outage.happened
        assert len(receiver.requests) == 1
        assert repair() == 0

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_while_fanning_out_makes_every_delivery_once(
        self, receiver: Receiver, moment: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outage = Outage("INSERT", "webhooks_app_delivery")
        with broken(outage, moment, monkeypatch), running_engine():
            with_events(endpoint_at(receiver), 5)
            eventually(all_succeeded(5))
        assert outage.happened
        assert len(receiver.requests) == 5
        assert not Event.objects.quarantined().exists()

    def test_while_beating_is_survived(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        outage = Outage("UPDATE", "webhooks_app_engine", thread=HEARTBEAT_THREAD)
        often = EngineOptions(heartbeat_seconds=1.5)
        with broken(outage, "statement", monkeypatch), running_engine(options=often):
            eventually(lambda: outage.happened)
            with_events(endpoint_at(receiver), 1)
            eventually(all_succeeded(1))


class TestABatch:
    def test_survives_an_endpoint_whose_rows_are_gone(self, receiver: Receiver) -> None:
        gate = Gate()
        receiver.on("/hook", gate)
        endpoints = [endpoint_at(receiver, wire_format="slow") for _ in range(3)]
        for endpoint in endpoints:
            due_delivery(endpoint)
        with running_engine():
            receiver.wait_for(3)
            endpoints[1].delete()
            gate.open()
            eventually(lambda: Attempt.objects.count() == 3)
        assert all_succeeded(3)()

    def test_survives_an_event_whose_row_is_gone(self, receiver: Receiver) -> None:
        lost, good = (due_delivery(endpoint_at(receiver, wire_format="once")) for _ in range(2))
        Event.objects.filter(pk=lost.event_id).delete()
        deliver_until(lambda: not Delivery.objects.filter(status="pending").exists())
        assert Delivery.objects.get(pk=good.pk).status == "succeeded"
        assert Delivery.objects.values_list("status", "last_outcome").get(pk=lost.pk) == ("exhausted", "not_sent")

    def test_may_hold_two_attempts_of_one_number(self) -> None:
        first = AttemptFactory(number=1, delivery__succeeded=True)
        AttemptFactory(delivery=first.delivery, number=1)
        assert Attempt.objects.count() == 2


class TestReadingAhead:
    @pytest.mark.parametrize("max_in_flight", [1, 8])
    def test_sends_all_of_a_long_queue_and_none_twice(self, receiver: Receiver, max_in_flight: int) -> None:
        receiver.on("/hook", [200, 500] * 10 + [200])
        with_events(endpoint_at(receiver, max_in_flight=max_in_flight), 150)
        deliver_until(all_succeeded(150), options=EngineOptions(read_ahead=16))
        assert len(receiver.requests) == 150 + 10
        assert len({request.headers["webhook-id"] for request in receiver.requests}) == 150
        assert repair() == 0

    def test_finds_what_was_committed_before_the_place_it_has_reached(self, receiver: Receiver) -> None:
        gate = Gate()
        receiver.on("/hook", [gate, 200])
        endpoint = with_events(endpoint_at(receiver, wire_format="slow"), 10)
        with running_engine(options=EngineOptions(read_ahead=4)):
            receiver.wait_for(1)
            due_delivery(endpoint, next_attempt_at=database_now("default") - timedelta(hours=1))
            gate.open()
            eventually(all_succeeded(11))

    def test_keeps_within_its_memory(self, receiver: Receiver, configure: Configure) -> None:
        configure(PREFETCH_BYTES=100_000)
        gate = Gate()
        receiver.on("/hook", [gate, 200])
        with_events(endpoint_at(receiver, wire_format="slow"), 40, payload={"text": "x" * 10_000})
        with running_engine():
            receiver.wait_for(1)
            time.sleep(0.3)
            assert 0 < sum(len(body.data) for body in bodies_in_memory()) <= 120_000
            gate.open()
            eventually(all_succeeded(40))
        assert len(receiver.requests) == 40

    def test_lets_one_through_that_is_larger_than_its_memory(self, receiver: Receiver, configure: Configure) -> None:
        configure(PREFETCH_BYTES=1000)
        with_events(endpoint_at(receiver), 3, payload={"text": "x" * 10_000})
        deliver_until(all_succeeded(3))


def bodies_in_memory() -> list[EventBody]:
    gc.collect()
    # Not isinstance, which asks dead weak proxies of other people for their class.
    return [each for each in gc.get_objects() if type(each) is EventBody]


def test_an_engine_that_starts_while_the_database_is_locked_waits(receiver: Receiver) -> None:
    with_events(endpoint_at(receiver), 1)
    with transaction.atomic():
        list(EndpointQueue.objects.locked())
        running = InThread(lambda: engine.run(until=lambda progress: progress.recorded == 1))
        running.join(0.5)
        assert running.is_alive()
    running.result()
    assert all_succeeded(1)()


@pytest.mark.postgres
def test_an_engine_works_where_the_host_lets_the_server_prepare_all_statements(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several statements in one cannot be prepared: no heartbeat was written, and nothing delivered."""
    options = {**connection.settings_dict["OPTIONS"], "server_side_binding": True, "prepare_threshold": 0}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    receiver.on("/retried", [500, 200])
    endpoints = [endpoint_at(receiver), endpoint_at(receiver, "/retried"), endpoint_at(receiver, fifo=True)]
    endpoints.append(endpoint_at(receiver, filters={"data.n": 1}))
    with running_engine():
        for endpoint in endpoints:
            pending_event(endpoint.tenant, data='{"n": 1}')
        eventually(all_succeeded(len(endpoints)))
