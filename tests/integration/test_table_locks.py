"""A host's migration locks a whole table for seconds: endpoints that do not need it notice nothing, no engine seems dead."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from tests.conftest import Configure
from tests.pipelines import due_delivery, endpoint_at, eventually, pending_event, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Delay
from webhooks_app.db import in_fresh_transaction, read
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sql.psycopg_cursors import query
from webhooks_app.models import Attempt, Delivery, EndpointQueue, Engine

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("pipeline"),
    pytest.mark.postgres,
]

#: How long the lock is held, how often an event comes meanwhile, and how soon it must arrive (seconds).
HELD, EVERY, SOON = 3.0, 0.25, 2.0


@contextmanager
def locked_table(name: str, held: float = HELD) -> Iterator[threading.Event]:
    """Another connection locks the table for so many seconds. Gives the event that is set once the lock is gone."""
    begun, gone = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
                begun.set()
                time.sleep(held)
        finally:
            gone.set()
            connection.close()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert begun.wait(10)
    yield gone
    thread.join(30)


@pytest.mark.parametrize("others", [0, 20], ids=["alone", "beside 20 others"])
@pytest.mark.parametrize("table", ["attempt", "hourlystat"])
def test_events_arrive_while_a_table_that_is_only_recorded_to_is_locked(
    receiver: Receiver, table: str, others: int
) -> None:
    good = endpoint_at(receiver, "/good", wire_format="slow")
    beside = [endpoint_at(receiver, "/beside", wire_format="slow") for _ in range(others)]
    late = []
    with running_engine():
        engine = eventually(lambda: Engine.objects.first())
        pending_event(good.tenant)
        receiver.wait_for(1, path="/good")
        sent = 1
        with locked_table(f"webhooks_app_{table}") as gone:
            while not gone.wait(EVERY):
                for endpoint in beside:
                    pending_event(endpoint.tenant)
                began = time.monotonic()
                pending_event(good.tenant)
                sent += 1
                receiver.wait_for(sent, path="/good")
                late.append(round(time.monotonic() - began, 2))
        assert max(late) < SOON, late
        eventually(lambda: not Delivery.objects.exclude(status="succeeded").exists())
        assert Engine.objects.get() == engine
    assert Attempt.objects.filter(endpoint_id=good.pk).count() == sent
    ids = Counter(request.headers["webhook-id"] for request in receiver.requests)
    assert set(ids.values()) == {1}


def test_what_waits_for_a_lock_is_bounded(receiver: Receiver, configure: Configure) -> None:
    """At most sixteen results may wait here: eight windows."""
    configure(WINDOW=2)
    busy = endpoint_at(receiver, "/busy", wire_format="slow")
    with running_engine():
        with locked_table("webhooks_app_attempt") as gone:
            for _ in range(100):
                pending_event(busy.tenant)
            receiver.wait_for(1)
            gone.wait(30)
            assert len(receiver.requests) < 50
        eventually(lambda: Delivery.objects.filter(status="succeeded").count() == 100)
    assert len(receiver.requests) == 100


@pytest.mark.parametrize(
    "table", ["endpoint", "secret", "subscription", "event", "delivery", "tenant", "endpointqueue"]
)
def test_no_thread_of_an_engine_stalls_while_a_table_that_it_reads_is_locked(
    receiver: Receiver, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Other engines would else take its queues, and count that as a crash."""
    leased, new = endpoint_at(receiver, "/leased"), endpoint_at(receiver, "/new")
    for _ in range(60):
        due_delivery(leased)
    receiver.on("/leased", Delay(0.05))
    with running_engine(options=EngineOptions(stalled_after=2.5, heartbeat_seconds=3.0, recheck_seconds=0.1)):
        engine = eventually(lambda: Engine.objects.first())
        receiver.wait_for(1, path="/leased")
        with locked_table(f"webhooks_app_{table}", held=6.0) as gone:
            if table not in ("event", "tenant", "delivery", "endpointqueue"):
                pending_event(new.tenant)
                due_delivery(new)
            gone.wait(30)
        due_delivery(new)
        eventually(lambda: not Delivery.objects.exclude(status="succeeded").exists())
        assert Engine.objects.get() == engine
    assert "has stalled" not in caplog.text
    assert not EndpointQueue.objects.filter(crash_takeovers__gt=0).exists()
    ids = Counter((request.path, request.headers["webhook-id"]) for request in receiver.requests)
    assert set(ids.values()) == {1}


def test_what_the_engine_sets_ends_with_its_statement() -> None:
    """No session keeps it: behind a pool it is the host's session, too."""

    def chosen() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('lock_timeout'), current_setting('jit')")
            return list(cursor.fetchone())

    before = chosen()
    assert in_fresh_transaction(chosen, "default", lock_timeout=1.0) == ["1s", "off"]
    assert read(chosen, "default") == ["50ms", "off"]
    assert query("default", "SELECT current_setting('lock_timeout'), current_setting('jit')", []) == [("50ms", "off")]
    assert chosen() == before
