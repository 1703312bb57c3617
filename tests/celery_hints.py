"""Hints to the delivery engine: those of `emit` are noted down, those of tasks are left in the broker. A test file takes the
fixtures that it wants by assignment: `customer = celery_hints.customer`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from project.celery import app
from tests.customer import Customer
from tests.factories import EngineFactory
from webhooks_app.events import worker_hint
from webhooks_app.models import Engine, database_now

#: A hint for each time that `note_hint` was called.
HINTS: list[float] = []


def note_hint() -> None:
    HINTS.append(time.monotonic())


@pytest.fixture
def customer(settings: Any) -> Iterator[Customer]:
    settings.WEBHOOKS = {
        **settings.WEBHOOKS,
        "WAKE_FUNCTION": f"{__name__}.note_hint",
        "CELERY_QUEUE": f"webhooks-test-{secrets.token_hex(4)}",
    }
    worker_hint.reset()
    with Customer() as customer:
        HINTS.clear()
        yield customer
    worker_hint.reset()


def alive(**values: Any) -> Engine:
    return EngineFactory(alive_until=database_now("default") + timedelta(minutes=1), **values)


def hints_in(queue: str) -> list[Any]:
    """The messages that are in the broker's queue."""
    found = []
    with app.connection_for_read() as link:
        bound = app.amqp.queues[queue].bind(link.default_channel)
        while (message := bound.get(no_ack=True)) is not None:
            found.append(message)
    return found


@pytest.fixture
def queue(customer: Customer, settings: Any) -> Iterator[str]:
    """The name of the hints' queue, which is there and empty."""
    name = settings.WEBHOOKS["CELERY_QUEUE"]
    with app.connection_for_write() as link:
        declared = app.amqp.queues[name].bind(link.default_channel)
        declared.declare()
        yield name
        declared.delete()
        declared.exchange.delete()
    app.close()
