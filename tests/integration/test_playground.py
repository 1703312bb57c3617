"""What arrives at the playground: real engines deliver to it, with both transports, and nothing of it is on the network."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests import playgrounds
from tests.conftest import Configure
from tests.factories import SecretFactory
from tests.playgrounds import Deliver, deliver_until_nothing_waits, opened
from webhooks_app import emit
from webhooks_app.core.playground import ECHO_BYTES
from webhooks_app.deliveries.test_event import send_test_event
from webhooks_app.endpoints.secrets import end_old_secret, rotate_secret
from webhooks_app.endpoints.service import change_endpoint
from webhooks_app.endpoints.status import pause_endpoint, resume_endpoint
from webhooks_app.models import Delivery, DeliveryStatus, Endpoint, Secret
from webhooks_app.playground.requests import LAST, Arrival, Verdict, arrivals
from webhooks_app.playground.service import answer_with, send_to_playground

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline", "nowhere")]

nowhere = playgrounds.nowhere


@pytest.fixture(params=["curl", "requests"])
def each_transport(request: pytest.FixtureRequest, configure: Configure) -> None:
    if request.param == "curl":
        pytest.importorskip("pycurl")
    configure(TRANSPORT=request.param)


def only(endpoint: Endpoint) -> Arrival:
    [arrival] = arrivals(endpoint)
    return arrival


class TestDelivering:
    @pytest.mark.usefixtures("each_transport")
    def test_a_real_event_arrives_signed_and_byte_for_byte(self, deliver: Deliver) -> None:
        tenant, endpoint, _ = opened()
        event = emit("test.happened", {"text": "Grüße ☃", "n": 1}, tenant=tenant)
        deliver()
        arrival = only(endpoint)
        headers = dict(arrival.request.headers)
        assert (headers["webhook-id"], headers["Content-Type"]) == (event.public_id, "application/json")
        assert arrival.request.body.endswith('"data":{"text":"Grüße ☃","n":1}}'.encode())
        assert (arrival.check.verdict, arrival.age) == (Verdict.CURRENT, 0)
        assert (arrival.is_test, arrival.is_retry, arrival.attempt.status) == (False, False, 200)
        assert arrival.attempt.address == ""
        assert Delivery.objects.get().status == DeliveryStatus.SUCCEEDED

    @pytest.mark.usefixtures("each_transport")
    @pytest.mark.parametrize(
        ("answer", "outcomes", "status"),
        [
            ("204", ["succeeded"], DeliveryStatus.SUCCEEDED),
            ("400", ["client_error"] * 4, DeliveryStatus.EXHAUSTED),
            ("410", ["client_error"], DeliveryStatus.EXHAUSTED),
            ("500", ["server_error"] * 4, DeliveryStatus.EXHAUSTED),
        ],
    )
    def test_every_answer_means_what_it_means_from_a_server(
        self, deliver: Deliver, answer: str, outcomes: list[str], status: str
    ) -> None:
        tenant, endpoint, _ = opened()
        answer_with(tenant, answer)
        send_to_playground(tenant, type="test.happened")
        deliver_until_nothing_waits(deliver)
        found = arrivals(endpoint)
        assert [arrival.attempt.outcome for arrival in found] == outcomes
        assert [arrival.attempt.number for arrival in found] == list(range(len(outcomes), 0, -1))
        assert {arrival.check.verdict for arrival in found} == {Verdict.CURRENT}
        assert Delivery.objects.get().status == status

    def test_an_answer_that_asks_to_wait_is_obeyed(self, deliver: Deliver) -> None:
        tenant, endpoint, _ = opened()
        answer_with(tenant, "429")
        send_to_playground(tenant, type="test.happened")
        deliver()
        assert only(endpoint).attempt.status == 429
        assert Delivery.objects.get().next_attempt_at > timezone.now() + timedelta(seconds=5)

    def test_who_is_not_answered_has_arrived_all_the_same(self, deliver: Deliver) -> None:
        tenant, endpoint, _ = opened(wire_format="once")
        answer_with(tenant, "timeout")
        send_to_playground(tenant, type="test.happened", data={"n": 1})
        deliver()
        arrival = only(endpoint)
        assert (arrival.attempt.outcome, arrival.attempt.status) == ("timeout", None)
        assert (arrival.check.verdict, arrival.is_test) == (Verdict.CURRENT, True)

    @pytest.mark.usefixtures("each_transport")
    def test_a_single_request_at_once_works_too(self) -> None:
        _, endpoint, _ = opened()
        assert send_test_event(endpoint, type="test.happened").status == 200
        assert only(endpoint).is_test

    def test_order_is_kept_where_it_is_asked_for(self, deliver: Deliver) -> None:
        tenant, endpoint, _ = opened()
        change_endpoint(endpoint, fifo=True)
        ids = [emit("test.happened", {"n": n}, tenant=tenant).public_id for n in range(5)]
        send_to_playground(tenant, type="test.other")
        deliver()
        arrived = [dict(arrival.request.headers)["webhook-id"] for arrival in reversed(arrivals(endpoint))]
        assert [one for one in arrived if one in ids] == ids
        assert len(arrived) == 6

    def test_what_is_sent_while_it_is_paused_waits(self, deliver: Deliver) -> None:
        tenant, endpoint, _ = opened()
        pause_endpoint(endpoint)
        send_to_playground(tenant, type="test.happened")
        answer_with(tenant, "204")
        deliver()
        assert arrivals(endpoint) == []
        resume_endpoint(endpoint)
        deliver()
        assert only(endpoint).attempt.status == 204

    @pytest.mark.parametrize("wire_format", ["msgflash", "msgine", "messages_dev", "muchaw", "gateway"])
    def test_other_wire_formats_are_checked_as_they_are(self, deliver: Deliver, wire_format: str) -> None:
        _, endpoint, _ = opened(wire_format=wire_format)
        send_to_playground(endpoint.tenant, type="test.happened", data={"n": 1})
        deliver()
        assert only(endpoint).check.verdict == Verdict.CURRENT


class TestTheCheck:
    def test_tells_the_secrets_of_a_rotation_apart(self, deliver: Deliver) -> None:
        tenant, endpoint, _ = opened()
        send_to_playground(tenant, type="test.happened")
        deliver()
        ends_at = rotate_secret(endpoint).previous_expires_at
        check = only(endpoint).check
        assert (check.verdict, check.ends_at) == (Verdict.REPLACED, ends_at)
        end_old_secret(endpoint)
        assert only(endpoint).check.verdict == Verdict.ENDED
        send_to_playground(tenant, type="test.happened")
        deliver()
        assert [arrival.check.verdict for arrival in arrivals(endpoint)] == [Verdict.CURRENT, Verdict.ENDED]

    def test_says_so_where_nothing_fits(self, deliver: Deliver) -> None:
        tenant, endpoint, _ = opened()
        send_to_playground(tenant, type="test.happened")
        deliver()
        Secret.objects.all().delete()
        SecretFactory(tenant=tenant, endpoint=endpoint)
        check = only(endpoint).check
        assert (check.verdict, check.reason) == (Verdict.UNFIT, "No signature in webhook-signature fits.")

    def test_is_left_out_where_the_body_was_cut(self, deliver: Deliver, configure: Configure) -> None:
        configure(MAX_PAYLOAD_BYTES=2 * ECHO_BYTES)
        tenant, endpoint, _ = opened()
        send_to_playground(tenant, type="test.happened", data="x" * ECHO_BYTES)
        deliver()
        arrival = only(endpoint)
        assert arrival.check.verdict == Verdict.INCOMPLETE
        assert len(arrival.request.body) == ECHO_BYTES

    def test_looks_at_the_newest(self, deliver: Deliver, django_assert_num_queries: Any) -> None:
        tenant, endpoint, _ = opened()
        for n in range(LAST + 3):
            emit("test.happened", {"n": n}, tenant=tenant)
        deliver()
        with django_assert_num_queries(4):
            found = arrivals(endpoint)
        assert len(found) == LAST
        assert arrivals(endpoint, after=found[0].attempt.pk) == []
        assert arrivals(endpoint, after=found[2].attempt.pk) == found[:2]
