"""A scene: a customer with a few endpoints, and workers on the test's database and a queue of their own."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from project.celery import app
from tests.customer import Customer
from tests.faults.harness import table
from tests.faults.workers import HEARTBEAT, Worker, eventually, quick_settings
from webhooks_app import tasks
from webhooks_app.events import worker_hint
from webhooks_app.models import Attempt, Delivery, EndpointQueue, Engine, Event


def pytest_configure() -> None:
    table.prepare()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if rows := table.load():
        terminalreporter.section("Faults")
        terminalreporter.write_line(table.render(rows))


class Scene:
    """What a fault is played on."""

    def __init__(self, customer: Customer, queue: str, folder: Path) -> None:
        self.customer = customer
        self.queue = queue
        self.workers: list[Worker] = []
        self._folder = folder
        #: (path, webhook-id) of everything that must arrive.
        self.expected: set[tuple[str, str]] = set()

    # --- the play -----------------------------------------------------------------------------------------------------

    def subscribe(self, count: int, reaction: Any) -> None:
        for number in range(count):
            self.customer.endpoint(f"/{number}")
            self.customer.receiver.on(f"/{number}", reaction)

    def emit(self, count: int) -> None:
        paths = [request_path(url) for url in self.customer.tenant.endpoints.values_list("url", flat=True)]
        for event in self.customer.emit_several(count):
            self.expected |= {(path, event.public_id) for path in paths}

    def command(self, **environment: str) -> Worker:
        """`manage.py webhooks_deliver`."""
        return self.start("command", ["manage.py", "webhooks_deliver", "--verbosity=2"], environment)

    def celery(self, concurrency: int = 2, **environment: str) -> Worker:
        """A Celery worker of the prefork kind, ready to take hints."""
        # Brokers lock a node's mailbox to one connection: tests that run side by side must not share a name.
        node = f"--hostname={self.queue}-{len(self.workers)}@%h"
        options = [node, f"--queues={self.queue}", f"--concurrency={concurrency}", "--loglevel=INFO"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        command = ["-m", "celery", "--app=project", "worker", *options, *quiet]
        worker = self.start("celery", command, environment)
        worker.wait_until_it_says(" ready.")
        return worker

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> Worker:
        log = self._folder / f"{name}-{len(self.workers)}.log"
        worker = Worker(name, command, self.environment(**environment), log)
        self.workers.append(worker)
        return worker

    def environment(self, **more: str) -> dict[str, str]:
        """What a process needs to work on this scene."""
        return {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "tests.faults.worker_settings",
            "WEBHOOKS_TEST_DATABASE": str(connection.settings_dict["NAME"]),
            "WEBHOOKS_TEST_QUEUE": self.queue,
            **more,
        }

    def beat(self) -> None:
        """What Celery's beat does every few seconds. A broker that is away is its own trouble, not this call's."""
        tasks.sweep()

    def purge(self) -> int:
        """Empty the broker's queue; the number of hints that were in it."""
        with app.connection_for_write() as link, link.channel() as channel:
            return channel.queue_purge(self.queue) or 0

    # --- what came of it ----------------------------------------------------------------------------------------------

    @property
    def requests(self) -> int:
        return len(self.customer.received)

    def unrecorded(self) -> int:
        """Requests that came here and have no attempt row."""
        return self.requests - Attempt.objects.count()

    def wait_for(self, requests: int) -> None:
        eventually(lambda: self.requests >= requests, self._story)

    def wait_until_delivered(self, *, beat: bool = False) -> None:
        """Until every event is a success everywhere. With `beat` somebody sweeps meanwhile, as beat does."""
        next_beat = time.monotonic()

        def delivered() -> bool:
            nonlocal next_beat
            if beat and time.monotonic() >= next_beat:
                self.beat()
                next_beat = time.monotonic() + 0.5
            left = Event.objects.pending().exists() or Delivery.objects.exclude(status="succeeded").exists()
            return not left and Delivery.objects.count() == len(self.expected)

        eventually(delivered, self._story)

    def arrivals(self) -> Counter[tuple[str, str]]:
        """How often each (path, webhook-id) arrived."""
        return Counter((request.path, request.headers["webhook-id"]) for request in self.customer.received)

    def duplicates(self) -> int:
        """Nothing is lost and nothing came that was not emitted; the number of requests that were made again."""
        arrivals = self.arrivals()
        assert set(arrivals) == self.expected
        return sum(arrivals.values()) - len(arrivals)

    def nothing_is_held(self) -> bool:
        return not EndpointQueue.objects.filter(holder_id__isnull=False).exists() and not Engine.objects.exists()

    def close(self) -> None:
        for worker in self.workers:
            worker.clear_away()
        with app.connection_for_write() as link, contextlib.suppress(*link.channel_errors):
            queue = app.amqp.queues[self.queue].bind(link.default_channel)
            queue.delete()
            queue.exchange.delete()
        app.close()

    def _story(self) -> str:
        counts = Counter(Delivery.objects.values_list("status", flat=True))
        logs = "\n".join(f"--- {worker.name}\n{worker.said[-3000:]}" for worker in self.workers)
        return f"{self.requests} requests, deliveries {dict(counts)}, {Event.objects.pending().count()} events\n{logs}"


def request_path(url: str) -> str:
    return "/" + url.rpartition("/")[2]


@pytest.fixture
def short_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """For workers that are killed; elsewhere a machine that is busy for a while must not make them look dead."""
    monkeypatch.setenv("WEBHOOKS_TEST_HEARTBEAT", str(HEARTBEAT))


@pytest.fixture
def scene(settings: Any, tmp_path: Path, transactional_db: None) -> Iterator[Scene]:
    queue = f"webhooks-test-{secrets.token_hex(4)}"
    settings.WEBHOOKS = {**settings.WEBHOOKS, **quick_settings(queue)}
    worker_hint.reset()
    with Customer() as customer:
        scene = Scene(customer, queue, tmp_path)
        try:
            yield scene
        finally:
            scene.close()
