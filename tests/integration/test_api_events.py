"""`/events`, `/deliveries`, `/event-types`, `/portal-links` and `/egress` of the REST API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.api import Program
from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory, EventFactory
from tests.pipelines import fan_out
from tests.receiver import Receiver
from tests.visitors import seen
from webhooks_app.deliveries import bulk_retry, log
from webhooks_app.models import Delivery, Event, EventType, PortalLink

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]

NEW = {"type": "test.happened", "data": {"n": 1}}


@pytest.fixture
def program() -> Program:
    return Program()


class TestPublish:
    def test_stores_what_emit_stores(self, program: Program) -> None:
        given = {**NEW, "channels": ["a"], "subject": "order-1", "occurred_at": "2026-04-01T10:00:05Z"}
        made = program.post("/events", given)
        event = Event.objects.get()
        assert made["id"] == event.public_id
        assert {key: made[key] for key in given} == given
        assert (event.tenant_uid, event.channels, event.subject) == ("acme", ["a"], "order-1")
        assert program.get(f"/events/{made['id']}") == made

    def test_half_a_surrogate_pair_is_an_escape_in_every_response(self, program: Program) -> None:
        half = "half \ud83d"
        made = program.post("/events", {**NEW, "data": {"text": half, "name": "Zoë"}}, Idempotency_Key="k")
        assert made["data"]["text"] == half
        assert program.post("/events", {**NEW, "data": {"text": half, "name": "Zoë"}}, Idempotency_Key="k") == made
        assert program.get(f"/events/{made['id']}") == made
        assert program.get("/events")["results"] == [made]
        page = program("get", f"/events/{made['id']}", Accept="text/html")
        assert page.status_code == 200

    def test_reaches_the_receiver(self, program: Program, receiver: Receiver, deliver: Any) -> None:
        program.post("/webhooks", {"url": receiver.url("/hook"), "events": ["test.*"]})
        made = program.post("/events", NEW)
        deliver()
        assert [request.headers["webhook-id"] for request in receiver.requests] == [made["id"]]

    def test_takes_a_hundred_at_once_or_none(self, program: Program) -> None:
        made = program.post("/events/batch", {"events": [{**NEW, "data": {"n": n}} for n in range(100)]})
        assert [event["data"]["n"] for event in made["events"]] == [*range(100)]
        faulty = {"events": [NEW, {**NEW, "type": "nobody.knows"}]}
        assert program.refused("post", "/events/batch", faulty) == (400, "UNKNOWN_EVENT_TYPE", "type")
        assert program.refused("post", "/events/batch", {"events": [NEW] * 101})[1:] == ("INVALID_FIELD", "events")
        assert Event.objects.count() == 100

    def test_the_reply_to_a_batch_is_repeated_if_it_returns_an_event_twice(self, program: Program) -> None:
        batch = {"events": [{**NEW, "idempotency_key": "one"}] * 2}
        made = program.post("/events/batch", batch, Idempotency_Key="k")
        assert [event["data"] for event in made["events"]] == [NEW["data"]] * 2
        assert program.post("/events/batch", batch, Idempotency_Key="k") == made

    @pytest.mark.parametrize(
        ("change", "status", "code", "field"),
        [
            ({"type": "nobody.knows"}, 400, "UNKNOWN_EVENT_TYPE", "type"),
            ({"type": 7}, 400, "INVALID_FIELD", "type"),
            ({"type": "test.checked", "data": {}}, 400, "INVALID_EVENT", "data"),
            ({"data": "x" * 300_000}, 413, "PAYLOAD_TOO_LARGE", "data"),
            ({"channels": ["\n"]}, 400, "INVALID_EVENT", "channels"),
            ({"channels": "a"}, 400, "INVALID_FIELD", "channels"),
            ({"subject": "s" * 256}, 400, "INVALID_EVENT", "subject"),
            ({"callback_url": "https://10.0.0.1/"}, 400, "URL_NOT_ALLOWED", "callback_url"),
            ({"occurred_at": "soon"}, 400, "INVALID_FIELD", "occurred_at"),
        ],
        ids=str,
    )
    def test_says_what_is_wrong_also_in_production(
        self, program: Program, configure: Any, change: dict[str, Any], status: int, code: str, field: str
    ) -> None:
        configure(STRICT=False)
        assert program.refused("post", "/events", {**NEW, **change}) == (status, code, field)
        assert not Event.objects.exists()

    def test_under_an_idempotency_key_happens_once(self, program: Program) -> None:
        first = program.post("/events", {**NEW, "idempotency_key": "k"})
        assert program.post("/events", {**NEW, "idempotency_key": "k"}) == first
        other = {**NEW, "data": 2, "idempotency_key": "k"}
        assert program.refused("post", "/events", other) == (409, "IDEMPOTENCY_CONFLICT", "idempotency_key")

    @pytest.mark.parametrize("body", ["{", "[]", '"x"', "null", "", '{"type": "test.happened"}'])
    def test_of_what_is_no_event_is_a_plain_400(self, program: Program, body: str) -> None:
        response = program.client.post(
            "/api/v1/events", body, content_type="application/json", headers={"X-API-Key": program.text}
        )
        assert response.status_code == 400, response.content
        assert response.json()["code"] in ("MALFORMED_REQUEST", "INVALID_FIELD")

    def test_of_another_kind_of_body_is_refused(self, program: Program) -> None:
        response = program.client.post("/api/v1/events", {"type": "x"}, headers={"X-API-Key": program.text})
        assert (response.status_code, response.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


class TestLookingUp:
    def test_finds_by_type_subject_channel_and_time(self, program: Program) -> None:
        for type_, subject, channel in (("test.happened", "a", "x"), ("test.other", "b", "y")):
            program.post("/events", {"type": type_, "data": {}, "subject": subject, "channels": [channel]})
        EndpointFactory(tenant=program.tenant)
        fan_out(timezone.now(), "default")
        for query in ("type=test.other", "subject=b", "channel=y"):
            assert [one["subject"] for one in program.get(f"/events?{query}")["results"]] == ["b"], query
        later = (timezone.now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert program.get(f"/events?since={later}")["results"] == []
        assert len(program.get(f"/events?until={later}")["results"]) == 2

    def test_finds_deliveries(self, program: Program) -> None:
        endpoint = EndpointFactory(tenant=program.tenant)
        failed = DeliveryFactory(endpoint=endpoint, status="exhausted")
        DeliveryFactory(endpoint=EndpointFactory(tenant=program.tenant))
        queries = (f"webhook={endpoint.public_id}", f"event={failed.event.public_id}", "status=exhausted")
        for query in queries:
            assert [one["id"] for one in program.get(f"/deliveries?{query}")["results"]] == [failed.public_id], query
        assert len(program.get(f"/deliveries?type={failed.event.type}")["results"]) == 2
        shown = program.get(f"/deliveries/{failed.public_id}")
        assert (shown["webhook"], shown["event"]) == (endpoint.public_id, failed.event.public_id)
        assert shown["next_attempt_at"] is None

    def test_one_page_examines_only_so_many(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        """A rare type in a long log costs several pages, and never one that reads all of it."""
        monkeypatch.setattr(log, "LOOKED_AT", 3)
        endpoint = EndpointFactory(tenant=program.tenant)
        rare = EventFactory(tenant=program.tenant, type="test.rare")
        for event in (rare, *(EventFactory(tenant=program.tenant) for _ in range(7))):
            DeliveryFactory(endpoint=endpoint, event=event)
        pages = [program.get("/deliveries?type=test.rare")]
        while pages[-1]["next"]:
            pages.append(program.get(pages[-1]["next"].partition("/v1")[2]))
        assert [[one["event"] for one in page["results"]] for page in pages] == [[], [], [rare.public_id]]

    def test_pages_lead_forwards_and_backwards(self, program: Program) -> None:
        endpoint = EndpointFactory(tenant=program.tenant)
        made = [DeliveryFactory(endpoint=endpoint).public_id for _ in range(5)][::-1]
        first = program.get("/deliveries?limit=2")
        second = program.get(first["next"].partition("/v1")[2])
        third = program.get(second["next"].partition("/v1")[2])
        again = program.get(third["previous"].partition("/v1")[2])
        shown = [[one["id"] for one in page["results"]] for page in (first, second, third, again)]
        assert shown == [made[:2], made[2:4], made[4:], made[2:4]]
        assert (first["previous"], third["next"]) == (None, None)

    def test_says_when_the_next_attempt_may_be_made(self, program: Program) -> None:
        later = timezone.now() + timedelta(hours=1)
        held = DeliveryFactory(endpoint__tenant=program.tenant, endpoint__queue__not_before=later)
        off = DeliveryFactory(endpoint__tenant=program.tenant, endpoint__status="disabled")
        shown = {row["id"]: row["next_attempt_at"] for row in program.get("/deliveries")["results"]}
        assert shown == {held.public_id: later.isoformat().replace("+00:00", "Z"), off.public_id: None}

    def test_shows_the_attempts(self, program: Program) -> None:
        delivery = DeliveryFactory(endpoint=EndpointFactory(tenant=program.tenant))
        AttemptFactory(delivery=delivery, response_body=b"\xff<b>no</b>", status=500, detail="10.0.0.7 said so")
        [attempt] = program.get(f"/deliveries/{delivery.public_id}/attempts")["results"]
        assert (attempt["status"], attempt["response_body"]) == (500, "\ufffd<b>no</b>")
        assert "10.0.0.7" not in str(attempt), "what is inside the network is for staff"

    @pytest.mark.parametrize(("path", "queries"), [("/events", 2), ("/deliveries", 3)])
    def test_costs_the_same_for_one_and_for_many(
        self, program: Program, path: str, queries: int, django_assert_num_queries: Any
    ) -> None:
        endpoint = EndpointFactory(tenant=program.tenant)
        program.get(path)
        for _ in range(6):
            DeliveryFactory(endpoint=endpoint, event=EventFactory(tenant=program.tenant))
            with django_assert_num_queries(queries):
                program.get(path)

    @pytest.mark.parametrize(
        "query",
        [
            "webhook=evt_1",
            "event=x",
            "status=lost",
            "since=yesterday",
            "until=2026-01-01",
            "since=0001-01-01T00:00:00%2B23:59",
            "cursor=cD14",
        ],
    )
    def test_refuses_a_filter_that_is_none(self, program: Program, query: str) -> None:
        assert program.refused("get", f"/deliveries?{query}")[0] in (400, 404)


class TestSendingAgain:
    def test_many_in_a_long_log_goes_on_where_it_stopped(
        self, program: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log, "LOOKED_AT", 2)
        monkeypatch.setattr(bulk_retry, "MOST_PARTS", 3)
        endpoint = EndpointFactory(tenant=program.tenant)
        for name in (*["test.happened"] * 8, "test.rare"):
            DeliveryFactory(endpoint=endpoint, event=EventFactory(tenant=program.tenant, type=name), exhausted=True)
        first = program.post("/deliveries/retry?type=test.rare", status=200)
        assert (first["retried"], first["more"]) == (0, True)
        second = program.post(f"/deliveries/retry?type=test.rare&after={first['after']}", status=200)
        assert second == {"retried": 1, "more": False, "after": None}

    def test_retry_cancel_and_replay(self, program: Program) -> None:
        delivery = DeliveryFactory(endpoint=EndpointFactory(tenant=program.tenant), status="exhausted")
        path = f"/deliveries/{delivery.public_id}"
        assert program.post(f"{path}/retry", status=200)["status"] == "pending"
        assert program.post(f"{path}/cancel", status=200)["status"] == "cancelled"
        assert program.refused("post", f"{path}/cancel") == (409, "CONFLICT", None)
        assert program.post(f"/events/{delivery.event.public_id}/replay", status=200) == {"deliveries": 1}

    def test_many_by_a_filter(self, program: Program) -> None:
        one, other = (EndpointFactory(tenant=program.tenant) for _ in range(2))
        for endpoint in (one, one, other):
            DeliveryFactory(endpoint=endpoint, exhausted=True)
        DeliveryFactory(endpoint=one, status="cancelled")
        done = program.post(f"/deliveries/retry?webhook={one.public_id}", status=200)
        assert done == {"retried": 2, "more": False, "after": None}
        assert Delivery.objects.pending().count() == 2
        assert program.post("/deliveries/retry?status=succeeded", status=200) == {
            "retried": 0,
            "more": False,
            "after": None,
        }

    def test_many_of_a_rare_type(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log, "LOOKED_AT", 3)
        endpoint = EndpointFactory(tenant=program.tenant)
        for name in ("test.rare", *["test.happened"] * 10, "test.rare"):
            DeliveryFactory(endpoint=endpoint, event=EventFactory(tenant=program.tenant, type=name), exhausted=True)
        assert program.post("/deliveries/retry?type=test.rare", status=200) == {
            "retried": 2,
            "more": False,
            "after": None,
        }


def test_the_catalogue_has_what_code_and_staff_declared(program: Program) -> None:
    EventType.objects.create(name="staff.made", description="By hand")
    names = [one["name"] for one in program.get("/event-types")]
    assert names == sorted(names)
    assert {"staff.made", "test.happened"} <= set(names)


def test_egress_addresses_are_the_settings(program: Program, configure: Any) -> None:
    configure(EGRESS={"ADDRESSES": ["192.0.2.7"]})
    assert program.get("/egress") == {"addresses": ["192.0.2.7"]}


class TestAPortalLink:
    def test_lets_one_person_in_once(self, program: Program) -> None:
        endpoint = EndpointFactory(tenant=program.tenant, url="https://mine.example.com/")
        EndpointFactory(url="https://theirs.example.com/")
        link = program.post("/portal-links")["portal_url"]
        browser = Client()
        assert browser.get(link).status_code == 200, "a look, as a chat program takes it, does not use it up"
        page = seen(browser.post(link, follow=True))
        assert endpoint.url in page
        assert "theirs" not in page
        assert Client().post(link).status_code == 410
        assert Client().get("/webhooks/").status_code == 302

    def test_is_good_for_minutes(self, program: Program) -> None:
        link = program.post("/portal-links")["portal_url"]
        PortalLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert Client().post(link).status_code == 410

    def test_is_not_shown_again(self, program: Program) -> None:
        program.post("/portal-links", Idempotency_Key="a")
        assert "portal_url" not in program.post("/portal-links", Idempotency_Key="a")

    def test_is_kept_as_a_digest_alone(self, program: Program) -> None:
        token = program.post("/portal-links")["portal_url"].rpartition("/")[2]
        assert token not in str(list(PortalLink.objects.values_list()))
