"""Erase by the REST API, on the customers' page, in the admin and by the command; what the pages show afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from tests import api
from tests.api import Program
from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory, EventFactory
from tests.staff import action_page, actor, messages_of, page, text_of, viewer
from tests.visitors import seen, visiting
from webhooks_app import erase_event
from webhooks_app.models import Attempt, AuditEntry, Event, Scope, database_now
from webhooks_app.tenants.access import Role

pytestmark = pytest.mark.django_db

no_counts = api.no_counts


def sent(**values: Any) -> Attempt:
    values = {"response_body": b"their answer", "response_headers": "X-Their: header", **values}
    return AttemptFactory(delivery__exhausted=True, delivery__event__subject="order-7", **values)


class TestTheAPI:
    def test_erases_one_event(self) -> None:
        event = sent().delivery.event
        program = Program(event.tenant)
        shown = program.post(f"/events/{event.public_id}/erase", status=200)
        assert shown["erased_at"]
        assert (shown["data"], shown["subject"]) == (None, "")
        assert program.get(f"/events/{event.public_id}") == shown
        assert AuditEntry.objects.get(verb="event.erased").actor == f"key:{program.key.public_id}"
        assert program.refused("post", f"/events/{event.public_id}/replay")[:2] == (409, "CONFLICT")

    def test_refuses_to_retry_its_deliveries(self) -> None:
        delivery = sent().delivery
        erase_event(delivery.event)
        program = Program(delivery.tenant)
        assert program.refused("post", f"/deliveries/{delivery.public_id}/retry")[:2] == (409, "CONFLICT")
        assert program.post("/deliveries/retry", status=200)["retried"] == 0
        [attempt] = program.get(f"/deliveries/{delivery.public_id}/attempts")["results"]
        assert attempt["response_body"] == ""

    def test_erases_by_subject(self) -> None:
        tenant = EndpointFactory().tenant
        EventFactory.create_batch(3, tenant=tenant, subject="order-7")
        other = EventFactory(subject="order-7")
        assert Program(tenant).post("/events/erase", {"subject": "order-7"}, status=200) == {"events": 3, "more": False}
        assert list(Event.objects.not_erased()) == [other]

    @pytest.mark.parametrize("body", [{}, {"subject": ""}, {"subject": 7}])
    def test_needs_a_subject(self, body: Any) -> None:
        assert Program().refused("post", "/events/erase", body)[0] == 400

    def test_needs_the_scope_to_change_webhooks(self) -> None:
        event = EventFactory()
        program = Program(event.tenant, scopes=[Scope.WEBHOOKS_READ, Scope.EVENTS_WRITE])
        assert program.refused("post", f"/events/{event.public_id}/erase")[0] == 403
        assert program.refused("post", "/events/erase", {"subject": "s"})[0] == 403

    def test_erases_no_event_of_another_tenant(self) -> None:
        event = EventFactory()
        assert Program().refused("post", f"/events/{event.public_id}/erase")[0] == 404
        event.refresh_from_db()
        assert event.erased_at is None


@pytest.mark.usefixtures("visitors")
class TestTheCustomersPage:
    def test_asks_first_and_then_erases(self) -> None:
        event = sent().delivery.event
        client, address = visiting(event.tenant), f"/webhooks/events/{event.public_id}"
        assert f"{address}/erase" in seen(client.get(address))
        assert "This cannot be undone" in seen(client.get(f"{address}/erase"))
        event.refresh_from_db()
        assert event.erased_at is None
        assert client.post(f"{address}/erase").status_code == 302
        event.refresh_from_db()
        assert event.erased_at is not None
        assert AuditEntry.objects.get(verb="event.erased").actor == f"user:{event.tenant.uid}/manager"

    def test_is_for_managers(self) -> None:
        event = EventFactory()
        client, address = visiting(event.tenant, Role.VIEWER), f"/webhooks/events/{event.public_id}"
        assert "/erase" not in seen(client.get(address))
        assert client.post(f"{address}/erase").status_code == 403
        event.refresh_from_db()
        assert event.erased_at is None

    def test_the_pages_say_when_it_was_erased_and_offer_no_resend(self) -> None:
        attempt = sent()
        delivery, event = attempt.delivery, attempt.delivery.event
        client = visiting(event.tenant)
        pages = [
            f"/webhooks/events/{event.public_id}",
            f"/webhooks/deliveries/{delivery.public_id}",
            f"/webhooks/deliveries/{delivery.public_id}/attempts/{attempt.pk.hex}",
        ]
        assert all("Erased on" not in seen(client.get(one)) for one in pages)
        erase_event(event)
        for one in pages:
            text = seen(client.get(one))
            assert "Erased on" in text, one
            for gone in ("order-7", "m-1", "their answer", "X-Their", "/retry", "/replay"):
                assert gone not in text, (one, gone)

    def test_an_event_without_its_payload_alone_can_still_be_erased(self) -> None:
        event = EventFactory(subject="order-7", erased_at=database_now())
        client, address = visiting(event.tenant), f"/webhooks/events/{event.public_id}"
        assert "/erase" in seen(client.get(address))
        client.post(f"{address}/erase")
        text = seen(client.get(address))
        assert "/erase" not in text
        assert "order-7" not in text

    def test_a_resend_is_refused_in_words(self) -> None:
        delivery = sent().delivery
        client = visiting(delivery.tenant)
        form = {"form_id": "0" * 32}
        erase_event(delivery.event)
        for address in (f"deliveries/{delivery.public_id}/retry", f"events/{delivery.event.public_id}/replay"):
            assert "Erased on" in seen(client.get(f"/webhooks/{address}"))
            answer = client.post(f"/webhooks/{address}", form)
            assert answer.status_code == 409
            assert "was erased" in seen(answer)

    def test_it_is_found_by_its_id_alone(self) -> None:
        event = sent().delivery.event
        client = visiting(event.tenant)
        erase_event(event)
        assert client.get("/webhooks/search", {"q": "order-7"}).status_code == 200
        assert client.get("/webhooks/search", {"q": event.public_id}).status_code == 302

    def test_an_event_without_deliveries_does_not_say_that_no_endpoint_wanted_it(self) -> None:
        event = erase_event(EventFactory(fanned_out_at=None))
        text = seen(visiting(event.tenant).get(f"/webhooks/events/{event.public_id}"))
        assert "No endpoint wanted it" not in text


class TestTheAdmin:
    def test_erases_with_the_permission(self) -> None:
        event = sent().delivery.event
        assert viewer("replay_event").post(action_page(event, "erase")).status_code == 403
        client = viewer("erase_event")
        assert messages_of(client.post(action_page(event, "erase"), follow=True)) == ["The event was erased."]
        assert AuditEntry.objects.get(verb="event.erased").actor == actor(client)
        event.refresh_from_db()
        assert event.erased_at is not None

    def test_shows_when_and_offers_no_replay(self) -> None:
        event = sent().delivery.event
        client = viewer("erase_event", "replay_event", "view_payload")
        assert action_page(event, "replay") in text_of(client, page(event))
        erase_event(event)
        text = text_of(client, page(event))
        assert "Erased on" in text
        for gone in ("m-1", "order-7", action_page(event, "replay"), action_page(event, "erase")):
            assert gone not in text

    def test_a_delivery_of_an_erased_event_is_not_sent_again(self) -> None:
        delivery = sent().delivery
        erase_event(delivery.event)
        answer = viewer("replay_delivery").post(action_page(delivery, "replay"), follow=True)
        assert "was erased" in seen(answer)
        delivery.refresh_from_db()
        assert delivery.status == "exhausted"


class TestTheCommand:
    def test_erases_an_event(self, capsys: pytest.CaptureFixture[str]) -> None:
        event = EventFactory()
        call_command("webhooks_erase", "event", event.public_id, no_input=True)
        assert capsys.readouterr().out == f"{event.public_id} is erased.\n"
        event.refresh_from_db()
        assert event.erased_at is not None
        assert AuditEntry.objects.get().actor == "command"

    def test_erases_by_subject(self, capsys: pytest.CaptureFixture[str]) -> None:
        event = EventFactory(subject="s")
        call_command("webhooks_erase", "subject", "s", "--tenant", event.tenant.uid, "--no-input")
        assert capsys.readouterr().out == "Events erased: 1.\n"

    def test_erases_a_tenant(self, capsys: pytest.CaptureFixture[str]) -> None:
        delivery = DeliveryFactory()
        call_command("webhooks_erase", "tenant", delivery.tenant.uid, no_input=True)
        assert capsys.readouterr().out == "Events erased: 1, endpoints: 1, API keys deleted: 0.\n"

    @pytest.mark.parametrize(
        "arguments",
        [
            ("event", "evt_1"),
            ("event", f"evt_{'0' * 32}"),
            ("subject", "s", "--tenant", "nobody"),
            ("tenant", "nobody"),
        ],
    )
    def test_says_what_is_not_there(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match="There is no"):
            call_command("webhooks_erase", *arguments, "--no-input")

    def test_asks_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        event = EventFactory()
        monkeypatch.setattr("builtins.input", lambda _: "no")
        with pytest.raises(CommandError, match="Nothing was erased"):
            call_command("webhooks_erase", "event", event.public_id)
        monkeypatch.setattr("builtins.input", lambda _: "yes")
        call_command("webhooks_erase", "event", event.public_id)
        assert Event.objects.erased().count() == 1


def test_nobody_without_an_account_can_erase() -> None:
    event = EventFactory()
    assert Client().post(f"/webhooks/events/{event.public_id}/erase").status_code in (302, 403, 404)
    event.refresh_from_db()
    assert event.erased_at is None
