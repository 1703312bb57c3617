"""Retention that is shorter than RETENTION_DAYS: per event type, per tenant, and of payloads after the delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.api import Program
from tests.customer import Customer, make_due
from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory, EventFactory, EventTypeFactory
from tests.kept import holding
from tests.locks import locked
from tests.pipelines import InThread, eventually
from tests.receiver_behaviours import Answer
from webhooks_app import EventType, Plan, change_tenant, emit, registry, resend
from webhooks_app.exceptions import ConfigurationError, ConflictingState, InvalidTenant
from webhooks_app.maintenance import retention
from webhooks_app.maintenance.prune import PruneReport, prune
from webhooks_app.models import (
    Attempt,
    Delivery,
    DeliveryStatus,
    Event,
    EventChannel,
    Tenant,
    database_now,
)
from webhooks_app.models.ids import first_id

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now()
Deliver = Callable[..., Any]


@pytest.fixture
def types() -> Iterator[None]:
    declared = (EventType("short.lived", retention_days=3), EventType("no.body", drop_body_when_delivered=True))
    registry.register(*declared)
    yield
    registry.unregister([type_.name for type_ in declared])


def in_days(days: float) -> PruneReport:
    return prune(now=database_now() + timedelta(days=days))


@pytest.mark.usefixtures("types", "event_types")
class TestOfATypeOfItsOwn:
    def test_events_are_deleted_with_everything_that_belongs_to_them(self) -> None:
        short = emit("short.lived", {}, tenant="acme", channels=["c"])
        emit("test.happened", {}, tenant="acme")
        Event.objects.update(fanned_out_at=NOW)
        EventChannel.objects.create(tenant_id=short.tenant_id, event=short, channel="c")
        AttemptFactory(delivery=DeliveryFactory(event=short, succeeded=True))
        assert in_days(2) == PruneReport()
        report = in_days(4)
        assert (report.events, report.deliveries, report.attempts, report.channels) == (1, 1, 1, 1)
        assert Event.objects.get().type == "test.happened"
        assert not Attempt.objects.exists()

    def test_a_type_that_staff_added_may_have_one_too(self) -> None:
        EventTypeFactory(name="added.type", retention_days=1)
        emit("added.type", {}, tenant="acme")
        Event.objects.update(fanned_out_at=NOW)
        assert in_days(2).events == 1

    def test_a_pending_delivery_keeps_its_event_until_it_has_ended(self) -> None:
        event = emit("short.lived", {}, tenant="acme")
        Event.objects.update(fanned_out_at=NOW)
        delivery = DeliveryFactory(event=event, endpoint=EndpointFactory(tenant=Tenant.objects.create(uid="acme")))
        assert in_days(4).events == 0
        Delivery.objects.filter(pk=delivery.pk).update(status=DeliveryStatus.SUCCEEDED, completed_at=NOW)
        assert in_days(4).events == 1

    def test_a_quarantined_event_is_not_kept_for_longer(self, configure: Any) -> None:
        configure(STRICT=False)
        emit("short.lived", {}, tenant="acme", channels="not a list")
        assert Event.objects.quarantined().count() == 1
        assert in_days(4).events == 1

    def test_it_is_never_longer_than_the_upper_limit(self, configure: Any) -> None:
        configure(RETENTION_DAYS=2.0)
        event = emit("short.lived", {}, tenant="acme")
        assert event.keep_until is None
        Event.objects.update(fanned_out_at=NOW)
        assert in_days(2.5).events == 1

    def test_in_batches_past_what_stays(self, configure: Any) -> None:
        configure(PRUNE_BATCH=2)
        for _ in range(5):
            emit("short.lived", {}, tenant="acme")
        Event.objects.update(fanned_out_at=NOW, keep_until=NOW)
        kept = Event.objects.order_by("pk")[1]
        DeliveryFactory(event=kept)
        assert in_days(4).events == 4
        assert Event.objects.get() == kept

    @pytest.mark.parametrize("days", [0, -1])
    def test_no_time_at_all_is_a_mistake(self, days: int) -> None:
        with pytest.raises(ConfigurationError, match="retention_days"):
            EventType("some.type", retention_days=days)
        with pytest.raises(ConfigurationError, match="retention_days"):
            Plan(retention_days=days)


def plan_of_two_days(tenant: Tenant) -> Plan:
    if tenant.uid == "broken":
        raise RuntimeError("the host's function failed")
    return Plan(retention_days=2 if tenant.uid == "short" else None)


class TestOfATenant:
    def test_its_events_are_deleted_earlier(self) -> None:
        delivery, other = (AttemptFactory(delivery__succeeded=True).delivery for _ in range(2))
        change_tenant(delivery.tenant, retention_days=3)
        assert in_days(2) == PruneReport()
        report = in_days(4)
        assert (report.events, report.deliveries, report.attempts) == (1, 1, 1)
        assert Event.objects.get() == other.event
        assert Attempt.objects.get().delivery == other

    def test_pending_deliveries_and_pending_events_stay(self) -> None:
        delivery = DeliveryFactory()
        EventFactory(tenant=delivery.tenant, fanned_out_at=None)
        change_tenant(delivery.tenant, retention_days=1)
        assert in_days(4).events == 0

    def test_the_plan_of_the_host_counts(self, configure: Any, caplog: pytest.LogCaptureFixture) -> None:
        configure(PLAN="tests.integration.test_retention.plan_of_two_days")
        for uid in ("broken", "long", "short"):
            EventFactory(tenant=Tenant.objects.create(uid=uid))
        report = in_days(3)
        assert (report.events, report.failed) == (1, [])
        assert set(Event.objects.values_list("tenant_uid", flat=True)) == {"broken", "long"}
        assert "the plan of tenant broken cannot be read" in caplog.text

    @pytest.mark.parametrize("days", [0, -1, True, "3", 1.5])
    def test_other_values_are_refused(self, days: Any) -> None:
        tenant = Tenant.objects.create(uid="acme")
        with pytest.raises(InvalidTenant) as refused:
            change_tenant(tenant, retention_days=days)
        assert refused.value.field == "retention_days"

    @pytest.mark.postgres
    def test_no_statement_reads_the_table_of_events_through(self) -> None:
        tenant = EndpointFactory().tenant
        change_tenant(tenant, retention_days=3)
        EventFactory.create_batch(5, tenant=tenant)
        with CaptureQueriesContext(connection) as queries:
            prune(now=database_now() + timedelta(days=4))
        found = [one["sql"] for one in queries if '"keep_until" <=' in one["sql"]]
        marked = [one["sql"] for one in queries if f'("{Event._meta.db_table}"."drop_body" AND' in one["sql"]]
        of_tenant = [one["sql"] for one in queries if f'"{Event._meta.db_table}"."tenant_id" =' in one["sql"]]
        assert all((found, marked, of_tenant))
        found += marked + of_tenant
        with connection.cursor() as cursor, transaction.atomic():
            cursor.execute("SET LOCAL enable_seqscan = off")
            for statement in found:
                cursor.execute(f"EXPLAIN {statement}")
                plan = "\n".join(row[0] for row in cursor.fetchall())
                assert f"Seq Scan on {Event._meta.db_table}" not in plan, plan


@pytest.mark.usefixtures("pipeline", "types")
class TestPayloadsAfterTheDelivery:
    CANARY = "CANARY4d2e"

    @pytest.fixture
    def customer(self) -> Iterator[Customer]:
        with Customer() as customer:
            customer.receiver.on("/hook", Answer(200, body=self.CANARY.encode()))
            customer.endpoint()
            yield customer

    def test_of_a_type(self, customer: Customer, deliver: Deliver) -> None:
        event = emit("no.body", {"who": self.CANARY}, tenant=customer.tenant, subject="order-7")
        other = customer.emit({"n": 1})
        assert (event.drop_body, other.drop_body) == (True, False)
        assert prune().erased == 0, "it is not even fanned out"
        deliver()
        assert prune().erased == 1
        event.refresh_from_db()
        assert (event.data, event.subject, event.erased_at is not None) == ("null", "order-7", True)
        assert Attempt.objects.get(delivery__event=event).url == customer.receiver.url("/hook")
        assert bytes(Attempt.objects.get(delivery__event=event).response_body) == b""
        other.refresh_from_db()
        assert (other.data, other.erased_at) == ('{"n":1}', None)
        with pytest.raises(ConflictingState, match="was erased"):
            resend(Delivery.objects.get(event=event))
        assert prune().erased == 0

    def test_of_a_tenant(self, customer: Customer, deliver: Deliver) -> None:
        change_tenant(customer.tenant, drop_body_when_delivered=True)
        customer.emit({"who": self.CANARY})
        foreign = EventFactory(payload={"n": 1})
        deliver()
        assert prune().erased == 1
        assert holding(self.CANARY) == set()
        customer.emit({"who": self.CANARY})
        deliver()
        assert prune().erased == 1, "and those that come later"
        foreign.refresh_from_db()
        assert foreign.erased_at is None

    def test_the_stored_reply_of_the_api_has_no_payload_and_still_counts(
        self, customer: Customer, deliver: Deliver
    ) -> None:
        program = Program(customer.tenant)
        one = {"type": "no.body", "data": {"who": self.CANARY}}
        given = (("/events", one), ("/events/batch", {"events": [one, one]}))
        made = [program.post(path, body, Idempotency_Key=path) for path, body in given]
        assert [program.post(path, body, Idempotency_Key=path) for path, body in given] == made
        deliver()
        assert prune().erased == 3
        assert holding(self.CANARY) == set()
        first, batch = [program.post(path, body, Idempotency_Key=path) for path, body in given]
        assert first == {**made[0], "data": None}
        assert batch == {"events": [{**event, "data": None} for event in made[1]["events"]]}
        assert Event.objects.count() == 3

    def test_not_while_a_delivery_is_pending(self, customer: Customer, deliver: Deliver) -> None:
        customer.endpoint("/other", rate_limit=1)
        emit("no.body", {"n": 1}, tenant=customer.tenant)
        deliver()
        Delivery.objects.filter(endpoint__rate_limit=1).update(status=DeliveryStatus.PENDING)
        assert prune().erased == 0
        make_due()
        deliver()
        assert prune().erased == 1

    def test_not_while_a_delivery_has_failed_which_may_be_resent(self, customer: Customer, deliver: Deliver) -> None:
        other = customer.endpoint("/other")
        event = emit("no.body", {"who": self.CANARY}, tenant=customer.tenant)
        deliver()
        failed = Delivery.objects.get(event=event, endpoint=other)
        Delivery.objects.filter(pk=failed.pk).update(status=DeliveryStatus.EXHAUSTED)
        assert prune().erased == 0
        event.refresh_from_db()
        assert self.CANARY in event.data
        resend(failed)
        deliver()
        assert prune().erased == 1
        assert holding(self.CANARY) == set()

    def test_not_of_a_quarantined_event(self) -> None:
        EventFactory(drop_body=True, quarantine_reason="fan-out failed: x")
        assert prune().erased == 0

    def test_an_event_whose_transaction_was_slow_is_found(self) -> None:
        """It is committed after others with later ids were marked."""
        tenant = EndpointFactory().tenant
        change_tenant(tenant, drop_body_when_delivered=True)
        EventFactory(tenant=tenant)
        assert prune().erased == 1
        EventFactory(tenant=tenant, id=first_id(database_now() - timedelta(hours=2)))
        assert prune().erased == 1

    def test_old_events_are_not_looked_at_again(self) -> None:
        tenant = EndpointFactory().tenant
        change_tenant(tenant, drop_body_when_delivered=True)
        old = EventFactory(tenant=tenant, id=first_id(database_now() - timedelta(hours=4)))
        prune()
        tenant.refresh_from_db()
        assert tenant.drop_position == old.pk
        assert prune().erased == 0

    @pytest.mark.postgres
    def test_a_resend_at_the_same_time_keeps_its_payload(self) -> None:
        """The resend has not committed yet when the payload is about to be erased."""
        delivery = DeliveryFactory(succeeded=True, event__drop_body=True)
        with transaction.atomic():
            resend(delivery)
            assert InThread(retention.drop_marked).result() == 0
        assert retention.drop_marked() == 0
        delivery.event.refresh_from_db()
        assert delivery.event.erased_at is None
        Delivery.objects.all().delete()

    @pytest.mark.postgres
    def test_a_locked_event_holds_up_no_other(self) -> None:
        busy, _ = (DeliveryFactory(succeeded=True, event__drop_body=True) for _ in range(2))
        with locked(busy.event):
            assert eventually(retention.drop_marked) == 1
        assert retention.drop_marked() == 1
