"""Prune neither waits for others nor is stopped by what it cannot delete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.db.models.signals import pre_delete
from django.utils import timezone

from tests.factories import DeliveryFactory, EndpointFactory, EventFactory, SecretFactory
from tests.locks import locked
from tests.pipelines import InThread
from webhooks_app.core import playground
from webhooks_app.maintenance.prune import prune
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, Event, Notification, Secret

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now()
LATER = NOW + timedelta(days=31)


def with_backlog(status: str = "paused", **values: Any) -> Endpoint:
    endpoint = EndpointFactory(status=status, status_changed_at=NOW - timedelta(seconds=5), **values)
    DeliveryFactory(endpoint=endpoint)
    return endpoint


def pruned() -> Any:
    """Prune on a connection of its own. `result` fails where it waits for good."""
    return InThread(lambda: prune(now=LATER)).result()


@pytest.mark.postgres
class TestALockedRow:
    @pytest.mark.parametrize("status", ["paused", "disabled"])
    def test_of_a_queue_holds_up_that_backlog_only(self, status: str) -> None:
        first, busy, last = (with_backlog(status) for _ in range(3))
        with locked(EndpointQueue.objects.get(pk=busy.pk)):
            report = pruned()
        assert (report.dropped, report.events, report.failed) == (2, 2, [])
        assert [row.endpoint_id for row in Delivery.objects.all()] == [busy.pk]
        assert set(Notification.objects.values_list("endpoint_id", flat=True)) == {first.pk, last.pk}
        assert pruned().events == 1

    def test_of_a_deleted_endpoints_queue_holds_up_that_endpoint_only(self) -> None:
        gone = {"status": "deleted", "deleted_at": NOW}
        busy, other = EndpointFactory(**gone), EndpointFactory(**gone)
        DeliveryFactory(endpoint=busy)
        DeliveryFactory(endpoint=other)
        DeliveryFactory(succeeded=True)
        with locked(EndpointQueue.objects.get(pk=busy.pk)):
            report = pruned()
        assert (report.cancelled, report.failed) == (1, [])
        assert Delivery.objects.pending().get().endpoint_id == busy.pk
        assert pruned().cancelled == 1

    def test_of_an_endpoint_that_is_removed_holds_up_that_one_only(self) -> None:
        busy, _ = (EndpointFactory(status="deleted", deleted_at=NOW) for _ in range(2))
        with locked(EndpointQueue.objects.get(pk=busy.pk)):
            assert pruned().endpoints == 1
        assert Endpoint.objects.get() == busy
        with locked(busy.secrets.get()):
            report = pruned()
        assert (report.endpoints, report.failed) == (0, [])
        assert pruned().endpoints == 1

    def test_of_an_event_or_delivery_holds_up_that_one_only(self) -> None:
        busy, held, other = (DeliveryFactory(succeeded=True) for _ in range(3))
        with locked(busy), locked(held.event):
            report = pruned()
        assert (report.deliveries, report.events, report.failed) == (2, 1, [])
        assert set(Event.objects.all()) == {busy.event, held.event}
        assert pruned().events == 2
        assert not Event.objects.filter(pk=other.event_id).exists()

    def test_of_a_pending_delivery_holds_up_that_one_only(self) -> None:
        endpoint = with_backlog()
        busy = DeliveryFactory(endpoint=endpoint)
        with locked(busy):
            assert pruned().dropped == 1
        assert pruned().dropped == 1

    def test_of_a_playground_fails_that_part_only(self) -> None:
        idle = EndpointFactory(url=f"{playground.SCHEME}:200", status_changed_at=NOW)
        assert idle.is_playground
        DeliveryFactory(succeeded=True)
        with locked(EndpointQueue.objects.get(pk=idle.pk)):
            report = pruned()
        assert (report.events, report.disabled_playgrounds, report.failed) == (1, 0, ["playgrounds"])
        assert pruned().disabled_playgrounds == 1


class TestAFailure:
    def test_of_one_part_leaves_the_others(self, caplog: pytest.LogCaptureFixture) -> None:
        """A host's signal handler that raises."""
        DeliveryFactory(succeeded=True)
        endpoint = EndpointFactory()
        SecretFactory(tenant=endpoint.tenant, endpoint=endpoint, expires_at=NOW)
        old = EndpointFactory(status="deleted", deleted_at=NOW - timedelta(days=1), secret_text="whsec_" + "a" * 32)
        Secret.objects.filter(endpoint=old).delete()

        def refuse(**_: object) -> None:
            raise RuntimeError("the host's handler failed")

        pre_delete.connect(refuse, sender=Secret)
        try:
            report = prune(now=LATER)
        finally:
            pre_delete.disconnect(refuse, sender=Secret)
        assert (report.events, report.endpoints, report.secrets, report.failed) == (1, 1, 0, ["secrets"])
        assert "prune could not finish the part 'secrets'" in caplog.text
        assert prune(now=LATER).secrets == 1

    @pytest.mark.parametrize("model", [Event, Endpoint])
    def test_of_one_row_leaves_the_others(self, model: type[Model], hosts_table: Callable[[Model], None]) -> None:
        """A row that a table of the host refers to."""
        if model is Event:
            rows = EventFactory.create_batch(5)
        else:
            rows = EndpointFactory.create_batch(5, status="deleted", deleted_at=NOW)
        hosts_table(rows[2])
        report = prune(now=LATER)
        assert (report.events + report.endpoints, report.failed) == (4, [])
        assert model._default_manager.get() == rows[2]


@pytest.fixture
def hosts_table() -> Iterator[Callable[[Model], None]]:
    """Refer to a row from a table that this app knows nothing of."""

    def refer(row: Model) -> None:
        meta = row._meta
        assert meta.pk is not None
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TABLE host_reference (row_id {meta.pk.db_type(connection)} NOT NULL "
                f"REFERENCES {meta.db_table} (id))"
            )
            value = meta.pk.get_db_prep_value(row.pk, connection)
            cursor.execute("INSERT INTO host_reference VALUES (%s)", [value])

    yield refer
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE host_reference")
