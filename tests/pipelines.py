"""Words for the tests of the pipeline: quick wire formats, endpoints at a receiver, engines in threads, patience."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connections, transaction

from tests.factories import DeliveryFactory, EndpointFactory, EventFactory
from tests.receiver import Receiver
from tests.receiver_behaviours import Answer, Behaviour
from webhooks_app import EventType, contrib
from webhooks_app.core.retry import GONE, RETRY_AFTER, STANDARD_RULES, RetryPolicy
from webhooks_app.db import in_fresh_transaction
from webhooks_app.engine import run as engine
from webhooks_app.engine.fan_out import FanOut
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sql import portable, store_for
from webhooks_app.engine.sql.types import Release
from webhooks_app.engine.types import FannedOut
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, Event, Tenant, database_now
from webhooks_app.wire_formats.base import WireFormat
from webhooks_app.wire_formats.standard import WIRE_FORMAT as STANDARD

#: No test waits longer than this for something that must happen (seconds).
PATIENCE = 20.0

EVENT_TYPES = (
    EventType("test.happened"),
    EventType("test.other"),
    EventType("test.checked", schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
)


def _wire_format(name: str, total_timeout: float = 1.0, **retry: Any) -> WireFormat:
    unhurried = {"breaker": False, "rules": (RETRY_AFTER, GONE)}
    policy = {"delays": (timedelta(milliseconds=50),) * 3, "jitter": 0.0, **unhurried, **retry}
    return replace(STANDARD, name=name, connect_timeout=1.0, total_timeout=total_timeout, retry=RetryPolicy(**policy))


_LATER = (timedelta(hours=1),) * 9
_BACKOFF = {"backoff_first": timedelta(seconds=30), "backoff_last": timedelta(minutes=5)}

#: Four requests, 50 ms apart; a failure holds nothing else back.
QUICK = _wire_format("quick")
#: The same, for receivers that are slow on purpose.
SLOW = _wire_format("slow", total_timeout=8.0)
#: One request, whatever comes of it.
ONCE = _wire_format("once", delays=())
#: A failed delivery waits for an hour; a time-out holds the others back, and after five failures the breaker is open.
CAREFUL = _wire_format("careful", delays=_LATER, rules=STANDARD_RULES, breaker=True, **_BACKOFF)
#: As patient with its deliveries and with slow receivers, and nothing holds the others back.
PLAIN = _wire_format("plain", total_timeout=8.0, delays=_LATER)

WIRE_FORMATS = {
    **contrib.WIRE_FORMATS,
    **{each.name: f"tests.pipelines.{each.name.upper()}" for each in (QUICK, SLOW, ONCE, CAREFUL, PLAIN)},
}


#: Whose queue is held that no engine of the test holds.
ENGINE = uuid.UUID(int=7)


def held_endpoint(**values: Any) -> Endpoint:
    return EndpointFactory(queue__holder_id=ENGINE, queue__due_at=database_now("default"), **values)


def release(*endpoints: Endpoint) -> None:
    rows = [Release(key, None, None) for key in sorted(endpoint.pk for endpoint in endpoints)]
    in_fresh_transaction(lambda: store_for("default").release(ENGINE, rows), "default")


def at_once(monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    """Let one transaction do so much at most, whatever the database."""
    for name in ("LARGE", "SMALL"):
        monkeypatch.setattr(portable, name, replace(getattr(portable, name), **limits))


def endpoint_at(receiver: Receiver, path: str = "/hook", wire_format: str = "quick", **values: Any) -> Endpoint:
    """An active endpoint that wants everything of its tenant (a new one unless given)."""
    return EndpointFactory(url=receiver.url(path), wire_format=wire_format, **values)


def pending_event(tenant: Tenant, **values: Any) -> Event:
    """A committed event that was not fanned out yet, without going through `emit`."""
    return EventFactory(tenant=tenant, fanned_out_at=None, type="test.happened", **values)


def due_delivery(endpoint: Endpoint, **values: Any) -> Delivery:
    """A delivery that is due, with its queue woken."""
    delivery = DeliveryFactory(endpoint=endpoint, **values)
    type(endpoint.queue).objects.filter(pk=endpoint.pk).update(due_at=delivery.next_attempt_at)
    return delivery


@contextmanager
def rolled_back() -> Iterator[None]:
    """A transaction, or a savepoint of the one around, that ends with a rollback."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def eventually(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Wait until the condition holds, and return what it gave."""
    until = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.02)
    return value


def deliver_until(
    condition: Callable[[], Any], *, options: EngineOptions | None = None, **values: Any
) -> engine.Progress:
    """Run an engine in this thread until the condition holds."""

    def until(progress: engine.Progress) -> bool:
        assert progress.seconds < PATIENCE, "it never happened"
        return bool(condition())

    return engine.run(until=until, options=options, **values)


class Gate(Behaviour):
    """Lets requests wait until it is opened, then answers."""

    def __init__(self, then: int | Behaviour = 200) -> None:
        self._then = Answer(then) if isinstance(then, int) else then
        self._open = threading.Event()
        self.waiting = 0

    def open(self) -> None:
        self._open.set()

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        self.waiting += 1
        while not self._open.is_set():
            await asyncio.sleep(0.01)
        self.waiting -= 1
        return await self._then.play(writer)


class InThread(threading.Thread):
    """A call on a thread with connections of its own. `result()` waits for it, and raises what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: BaseException | None = None
        self.value: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.value = self._work()
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._error = error
        finally:
            connections.close_all()

    def result(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive(), "the thread did not end"
        if self._error is not None:
            raise self._error
        return self.value


@contextmanager
def running_engine(
    number: int = 1, stop: threading.Event | None = None, options: EngineOptions | None = None
) -> Iterator[None]:
    """Engines that deliver in threads of their own until the block ends, or `stop` is set."""
    stop = stop or threading.Event()
    threads = [InThread(lambda: engine.run(stop=stop, options=options)) for _ in range(number)]
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.result()


def fan_out(now: datetime, using: str, **options: Any) -> FannedOut:
    """One batch of a fan-out of its own. Where a queue's row is locked it still owes a wake-up, and forgets it."""
    return fan_out_batch(FanOut(using, EngineOptions(**options), FaultLog()), now)


def fan_out_batch(fan: FanOut, now: datetime) -> FannedOut:
    """Fan out one batch of pending events: the next tenants, a share of each."""
    done = fan.begin(now)
    done.add(fan.go_on(now))
    return done


def due_at(endpoint: Endpoint) -> datetime:
    return EndpointQueue.objects.get(pk=endpoint.pk).due_at


def fan_out_now(**options: Any) -> FannedOut:
    """One batch, at the database's time, with these options of the engine."""
    return fan_out(database_now("default"), "default", **options)


def fan_out_all() -> int:
    """Until nothing is left; the number of rounds."""
    for round_number in range(1, 100):
        if not fan_out_now().events:
            return round_number - 1
    raise AssertionError("the fan-out does not come to an end")
