"""Emit: one INSERT in the host's own transaction, and every mistake told or kept."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils.translation import gettext_lazy

from project.messaging.models import Organisation
from tests.conftest import Configure
from tests.factories import TenantFactory
from tests.pipelines import InThread, endpoint_at, rolled_back
from tests.receiver import Receiver
from webhooks_app import EventInput, aemit, emit, emit_many
from webhooks_app.exceptions import (
    IdempotencyConflict,
    InvalidEvent,
    PayloadTooLarge,
)
from webhooks_app.models import Delivery, Event, EventType, Tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]


def happened(tenant: Any = "anna", data: Any = None, **values: Any) -> Event:
    return emit("test.happened", {} if data is None else data, tenant=tenant, **values)


@contextmanager
def committing_by_hand() -> Iterator[None]:
    """Manual transaction management, as `transaction.set_autocommit(False)` begins it."""
    transaction.set_autocommit(False)
    try:
        yield
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


class TestOneInsert:
    def test_is_all_that_emit_does(self, django_assert_num_queries: Any) -> None:
        with transaction.atomic(), django_assert_num_queries(1) as queries:
            happened(data={"n": 1}, channels=["a", "b"], subject="order-1")
        assert queries.captured_queries[0]["sql"].replace("`", '"').startswith('INSERT INTO "webhooks_app_event"')

    def test_is_all_that_many_events_cost(self, django_assert_num_queries: Any) -> None:
        # Django splits an INSERT into SQLite at 999 parameters.
        inputs = [EventInput(type="test.happened", data={"n": n}, tenant=f"t{n}") for n in range(40)]
        with transaction.atomic(), django_assert_num_queries(1):
            events = emit_many(inputs)
        assert [json.loads(event.data)["n"] for event in events] == [*range(40)]
        assert Event.objects.count() == 40

    def test_comes_with_one_select_for_all_types_that_staff_added(self, django_assert_num_queries: Any) -> None:
        for name in ("staff.made", "staff.too"):
            EventType.objects.create(name=name)
        inputs = [
            EventInput(type=name, data={}, tenant="anna") for name in ("staff.made", "staff.too", "test.happened")
        ]
        with transaction.atomic(), django_assert_num_queries(2):
            emit_many(inputs * 3)

    def test_belongs_to_the_callers_transaction(self) -> None:
        with rolled_back():
            happened()
            assert Event.objects.count() == 1
        assert not Event.objects.exists()

    @pytest.mark.usefixtures("pipeline")
    def test_rolled_back_is_never_sent(self, receiver: Receiver, deliver: Any) -> None:
        tenant = endpoint_at(receiver).tenant
        with rolled_back():
            happened(tenant, {"n": 1})
            with transaction.atomic():
                happened(tenant, {"n": 2})
        with transaction.atomic():
            happened(tenant, {"n": 3})
            with rolled_back():
                happened(tenant, {"n": 4})
        deliver()
        assert [json.loads(request.body)["data"] for request in receiver.requests] == [{"n": 3}]
        assert Delivery.objects.count() == 1

    @pytest.mark.usefixtures("pipeline")
    def test_a_host_that_commits_by_hand_can_emit(self, receiver: Receiver, deliver: Any) -> None:
        """Django refuses commit hooks there, after the INSERT."""
        tenant = endpoint_at(receiver).tenant
        with committing_by_hand():
            happened(tenant, {"n": 1})
            transaction.rollback()
            happened(tenant, {"n": 2}, idempotency_key="k")
            emit_many([EventInput(type="test.happened", data={"n": n}, tenant=tenant) for n in (3, 4)])
            with transaction.atomic():
                happened(tenant, {"n": 5})
            transaction.commit()
        deliver()
        assert sorted(json.loads(request.body)["data"]["n"] for request in receiver.requests) == [2, 3, 4, 5]

    def test_a_host_that_commits_by_hand_can_make_mistakes(self, configure: Configure, caplog: Any) -> None:
        configure(STRICT=False)
        with committing_by_hand():
            emit("nobody.knows", {}, tenant="anna")
            transaction.commit()
        assert Event.objects.get().quarantine_reason
        assert "was quarantined" in caplog.text

    def test_emit_for_async_code(self) -> None:
        event = async_to_sync(aemit)("test.happened", {"n": 1}, tenant="anna")
        assert Event.objects.get() == event


class TestTheRow:
    def test_holds_what_was_given(self) -> None:
        moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))
        event = happened(
            data={"b": 1, "a": [1.5, None, True, "ü"]}, channels=["x", "y", "x"], subject="order-7", occurred_at=moment
        )
        row = Event.objects.get()
        assert row == event
        assert row.public_id == event.public_id
        assert (row.type, row.tenant_uid, row.subject) == ("test.happened", "anna", "order-7")
        assert row.data == '{"b":1,"a":[1.5,null,true,"ü"]}'
        assert row.size == len(row.data.encode())
        assert row.channels == ["x", "y"]
        assert row.occurred_at == moment
        assert row.fanned_out_at is None

    def test_keeps_djangos_types(self) -> None:
        happened(
            data={
                "at": datetime(2026, 1, 2, tzinfo=UTC),
                "price": Decimal("1.10"),
                "id": uuid.UUID(int=1),
                "wait": timedelta(seconds=1),
                "text": gettext_lazy("Yes"),
            }
        )
        assert json.loads(Event.objects.get().data) == {
            "at": "2026-01-02T00:00:00Z",
            "price": "1.10",
            "id": "00000000-0000-0000-0000-000000000001",
            "wait": "P0DT00H00M01S",
            "text": "Yes",
        }

    @pytest.mark.parametrize("text", ["\ud800", "a\x00b", "😀", "\u2028", "'\"\\"])
    def test_keeps_any_text(self, text: str) -> None:
        happened(data={"text": text})
        row = Event.objects.get()
        row.data.encode()
        assert json.loads(row.data) == {"text": text}

    @pytest.mark.parametrize("data", [None, [], "text", 5, False])
    def test_takes_any_json_value(self, data: Any) -> None:
        emit("test.happened", data, tenant="anna")
        assert json.loads(Event.objects.get().data) == data


class TestTheTenant:
    def test_is_a_row_a_text_a_number_or_an_object_of_the_hosts(self) -> None:
        tenant = TenantFactory(uid="anna")
        organisation = Organisation.objects.create(name="Acme")
        user = User.objects.create_user("anna")
        events = [happened(one) for one in (tenant, "anna", 7, uuid.UUID(int=7), organisation, user)]
        assert [event.tenant_uid for event in events] == [
            "anna",
            "anna",
            "7",
            "00000000-0000-0000-0000-000000000007",
            f"messaging.organisation:{organisation.pk}",
            f"auth.user:{user.pk}",
        ]
        assert events[0].tenant_id == events[1].tenant_id == tenant.pk

    def test_is_told_by_the_hosts_function(self, configure: Configure) -> None:
        configure(TENANT_UID_FUNCTION="tests.integration.test_emit.shout")
        assert happened(User(username="anna", pk=1)).tenant_uid == "ANNA"
        assert happened(Tenant(uid="bert")).tenant_uid == "bert"

    @pytest.mark.parametrize("tenant", [None, True, "", "x" * 256, "a\x00", 1.5, object(), User(username="unsaved")])
    def test_is_nothing_else(self, tenant: Any) -> None:
        with pytest.raises(InvalidEvent) as caught:
            happened(tenant)
        assert caught.value.field == "tenant"


def shout(thing: Any) -> str:
    return thing.username.upper()


def test_the_size_limit_is_inclusive(configure: Configure) -> None:
    configure(MAX_PAYLOAD_BYTES=10)
    happened(data="x" * 8)
    with pytest.raises(PayloadTooLarge):
        happened(data="x" * 9)


class TestAnIdempotencyKey:
    def test_used_again_with_the_same_content_returns_the_first_event(self) -> None:
        first = happened(data={"n": 1}, idempotency_key="k", occurred_at=datetime(2026, 1, 1, tzinfo=UTC))
        assert happened(data={"n": 1}, idempotency_key="k") == first
        assert Event.objects.count() == 1

    @pytest.mark.parametrize(
        "other", [{"data": {"n": 2}}, {"type": "test.other"}, {"subject": "s"}, {"channels": ["c"]}], ids=str
    )
    def test_used_again_with_other_content_is_an_error(self, other: dict[str, Any], configure: Configure) -> None:
        values = {"type": "test.happened", "data": {"n": 1}, "tenant": "anna", "idempotency_key": "k"}
        first = emit(**values)
        with transaction.atomic():
            with pytest.raises(IdempotencyConflict):
                emit(**{**values, **other})
            assert Event.objects.count() == 1, "the host's transaction goes on"
        configure(STRICT=False)
        assert emit(**{**values, **other}) == first

    def test_is_the_tenants_own(self) -> None:
        assert happened("anna", idempotency_key="k") != happened("bert", idempotency_key="k")

    def test_works_for_many_at_once_in_the_order_of_the_input(self) -> None:
        keys = ["a", None, "b", "a", None]
        inputs = [EventInput(type="test.happened", data={}, tenant="anna", idempotency_key=key) for key in keys]
        events = emit_many(inputs)
        assert events[0] == events[3]
        assert [event.idempotency_key for event in events] == keys
        assert Event.objects.count() == 4

    def test_a_conflict_among_many_stores_nothing(self) -> None:
        happened(data={"n": 1}, idempotency_key="k")
        plain = EventInput(type="test.happened", data={}, tenant="anna")
        other = EventInput(type="test.happened", data={"n": 2}, tenant="anna", idempotency_key="k")
        with pytest.raises(IdempotencyConflict):
            emit_many([plain, other])
        assert Event.objects.count() == 1

    def test_of_a_faulty_event_does_not_fill_the_table(self, configure: Configure) -> None:
        configure(STRICT=False)
        first = emit("nobody.knows", {}, tenant="anna", idempotency_key="k")
        assert emit("nobody.knows", {}, tenant="anna", idempotency_key="k") == first
        assert Event.objects.count() == 1

    def test_of_a_faulty_event_is_free_for_the_mended_one(self, configure: Configure) -> None:
        configure(STRICT=False)
        faulty = emit("test.checked", {"n": "one"}, tenant="anna", idempotency_key="k")
        mended = emit("test.checked", {"n": 1}, tenant="anna", idempotency_key="k")
        assert emit("test.checked", {"n": 1}, tenant="anna", idempotency_key="k") == mended
        assert Event.objects.pending().get() == mended != faulty
        assert Event.objects.quarantined().get() == faulty

    @pytest.mark.parametrize("commits", [True, False])
    def test_makes_a_second_transaction_wait_for_the_first(self, commits: bool) -> None:
        began = threading.Event()

        def second() -> tuple[Event, bool]:
            with transaction.atomic():
                if connection.vendor != "sqlite":  # there the transaction's begin waits already
                    Organisation.objects.create(name="the host's")
                began.set()
                event = happened(data={"n": 1}, idempotency_key="k")
                return event, Event.objects.filter(pk=event.pk).exists()

        with transaction.atomic():
            first = happened(data={"n": 1}, idempotency_key="k")
            thread = InThread(second)
            began.wait(0.5)
            thread.join(0.3)
            assert thread.is_alive(), "it waits"
            transaction.set_rollback(not commits)
        event, visible = thread.result()
        assert (event == first) is commits
        assert visible
        assert Event.objects.count() == 1
