"""A Celery worker that runs the host's tasks too: neither delivery nor the host's tasks keep the others from running."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections

from project.celery import app
from tests.factories import NotificationFactory
from tests.faults.conftest import Scene
from tests.faults.host_tasks import host_task
from tests.faults.workers import PATIENCE, Worker, eventually
from tests.receiver_behaviours import Delay
from webhooks_app import tasks
from webhooks_app.models import Notification

pytestmark = pytest.mark.processes


@pytest.fixture
def host_queue(scene: Scene) -> Iterator[str]:
    name = f"host-{scene.queue}"
    yield name
    with app.connection_for_write() as link, contextlib.suppress(*link.channel_errors):
        queue = app.amqp.queues[name].bind(link.default_channel)
        queue.delete()
        queue.exchange.delete()
    app.close()


def worker(scene: Scene, queues: list[str], concurrency: int, *options: str, **environment: str) -> Worker:
    command = [
        *("-m", "celery", "--app=project", "worker", f"--hostname={scene.queue}@%h"),
        *(f"--queues={','.join(queues)}", f"--concurrency={concurrency}", "--include=tests.faults.host_tasks"),
        *("--loglevel=INFO", "--without-gossip", "--without-mingle", "--without-heartbeat", *options),
    ]
    started = scene.start("celery", command, environment)
    started.wait_until_it_says(" ready.")
    return started


@contextlib.contextmanager
def trickle(scene: Scene, pause: float = 0.05) -> Iterator[None]:
    """Events that never cease, each with a hint, and beat's sweeps."""
    ended = threading.Event()

    def emit() -> None:
        swept_at = 0.0
        while not ended.wait(pause):
            scene.emit(1)
            if time.monotonic() > swept_at + 1.0:
                swept_at = time.monotonic()
                tasks.sweep.apply_async(queue=scene.queue)
        connections.close_all()

    emitter = threading.Thread(target=emit)
    emitter.start()
    try:
        yield
    finally:
        ended.set()
        emitter.join()


def host_tasks_are_done(queue: str, folder: Path, number: int) -> None:
    """Leave tasks of the host's, and wait until they have run."""
    files = [folder / f"done-{number}" for number in range(number)]
    for file in files:
        host_task.apply_async([str(file)], queue=queue, retry=False)
    eventually(lambda: all(file.exists() for file in files))
    for file in files:
        file.unlink()


@pytest.mark.parametrize("concurrency", [2, 1])
def test_the_hosts_tasks_run_beside_a_delivery_that_never_ceases(
    scene: Scene, host_queue: str, tmp_path: Path, concurrency: int
) -> None:
    scene.subscribe(2, Delay(0.02))
    celery = worker(scene, [host_queue, scene.queue], concurrency, WEBHOOKS_TEST_DELIVER_SECONDS="300")
    assert ("has one slot" in celery.said) is (concurrency == 1)
    with trickle(scene):
        for _ in range(3):
            scene.wait_for(scene.requests + 20)
            host_tasks_are_done(host_queue, tmp_path, 3)
        scene.wait_for(scene.requests + 20)
    scene.wait_until_delivered(beat=True)
    assert scene.duplicates() == 0


def test_periodic_tasks_run_in_a_worker_of_its_own(scene: Scene, tmp_path: Path) -> None:
    """Where engines could have all of its slots."""
    scene.subscribe(2, Delay(0.02))
    worker(scene, [scene.queue], 2, WEBHOOKS_TEST_DELIVER_SECONDS="300")
    with trickle(scene):
        scene.wait_for(20)
        host_tasks_are_done(scene.queue, tmp_path, 3)
        scene.wait_for(scene.requests + 20)
    scene.wait_until_delivered(beat=True)
    assert scene.duplicates() == 0


def test_a_time_limit_of_celerys_ends_an_engine_gracefully(scene: Scene) -> None:
    scene.subscribe(2, Delay(0.02))
    celery = worker(scene, [scene.queue], 2, "--soft-time-limit=12", "--time-limit=13")
    begun = time.monotonic()
    with trickle(scene):
        while time.monotonic() < begun + 15:
            scene.wait_for(scene.requests + 20)
    scene.wait_until_delivered(beat=True)
    assert scene.duplicates() == 0
    assert "leaves delivery no time" in celery.said
    assert "ime limit (1" not in celery.said, "Celery's words when a limit strikes"


@pytest.fixture
def silent_mail_server() -> Iterator[int]:
    """The port of a mail server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_silent_mail_server_neither_keeps_the_slots_of_a_worker_nor_its_end(
    scene: Scene, silent_mail_server: int
) -> None:
    scene.subscribe(2, Delay(0.02))
    NotificationFactory.create_batch(3, endpoint=scene.customer.tenant.endpoints.first())
    settings = {"DJANGO_SETTINGS_MODULE": "tests.faults.neighbour_settings"}
    celery = worker(scene, [scene.queue], 2, WEBHOOKS_TEST_SMTP_PORT=str(silent_mail_server), **settings)
    for _ in range(4):
        tasks.send_notifications.apply_async(queue=scene.queue)
    with trickle(scene):
        scene.wait_for(60)
    scene.wait_until_delivered(beat=True)
    celery.wait_until_it_says("mail server cannot be reached")
    assert celery.terminate() == 0
    assert Notification.objects.unsent().filter(claimed_until=None).count() == 3


def test_a_second_signal_ends_the_command_at_once(scene: Scene) -> None:
    scene.subscribe(1, Delay(60.0))
    command = scene.command()
    scene.emit(1)
    scene.wait_for(1)
    command.process.terminate()
    time.sleep(0.5)
    assert command.process.poll() is None, "it waits for what is in flight"
    command.process.terminate()
    assert command.process.wait(PATIENCE) == -signal.SIGTERM
