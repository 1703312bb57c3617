"""The broker dies, forgets, says everything twice or says nothing. Messages are hints: no event depends on them."""

from __future__ import annotations

import signal
import time

import pytest
import redis

from tests.faults.harness.fixtures import Play
from tests.faults.harness.servers import Rabbit, Redis, black_hole
from tests.faults.harness.stage import Stage


def celery(stage: Stage) -> None:
    stage.healthy()
    stage.celery()
    stage.beat()


@pytest.mark.parametrize("away", [3.0, 8.0])
def test_redis_is_killed_and_comes_back_after(stage: Stage, broker: Redis, away: float) -> None:
    """Engines that run go on without it."""
    celery(stage)
    with stage.traffic(after=5.0):
        broker.stop(signal.SIGKILL)
        time.sleep(away)
        broker.start()
    stage.judge()


def test_redis_is_a_black_hole_for_6_seconds(stage: Stage, broker: Redis) -> None:
    celery(stage)
    with stage.traffic(after=5.0):
        broker.stop(signal.SIGKILL)
        with black_hole(broker.port):
            time.sleep(6.0)
        broker.start()
    stage.judge()


def test_the_broker_is_emptied_with_10000_deliveries_pending(stage: Stage, broker: Redis) -> None:
    stage.healthy()
    stage.customer("bulk", 10, "bulk")
    stage.host.call("emit", "bulk", 1000)
    client = redis.Redis.from_url(broker.url)
    client.flushall()
    client.close()
    stage.celery()
    stage.beat()
    with stage.traffic():
        time.sleep(5.0)
    stage.judge(stall=15.0)  # nobody knows of anything until beat's first sweep


def test_every_message_comes_twice(play: Play) -> None:
    stage = play(WEBHOOKS={"WAKE_FUNCTION": "tests.faults.harness.tasks.hint_twice"})
    celery(stage)
    with stage.traffic():
        time.sleep(6.0)
    stage.judge()


def test_two_beats_and_two_workers(stage: Stage) -> None:
    celery(stage)
    stage.celery()
    stage.beat()
    with stage.traffic():
        time.sleep(8.0)
    stage.judge()


def test_rabbitmq_is_killed_and_comes_back(play: Play, own_rabbit: Rabbit) -> None:
    stage = play(CELERY_BROKER_URL=own_rabbit.url)
    celery(stage)
    with stage.traffic(after=5.0):
        own_rabbit.stop(signal.SIGKILL)
        time.sleep(1.0)
        away = -time.monotonic()
        own_rabbit.start()
        away += time.monotonic()
        time.sleep(10.0)
    stage.judge(stall=away + 15.0, by_nature=True)


@pytest.mark.parametrize(
    "broker_url", ["redis://127.0.0.1:{}/0", "amqp://guest:guest@127.0.0.1:{}//"], ids=["Redis", "AMQP"]
)
def test_an_emit_does_not_wait_for_a_broker_that_never_answers(play: Play, broker_url: str) -> None:
    """The command delivers without a broker; the host's commits are what could be held up."""
    with black_hole() as port:
        stage = play(CELERY_BROKER_URL=broker_url.format(port))
        stage.healthy()
        stage.command()
        began = time.monotonic()
        stage.host.call("emit", "healthy-0", 50)
        seconds = time.monotonic() - began
        with stage.traffic():
            time.sleep(3.0)
    stage.demand(seconds < 5.0, f"50 emits took {seconds:.1f} s")
    stage.judge()
