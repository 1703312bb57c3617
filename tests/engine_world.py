"""The world of simulated engines: how it begins, what must hold in it at any moment, and how it comes to rest."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis.stateful import RuleBasedStateMachine, invariant

from tests.engine_database import Clock, RowLock, Wire
from tests.engine_ledger import Ledger
from tests.engine_machine import LIFETIME, SimulatedEngine
from webhooks_app.endpoints.status import enable_endpoint, resume_endpoint
from webhooks_app.engine.sweep import repair
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, Event

#: The pause until something is due is cut into parts between which the engines beat.
BEATS = LIFETIME * 0.8
#: Rounds in which everything must come to rest.
ROUNDS = 200


class SimulatedWorld(RuleBasedStateMachine):
    """Engines, endpoints and a ledger of what arrived. The rules, which say what happens, are the test's."""

    #: Both are there once the test has begun.
    endpoints: list[Endpoint]
    ledger: Ledger

    def __init__(self) -> None:
        super().__init__()
        call_command("flush", interactive=False, verbosity=0)
        self.clock, self.wire = Clock(), Wire()
        self.stack = ExitStack()
        self.stack.enter_context(
            self.wire.installed(self.stack.enter_context(pytest.MonkeyPatch.context()), self.clock)
        )
        self.lock = RowLock()
        self.engines: dict[int, SimulatedEngine] = {}

    @invariant()
    def holds(self) -> None:
        self.clock.forward(0.001)
        if hasattr(self, "ledger"):
            self.ledger.check(self.engines.values(), self.clock.now())

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None and hasattr(self, "ledger"):
                self._come_to_rest()
        finally:
            self.lock.release()
            self.stack.close()

    def _come_to_rest(self) -> None:
        """Every receiver is healthy, every endpoint enabled, every engine beats: now everything arrives."""
        self.lock.release()
        if not self.engines:
            self._start(0)
        for _ in range(ROUNDS):
            self._mend()
            for engine in self.engines.values():
                engine.turn()
                engine.send()
                self._respond_all(engine)
            self.holds()
            if not (left := self._left()):
                break
            self._wait(self._next_pause())
        else:
            raise AssertionError(f"it never came to rest: {left}")
        self.ledger.check_end()
        assert repair() == 0, "a queue would have slept"

    def _mend(self) -> None:
        for engine in self.engines.values():
            engine.stalled = False
        for endpoint in Endpoint.objects.exclude(status__in=("active", "deleted")):
            (resume_endpoint if endpoint.status == "paused" else enable_endpoint)(endpoint)

    def _left(self) -> dict[str, Any]:
        """What is still to be done."""
        left = {
            "events": Event.objects.pending(),
            "deliveries": Delivery.objects.pending().exclude(endpoint__status="deleted"),
            "held queues": EndpointQueue.objects.filter(holder_id__isnull=False),
        }
        found = {name: list(rows.values()) for name, rows in left.items()}
        found["engines"] = [engine.ids for engine in self.engines.values() if engine.busy]
        return {name: rows for name, rows in found.items() if rows}

    def _next_pause(self) -> float:
        if Event.objects.pending().exists() or any(engine.busy for engine in self.engines.values()):
            return 0.3
        due = EndpointQueue.objects.filter(holder_id__isnull=True).order_by("due_at").first()
        ahead = (due.due_at - self.clock.now()).total_seconds() if due else LIFETIME
        return min(max(ahead, 0.3), 3600.0)

    # --- words -------------------------------------------------------------------------------------------------------

    def _start(self, slot: int) -> SimulatedEngine:
        engine = self.engines[slot] = SimulatedEngine(self.ledger.started)
        engine.beat()
        return engine

    def _wait(self, seconds: float) -> None:
        while seconds > 0:
            self.clock.forward(min(seconds, BEATS))
            seconds -= BEATS
            for engine in list(self.engines.values()):
                with self.wire.used_by(engine):
                    engine.beat()
                self.ledger.forget_engines(self.engines.values())

    def _respond(self, engine: SimulatedEngine, number: int, kind: str) -> None:
        sent = engine.network.requests[number % len(engine.network.requests)]
        self.ledger.answered(sent, kind)
        engine.respond(sent, kind)

    def _respond_all(self, engine: SimulatedEngine, kind: str = "200") -> None:
        while engine.network.requests:
            self._respond(engine, 0, kind)
