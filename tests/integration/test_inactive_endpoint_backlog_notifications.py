"""Pending deliveries of paused and disabled endpoints: who is notified when they are dropped or soon will be, and how."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from tests.backlogs import NOW, OFF, days, off_endpoint, waiting
from tests.conftest import Configure
from tests.factories import EndpointFactory, NotificationFactory
from tests.visitors import seen, visiting
from webhooks_app import registry
from webhooks_app.core import playground
from webhooks_app.deliveries import backlog
from webhooks_app.endpoints.status import pause_endpoint, resume_endpoint
from webhooks_app.maintenance.prune import prune
from webhooks_app.models import Delivery, Endpoint, Event, Notification, NotificationKind
from webhooks_app.notifications import operational_events
from webhooks_app.notifications.send import send_notifications

pytestmark = pytest.mark.django_db

PLAYGROUND = f"{playground.SCHEME}:200"


def notifications(kind: NotificationKind) -> list[Notification]:
    return list(Notification.objects.filter(kind=kind))


class TestNotifications:
    @OFF
    def test_come_before_the_age_is_reached(self, status: str) -> None:
        endpoint = off_endpoint(status)
        first, *_ = waiting(endpoint, 3)
        prune(now=days(23.9))
        assert not Notification.objects.exists()
        prune(now=days(24.1))
        [notification] = notifications(NotificationKind.BACKLOG_EXPIRING)
        assert (notification.endpoint_id, notification.tenant_id) == (endpoint.pk, endpoint.tenant_id)
        assert (notification.count, notification.reason, notification.delivery_id) == (3, "age", first.pk)
        assert notification.drop_at == first.event.created_at + timedelta(days=30)
        prune(now=days(25))
        assert len(notifications(NotificationKind.BACKLOG_EXPIRING)) == 1

    def test_come_before_the_number_is_reached(self, configure: Configure) -> None:
        configure(BACKLOG={"MAX_DELIVERIES": 10})
        endpoint = off_endpoint()
        waiting(endpoint, 7)
        prune(now=NOW)
        assert not Notification.objects.exists()
        waiting(endpoint, 1)
        prune(now=NOW)
        [notification] = notifications(NotificationKind.BACKLOG_EXPIRING)
        assert (notification.count, notification.reason, notification.drop_at) == (8, "count", None)

    def test_come_once_after_deliveries_were_dropped(
        self, configure: Configure, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backlog, "_CHUNK", 2)
        configure(BACKLOG={"MAX_DELIVERIES": 2})
        endpoint = off_endpoint()
        waiting(endpoint, 7)
        prune(now=NOW)
        [notification] = notifications(NotificationKind.BACKLOG_DROPPED)
        assert (notification.count, notification.reason, notification.claimed_until) == (5, "count", None)
        assert not notifications(NotificationKind.BACKLOG_EXPIRING), "one that follows at once would say nothing new"

        waiting(endpoint, 1)
        prune(now=NOW)
        notification.refresh_from_db()
        assert notification.count == 6, "nobody was notified yet: it is one notification"
        send_notifications(NOW)
        waiting(endpoint, 1)
        prune(now=NOW)
        notification.refresh_from_db()
        assert notification.count == 6
        assert Notification.objects.count() == 1

    def test_that_are_still_being_counted_hold_up_no_other_mail(
        self, configure: Configure, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`prune` was killed between two chunks: what it has claimed stays so for a while."""
        configure(BACKLOG={"MAX_DELIVERIES": 2})
        monkeypatch.setattr(backlog, "_CHUNK", 2)
        endpoint = off_endpoint()
        waiting(endpoint, 7)
        drop_chunk, chunks = backlog._drop_chunk, []

        def killed(*arguments: Any) -> int | None:
            chunks.append(arguments)
            if len(chunks) > 1:
                raise SystemExit
            return drop_chunk(*arguments)

        monkeypatch.setattr(backlog, "_drop_chunk", killed)
        with pytest.raises(SystemExit):
            prune(now=NOW)
        [counted] = notifications(NotificationKind.BACKLOG_DROPPED)
        assert counted.claimed_until is not None
        other = NotificationFactory()
        assert send_notifications() == 1
        assert Notification.objects.get(sent_at__isnull=False) == other
        assert send_notifications(counted.claimed_until + timedelta(seconds=1)) == 1

    def test_come_again_when_the_endpoint_is_paused_again(self) -> None:
        endpoint = EndpointFactory()
        waiting(endpoint, 1)
        for number in (1, 2):
            pause_endpoint(endpoint)
            prune(now=days(25))
            prune(now=days(26))
            assert len(notifications(NotificationKind.BACKLOG_EXPIRING)) == number
            resume_endpoint(endpoint)

    def test_are_remembered_as_long_as_the_endpoint_is_off(self) -> None:
        endpoint = off_endpoint()
        waiting(endpoint, 1)
        prune(now=days(25))
        Notification.objects.update(sent_at=NOW)
        assert prune(now=days(400)).notifications == 0
        Notification.objects.update(sent_at=NOW)
        assert prune(now=days(400)).notifications == 0
        Endpoint.objects.update(status="active", status_changed_at=timezone.now())
        assert prune(now=days(400)).notifications == 2

    @pytest.mark.parametrize("values", [{"kind": "callback"}, {"kind": "playground", "url": PLAYGROUND}])
    def test_are_not_sent_for_what_customers_do_not_rely_on(self, values: dict[str, Any]) -> None:
        endpoint = off_endpoint(**values)
        assert endpoint.is_callback or endpoint.is_playground
        waiting(endpoint, 1)
        prune(now=days(25))
        prune(now=days(31))
        assert not Delivery.objects.exists()
        assert not Notification.objects.exists()


class TestTexts:
    @pytest.fixture(autouse=True)
    def _settings(self, settings: Any) -> None:
        settings.ADMINS = [("Ops", "ops@us.example")]

    def test_the_e_mail_before_names_number_and_date(self) -> None:
        endpoint = off_endpoint(url="https://receiver.example.com/hook")
        first, _ = waiting(endpoint, 2)
        prune(now=days(25))
        assert send_notifications() == 2
        to_tenant, to_staff = mail.outbox
        assert to_tenant.to == [endpoint.tenant.email]
        assert to_tenant.subject == "Pending webhooks will be dropped"
        date = (first.event.created_at + timedelta(days=30)).strftime("%Y-%m-%d")
        for body in (to_tenant.body, to_tenant.alternatives[0][0], to_staff.body, to_staff.alternatives[0][0]):
            assert "https://receiver.example.com/hook" in body
            assert "2 deliveries are pending for this endpoint, which is paused or disabled." in body
            assert f"The oldest will be dropped on {date}" in body
            assert "works again" not in body
        assert "enable or resume the endpoint" in to_tenant.body

    def test_the_e_mail_before_the_number_is_reached_names_the_limit(self, configure: Configure) -> None:
        configure(BACKLOG={"MAX_DELIVERIES": 5})
        waiting(off_endpoint(), 4)
        prune(now=NOW)
        send_notifications()
        assert "At most 5 are kept; beyond that the oldest are dropped." in mail.outbox[0].body

    def test_the_e_mail_after_names_the_number(self, configure: Configure) -> None:
        configure(BACKLOG={"MAX_DELIVERIES": 1})
        waiting(off_endpoint(), 4)
        prune(now=NOW)
        send_notifications()
        assert mail.outbox[0].subject == "Pending webhooks were dropped"
        for body in (mail.outbox[0].body, mail.outbox[0].alternatives[0][0]):
            assert "3 pending deliveries were dropped" in body

    def test_operational_events_say_the_same(self, configure: Configure) -> None:
        registry.register(*operational_events.EVENT_TYPES)
        try:
            configure(NOTIFICATIONS={"OPERATIONS_TENANT": "us"})
            endpoint = off_endpoint()
            first, _ = waiting(endpoint, 2)
            prune(now=days(25))
            send_notifications()
            prune(now=days(31))
            send_notifications()
        finally:
            registry.unregister([type_.name for type_ in operational_events.EVENT_TYPES])
        before, after = Event.objects.filter(tenant_uid="us").order_by("pk")
        assert (before.type, after.type) == ("webhooks.backlog_expiring", "webhooks.backlog_dropped")
        data = json.loads(before.data)
        assert (data["endpoint"], data["count"], data["reason"]) == (endpoint.public_id, 2, "age")
        assert data["drop_at"].startswith((first.event.created_at + timedelta(days=30)).strftime("%Y-%m-%dT%H"))
        data = json.loads(after.data)
        assert (data["count"], data["reason"]) == (2, "age")
        assert "drop_at" not in data

    @pytest.mark.usefixtures("visitors")
    @OFF
    def test_a_deliverys_page_says_until_when_it_is_kept(self, status: str) -> None:
        [row] = waiting(off_endpoint(status), 1)
        page = seen(visiting(row.tenant).get(f"/webhooks/deliveries/{row.public_id}"))
        until = timezone.localtime(row.event.created_at) + timedelta(days=30)
        assert f"It is kept until {until:%b}" in page.replace(f"{until:%B}", f"{until:%b}")

    @pytest.mark.usefixtures("visitors")
    def test_a_dropped_deliverys_page_does_not_speak_of_attempts(self, configure: Configure) -> None:
        configure(BACKLOG={"MAX_DAYS": 7})
        [row] = waiting(off_endpoint(), 1)
        prune(now=days(8))
        page = seen(visiting(row.tenant).get(f"/webhooks/deliveries/{row.public_id}"))
        assert "It was pending for too long, and is not sent any more." in page
        assert "given up after" not in page
