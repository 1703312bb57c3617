"""The protocol, statements: what the SQL of the whole way may say, whichever cursor it goes through."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection

from tests.factories import EndpointFactory, EngineFactory
from tests.outages import watched_statements
from tests.pipelines import deliver_until, due_delivery, endpoint_at
from tests.receiver import Receiver
from webhooks_app import emit
from webhooks_app.deliveries.recover import recover
from webhooks_app.deliveries.resend import cancel_delivery, resend, resend_event
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.endpoints.service import change_endpoint
from webhooks_app.endpoints.status import (
    delete_endpoint,
    disable_endpoint,
    enable_endpoint,
    pause_endpoint,
    resume_endpoint,
)
from webhooks_app.engine.queue_due import _MAKE_DUE
from webhooks_app.engine.sweep import repair, sweep
from webhooks_app.maintenance.prune import prune
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

DAY = timedelta(days=1)
ROW_LOCK = re.compile(r"\bFOR (?:NO KEY )?(?:UPDATE|SHARE)\b")
#: What SQLite understands, so that its tests would not tell, and MariaDB or MySQL do not.
NOT_PORTABLE = re.compile(r"\bRETURNING\b|^\s*(?:COPY|WITH)\b")


@pytest.fixture
def journey(receiver: Receiver) -> Callable[[], list[str]]:
    """Goes all the ways there are, and returns the statements of all threads."""

    def go() -> list[str]:
        seen: list[str] = []
        with watched_statements(seen.append, thread=None):
            _deliver_and_retry(receiver)
            _act(endpoint_at(receiver, "/hook", fifo=True))
            _clean_up(EndpointFactory(queue__holder_id=EngineFactory(alive_until=database_now("default") - DAY).pk))
        return seen

    return go


def _nothing_pending() -> bool:
    return not Delivery.objects.filter(status="pending").exists()


def _deliver_and_retry(receiver: Receiver) -> None:
    receiver.on("/hook", [200, 500, 200]).on("/down", 503)
    once = endpoint_at(receiver, "/down", "once")
    in_order = endpoint_at(receiver, fifo=True)
    for tenant in (once.tenant, in_order.tenant, endpoint_at(receiver).tenant):
        for _ in range(2):
            emit("test.happened", {}, tenant=tenant, channels=["a"])
    emit("test.happened", {}, tenant=once.tenant, callback_url=receiver.url("/back"), idempotency_key="key")
    deliver_until(lambda: Delivery.objects.count() == 7 and _nothing_pending())
    resend(Delivery.objects.filter(status="exhausted")[0])
    resend_event(Delivery.objects.filter(endpoint=in_order)[0].event_id)
    deliver_until(_nothing_pending)


def _act(endpoint: Endpoint) -> None:
    emit("test.happened", {}, tenant=endpoint.tenant)
    pause_endpoint(endpoint)
    cancel_delivery(due_delivery(endpoint, next_attempt_at=database_now("default") + DAY))
    resume_endpoint(endpoint)
    disable_endpoint(endpoint)
    enable_endpoint(endpoint)
    recover(endpoint, database_now("default") - DAY)
    change_endpoint(endpoint, fifo=False, url=f"{endpoint.url}/new")
    rotate_secret(endpoint)
    deliver_until(_nothing_pending)


def _clean_up(held: Endpoint) -> None:
    due_delivery(held)
    assert sweep().freed == 1
    EndpointQueue.objects.filter(pk=held.pk).update(due_at=held.created_at + DAY)
    assert repair() == 1
    delete_endpoint(held)
    assert prune(now=database_now("default") + 500 * DAY).endpoints >= 1


@pytest.mark.postgres
def test_no_row_is_locked_against_foreign_keys_to_it(journey: Callable[[], list[str]]) -> None:
    """FOR UPDATE would: inserts that refer to the row would wait for it, and for each other."""
    locks = [(lock, statement) for statement in journey() for lock in ROW_LOCK.findall(statement)]
    assert len(locks) > 50
    assert [statement for lock, statement in locks if lock != "FOR NO KEY UPDATE"] == []


def test_the_portable_statements_are_portable(
    journey: Callable[[], list[str]], fast_paths: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django says RETURNING by itself where a database can; here it must not, so that what is left is ours."""
    if fast_paths:
        pytest.skip("PostgreSQL's own statements need not be portable: this is about the other set")
    for feature in ("can_return_columns_from_insert", "can_return_rows_from_bulk_insert"):
        monkeypatch.setattr(type(connection.features), feature, property(lambda _: False))
    statements = [statement for statement in journey() if statement not in _MAKE_DUE.values()]
    assert [statement for statement in statements if NOT_PORTABLE.search(statement)] == []


@pytest.mark.postgres
def test_only_attempts_are_copied(journey: Callable[[], list[str]], fast_paths: bool) -> None:
    """COPY passes over no row that is there already: right only where nobody else can have written it."""
    copies = [statement for statement in journey() if statement.startswith("COPY")]
    assert {statement.split()[1] for statement in copies} == ({"webhooks_app_attempt"} if fast_paths else set())
