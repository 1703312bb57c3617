"""An endpoint's own page: its health in plain words, charts, deliveries, a test event, recovery."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.factories import DeliveryFactory, EndpointFactory, EventFactory, SecretFactory, TenantFactory
from tests.forms import fields_of, form_ids
from tests.receiver import Receiver
from tests.receiver_behaviours import Answer
from tests.visitors import visiting
from webhooks_app import EventType, registry
from webhooks_app.deliveries import recover
from webhooks_app.endpoints.status import disable_endpoint
from webhooks_app.models import Attempt, Delivery, Endpoint, HourlyStat, database_now
from webhooks_app.models.ids import first_id
from webhooks_app.playground.service import IDLE_REASON, open_playground

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("visitors", "event_types")]

NOW = timezone.now()
AGO = NOW - timedelta(days=2)


def place(endpoint: Endpoint, tail: str = "") -> str:
    return f"/webhooks/endpoints/{endpoint.public_id}{tail}"


def read(endpoint: Endpoint, tail: str = "") -> str:
    """The page's text as people read it."""
    page = visiting(endpoint.tenant).get(place(endpoint, tail)).content.decode()
    return " ".join(re.sub(r"<[^>]+>", "", page).split())


class TestHealth:
    def test_of_a_failing_endpoint_says_since_when_and_what_will_happen(self) -> None:
        endpoint = EndpointFactory(queue__consecutive_failures=7, queue__failing_since=AGO, queue__last_failure_at=NOW)
        DeliveryFactory.create_batch(2, endpoint=endpoint)
        text = read(endpoint)
        assert "Failing. It began 2 days ago" in text
        assert "7 failures in a row so far" in text
        assert "Without a success until then, it is disabled in 3 days" in text, "a moment less than that"
        assert "we try one request at a time" in text
        assert "2 deliveries wait." in text

    def test_of_a_failing_endpoint_says_what_is_wrong_and_what_to_do(self) -> None:
        endpoint = EndpointFactory(queue__consecutive_failures=3, queue__failing_since=NOW - timedelta(hours=1))
        DeliveryFactory(endpoint=endpoint, succeeded=True)
        failed = DeliveryFactory(endpoint=endpoint, attempts=2, last_outcome="client_error", last_status=404)
        DeliveryFactory.create_batch(2, endpoint=endpoint)
        page = visiting(endpoint.tenant).get(place(endpoint)).content.decode()
        assert "There is nothing at this URL (404 Not Found)." in page
        assert f"/deliveries/{failed.public_id}" in page[: page.index("Recent deliveries")]

    def test_finds_what_is_wrong_behind_many_that_were_not_tried_yet(self) -> None:
        began = NOW - timedelta(hours=1)
        endpoint = EndpointFactory(queue__consecutive_failures=3, queue__failing_since=began)
        DeliveryFactory(
            id=first_id(began + timedelta(seconds=1)), endpoint=endpoint, attempts=2, last_outcome="name_error"
        )
        DeliveryFactory.create_batch(101, endpoint=endpoint)
        assert "The URL's host name could not be found." in html.unescape(read(endpoint))

    def test_says_how_many_failures_are_left_where_the_wire_format_counts_them(self) -> None:
        endpoint = EndpointFactory(wire_format="muchaw", queue__consecutive_failures=7, queue__failing_since=NOW)
        text = read(endpoint)
        assert "3 more failures in a row disable it" in text
        assert "it is disabled" not in text

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"status": "paused", "status_changed_at": AGO}, "Paused 2 days ago"),
            ({"status": "paused"}, "1 delivery waits. Nothing is lost"),
            ({"status": "disabled", "status_reason": "days"}, "It failed for days without a single success."),
            ({"status": "disabled", "status_reason": "asked by Anna"}, "asked by Anna"),
            ({"queue__last_success_at": AGO}, "Healthy. Last success 2 days ago"),
            ({}, "No event yet. 1 delivery waits."),
            (
                {"wire_format": "gone.for.good", "queue__failing_since": AGO, "queue__consecutive_failures": 1},
                "Failing. It began 2 days ago",
            ),
        ],
    )
    def test_is_said_in_plain_words(self, values: dict[str, Any], says: str) -> None:
        endpoint = EndpointFactory(**values)
        DeliveryFactory(endpoint=endpoint)
        assert says in read(endpoint)


class TestThePage:
    def test_shows_settings_but_no_value_of_a_header_or_secret(self) -> None:
        endpoint = EndpointFactory(
            events=["order.*"], headers={"X-Token": "s3cret"}, channels=["number:1"], rate_limit=5, metadata={"team": "blue"},
            filters={"data.n": 1},
        )  # fmt: skip
        SecretFactory(tenant=endpoint.tenant, endpoint=endpoint, expires_at=NOW + timedelta(hours=3))
        page = visiting(endpoint.tenant).get(place(endpoint)).content.decode()
        for text in ("order.*", "X-Token", "number:1", "5 requests a second", "blue", "data.n", "current", ">old<"):
            assert text in page
        assert "s3cret" not in page
        assert "whsec_" not in page

    def test_escapes_what_others_wrote(self) -> None:
        endpoint = EndpointFactory(
            description="<b>&", metadata={"<i>": "</pre>"}, status="disabled", status_reason="<u>"
        )
        page = visiting(endpoint.tenant).get(place(endpoint)).content.decode()
        for text in ("<b>", "<i>", "<u>"):
            assert text not in page

    @pytest.mark.parametrize(("span", "shown"), [("24h", 11), ("7d", 33), ("30d", 66), ("nonsense", 11), ("", 11)])
    def test_charts_go_back_as_far_as_is_asked(self, span: str, shown: int) -> None:
        endpoint = EndpointFactory()
        hour = database_now("default").replace(minute=0, second=0, microsecond=0)
        for days, count in ((0, 11), (3, 22), (20, 33)):
            HourlyStat.objects.create(endpoint=endpoint, hour=hour - timedelta(days=days), server_error=count)
        page = visiting(endpoint.tenant).get(place(endpoint, f"?span={span}")).content.decode()
        assert f"{shown} requests in" in page
        assert "Show as a table" in page
        assert len(page) < 200_000

    def test_has_a_sentence_for_charts_until_something_was_sent(self) -> None:
        endpoint = EndpointFactory()
        assert "Charts of its requests stand here as soon as there are some" in read(endpoint)
        assert "<figure" not in visiting(endpoint.tenant).get(place(endpoint)).content.decode()
        long_ago = EndpointFactory(queue__last_success_at=AGO)
        assert "<figure" in visiting(long_ago.tenant).get(place(long_ago)).content.decode()

    def test_lists_the_latest_deliveries_and_leads_to_all(self) -> None:
        endpoint = EndpointFactory()
        rows = [DeliveryFactory(endpoint=endpoint, succeeded=True) for _ in range(11)]
        page = visiting(endpoint.tenant).get(place(endpoint)).content.decode()
        assert [row.public_id in page for row in rows] == [False] + [True] * 10
        assert f"/webhooks/deliveries?endpoint={endpoint.public_id}" in page

    def test_costs_the_same_however_much_there_is(self) -> None:
        def queries(number: int) -> int:
            endpoint = EndpointFactory()
            DeliveryFactory.create_batch(number, endpoint=endpoint)
            client = visiting(endpoint.tenant)
            with CaptureQueriesContext(connection) as captured:
                client.get(place(endpoint))
            return len(captured)

        assert queries(2) == queries(20) < 20


class TestATestEvent:
    def send(self, endpoint: Endpoint, inline: bool = False, **values: str) -> Any:
        client = visiting(endpoint.tenant)
        [form_id] = form_ids(client.get(place(endpoint, "/test")).content.decode())
        headers = {"HX-Request": "true"} if inline else {}
        given = {"form_id": form_id, "type": "test.happened", "data": '{"n": 1}', **values}
        return client.post(place(endpoint, "/test"), given, headers=headers)

    @pytest.mark.parametrize("inline", [False, True])
    def test_shows_at_once_what_the_server_answered(self, receiver: Receiver, inline: bool) -> None:
        receiver.on("/hook", [Answer(418, body=b"<b>short and stout")])
        endpoint = EndpointFactory(url=receiver.url("/hook"))
        answer = self.send(endpoint, inline)
        page = answer.content.decode()
        assert answer.status_code == 200
        assert b'"n":1' in receiver.wait_for(1)[0].body
        for text in ("HTTP 418", "Refused by the server", "&lt;b&gt;short and stout", Delivery.objects.get().public_id):
            assert text in page
        assert ("<html" in page) is not inline

    def test_is_sent_once_a_form(self, receiver: Receiver) -> None:
        endpoint = EndpointFactory(url=receiver.url("/hook"))
        client = visiting(endpoint.tenant)
        [form_id] = form_ids(client.get(place(endpoint, "/test")).content.decode())
        values = {"form_id": form_id, "type": "test.happened", "data": "{}"}
        page = client.post(place(endpoint, "/test"), values).content.decode()
        assert client.post(place(endpoint, "/test"), values).status_code == 409
        assert Attempt.objects.count() == 1
        [fresh] = form_ids(page)
        assert client.post(place(endpoint, "/test"), {**values, "form_id": fresh}).status_code == 200
        assert Attempt.objects.count() == 2

    def test_says_that_nobody_answered(self) -> None:
        page = self.send(EndpointFactory(url="http://127.0.0.1:1/")).content.decode()
        assert "No answer" in page
        assert "No connection" in page

    def test_begins_with_the_types_example(self) -> None:
        registry.register(EventType("trial.run", example={"colour": "grün"}))
        try:
            endpoint = EndpointFactory(events=["trial.*"])
            client = visiting(endpoint.tenant)
            assert "grün" in client.get(place(endpoint)).content.decode(), "the first one that it subscribes to"
            assert "grün" not in client.get(place(endpoint, "/test?type=test.happened")).content.decode()
        finally:
            registry.unregister(["trial.run"])

    @pytest.mark.parametrize(
        ("events", "shown"),
        [
            (["test.other", "test.happened"], "test.other"),
            (["unknown.*", "test.happened"], "test.happened"),
            (["test.checked"], "test.checked"),
        ],
    )
    def test_begins_with_the_first_type_that_the_endpoint_subscribes_to(self, events: list[str], shown: str) -> None:
        endpoint = EndpointFactory(events=events)
        for tail in ("", "/test"):
            page = visiting(endpoint.tenant).get(place(endpoint, tail)).content.decode()
            assert f'<option value="{shown}" selected>' in page

    @pytest.mark.parametrize(
        ("status", "says"),
        [("disabled", "A test event is sent all the same; that does not enable it"), ("paused", "goes on waiting")],
    )
    def test_says_what_it_does_at_an_endpoint_that_rests(self, status: str, says: str, receiver: Receiver) -> None:
        endpoint = EndpointFactory(status=status, url=receiver.url("/hook"))
        assert says in read(endpoint, "/test")
        self.send(endpoint)
        assert receiver.wait_for(1)
        assert Endpoint.objects.get(pk=endpoint.pk).status == status

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"data": "{nope"}, "look at line 1"),
            ({"data": "[" * 300 + "]" * 300}, "deep"),
            ({"type": "no.such"}, "Select a valid choice"),
            ({"type": "test.checked", "data": '{"n": "x"}'}, "n"),
            ({"type": "test.checked", "data": ""}, "has a schema and no example"),
        ],
    )
    @pytest.mark.parametrize("inline", [False, True])
    def test_says_beside_the_field_what_is_wrong(self, values: dict[str, str], says: str, inline: bool) -> None:
        answer = self.send(EndpointFactory(), inline, **values)
        assert answer.status_code == 422
        assert says in answer.content.decode()
        assert not Attempt.objects.exists()


class TestRecovery:
    def recover(self, endpoint: Endpoint, since: str, zone: str = "UTC") -> Any:
        client = visiting(endpoint.tenant)
        client.cookies["webhooks_timezone"] = zone
        [form_id] = form_ids(client.get(place(endpoint, "/recover")).content.decode())
        return client.post(place(endpoint, "/recover"), {"form_id": form_id, "since": since})

    def test_sends_what_failed_and_what_was_never_made(self) -> None:
        endpoint = EndpointFactory()
        DeliveryFactory(endpoint=endpoint, exhausted=True)
        EventFactory.create_batch(2, tenant=endpoint.tenant)
        answer = self.recover(endpoint, f"{NOW - timedelta(days=1):%Y-%m-%dT%H:%M}")
        text = " ".join(answer.content.decode().split())
        assert answer.status_code == 200
        assert "1 failed delivery is sent again" in text
        assert "2 events that were missed are sent" in text
        assert Delivery.objects.pending().filter(endpoint=endpoint).count() == 3
        assert (
            "Nothing was missed" in self.recover(endpoint, f"{NOW - timedelta(days=1):%Y-%m-%dT%H:%M}").content.decode()
        )

    def test_that_takes_long_is_continued_with_a_button(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recover, "_MOST_SECONDS", 0.0)
        endpoint = EndpointFactory()
        EventFactory.create_batch(2, tenant=endpoint.tenant)
        since = f"{NOW - timedelta(days=1):%Y-%m-%dT%H:%M}"
        page = self.recover(endpoint, since).content.decode()
        assert "Not all events have been checked yet" in page
        monkeypatch.setattr(recover, "_MOST_SECONDS", 60.0)
        answer = visiting(endpoint.tenant).post(place(endpoint, "/recover"), fields_of(page))
        text = " ".join(answer.content.decode().split())
        assert "1 event that was missed is sent" in text
        assert "Not all events" not in text
        assert Delivery.objects.pending().filter(endpoint=endpoint).count() == 2

    def test_that_finds_no_more_in_its_last_part_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recover, "_MOST_SECONDS", 0.0)
        endpoint = EndpointFactory(filters={"data.n": 1})
        EventFactory.create_batch(1, tenant=endpoint.tenant, data='{"n": 1}')
        EventFactory.create_batch(2, tenant=endpoint.tenant, data='{"n": 2}')
        page = self.recover(endpoint, f"{NOW - timedelta(days=1):%Y-%m-%dT%H:%M}").content.decode()
        assert "1 event" in page
        assert "readonly" in page
        again = visiting(endpoint.tenant).post(place(endpoint, "/recover"), {**fields_of(page), "since": "yesterday"})
        assert again.status_code == 422
        assert fields_of(again.content.decode())["after"] == fields_of(page)["after"], "a mistake does not begin anew"
        form = fields_of(again.content.decode()) | {"since": fields_of(page)["since"]}
        monkeypatch.setattr(recover, "_MOST_SECONDS", 60.0)
        last = visiting(endpoint.tenant).post(place(endpoint, "/recover"), form)
        assert "No more events were missed" in last.content.decode()
        assert "Nothing was missed" not in last.content.decode()

    def test_does_not_begin_anew_by_mistake(self) -> None:
        client = visiting((endpoint := EndpointFactory()).tenant)
        form = fields_of(client.get(place(endpoint, "/recover")).content.decode())
        answer = client.post(place(endpoint, "/recover"), {**form, "after": "nonsense"})
        assert answer.status_code == 422
        assert "Start the recovery again" in answer.content.decode()

    def test_means_the_readers_time(self) -> None:
        """Two hours ago in UTC is still to come for somebody whose clock is behind, and long ago for one ahead."""
        endpoint = EndpointFactory()
        DeliveryFactory(endpoint=endpoint, exhausted=True, completed_at=NOW - timedelta(hours=5))
        shown = f"{NOW - timedelta(hours=2):%Y-%m-%dT%H:%M}"
        assert self.recover(endpoint, shown, "Pacific/Honolulu").status_code == 422
        assert "1 failed delivery" in " ".join(self.recover(endpoint, shown, "Asia/Tokyo").content.decode().split())

    @pytest.mark.parametrize("since", ["", "yesterday", "9999-12-31T23:59", "2999-01-01T00:00"])
    def test_refuses_what_is_no_time_of_the_past(self, since: str) -> None:
        assert self.recover(EndpointFactory(), since).status_code == 422

    @pytest.mark.parametrize("since", ["0001-01-01T00:00", "1969-01-01T00:00"])
    @pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
    def test_goes_back_no_further_than_events_are_kept(self, since: str, zone: str) -> None:
        assert self.recover(EndpointFactory(), since, zone).status_code == 200


class TestThePlaygroundAmongEndpoints:
    def test_says_why_it_rests_wherever_it_stands(self) -> None:
        tenant = TenantFactory()
        endpoint, _ = open_playground(tenant)
        disable_endpoint(endpoint.pk, IDLE_REASON, notify=False)
        for address in ("/webhooks/", place(endpoint), "/webhooks/playground"):
            assert "Nobody has used it for a week." in visiting(tenant).get(address).content.decode()

    def test_takes_no_place_in_the_plan(self) -> None:
        tenant = TenantFactory(max_endpoints=1)
        open_playground(tenant)
        full = "your plan allows 1. Delete one first."
        assert full not in visiting(tenant).get("/webhooks/endpoints/new").content.decode()
        EndpointFactory(tenant=tenant)
        assert full in visiting(tenant).get("/webhooks/endpoints/new").content.decode()
