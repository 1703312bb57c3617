"""Workers killed with SIGKILL while requests are in flight: nothing is lost, and little comes twice."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.faults.conftest import Scene
from tests.faults.workers import HEARTBEAT, eventually
from tests.receiver_behaviours import Delay
from webhooks_app.engine.sweep import repair
from webhooks_app.models import Engine

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("short_heartbeat")]

ENDPOINTS, EVENTS = 4, 50
#: Requests that may be under way at the default cap, and as many again for those just answered and not yet recorded.
MOST_UNRECORDED = 2 * 8 * ENDPOINTS


@pytest.fixture
def play(short_heartbeat: None, scene: Scene) -> Scene:
    scene.subscribe(ENDPOINTS, Delay(0.1))
    scene.emit(EVENTS)
    return scene


def let_the_dust_settle(play: Scene) -> int:
    """Requests that were on their way at the kill still reach the receiver. Returns how many were not recorded."""
    seen = -1
    while seen != play.requests:  # the receiver may be slow to read them
        seen = play.requests
        time.sleep(0.5)
    unrecorded = play.unrecorded()
    assert 0 < unrecorded <= MOST_UNRECORDED
    return unrecorded


def test_a_killed_command_loses_nothing_and_repeats_only_what_was_in_flight(play: Scene) -> None:
    first = play.command()
    play.wait_for(60)
    first.kill()
    in_flight = let_the_dust_settle(play)
    second = play.command()
    play.wait_until_delivered()
    assert play.duplicates() <= in_flight
    assert second.terminate() == 0
    assert play.nothing_is_held()
    assert repair() == 0


def test_a_killed_celery_worker_loses_nothing_and_repeats_only_what_was_in_flight(play: Scene) -> None:
    """Its parent is killed; Celery sees to it that the children, with their engines, die with it."""
    first = play.celery()
    play.beat()
    play.wait_for(60)
    first.kill_parent()
    in_flight = let_the_dust_settle(play)
    play.celery()
    play.wait_until_delivered(beat=True)
    assert play.duplicates() <= in_flight
    eventually(play.nothing_is_held)
    assert repair() == 0


def test_a_killed_child_of_a_celery_worker_is_replaced(play: Scene) -> None:
    """What the kernel's out-of-memory killer does. The hint was acknowledged early; the next sweep leaves another."""
    play.celery(concurrency=1)
    play.beat()
    play.wait_for(60)
    engine = Engine.objects.get()
    killed_at = time.monotonic()
    os.kill(engine.pid, signal.SIGKILL)
    in_flight = let_the_dust_settle(play)
    play.wait_until_delivered(beat=True)
    assert play.duplicates() <= in_flight
    assert not Engine.objects.filter(pk=engine.pk).exists()
    assert time.monotonic() - killed_at < HEARTBEAT + 20, "held no longer than its heartbeat and a sweep, and then sent"
