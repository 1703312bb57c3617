"""SIGTERM in the middle of a drain: what is in flight ends and is recorded, everything is given back."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Scene
from tests.faults.workers import Worker
from tests.receiver_behaviours import Delay
from webhooks_app.models import Attempt, Delivery

pytestmark = pytest.mark.processes


@pytest.fixture
def play(scene: Scene) -> Scene:
    scene.subscribe(4, Delay(0.2))
    scene.emit(40)
    return scene


def stop_in_the_middle(play: Scene, worker: Worker) -> None:
    play.wait_for(30)
    assert worker.terminate() == 0
    assert play.unrecorded() == 0, "everything in flight was waited for and recorded"
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"succeeded"}
    assert play.nothing_is_held()
    assert Delivery.objects.pending().exists(), "or else it was not the middle"


def test_the_command_stops_cleanly_and_another_one_goes_on(play: Scene) -> None:
    stop_in_the_middle(play, play.command())
    play.command()
    play.wait_until_delivered()
    assert play.duplicates() == 0


def test_a_celery_worker_stops_cleanly_and_a_command_goes_on(play: Scene) -> None:
    worker = play.celery()
    play.beat()
    stop_in_the_middle(play, worker)
    play.command()
    play.wait_until_delivered()
    assert play.duplicates() == 0
