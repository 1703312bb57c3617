"""Quarantined events are released once the mistake is corrected: by code, by a command, in the admin."""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.customer import Customer, deliver
from tests.factories import EventFactory, TenantFactory
from tests.refused_rows import all_refused
from tests.staff import action_page, actor, messages_of, on_list, page, text_of, viewer
from webhooks_app.engine.fan_out import FanOut
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.events.quarantine import release_all_quarantined, release_quarantined
from webhooks_app.exceptions import ConflictingState
from webhooks_app.locking import chunks
from webhooks_app.models import AuditEntry, Event, database_now

pytestmark = pytest.mark.django_db

REASON = "fan-out failed: IntegrityError: no rows"


def bad_event(**values: Any) -> Event:
    return EventFactory(**{"quarantine_reason": REASON, **values})


def pending() -> set[uuid.UUID]:
    return set(Event.objects.pending().filter(quarantine_reason="").values_list("pk", flat=True))


def run(*args: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("webhooks_release_quarantined", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


class TestOne:
    def test_is_pending_again_and_the_audit_log_says_who_did_it(self) -> None:
        event, other = bad_event(), bad_event()
        assert release_quarantined(event, actor="staff:anna")
        assert pending() == {event.pk}
        assert Event.objects.quarantined().get() == other
        entry = AuditEntry.objects.get()
        assert (entry.tenant_id, entry.actor, entry.verb, entry.target, entry.detail) == (
            event.tenant_id, "staff:anna", "event.released", event.public_id, {},
        )  # fmt: skip

    def test_is_released_once(self) -> None:
        event = bad_event()
        assert [release_quarantined(event.pk), release_quarantined(event.pk)] == [True, False]
        assert AuditEntry.objects.count() == 1

    def test_that_was_fanned_out_stays_as_it_is(self) -> None:
        event = EventFactory()
        assert not release_quarantined(event)
        assert not pending()

    def test_that_emit_did_not_accept_cannot_be_released(self) -> None:
        """Its channels and its callback URL were not stored: it would go to the wrong endpoints."""
        event = bad_event(quarantine_reason="There is no event type 'x'.")
        with pytest.raises(ConflictingState):
            release_quarantined(event)
        assert not pending()
        assert not AuditEntry.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_is_delivered(self) -> None:
        with Customer() as customer:
            customer.endpoint()
            event = customer.emit()
            with all_refused("webhooks_app_delivery"):
                quarantine(event)
            deliver()
            assert not customer.received
            assert release_quarantined(event)
            deliver()
            assert [request.headers["webhook-id"] for request in customer.received] == [event.public_id]


def quarantine(event: Event) -> None:
    fan = FanOut("default", EngineOptions(quarantine_after=0.0), FaultLog())
    fan.begin(database_now("default"))
    event.refresh_from_db()
    assert event.is_releasable


class TestSeveral:
    def test_of_a_tenant_since_a_time_or_all(self) -> None:
        now, tenant = database_now("default"), TenantFactory()
        old = bad_event(tenant=tenant, fanned_out_at=now - timedelta(days=2))
        new = bad_event(tenant=tenant, fanned_out_at=now)
        others = bad_event(fanned_out_at=now)
        refused = bad_event(tenant=tenant, quarantine_reason="too large")
        assert release_all_quarantined(tenant=tenant, since=now - timedelta(days=1)) == 1
        assert pending() == {new.pk}
        assert release_all_quarantined(tenant=tenant.uid, actor="command") == 1
        assert pending() == {new.pk, old.pk}
        assert release_all_quarantined() == 1
        assert pending() == {new.pk, old.pk, others.pk}
        assert release_all_quarantined() == 0
        assert Event.objects.quarantined().get() == refused
        entries = AuditEntry.objects.order_by("pk").values_list("tenant_id", "actor", "verb", "detail")
        assert list(entries)[1] == (tenant.pk, "command", "events.released", {"count": 1})
        assert len(entries) == 3

    def test_go_in_chunks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("webhooks_app.locking.chunks", partial(chunks, size=2))
        events = {bad_event().pk for _ in range(5)}
        assert release_all_quarantined() == 5
        assert pending() == events


class TestTheCommand:
    def test_releases_the_events_that_are_named_and_says_how_many(self) -> None:
        first, second, third = bad_event(), bad_event(), bad_event()
        assert run(first.public_id, str(second.pk)) == ("Released: 2.\n", "")
        assert run(first.public_id) == ("Released: 0.\n", "")
        assert Event.objects.quarantined().get() == third

    def test_releases_those_of_a_tenant_since_a_time_and_all(self) -> None:
        event, other = bad_event(), bad_event()
        assert run("--tenant", event.tenant_uid, "--since", "2099-01-01")[0] == "Released: 0.\n"
        assert run("--tenant", event.tenant_uid, "--since", "2020-01-01")[0] == "Released: 1.\n"
        assert run("--all")[0] == "Released: 1.\n"
        assert pending() == {event.pk, other.pk}
        assert set(AuditEntry.objects.values_list("actor", flat=True)) == {"command"}

    def test_says_what_it_cannot_release(self) -> None:
        event = bad_event(quarantine_reason="too large")
        good = bad_event()
        released, left = run("--all")
        assert released == "Released: 1.\n"
        assert "1. Emit these again." in left
        with pytest.raises(CommandError, match="Emit these again"):
            run(event.public_id, good.public_id)

    @pytest.mark.parametrize("args", [[], ["--all", "--tenant", "x"], ["evt_unknown"], [f"evt_{uuid.uuid4().hex}"]])
    def test_refuses_what_it_does_not_understand(self, args: list[str]) -> None:
        bad_event()
        with pytest.raises(CommandError):
            run(*args)
        assert not pending()


class TestTheAdmin:
    def test_has_a_button_on_the_page_of_an_event_that_can_be_released(self) -> None:
        event, refused, sound = bad_event(), bad_event(quarantine_reason="too large"), EventFactory()
        client = viewer("replay_event")
        assert action_page(event, "release") in text_of(client, page(event))
        assert "then release the event" in text_of(client, page(event))
        for row in (refused, sound):
            assert action_page(row, "release") not in text_of(client, page(row))
        assert action_page(event, "release") not in text_of(viewer(), page(event))
        assert viewer().post(action_page(event, "release")).status_code == 403
        response = client.post(action_page(event, "release"), follow=True)
        assert messages_of(response) == ["The event is pending again, and is delivered soon."]
        assert pending() == {event.pk}
        assert AuditEntry.objects.get().actor == actor(client)
        assert messages_of(client.post(action_page(event, "release"), follow=True)) == ["The event is not quarantined."]

    def test_releases_those_that_are_chosen_from_the_list(self) -> None:
        events, refused = [bad_event(), bad_event()], bad_event(quarantine_reason="too large")
        client = viewer("replay_event")
        asked = on_list(client, "event", "release", events)
        assert "confirmed" in asked.content.decode()
        response = on_list(client, "event", "release", [*events, refused], confirmed="yes")
        said = messages_of(response)
        assert said[0] == "Release event: 2 of 3 done."
        assert "Emit it again" in said[1]
        assert pending() == {event.pk for event in events}
