"""The host's handlers of logs may be slow, such as one that sends records over a network: no delivery waits for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import Configure
from tests.pipelines import due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from webhooks_app import log_thread
from webhooks_app.models import Delivery

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


class SlowHandler(logging.Handler):
    """Waits for as long as its gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.records: list[logging.LogRecord] = []
        self.threads: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.threads.add(threading.current_thread().name)
        self.gate.wait(30)
        self.records.append(record)


@contextmanager
def slow_handler(name: str) -> Iterator[SlowHandler]:
    """A slow handler of this logger, at level DEBUG."""
    logger, handler = logging.getLogger(name), SlowHandler()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    handler.addFilter(lambda record: not record.name.startswith("asyncio"))  # the receiver's
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        handler.gate.set()
        logger.removeHandler(handler)
        logger.setLevel(level)


def settled() -> bool:
    return not Delivery.objects.filter(status="pending").exists()


@pytest.mark.parametrize("name", ["urllib3", "urllib3.connectionpool", "django.db.backends", ""])
def test_a_slow_handler_of_a_librarys_logger_stops_no_delivery(
    receiver: Receiver, configure: Configure, settings: Any, name: str
) -> None:
    configure(TRANSPORT="requests")
    endpoint = endpoint_at(receiver)
    for _ in range(3):
        due_delivery(endpoint)
    settings.DEBUG = True  # so that Django logs every statement
    with slow_handler(name) as handler, running_engine():
        eventually(lambda: len(receiver.requests) == 3 and handler.threads, patience=10)
        assert handler.threads == {"webhooks-logs"}
        handler.gate.set()
        eventually(settled)
    assert "webhooks-logs" not in {record.threadName for record in handler.records}, "it is said who logged it"


def test_other_threads_log_as_the_host_has_configured_it(receiver: Receiver) -> None:
    logger = logging.getLogger("urllib3.connectionpool")
    with slow_handler(logger.name) as handler:
        handler.gate.set()
        with running_engine():
            due_delivery(endpoint_at(receiver))
            receiver.wait_for(1)
            logger.error("at once")
            assert [record.getMessage() for record in handler.records if record.msg == "at once"] == ["at once"]
            assert threading.current_thread().name in handler.threads
    assert log_thread._thread is None
