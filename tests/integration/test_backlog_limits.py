"""Limits on pending events: what `emit` does when the workers do not keep up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from tests.api import Program
from tests.conftest import Configure
from tests.factories import EndpointFactory
from tests.pipelines import fan_out
from webhooks_app import EventInput, aemit, emit, emit_many, registry
from webhooks_app.conf import Settings
from webhooks_app.conf_parser import parse
from webhooks_app.endpoints.status import disable_endpoint
from webhooks_app.events import backlog_limits
from webhooks_app.exceptions import BacklogFull, ConfigurationError
from webhooks_app.models import Event, Notification, database_now
from webhooks_app.notifications import operational_events
from webhooks_app.notifications.send import send_notifications

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types", "fresh")]

STRICT = pytest.mark.parametrize("strict", [True, False], ids=["strict", "production"])


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A count is good for an hour: nothing here depends on how fast the machine is."""
    monkeypatch.setattr(backlog_limits, "_COUNT_LASTS", 3600.0)
    monkeypatch.setattr(backlog_limits, "_WARN_EVERY", 3600.0)
    backlog_limits.reset()
    yield
    backlog_limits.reset()


def happened(tenant: str = "anna", number: int = 1) -> list[Event]:
    return emit_many([EventInput(type="test.happened", data={}, tenant=tenant) for _ in range(number)])


class TestRefuse:
    @pytest.fixture(autouse=True)
    def _refuse(self, configure: Configure) -> None:
        configure(BACKLOG={"POLICY": "refuse", "MAX_PENDING_EVENTS_PER_TENANT": 3})

    @STRICT
    def test_raises_a_clear_error_and_stores_nothing(self, strict: bool, configure: Configure) -> None:
        configure(STRICT=strict)
        happened(number=3)
        with pytest.raises(BacklogFull) as caught:
            emit("test.happened", {}, tenant="anna")
        text = str(caught.value)
        assert "At least 3 events of tenant 'anna' are pending and 1 more would exceed the limit of 3" in text
        assert "Emit again later" in text
        assert "MAX_PENDING_EVENTS_PER_TENANT" in text
        assert Event.objects.count() == 3

    def test_leaves_the_callers_transaction_usable(self) -> None:
        happened(number=3)
        with transaction.atomic():
            with pytest.raises(BacklogFull):
                happened()
            happened("bert")
        assert Event.objects.count() == 4

    def test_takes_all_events_of_a_call_or_none(self) -> None:
        happened(number=2)
        with pytest.raises(BacklogFull):
            happened(number=2)
        happened()
        assert Event.objects.count() == 3

    def test_counts_what_others_emitted_and_what_was_fanned_out(self) -> None:
        happened(number=3)
        backlog_limits.reset()  # another process, or a second later
        with pytest.raises(BacklogFull):
            happened()
        fan_out(database_now("default"), "default")
        backlog_limits.reset()
        assert happened(number=3)

    def test_leaves_out_quarantined_events(self, configure: Configure) -> None:
        configure(STRICT=False)
        for _ in range(5):
            emit("nobody.knows", {}, tenant="anna")
        assert happened(number=3)

    def test_goes_for_all_tenants_together_too(self, configure: Configure) -> None:
        configure(BACKLOG={"MAX_PENDING_EVENTS": 4})
        happened("anna", 2)
        happened("bert", 2)
        with pytest.raises(BacklogFull, match=r"At least 4 events of all tenants .* MAX_PENDING_EVENTS sets the limit"):
            happened("carl")

    def test_goes_for_async_code_too(self) -> None:
        happened(number=3)
        with pytest.raises(BacklogFull):
            async_to_sync(aemit)("test.happened", {}, tenant="anna")

    def test_is_429_in_the_api(self) -> None:
        program = Program()
        for _ in range(3):
            program.post("/events", {"type": "test.happened", "data": {}})
        headers = {"Idempotency_Key": "once"}
        response = program("post", "/events", {"type": "test.happened", "data": {}}, **headers)
        assert (response.status_code, response.json()["code"]) == (429, "BACKLOG_FULL")
        assert int(response["Retry-After"]) > 0
        fan_out(database_now("default"), "default")
        backlog_limits.reset()
        assert program.post("/events", {"type": "test.happened", "data": {}}, **headers)["id"]

    def test_does_not_stop_operational_events(self, configure: Configure) -> None:
        """Or the notification that they belong to would be sent again and again."""
        configure(NOTIFICATIONS={"OPERATIONS_TENANT": "us"})
        happened("us", 3)
        registry.register(*operational_events.EVENT_TYPES)
        try:
            disable_endpoint(EndpointFactory(), "gone")
            send_notifications()
        finally:
            registry.unregister([type_.name for type_ in operational_events.EVENT_TYPES])
        assert Event.objects.filter(type="webhooks.endpoint_disabled").count() == 1
        assert not Notification.objects.unsent().exists()


class TestWarn:
    def test_stores_the_event_and_logs_once_a_minute(
        self, configure: Configure, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(BACKLOG={"MAX_PENDING_EVENTS_PER_TENANT": 2})
        happened(number=2)
        assert not caplog.records
        for _ in range(5):
            happened()
        assert Event.objects.count() == 7
        [record] = caplog.records
        assert record.levelno == logging.WARNING
        assert "tenant 'anna' exceed MAX_PENDING_EVENTS_PER_TENANT (2)" in record.getMessage()
        monkeypatch.setattr(backlog_limits, "_next_warning", 0.0)  # a minute later
        happened()
        assert len(caplog.records) == 2


class TestCost:
    def test_is_nothing_without_a_limit(self, django_assert_num_queries: Any) -> None:
        with transaction.atomic(), django_assert_num_queries(1):
            happened()

    def test_is_one_bounded_count_while_that_is_fresh(
        self, configure: Configure, django_assert_num_queries: Any
    ) -> None:
        configure(BACKLOG={"MAX_PENDING_EVENTS_PER_TENANT": 50})
        with transaction.atomic(), django_assert_num_queries(4) as queries:
            for _ in range(3):
                happened()
        count, *inserts = (query["sql"].replace("`", '"') for query in queries.captured_queries)
        assert "COUNT(*)" in count
        assert "LIMIT 50" in count
        assert all(sql.startswith("INSERT") for sql in inserts)

    def test_no_tenant_is_counted_while_all_are_within_the_limit_of_one(
        self, configure: Configure, django_assert_num_queries: Any
    ) -> None:
        configure(BACKLOG={"MAX_PENDING_EVENTS_PER_TENANT": 5})
        with transaction.atomic(), django_assert_num_queries(6):
            for number in range(5):
                happened(f"tenant-{number}")
        with transaction.atomic(), django_assert_num_queries(4):
            happened("tenant-1")
            happened("tenant-2")

    def test_a_slow_count_is_good_for_longer(self, configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backlog_limits, "_COUNT_LASTS", 0.0)
        monkeypatch.setattr(backlog_limits, "_COST_FACTOR", 10**9)
        configure(BACKLOG={"MAX_PENDING_EVENTS": 5})
        happened()
        [count] = backlog_limits._counts.values()
        happened()
        assert [*backlog_limits._counts.values()] == [count]
        assert count.pending == 2

    def test_is_bounded_in_memory(self, configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backlog_limits, "_MOST_COUNTS", 3)
        configure(BACKLOG={"MAX_PENDING_EVENTS_PER_TENANT": 5})
        for number in range(10):
            happened(f"tenant-{number}")
        assert len(backlog_limits._counts) <= 3


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("MAX_PENDING_EVENTS", -1, "a whole number, 0 or more"),
        ("MAX_PENDING_EVENTS_PER_TENANT", True, "a whole number, 0 or more"),
        ("MAX_DELIVERIES", 1.5, "a whole number, 0 or more"),
        ("MAX_DAYS", 0, "a number above 0, or None"),
        ("MAX_DAYS", "7", "a number above 0, or None"),
        ("POLICY", "drop", "'warn' or 'refuse'"),
    ],
)
def test_a_wrong_setting_is_refused(key: str, value: object, wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{key}.* must be {wanted}"):
        parse(Settings, {"BACKLOG": {key: value}})


@pytest.mark.parametrize(
    ("key", "value"),
    [("MAX_PENDING_EVENTS", 0), ("MAX_DELIVERIES", 0), ("MAX_DAYS", 7), ("MAX_DAYS", None)],
)
def test_a_right_setting_is_accepted(key: str, value: object) -> None:
    assert getattr(parse(Settings, {"BACKLOG": {key: value}}).BACKLOG, key) == value
