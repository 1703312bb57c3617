"""The protocol, states: what paused, disabled and replayed mean for deliveries; callback URLs; what is written beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.factories import DeliveryFactory, EndpointFactory
from tests.pipelines import Gate, deliver_until, due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Received
from webhooks_app import emit
from webhooks_app.db import write
from webhooks_app.deliveries.recover import recover
from webhooks_app.deliveries.resend import resend, send_now
from webhooks_app.endpoints.status import (
    delete_endpoint,
    disable_endpoint,
    enable_endpoint,
    pause_endpoint,
    resume_endpoint,
)
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import Settlement
from webhooks_app.engine.sweep import repair
from webhooks_app.models import (
    BLOCKED,
    Attempt,
    Delivery,
    Endpoint,
    EndpointQueue,
    HourlyStat,
    Notification,
    Secret,
    database_now,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HOUR = timedelta(hours=1)
Deliver = Callable[[], Any]


def happen(endpoint: Endpoint, count: int = 1) -> None:
    for n in range(count):
        emit("test.happened", {"n": n}, tenant=endpoint.tenant)


class TestPaused:
    def test_deliveries_are_made_and_wait(self, receiver: Receiver, deliver: Deliver) -> None:
        endpoint = endpoint_at(receiver)
        pause_endpoint(endpoint)
        happen(endpoint, 3)
        deliver()
        assert receiver.requests == []
        assert Delivery.objects.filter(status="pending", attempts=0).count() == 3
        resume_endpoint(endpoint)
        deliver()
        assert len(receiver.requests) == 3
        assert repair() == 0

    def test_a_retry_waits_too(self, receiver: Receiver) -> None:
        gate = Gate(500)
        receiver.on("/hook", gate)
        endpoint = endpoint_at(receiver, wire_format="slow")
        happen(endpoint)
        with running_engine():
            receiver.wait_for(1)
            pause_endpoint(endpoint)
            gate.open()
            eventually(lambda: Attempt.objects.exists())
            eventually(lambda: EndpointQueue.objects.get().holder_id is None)
        assert EndpointQueue.objects.get().due_at == BLOCKED


class TestDisabled:
    def test_pending_deliveries_are_kept_and_new_events_make_none(self, receiver: Receiver, deliver: Deliver) -> None:
        receiver.on("/hook", [500, 200])
        endpoint = endpoint_at(receiver, wire_format="plain")
        happen(endpoint)
        deliver()
        disable_endpoint(endpoint)
        happen(endpoint, 2)
        deliver()
        assert (Delivery.objects.count(), len(receiver.requests)) == (1, 1)
        enable_endpoint(endpoint)
        send_now(Delivery.objects.get())
        deliver()
        assert Delivery.objects.get().status == "succeeded"

    def test_what_was_missed_is_recovered_from_the_events(self, receiver: Receiver, deliver: Deliver) -> None:
        endpoint = endpoint_at(receiver)
        since = database_now("default")
        disable_endpoint(endpoint)
        happen(endpoint, 3)
        deliver()
        enable_endpoint(endpoint)
        assert recover(endpoint, since).created == 3
        deliver()
        assert len({request.headers["webhook-id"] for request in receiver.requests}) == 3

    def test_410_disables_at_once_and_nothing_more_is_sent(self, receiver: Receiver, deliver: Deliver) -> None:
        receiver.on("/hook", 410)
        endpoint = endpoint_at(receiver, max_in_flight=1)
        happen(endpoint, 5)
        deliver()
        endpoint.refresh_from_db()
        assert (endpoint.status, endpoint.status_reason) == ("disabled", "gone")
        assert len(receiver.requests) == 1
        assert Counter(Delivery.objects.values_list("status", flat=True)) == {"exhausted": 1, "pending": 4}
        queue = EndpointQueue.objects.get()
        assert (queue.not_before, queue.due_at, queue.holder_id) == (BLOCKED, BLOCKED, None)


def test_a_deleted_endpoint_gets_nothing_more(receiver: Receiver, deliver: Deliver) -> None:
    endpoint = endpoint_at(receiver)
    happen(endpoint)
    delete_endpoint(endpoint)
    happen(endpoint)
    deliver()
    assert receiver.requests == []
    assert not Delivery.objects.filter(status="pending").exists()


class TestReplay:
    def test_reuses_the_delivery_from_step_0_while_the_numbers_go_on(
        self, receiver: Receiver, deliver: Deliver
    ) -> None:
        receiver.on("/hook", [500] * 6 + [200])
        happen(endpoint_at(receiver))  # four requests a delivery
        deliver_until(lambda: Delivery.objects.filter(status="exhausted").exists())
        resend(Delivery.objects.get())
        deliver_until(lambda: Delivery.objects.filter(status="succeeded").exists())
        assert Delivery.objects.values_list("attempts", "retry_step").get() == (7, 2)
        assert list(Attempt.objects.values_list("number", flat=True)) == [1, 2, 3, 4, 5, 6, 7]

    def test_sends_the_same_bytes_under_the_same_id(self, receiver: Receiver, deliver: Deliver) -> None:
        happen(endpoint_at(receiver))
        deliver()
        resend(Delivery.objects.get())
        deliver()
        first, second = receiver.requests
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]


class TestACallbackURL:
    def call_back(self, receiver: Receiver, path: str = "/back", **values: Any) -> None:
        emit("test.happened", {"n": 1}, tenant="anna", callback_url=receiver.url(path), **values)

    def test_gets_its_event_and_the_tenants_endpoints_do_not(self, receiver: Receiver, deliver: Deliver) -> None:
        usual = endpoint_at(receiver, "/usual", tenant__uid="anna")
        self.call_back(receiver)
        happen(usual)
        deliver()
        assert sorted(request.path for request in receiver.requests) == ["/back", "/usual"]

    def test_is_one_hidden_endpoint_per_tenant_and_url_with_a_queue_of_its_own(
        self, receiver: Receiver, deliver: Deliver
    ) -> None:
        for path in ("/back", "/back", "/other"):
            self.call_back(receiver, path)
        emit("test.happened", {}, tenant="bert", callback_url=receiver.url("/back"))
        deliver()
        assert Counter(request.path for request in receiver.requests) == {"/back": 3, "/other": 1}
        hidden = Endpoint.objects.filter(kind="callback")
        assert hidden.count() == EndpointQueue.objects.count() == 3
        assert not Endpoint.objects.visible().exists(), "in no list and in no limit"
        assert Delivery.objects.filter(endpoint__url=receiver.url("/back"), endpoint__tenant__uid="anna").count() == 2

    def test_is_signed_with_the_account_secret(self, receiver: Receiver, deliver: Deliver) -> None:
        for path in ("/back", "/other"):
            self.call_back(receiver, path)
        deliver()
        secret = Secret.objects.get()
        assert secret.endpoint_id is None
        for request in receiver.requests:
            assert verified(request, secret.reveal())

    def test_is_never_switched_off(self, receiver: Receiver, deliver: Deliver) -> None:
        receiver.on("/back", [410, 200])
        self.call_back(receiver)
        deliver()
        self.call_back(receiver)
        deliver()
        assert Counter(Delivery.objects.values_list("status", flat=True)) == {"exhausted": 1, "succeeded": 1}

    def test_made_by_two_events_at_once_is_made_once(self, receiver: Receiver) -> None:
        for n in range(20):
            self.call_back(receiver, f"/{n % 3}")
        with running_engine(2):
            eventually(lambda: Delivery.objects.filter(status="succeeded").count() == 20)
        assert Endpoint.objects.count() == 3
        assert len(receiver.requests) == 20


def verified(request: Received, secret: str) -> bool:
    return bool(Webhook(secret).verify(request.body, dict(request.headers)))


class TestWhatIsWrittenBeside:
    def test_hourly_statistics_equal_the_attempts(self, receiver: Receiver) -> None:
        receiver.on("/hook", [200, 301, 404, 500, 200, 503, 200])
        receiver.on("/bad", [500])
        for path in ("/hook", "/bad"):
            happen(endpoint_at(receiver, path), 4)
        due_delivery(EndpointFactory(url="http://127.0.0.1:1/", wire_format="quick"))
        deliver_until(lambda: Delivery.objects.exists() and not Delivery.objects.filter(status="pending").exists())
        for endpoint in Endpoint.objects.all():
            attempts = Counter(Attempt.objects.filter(endpoint=endpoint).values_list("outcome", flat=True))
            rows = list(HourlyStat.objects.filter(endpoint=endpoint))
            for kind in ("succeeded", "redirect", "client_error", "server_error", "timeout"):
                assert sum(getattr(row, kind) for row in rows) == attempts[kind]
            assert sum(row.unreachable for row in rows) == attempts["refused"]
            exhausted = Delivery.objects.filter(endpoint=endpoint, status="exhausted").count()
            assert sum(row.exhausted for row in rows) == exhausted
            answered = sum(getattr(row, f"latency_{bucket}") for row in rows for bucket in range(10))
            assert answered == Attempt.objects.filter(endpoint=endpoint, status__isnull=False).count()

    def test_a_notice_for_deliveries_given_up_one_an_endpoint(self, receiver: Receiver, deliver: Deliver) -> None:
        receiver.on("/hook", 500)
        endpoint = endpoint_at(receiver, wire_format="once")
        happen(endpoint, 5)
        deliver()
        notifications = Notification.objects.filter(kind="exhausted")
        assert sum(notification.count for notification in notifications) == 5
        assert {(each.endpoint_id, each.tenant_id, each.reason) for each in notifications} == {
            (endpoint.pk, endpoint.tenant_id, "server_error")
        }

    def test_a_notice_for_a_disabled_endpoint_just_one(self, receiver: Receiver, deliver: Deliver) -> None:
        receiver.on("/hook", 410)
        happen(endpoint_at(receiver), 4)
        deliver()
        assert Notification.objects.filter(kind="disabled").values_list("reason", flat=True).get() == "gone"

    def test_a_notice_for_one_that_has_recovered_from_a_long_failure(
        self, receiver: Receiver, deliver: Deliver
    ) -> None:
        since = database_now("default") - 2 * HOUR
        happen(endpoint_at(receiver, queue__consecutive_failures=2, queue__failing_since=since))
        happen(endpoint_at(receiver, queue__consecutive_failures=2, queue__failing_since=since + 1.9 * HOUR))
        deliver()
        assert [notification.kind for notification in Notification.objects.all()] == ["recovered"]
        assert not EndpointQueue.objects.filter(consecutive_failures__gt=0).exists()


def test_whoever_records_a_2xx_turns_pending_into_succeeded(receiver: Receiver) -> None:
    """Another engine had recorded a failure of the same delivery meanwhile."""
    gate = Gate(200)
    receiver.on("/hook", gate)
    delivery = due_delivery(endpoint_at(receiver, wire_format="slow"))
    with running_engine():
        receiver.wait_for(1)
        Delivery.objects.update(attempts=1, retry_step=1, next_attempt_at=database_now("default") + HOUR)
        gate.open()
        eventually(lambda: Attempt.objects.exists())
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == ("succeeded", 2)


@pytest.mark.parametrize("status", [500, 410])
def test_a_failure_counts_only_from_where_its_request_began(receiver: Receiver, status: int) -> None:
    gate = Gate(status)
    receiver.on("/hook", gate)
    delivery = due_delivery(endpoint_at(receiver, wire_format="slow"))
    with running_engine():
        receiver.wait_for(1)
        later = database_now("default") + HOUR
        Delivery.objects.update(attempts=1, retry_step=1, next_attempt_at=later)
        gate.open()
        eventually(lambda: Attempt.objects.exists())
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts, delivery.retry_step, delivery.next_attempt_at) == (
        "pending",
        1,
        1,
        later,
    )
    assert Attempt.objects.get().status == status, "its row is kept in any case"


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_answers_for_one_delivery_in_one_batch_the_2xx_stands(order: int) -> None:
    row = DeliveryFactory()
    moment = database_now("default")
    failure = Settlement(row.pk, 0, "pending", 1, 1, moment + HOUR, None, "server_error", 500)
    success = Settlement(row.pk, 0, "succeeded", 1, 0, moment, moment, "succeeded", 200)
    with write("default"):
        assert store_for("default").settle([failure, success][::order]) == {row.pk}
    row.refresh_from_db()
    assert row.status == "succeeded"
