"""The broker emptied, and the broker away: hints are lost, events are not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.customer import TYPE, deliver
from tests.faults.conftest import Scene
from tests.faults.workers import ROOT
from tests.receiver_behaviours import Delay
from webhooks_app import tasks
from webhooks_app.engine.sweep import sweep
from webhooks_app.models import Event

pytestmark = pytest.mark.processes

#: Emits three times, each in a transaction of its own, and says how long each took.
EMITTER = """
import json, sys, time
import django
django.setup()
from django.db import transaction
from webhooks_app import EventType, emit, registry, tasks
registry.register(EventType(sys.argv[1]))
ids, seconds = [], []
for number in range(3):
    begun = time.perf_counter()
    with transaction.atomic():
        event = emit(sys.argv[1], {"n": number}, tenant=sys.argv[2])
    seconds.append(time.perf_counter() - begun)
    ids.append(event.public_id)
    time.sleep(0.1)  # or the next hint would be the same one
print(json.dumps({"ids": ids, "seconds": seconds}))
"""


def test_a_sweep_finds_what_an_emptied_broker_has_forgotten(scene: Scene) -> None:
    scene.subscribe(2, 200)
    scene.emit(100)
    assert scene.purge() >= 1, "emit left a hint"
    scene.celery()
    time.sleep(0.5)
    assert scene.requests == 0, "nobody knows of them"
    scene.beat()
    scene.wait_until_delivered()
    assert scene.duplicates() == 0


def test_hints_that_come_twice_and_sweeps_at_once_change_nothing(scene: Scene) -> None:
    scene.subscribe(4, 200)
    scene.emit(50)
    for _ in range(10):
        tasks.send_hint()
        scene.beat()
    scene.celery()
    scene.wait_until_delivered(beat=True)
    assert scene.duplicates() == 0


def test_one_engine_at_a_time_hands_over_to_the_next_without_waiting_for_a_sweep(scene: Scene) -> None:
    """Each task delivers for half a second; the work is for several, and only the first was asked for from outside."""
    scene.customer.endpoint("/0", fifo=True)
    scene.customer.receiver.on("/0", Delay(0.08))
    scene.emit(30)
    scene.purge()
    tasks.send_hint()
    scene.celery(WEBHOOKS_TEST_ENGINES="1", WEBHOOKS_TEST_DELIVER_SECONDS="0.5")
    scene.wait_until_delivered()
    assert scene.duplicates() == 0


@pytest.fixture(params=["refuses", "is a black hole"])
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "is a black hole":
            listener.listen()  # connects, and never a word
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def test_a_broker_that_is_away_neither_holds_up_emit_nor_loses_an_event(scene: Scene, broker_url: str) -> None:
    scene.subscribe(1, 200)
    emitted = run_emitter(scene, broker_url)
    first, second, third = emitted["seconds"]
    assert first < 5.0, "by default a client waits for half a minute and more"
    assert max(second, third) < 0.9, "and only the first one waits"
    assert {event.public_id for event in Event.objects.pending()} == set(emitted["ids"])
    assert sweep().work_waits
    deliver()
    scene.expected = {("/0", public_id) for public_id in emitted["ids"]}
    assert scene.duplicates() == 0


def run_emitter(scene: Scene, broker_url: str) -> dict[str, list[float]]:
    environment = scene.environment(CELERY_BROKER_URL=broker_url)
    done = subprocess.run(
        [sys.executable, "-c", EMITTER, TYPE, scene.customer.uid],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing is lost" in done.stderr, "the log says that the broker is away"
    return json.loads(done.stdout)
