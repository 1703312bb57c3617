"""What users do with the playground, its effect, and that no other URL leads there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests import playgrounds
from tests.api import Program
from tests.factories import EndpointFactory, TenantFactory
from tests.playgrounds import Deliver, deliver_until_nothing_waits, opened
from webhooks_app import emit, signals
from webhooks_app.core.playground import PLAYGROUND_RESPONSES, url_of
from webhooks_app.endpoints.service import change_endpoint, create_endpoint
from webhooks_app.endpoints.status import disable_endpoint, enable_endpoint
from webhooks_app.exceptions import (
    ConflictingState,
    InvalidEndpoint,
    InvalidEvent,
    NotAvailableOnPlan,
    TooManyEndpoints,
    URLNotAllowed,
)
from webhooks_app.maintenance.prune import prune
from webhooks_app.models import AuditEntry, Delivery, DeliveryStatus, Endpoint, EndpointStatus, Notification, Secret
from webhooks_app.playground.requests import arrivals
from webhooks_app.playground.service import (
    IDLE_AFTER,
    answer_with,
    close_playground,
    open_playground,
    playground_of,
    send_to_playground,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline", "nowhere")]

nowhere = playgrounds.nowhere


class TestOpeningAndClosing:
    def test_there_is_one_and_it_is_shown_its_secret_once(self) -> None:
        tenant = TenantFactory()
        first, secret = open_playground(tenant, events=["test.*"], actor="user:anna")
        again, nothing = open_playground(tenant)
        assert (again, nothing) == (first, None)
        assert Secret.objects.get().reveal() == secret
        assert first.patterns == ["test.*"]
        assert (first.url, first.is_playground) == ("playground:200", True)
        [entry] = AuditEntry.objects.all()
        assert (entry.actor, entry.verb, entry.target) == ("user:anna", "playground.opened", first.public_id)

    def test_it_needs_webhooks_in_the_plan_but_no_place_in_it(self) -> None:
        tenant = TenantFactory(max_endpoints=1)
        open_playground(tenant)
        with pytest.raises(URLNotAllowed):  # not TooManyEndpoints: there is room, though by these rules for no URL
            create_endpoint(tenant, url="https://example.com/", events=["*"])
        EndpointFactory(tenant=tenant)
        assert Endpoint.objects.counted().count() == 1
        with pytest.raises(NotAvailableOnPlan):
            open_playground(TenantFactory(webhooks_enabled=False))

    def test_a_full_plan_has_room_for_it(self, configure: Any) -> None:
        tenant = TenantFactory(max_endpoints=1)
        EndpointFactory(tenant=tenant)
        open_playground(tenant)
        configure(ALLOWED_PORTS=[443], DENIED_NETWORKS=[])
        with pytest.raises(TooManyEndpoints):
            create_endpoint(tenant, url="https://example.com/", events=["*"])

    def test_it_is_closed_and_opened_again_as_another(self, deliver: Deliver) -> None:
        tenant, endpoint, _ = opened()
        close_playground(tenant, actor="user:anna")
        assert playground_of(tenant) is None
        emit("test.happened", {}, tenant=tenant)
        deliver()
        assert Delivery.objects.count() == 0
        for act in (close_playground, lambda one: answer_with(one, "200")):
            with pytest.raises(ConflictingState, match="Open it first"):
                act(tenant)
        assert open_playground(tenant)[0] != endpoint

    def test_another_tenants_is_not_there(self) -> None:
        opened()
        stranger = TenantFactory()
        assert playground_of(stranger) is None
        with pytest.raises(ConflictingState):
            send_to_playground(stranger, type="test.happened")

    def test_what_it_is_told_is_checked(self) -> None:
        tenant, _, _ = opened()
        for answer in ("201", "", "200 ", "../200"):
            with pytest.raises(InvalidEndpoint):
                answer_with(tenant, answer)
        with pytest.raises(InvalidEvent):
            send_to_playground(tenant, type="test.checked", data={"n": "no number"})
        with pytest.raises(InvalidEvent):
            send_to_playground(tenant, type="no.such")


class TestItsHealth:
    def test_nobody_is_told_how_it_fares(self, deliver: Deliver) -> None:
        told: list[str] = []

        def listen(sender: Any, signal: Any, **_: Any) -> None:
            told.append(str(signal))

        watched = (
            signals.delivery_succeeded,
            signals.delivery_exhausted,
            signals.endpoint_disabled,
            signals.endpoint_recovered,
        )
        for signal in watched:
            signal.connect(listen)
        try:
            tenant, endpoint, _ = opened()
            for answer in ("500", "410", "200"):
                answer_with(tenant, answer)
                send_to_playground(tenant, type="test.happened")
                deliver_until_nothing_waits(deliver)
            disable_endpoint(endpoint)
        finally:
            for signal in watched:
                signal.disconnect(listen)
        assert Delivery.objects.filter(status=DeliveryStatus.EXHAUSTED).count() == 2
        assert (told, Notification.objects.count()) == ([], 0)

    def test_gone_switches_it_off_and_another_answer_on_again(self, deliver: Deliver) -> None:
        tenant, endpoint, _ = opened()
        answer_with(tenant, "410")
        send_to_playground(tenant, type="test.happened")
        deliver()
        endpoint.refresh_from_db()
        assert (endpoint.status, endpoint.status_reason) == (EndpointStatus.DISABLED, "gone")
        with pytest.raises(ConflictingState, match="switched off"):
            send_to_playground(tenant, type="test.happened")
        assert answer_with(tenant, "200").status == EndpointStatus.ACTIVE
        send_to_playground(tenant, type="test.happened")
        deliver()
        assert [arrival.attempt.status for arrival in arrivals(endpoint)] == [200, 410]

    def test_another_answer_sends_what_waits_at_once(self, deliver: Deliver) -> None:
        """Behind an open breaker, and with an hour to go."""
        tenant, endpoint, _ = opened(wire_format="careful")
        answer_with(tenant, "500")
        for _ in range(6):
            send_to_playground(tenant, type="test.happened")
        deliver()
        answer_with(tenant, "200")
        deliver()
        assert Delivery.objects.filter(status=DeliveryStatus.SUCCEEDED).count() == 6
        assert arrivals(endpoint)[0].is_retry

    def test_one_that_is_forgotten_is_switched_off(self, deliver: Deliver) -> None:
        _, endpoint, _ = opened()
        other = EndpointFactory()
        week = timezone.now() + IDLE_AFTER
        assert prune(now=week - timedelta(minutes=1)).disabled_playgrounds == 0
        assert prune(now=week + timedelta(minutes=1)).disabled_playgrounds == 1
        endpoint.refresh_from_db()
        other.refresh_from_db()
        assert (endpoint.status, endpoint.status_reason) == (EndpointStatus.DISABLED, "idle")
        assert (other.status, Notification.objects.count()) == (EndpointStatus.ACTIVE, 0)
        enable_endpoint(endpoint)
        assert prune(now=timezone.now() + timedelta(days=1)).disabled_playgrounds == 0


@pytest.mark.parametrize("url", [*map(url_of, PLAYGROUND_RESPONSES), "PLAYGROUND:200", "playground://200/"])
class TestTheScheme:
    def test_is_for_no_customers_url(self, url: str) -> None:
        tenant = TenantFactory()
        endpoint = EndpointFactory(tenant=tenant)
        with pytest.raises(URLNotAllowed):
            create_endpoint(tenant, url=url, events=["*"])
        with pytest.raises(URLNotAllowed):
            change_endpoint(endpoint, url=url)
        with pytest.raises(URLNotAllowed):
            emit("test.happened", {}, tenant=tenant, callback_url=url)

    def test_is_refused_by_the_api(self, url: str) -> None:
        program = Program()
        there = EndpointFactory(tenant=program.tenant)
        body = {"url": url, "events": ["*"]}
        assert program.refused("post", "/webhooks", body)[1:] == ("URL_NOT_ALLOWED", "url")
        assert program.refused("patch", f"/webhooks/{there.public_id}", body)[1:] == ("URL_NOT_ALLOWED", "url")
        assert not Endpoint.objects.playgrounds().exists()


def test_a_playground_stays_one() -> None:
    _, endpoint, _ = opened()
    with pytest.raises(ConflictingState, match="no URL to change"):
        change_endpoint(endpoint, url="https://example.com/")
    with pytest.raises(ConflictingState, match="no URL to change"):
        change_endpoint(endpoint, url="playground:204")
    with pytest.raises(ConflictingState, match="headers"):
        change_endpoint(endpoint, headers={"X-Token": "secret"})
    row, secret = change_endpoint(endpoint, url="playground:200", events=["test.other"], headers={})
    assert (row.url, secret) == ("playground:200", None)


def test_programs_see_it_as_what_it_is() -> None:
    program = Program()
    endpoint, _ = open_playground(program.tenant)
    [shown] = program.get("/webhooks")["results"]
    assert (shown["id"], shown["url"], shown["description"]) == (endpoint.public_id, "playground:200", "Playground")
    assert program.refused("patch", f"/webhooks/{endpoint.public_id}", {"url": "https://example.com/"})[0] == 409
