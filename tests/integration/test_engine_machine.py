"""Two engines, people, crashes and a database that fails, in every order that Hypothesis thinks of.

Nothing here is a thread: each step of an engine is a rule, so a failure is repeated exactly, and shrunk to the few steps that
it takes. `FUZZ=1000` tries other orders, and more of them.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from tests.engine_database import Disturbance, RowLock
from tests.engine_ledger import RECEIVING, Ledger
from tests.engine_machine import LIFETIME, MACHINE_WIRE_FORMATS, RESPONSES, SimulatedEngine
from tests.engine_world import SimulatedWorld
from tests.factories import EndpointFactory, TenantFactory
from webhooks_app import emit
from webhooks_app.deliveries.resend import cancel_delivery, resend, send_now
from webhooks_app.endpoints.status import (
    delete_endpoint,
    disable_endpoint,
    enable_endpoint,
    pause_endpoint,
    resume_endpoint,
)
from webhooks_app.engine.callback_urls import callback_endpoint_id
from webhooks_app.engine.sweep import sweep
from webhooks_app.exceptions import ConflictingState
from webhooks_app.models import Delivery, Endpoint, Tenant

SLOTS = st.integers(0, 1)
ENDPOINT_ACTIONS = (pause_endpoint, resume_endpoint, disable_endpoint, enable_endpoint)
EARLY, LATER = st.integers(1, 6), st.integers(1, 30)
#: The kind of a disturbance, when it strikes, and what is done meanwhile, where that is its kind.
TROUBLE = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(["lost", "locked", "deadlock"]), LATER, st.just("")),
    st.tuples(st.sampled_from(["commit", "answer"]), EARLY, st.just("")),
    st.tuples(st.just("during"), LATER, st.sampled_from(["send", "succeed", "fail"])),
    st.tuples(
        st.just("between"),
        LATER,
        st.sampled_from(["send", "succeed", "fail", "other engine", "emit", "pause", "resume", "cancel", "replay"]),
    ),
)
#: Which of the requests in flight gets a response, and which one.
SOME_RESPONSES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["200", "200", "200", *RESPONSES])), min_size=1, max_size=8
)
PAUSES = st.sampled_from([0.02, 0.06, 0.6, 1.5, 6.0])


class EngineMachine(SimulatedWorld):
    @initialize()
    def begin(self) -> None:
        anna, bert = (TenantFactory(uid=uid) for uid in ("anna", "bert"))
        self.endpoints = [
            EndpointFactory(tenant=anna, wire_format="machine", max_in_flight=3),
            EndpointFactory(tenant=anna, wire_format="machine", fifo=True),
            EndpointFactory(tenant=anna, wire_format="quick", max_in_flight=2, filters={"data.n": {"gte": 2}}),
            EndpointFactory(tenant=bert, wire_format="quick", max_in_flight=2),
            EndpointFactory(tenant=bert, wire_format="machine", max_in_flight=1, events=["test.other"]),
        ]
        self.ledger = Ledger(self.endpoints)
        for slot in (0, 1):
            self._start(slot)
        for uid in ("anna", "bert"):
            self.emit(uid, "test.other", 2, 3, callback=uid == "bert")

    # --- events ------------------------------------------------------------------------------------------------------

    @rule(
        uid=st.sampled_from(["anna", "anna", "bert", "carl"]),
        kind=st.sampled_from(["test.happened", "test.other"]),
        n=st.integers(1, 2),
        count=st.integers(1, 4),
        callback=st.booleans(),
    )
    def emit(self, uid: str, kind: str, n: int, count: int, callback: bool) -> None:
        for _ in range(count):
            self._emit(uid, kind, n, callback=callback and uid != "anna")

    def _emit(self, uid: str, kind: str, n: int, *, callback: bool) -> None:
        url = "https://back.example.com/" if callback else ""
        event = emit(kind, {"n": n}, tenant=uid, callback_url=url)
        if callback:
            hidden = callback_endpoint_id(Tenant.id_for(uid), url)
            self.ledger.emitted(event, [hidden], [hidden])
            return
        wanting = {"anna": [0, 1, 2] if n >= 2 else [0, 1], "bert": [3, 4] if kind == "test.other" else [3], "carl": []}
        receiving = Endpoint.objects.filter(status__in=RECEIVING).values_list("pk", flat=True)
        self.ledger.emitted(event, [self.endpoints[number].pk for number in wanting[uid]], set(receiving))

    # --- engines -----------------------------------------------------------------------------------------------------

    @rule(
        slot=SLOTS,
        trouble=TROUBLE,
        sends=st.sampled_from(["first", "then", "not"]),
        responses=SOME_RESPONSES,
        seconds=PAUSES,
    )
    def work(self, slot: int, trouble: Any, sends: str, responses: list[tuple[int, str]], seconds: float) -> None:
        """A turn of an engine's threads; one that has gone is replaced by a new one."""
        engine = self.engines.get(slot) or self._start(slot)
        self._arm(trouble)
        if sends == "first":
            engine.send()
        with self.wire.used_by(engine):
            engine.turn()
        if sends == "then":
            engine.send()
        for number, kind in responses:
            if engine.network.requests:
                self._respond(engine, number, kind)
        self._wait(seconds)

    @rule(slot=SLOTS, trouble=TROUBLE, kind=st.sampled_from(["200", "200", "200", *RESPONSES]))
    def work_through(self, slot: int, trouble: Any, kind: str) -> None:
        """An engine does all that it can do now, for receivers that respond the same to everything."""
        engine = self.engines.get(slot) or self._start(slot)
        self._arm(trouble)
        for _ in range(3):
            with self.wire.used_by(engine):
                engine.turn()
            engine.send()
            self._respond_all(engine, kind)
            self._wait(0.06)

    @rule(
        slot=SLOTS, how=st.sampled_from(["die", "die", "resign", "stall", "recover", "sweep"]), turns=st.integers(0, 4)
    )
    def upset(self, slot: int, how: str, turns: int) -> None:
        """An engine is killed, and its row expires by and by; is stopped; or its heartbeats do not arrive for a while."""
        engine = self.engines.get(slot)
        if how == "sweep":
            sweep()
            self.ledger.forget_engines(self.engines.values())
        elif engine and how in ("die", "resign"):
            if how == "resign":
                with self.wire.used_by(engine):
                    engine.resign(turns)
            del self.engines[slot]
            self.ledger.gone(engine)
        elif engine:
            engine.stalled = how == "stall"

    @rule(seconds=st.sampled_from([0.6, 6.0, 61.0, LIFETIME + 10]), trouble=TROUBLE)
    def wait(self, seconds: float, trouble: Any) -> None:
        self._arm(trouble)
        self._wait(seconds)

    # --- people ------------------------------------------------------------------------------------------------------

    @rule(number=st.integers(0, 4), action=st.sampled_from([*ENDPOINT_ACTIONS] * 2 + [delete_endpoint]))
    def change_endpoint(self, number: int, action: Callable[..., Any]) -> None:
        self.lock.release()
        with suppress(ConflictingState):
            action(self.endpoints[number])
        if action is delete_endpoint:
            rows = Delivery.objects.filter(endpoint=self.endpoints[number])
            self.ledger.cancelled(rows.values_list("pk", flat=True))

    @rule(number=st.integers(0, 20), action=st.sampled_from([send_now, resend, resend, cancel_delivery]))
    def change_delivery(self, number: int, action: Callable[..., Any]) -> None:
        self.lock.release()
        keys = list(Delivery.objects.order_by("id").values_list("pk", flat=True))
        if keys:
            self._change_delivery(keys[number % len(keys)], action)

    @rule(table=st.sampled_from(RowLock.TABLES), number=st.integers(0, 4))
    def lock_rows(self, table: str, number: int) -> None:
        """Another transaction holds rows of an endpoint until a person acts; with PostgreSQL, where rows can be locked."""
        if connection.vendor == "postgresql":
            self.lock.take(table, self.endpoints[number])

    # --- words -------------------------------------------------------------------------------------------------------

    def _arm(self, trouble: tuple[str, int, str] | None) -> None:
        """It strikes an engine sooner or later, unless another one is armed before."""
        if trouble:
            kind, nth, act = trouble
            self.wire.arm(Disturbance(kind, nth, lambda engine: self._meanwhile(engine, act)))

    def _change_delivery(self, key: uuid.UUID, action: Callable[..., Any]) -> None:
        was = Delivery.objects.get(pk=key).status
        with suppress(ConflictingState):
            action(key)
            if action is cancel_delivery:
                self.ledger.cancelled([key])
            elif was != "pending":
                self.ledger.replayed(key)

    def _meanwhile(self, engine: SimulatedEngine, act: str) -> None:
        """What happens between two transactions of an engine, or, on its sending thread, during one."""
        others = [other for other in self.engines.values() if other is not engine]
        if act == "send":
            engine.send()
        elif act in ("succeed", "fail"):
            self._respond_all(engine, "200" if act == "succeed" else "500")
        elif act == "other engine":
            for other in others:
                other.beat()
                self.ledger.forget_engines(self.engines.values())
                other.turn()
                other.send()
        elif act == "emit":
            self._emit("anna", "test.happened", 2, callback=False)
        elif act in ("pause", "resume"):
            self.change_endpoint(0, pause_endpoint if act == "pause" else resume_endpoint)
        elif act in ("cancel", "replay"):
            self.change_delivery(0, cancel_delivery if act == "cancel" else resend)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("pipeline")
@pytest.mark.processes
def test_whatever_happens_each_event_arrives(fast_paths: bool, configure: Any) -> None:
    configure(POSTGRESQL_SQL=fast_paths, WIRE_FORMATS=MACHINE_WIRE_FORMATS, DEFAULT_WIRE_FORMAT="machine")
    more = int(os.environ.get("FUZZ", "0"))
    logging.disable(logging.CRITICAL)  # thousands of faults, each reported at length
    try:
        run_state_machine_as_test(
            EngineMachine,
            settings=settings(
                max_examples=more or 25,
                stateful_step_count=50 if more else 30,
                derandomize=not more,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
                report_multiple_bugs=False,
                phases=[Phase.generate, Phase.shrink][: 1 + ("NOSHRINK" not in os.environ)],
            ),
        )
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("pipeline")
def test_an_engine_that_was_declared_dead_sends_nothing_of_what_it_had_leased(fast_paths: bool, configure: Any) -> None:
    """Its heartbeat notices that first. What it sent before its database thread does, another engine sent, too."""
    configure(POSTGRESQL_SQL=fast_paths, WIRE_FORMATS=MACHINE_WIRE_FORMATS, DEFAULT_WIRE_FORMAT="machine")
    machine = EngineMachine()
    steps: list[tuple[int, str, float, Any]] = [
        (1, "first", 0.02, None), (0, "first", 0.02, None), (0, "not", 6.0, None), (1, "first", 1.5, None),
        (1, "first", 0.02, ("lost", 2, "")), (0, "first", 0.02, ("lost", 2, "")), (1, "first", 0.02, None),
        (0, "first", 6.0, ("locked", 21, "")), (0, "first", 0.02, None), (1, "first", 1.5, None),
    ]  # fmt: skip
    try:
        machine.begin()
        for slot, sends, seconds, trouble in steps:
            machine.work(responses=[(0, "200")] * 3, slot=slot, sends=sends, seconds=seconds, trouble=trouble)
            machine.holds()
    finally:
        machine.teardown()
