"""The protocol, heartbeat: an engine is alive as long as its row says so, by the database's clock."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.db.models.signals import post_delete, post_init, post_save, pre_delete, pre_init, pre_save

from tests.conftest import Configure
from tests.factories import EndpointFactory, EngineFactory
from tests.pipelines import (
    PATIENCE,
    Gate,
    deliver_until,
    due_delivery,
    endpoint_at,
    eventually,
    running_engine,
)
from tests.receiver import Receiver
from tests.receiver_behaviours import Delay
from webhooks_app.db import write
from webhooks_app.engine import heartbeat, reaper
from webhooks_app.engine import run as engine
from webhooks_app.engine.lease import Lease
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.reaper import release_dead_engines
from webhooks_app.models import Delivery, EndpointQueue, Engine, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HOUR = timedelta(hours=1)


def now() -> datetime:
    return database_now("default")


@contextmanager
def no_heartbeats() -> Iterator[None]:
    """No engine can write its row meanwhile."""
    with write("default"):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE webhooks_app_engine IN EXCLUSIVE MODE")
        else:
            list(Engine.objects.select_for_update())
        yield


class TestTheHeartbeat:
    def test_is_renewed_while_the_engine_lives(self, configure: Configure) -> None:
        configure(HEARTBEAT_SECONDS=1.2)
        with running_engine():
            first = eventually(lambda: Engine.objects.first())
            assert first.alive_until <= now() + timedelta(seconds=1.2)
            later = eventually(lambda: Engine.objects.filter(alive_until__gt=first.alive_until).first())
            assert later.pk == first.pk

    def test_that_has_stopped_frees_the_queues(self, receiver: Receiver, configure: Configure, caplog: Any) -> None:
        configure(HEARTBEAT_SECONDS=3.0)  # others are looked for six times in each life
        dead = EngineFactory(alive_until=now() - timedelta(seconds=1))
        due_delivery(endpoint_at(receiver, queue__holder_id=dead.pk))
        deliver_until(lambda: Delivery.objects.get().status == "succeeded")
        assert "missed their heartbeat" in caplog.text
        assert not Engine.objects.exists()

    def test_goes_on_whatever_receivers_of_model_signals_do(self, receiver: Receiver, configure: Configure) -> None:
        """One that is connected without a sender is called for the engine's own rows, too."""
        configure(HEARTBEAT_SECONDS=3.0)
        dead = EngineFactory(alive_until=now() - timedelta(seconds=1))
        due_delivery(endpoint_at(receiver, queue__holder_id=dead.pk))

        def fail(sender: type[Any], **_: Any) -> None:
            if sender is Engine:
                raise AttributeError("name")

        signals = (pre_init, post_init, pre_save, post_save, pre_delete, post_delete)
        for signal in signals:
            signal.connect(fail)
        try:
            deliver_until(lambda: Delivery.objects.get().status == "succeeded")
        finally:
            for signal in signals:
                signal.disconnect(fail)
        assert not Engine.objects.exists()

    def test_that_goes_on_keeps_them(self) -> None:
        alive = EngineFactory(alive_until=now() + timedelta(seconds=5))
        endpoint = EndpointFactory(queue__holder_id=alive.pk)
        assert release_dead_engines("default", now()).queues == 0
        assert EndpointQueue.objects.get(pk=endpoint.pk).holder_id == alive.pk

    @pytest.mark.parametrize("draining", [False, True])
    def test_that_comes_at_the_last_moment_counts(self, monkeypatch: pytest.MonkeyPatch, draining: bool) -> None:
        """Between looking for the dead and freeing what they hold, one of them may turn out to be alive."""
        engine = EngineFactory(alive_until=now() - timedelta(seconds=1), draining=draining)
        endpoint = EndpointFactory(queue__holder_id=engine.pk)
        release = reaper.release_queues_of

        def beat_first(using: str, holders: list[uuid.UUID], **options: bool) -> reaper.Released:
            Engine.objects.filter(pk=engine.pk).update(alive_until=now() + timedelta(minutes=1))
            return release(using, holders, **options)

        monkeypatch.setattr(reaper, "release_queues_of", beat_first)
        assert release_dead_engines("default", now()).queues == 0
        assert EndpointQueue.objects.values_list("holder_id", "crash_takeovers").get(pk=endpoint.pk) == (engine.pk, 0)
        assert Engine.objects.get() == engine

    def test_is_compared_with_the_databases_clock(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        class TwoHoursAhead(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) + 2 * HOUR

        monkeypatch.setattr(heartbeat, "datetime", TwoHoursAhead)
        alive = EngineFactory(alive_until=now() + HOUR)
        due_delivery(endpoint_at(receiver, queue__holder_id=alive.pk))
        early = due_delivery(endpoint_at(receiver), next_attempt_at=now() + HOUR)
        engine.run(until=engine.idle_for(0.2))
        assert receiver.requests == []
        assert Delivery.objects.get(pk=early.pk).attempts == 0

    def test_reads_the_databases_clock_each_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between two beats the machine's own clock carries it on, and may go wrong (a paused machine, a bad one)."""
        ahead = [0.0]
        monkeypatch.setattr(heartbeat, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0]))
        options = EngineOptions(heartbeat_seconds=600.0)  # the next beat comes when it is asked for
        beating = heartbeat.Heartbeat("default", "test", options, on_change=lambda: None)
        beating.start()
        eventually(lambda: beating.alive)
        ahead[0] = HOUR.total_seconds()
        assert beating.now() > now() + HOUR / 2
        beating.activity.database_turn = beating.activity.sending_turn = time.monotonic() + ahead[0]
        beating.start_draining()
        eventually(lambda: beating.drains)
        assert beating.now() < now() + HOUR / 2
        assert Engine.objects.get(pk=beating.engine_id).alive_until < now() + HOUR / 2
        beating.end(5.0)

    def test_is_no_limit_for_a_request(self, receiver: Receiver) -> None:
        """It goes on while the request is in flight, however much longer that takes."""
        receiver.on("/hook", Delay(2.5))
        due_delivery(endpoint_at(receiver, wire_format="slow"))  # may take 8 s
        deliver_until(
            lambda: Delivery.objects.get().status == "succeeded", options=EngineOptions(heartbeat_seconds=1.5)
        )
        assert len(receiver.requests) == 1
        assert EndpointQueue.objects.get().crash_takeovers == 0

    def test_that_has_expired_keeps_requests_from_starting(self, receiver: Receiver) -> None:
        gate = Gate()
        receiver.on("/hook", [gate, 200])
        endpoint = endpoint_at(receiver, wire_format="slow")
        for _ in range(10):
            due_delivery(endpoint)
        with running_engine(options=EngineOptions(heartbeat_seconds=1.5)):
            receiver.wait_for(1)
            with no_heartbeats():
                time.sleep(2.0)
                gate.open()
                time.sleep(1.0)
                assert len(receiver.requests) == 1
            eventually(lambda: not Delivery.objects.exclude(status="succeeded").exists())
        assert len(receiver.requests) == 10

    def test_says_where_a_thread_has_stalled(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        stall = threading.Event()
        monkeypatch.setattr(Lease, "recheck", lambda lease: stall.wait(PATIENCE))
        with running_engine(options=EngineOptions(heartbeat_seconds=0.6, stalled_after=0.5)):
            eventually(lambda: "has stalled" in caplog.text)
            stall.set()
        assert "the database thread of engine" in caplog.text
        assert "stall.wait(PATIENCE)" in caplog.text

    def test_after_a_standstill_takes_no_other_for_dead_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine stood still, with all of its engines: the first one to beat again has to wait for the others."""
        still, beats, looks = threading.Event(), [], []
        beat, release = heartbeat.Heartbeat._try_to_beat, release_dead_engines

        def beat_unless_still(self: heartbeat.Heartbeat) -> None:
            if not still.is_set():
                beats.append(time.monotonic())
                beat(self)

        def look(*args: Any, **values: Any) -> Any:
            looks.append(time.monotonic())
            return release(*args, **values)

        monkeypatch.setattr(heartbeat.Heartbeat, "_try_to_beat", beat_unless_still)
        monkeypatch.setattr(heartbeat, "release_dead_engines", look)
        options = EngineOptions(heartbeat_seconds=1.8)
        mine = heartbeat.Heartbeat("default", "test", options, on_change=lambda: None)
        mine.start()
        try:
            eventually(lambda: looks)
            still.set()
            time.sleep(1.5)
            before = len(beats), len(looks)
            still.clear()
            eventually(lambda: len(looks) > before[1])
            assert looks[before[1]] - beats[before[0]] >= reaper.takeover_grace_seconds(options.heartbeat_seconds)
        finally:
            mine.end(5.0)
