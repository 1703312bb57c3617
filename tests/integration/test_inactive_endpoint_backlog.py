"""Pending deliveries of paused and disabled endpoints: how many are kept, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.backlogs import NOW, OFF, days, off_endpoint, waiting
from tests.conftest import Configure
from tests.factories import DeliveryFactory, EndpointFactory, EventFactory
from tests.pipelines import endpoint_at
from tests.receiver import Receiver
from webhooks_app import emit
from webhooks_app.deliveries import backlog
from webhooks_app.endpoints.status import disable_endpoint, enable_endpoint, pause_endpoint, resume_endpoint
from webhooks_app.maintenance.prune import prune
from webhooks_app.models import Delivery, DeliveryStatus, Endpoint, Event, Notification, NotificationKind
from webhooks_app.models.ids import first_id

pytestmark = pytest.mark.django_db

FIFO = pytest.mark.parametrize("fifo", [False, True], ids=["", "fifo"])


def pending(endpoint: Endpoint) -> list[Any]:
    return list(Delivery.objects.pending().filter(endpoint=endpoint).order_by("event_id").values_list("pk", flat=True))


class TestAge:
    @OFF
    @FIFO
    def test_nothing_outlives_the_retention(self, status: str, fifo: bool) -> None:
        waiting(off_endpoint(status, fifo=fifo), 3)
        report = prune(now=days(31))
        assert (report.dropped, report.deliveries, report.events) == (3, 3, 3)
        assert not Event.objects.exists()
        assert not Delivery.objects.exists()

    @OFF
    def test_what_is_younger_stays(self, status: str) -> None:
        endpoint = off_endpoint(status)
        rows = waiting(endpoint, 2)
        assert prune(now=days(29)).dropped == 0
        assert pending(endpoint) == [row.pk for row in rows]

    @OFF
    @FIFO
    def test_a_shorter_age_ends_deliveries_and_keeps_their_history(
        self, status: str, fifo: bool, configure: Configure
    ) -> None:
        configure(BACKLOG={"MAX_DAYS": 7})
        [row] = waiting(off_endpoint(status, fifo=fifo), 1)
        assert prune(now=days(6.9)).dropped == 0
        assert prune(now=days(7.1)).dropped == 1
        row.refresh_from_db()
        assert (row.status, row.last_outcome, row.last_status) == (DeliveryStatus.EXHAUSTED, "expired", None)
        assert NOW <= row.completed_at <= timezone.now()
        assert Event.objects.get() == row.event

    def test_the_retention_is_the_most(self, configure: Configure) -> None:
        configure(BACKLOG={"MAX_DAYS": 90})
        waiting(off_endpoint(), 1)
        assert prune(now=days(31)).dropped == 1

    def test_what_was_dropped_goes_with_its_event(self, configure: Configure) -> None:
        configure(BACKLOG={"MAX_DAYS": 7})
        waiting(off_endpoint(), 1)
        prune(now=days(8))
        assert prune(now=days(29)).events == 0
        assert prune(now=days(31)).events == 1

    @pytest.mark.parametrize("status", ["active", "deleted"])
    def test_only_paused_and_disabled_endpoints_drop(self, status: str) -> None:
        waiting(EndpointFactory(status=status), 1)
        assert prune(now=days(60)).dropped == 0
        assert not Notification.objects.exists()

    def test_the_clock_of_the_emitting_machine_does_not_decide(self) -> None:
        """Ids are made by that clock: one that is a year behind must not drop what was stored just now."""
        endpoint = off_endpoint()
        event = EventFactory(id=first_id(days(-365)), tenant=endpoint.tenant)
        DeliveryFactory(endpoint=endpoint, event=event)
        assert prune(now=NOW).dropped == 0


class TestNumber:
    @OFF
    @FIFO
    def test_the_oldest_are_dropped(
        self, status: str, fifo: bool, configure: Configure, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backlog, "_CHUNK", 2)
        configure(BACKLOG={"MAX_DELIVERIES": 3})
        endpoint, other = off_endpoint(status, fifo=fifo), off_endpoint(status)
        rows, others = waiting(endpoint, 8), waiting(other, 3)
        assert prune(now=NOW).dropped == 5
        assert pending(endpoint) == [row.pk for row in rows[5:]]
        assert pending(other) == [row.pk for row in others]
        assert Event.objects.count() == 11
        assert prune(now=NOW).dropped == 0

    def test_0_is_no_limit(self, configure: Configure) -> None:
        configure(BACKLOG={"MAX_DELIVERIES": 0})
        waiting(off_endpoint(), 8)
        assert prune(now=NOW).dropped == 0
        assert not Notification.objects.exists()


def test_trimming_one_endpoint_can_leave_the_warning_out(configure: Configure) -> None:
    configure(BACKLOG={"MAX_DELIVERIES": 10})
    endpoint = off_endpoint()
    waiting(endpoint, 9)
    assert backlog.trim_backlog(endpoint, NOW, warn=False) == 0
    assert not Notification.objects.exists()
    waiting(endpoint, 2)
    assert backlog.trim_backlog(endpoint, NOW, warn=False) == 1
    assert [notification.kind for notification in Notification.objects.all()] == [NotificationKind.BACKLOG_DROPPED]


@pytest.mark.usefixtures("pipeline")
@pytest.mark.parametrize(
    ("stop", "start"),
    [(pause_endpoint, resume_endpoint), (disable_endpoint, enable_endpoint)],
    ids=["pause", "disable"],
)
class TestAfterwards:
    @pytest.mark.django_db(transaction=True)
    def test_only_what_is_within_the_bounds_is_sent(
        self,
        stop: Callable[[Endpoint], Any],
        start: Callable[[Endpoint], Any],
        receiver: Receiver,
        deliver: Callable[[], Any],
        configure: Configure,
    ) -> None:
        configure(BACKLOG={"MAX_DELIVERIES": 2})
        endpoint = endpoint_at(receiver)
        rows = [DeliveryFactory(endpoint=endpoint) for _ in range(5)]
        stop(endpoint)
        assert prune().dropped == 3
        start(endpoint)
        deliver()
        assert {request.headers["webhook-id"] for request in receiver.requests} == {
            row.event.public_id for row in rows[3:]
        }


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("event_types")
def test_a_backlog_that_emit_and_the_fan_out_made_ends(deliver: Callable[[], Any], configure: Configure) -> None:
    endpoint = EndpointFactory()
    pause_endpoint(endpoint)
    for number in range(10):
        emit("test.happened", {"n": number}, tenant=endpoint.tenant)
    deliver()
    assert len(pending(endpoint)) == 10
    assert prune(now=timezone.now() + timedelta(days=60)).events == 10
    assert not Event.objects.exists()
