"""Simulated engines: the real parts of an engine on one thread, under a clock that a test moves, with a network that a test
answers for and a database that fails where a test says so."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from tests.pipelines import QUICK, WIRE_FORMATS
from webhooks_app.core.retry import OutcomeKind, RetryPolicy
from webhooks_app.engine.database_thread import DatabaseThread
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.phase import Phase
from webhooks_app.engine.result_buffer import ResultBuffer
from webhooks_app.engine.sending_thread import RequestSender
from webhooks_app.engine.types import QueuedDelivery
from webhooks_app.engine.window import Window
from webhooks_app.transport import OurFault, Request, Response

#: How long an engine's row lives after a heartbeat (virtual seconds).
LIFETIME = 120.0
OPTIONS = {"window": 8, "heartbeat_seconds": LIFETIME, "stalled_after": 1e9, "read_ahead": 3, "max_leased_queues": 16}

#: Retries within seconds, throttling and a circuit breaker: every way in which a queue is held.
MACHINE = replace(
    QUICK,
    name="machine",
    retry=RetryPolicy(
        delays=(timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=20)),
        jitter=0.0,
        breaker_threshold=3,
        backoff_first=timedelta(seconds=2),
        backoff_last=timedelta(seconds=30),
    ),
)
MACHINE_WIRE_FORMATS = {**WIRE_FORMATS, "machine": "tests.engine_machine.MACHINE"}

#: Status and headers of a response, or the failure without one.
RESPONSES: dict[str, tuple[int | None, bytes, OutcomeKind | None]] = {
    "200": (200, b"", None),
    "404": (404, b"", None),
    "410": (410, b"", None),
    "429": (429, b"Retry-After: 3\r\n", None),
    "500": (500, b"", None),
    "503": (503, b"", None),
    "timeout": (None, b"", OutcomeKind.TIMEOUT),
    "refused": (None, b"", OutcomeKind.REFUSED),
    "not sent": (None, b"", OutcomeKind.NOT_SENT),
}


@dataclass(eq=False)
class Sent:
    """One request on the network."""

    engine: SimulatedEngine
    delivery: QueuedDelivery
    #: The engine's id when it was sent.
    engine_id: uuid.UUID
    #: Its engine is gone, or was taken for gone: the delivery is sent again, whatever the response.
    lost: bool = False


class Network:
    """A transport whose responses the test chooses."""

    name = "simulated"
    capacity = 24

    def __init__(self, engine: SimulatedEngine, on_start: Callable[[Sent], None]) -> None:
        self._engine = engine
        self._on_start = on_start
        self.requests: list[Sent] = []
        self._finished: list[Response] = []

    @property
    def in_flight(self) -> int:
        return len(self.requests)

    def start(self, request: Request) -> None:
        assert isinstance(request.token, QueuedDelivery)
        sent = Sent(self._engine, request.token, self._engine.heartbeat.engine_id)
        self.requests.append(sent)
        self._on_start(sent)

    def finish(self, sent: Sent, kind: str) -> None:
        status, headers, failure = RESPONSES[kind]
        self.requests.remove(sent)
        our_fault = OurFault.CAPACITY if failure is OutcomeKind.NOT_SENT else ""
        self._finished.append(Response(sent.delivery, status, headers, b"", 0.01, failure, our_fault=our_fault))

    def take_costly(self) -> set[object]:
        return set()

    def wait(self, timeout: float) -> list[Response]:
        finished, self._finished = self._finished, []
        return finished

    def wake(self) -> None:
        pass

    def close(self) -> None:
        self.requests.clear()


class SimulatedEngine:
    """An engine as `engine.run.Engine` puts it together, whose three threads take their turns when the test says so."""

    def __init__(self, on_start: Callable[[Sent], None]) -> None:
        options, faults, results = EngineOptions(**OPTIONS), FaultLog(), ResultBuffer()
        self.network = Network(self, on_start)
        self.window = Window(options, self.network.capacity)
        self.heartbeat = Heartbeat("default", "command", options, on_change=lambda: None)
        self.database = DatabaseThread(
            "default", self.window, results, self.heartbeat, options, faults, on_work=lambda: None
        )
        self.sender = RequestSender(self.network, self.window, results, self.heartbeat, options, faults)
        #: Its heartbeat thread does not get through to the database.
        self.stalled = False
        self.ids: set[uuid.UUID] = set()

    def beat(self) -> None:
        if not self.stalled:
            self.heartbeat._try_to_beat()
            self.ids.add(self.heartbeat.engine_id)

    def turn(self) -> None:
        """One turn of the database thread."""
        if self.heartbeat.exists:
            self.database.turn()

    def send(self) -> None:
        """One turn of the sending thread."""
        self.sender.start_what_is_due()
        self.sender.wait(0)

    def respond(self, sent: Sent, kind: str) -> None:
        self.network.finish(sent, kind)
        self.sender.wait(0)

    @property
    def busy(self) -> bool:
        return not self.database._nothing_left()

    def unrecorded(self) -> set[uuid.UUID]:
        """The deliveries whose results only this engine knows."""
        return self.database._recorder.unrecorded_deliveries()

    def owed_wakes(self) -> set[uuid.UUID]:
        return set(self.database._fan_out.owed_wakes.since)

    def resign(self, turns: int) -> None:
        """Stop as `engine.run` does, with so many turns for the database thread to finish in."""
        self.database.start_draining()
        self.turn()
        self.window.forget_in_flight()
        self.network.close()
        self.database._phase = Phase.FINISHING
        for _ in range(turns):
            if self.busy:
                self.turn()
        self.heartbeat.owes_wakes = bool(self.owed_wakes())
        self.heartbeat._resign()
