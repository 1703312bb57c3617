"""`/webhooks` of the REST API."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.api import Program
from tests.factories import DeliveryFactory, EndpointFactory, EventFactory
from tests.receiver import Receiver
from webhooks_app.deliveries import recover
from webhooks_app.models import (
    Attempt,
    AuditEntry,
    Delivery,
    Endpoint,
    EndpointQueue,
    Event,
    HourlyStat,
    IdempotencyRecord,
    Tenant,
)
from webhooks_app.tenants.one_at_a_time import one_at_a_time
from webhooks_app.tenants.plan import Plan

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]

NEW = {"url": "https://example.com/hook", "events": ["test.happened"]}


@pytest.fixture
def program() -> Program:
    return Program()


def one_endpoint(tenant: Tenant) -> Plan:
    return Plan(max_endpoints=1)


def no_webhooks(tenant: Tenant) -> Plan:
    return Plan(available=False)


class TestCreate:
    def test_answers_with_the_secret_this_once(self, program: Program) -> None:
        made = program.post("/webhooks", {**NEW, "description": "Orders", "metadata": {"team": "blue"}})
        assert made["secret"].startswith("whsec_")
        assert (made["url"], made["events"], made["active"], made["status"]) == (
            NEW["url"],
            NEW["events"],
            True,
            "active",
        )
        assert (made["description"], made["metadata"]) == ("Orders", {"team": "blue"})
        again = program.get(f"/webhooks/{made['id']}")
        assert again == {key: value for key, value in made.items() if key != "secret"}
        assert "secret" not in str(program.get("/webhooks"))

    def test_takes_a_secret_of_the_customers(self, program: Program) -> None:
        secret = "whsec_" + "A" * 32
        assert program.post("/webhooks", {**NEW, "secret": secret})["secret"] == secret

    def test_may_begin_switched_off(self, program: Program) -> None:
        made = program.post("/webhooks", {**NEW, "active": False})
        assert (made["active"], made["status"]) == (False, "disabled")

    def test_never_shows_what_headers_say(self, program: Program) -> None:
        made = program.post("/webhooks", {**NEW, "headers": {"X-Token": "s3cret"}})
        assert made["header_names"] == ["X-Token"]
        assert "s3cret" not in program("get", f"/webhooks/{made['id']}").content.decode()
        assert Endpoint.objects.get().custom_headers() == {"X-Token": "s3cret"}

    def test_can_be_looked_at_when_the_encryption_key_is_lost(self, program: Program, configure: Any) -> None:
        made = program.post("/webhooks", {**NEW, "headers": {"X-Token": "s3cret"}})
        configure(ENCRYPTION_KEYS=[])
        assert program.get(f"/webhooks/{made['id']}")["header_names"] == []
        assert program.refused("post", "/webhooks", NEW)[:2] == (503, "SEALING_ERROR")

    def test_is_noted_with_the_key_that_did_it(self, program: Program) -> None:
        program.post("/webhooks", NEW)
        assert AuditEntry.objects.get(verb="endpoint.created").actor == f"key:{program.key.public_id}"

    @pytest.mark.parametrize(
        ("change", "code", "field"),
        [
            ({"url": None}, "INVALID_FIELD", "url"),
            ({"url": 7}, "INVALID_FIELD", "url"),
            ({"url": "ftp://example.com/"}, "URL_NOT_ALLOWED", "url"),
            ({"url": "https://10.0.0.1/"}, "URL_NOT_ALLOWED", "url"),
            ({"events": []}, "INVALID_ENDPOINT", "events"),
            ({"events": "test.happened"}, "INVALID_FIELD", "events"),
            ({"events": ["nobody.knows"]}, "INVALID_ENDPOINT", "events"),
            ({"events": [7]}, "INVALID_FIELD", "events.0"),
            ({"events": [f"test.n{n}" for n in range(51)]}, "INVALID_ENDPOINT", "events"),
            ({"filters": {"amount": 1}}, "INVALID_ENDPOINT", "filters"),
            ({"filters": [1]}, "INVALID_ENDPOINT", "filters"),
            ({"headers": {"Host": "x"}}, "INVALID_ENDPOINT", "headers"),
            ({"headers": "x"}, "INVALID_ENDPOINT", "headers"),
            ({"rate_limit": 0}, "INVALID_ENDPOINT", "rate_limit"),
            ({"fifo": "yes"}, "INVALID_FIELD", "fifo"),
            ({"metadata": [1]}, "INVALID_ENDPOINT", "metadata"),
            ({"secret": "short"}, "INVALID_SECRET", "secret"),
            ({"wire_format": "nobody"}, "INVALID_ENDPOINT", "wire_format"),
        ],
        ids=str,
    )
    def test_says_which_field_is_at_fault(
        self, program: Program, change: dict[str, Any], code: str, field: str
    ) -> None:
        assert program.refused("post", "/webhooks", {**NEW, **change}) == (400, code, field)
        assert not Endpoint.objects.exists()

    def test_of_json_that_is_nested_too_deeply_is_refused(self, program: Program) -> None:
        headers = {"X-API-Key": program.text}
        body = {"data": "[" * 100_000, "content_type": "application/json"}
        response = program.client.post("/api/v1/webhooks", **body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_REQUEST")

    @pytest.mark.parametrize("charset", ["zlib", "hex", "utf-16"])
    def test_reads_json_as_utf_8_whatever_charset_is_named(self, program: Program, charset: str) -> None:
        body = {"data": json.dumps(NEW).encode(), "content_type": f"application/json; charset={charset}"}
        response = program.client.generic("POST", "/api/v1/webhooks", **body, headers={"X-API-Key": program.text})
        assert response.status_code == 201

    def test_keeps_to_the_plan_in_the_tenants_row(self, program: Program) -> None:
        Tenant.objects.update(max_endpoints=1)
        program.post("/webhooks", NEW)
        assert program.refused("post", "/webhooks", NEW) == (403, "MAX_WEBHOOK_ENDPOINTS_REACHED", None)
        Tenant.objects.update(webhooks_enabled=False)
        assert program.refused("post", "/webhooks", NEW) == (403, "WEBHOOKS_NOT_AVAILABLE_ON_PLAN", None)

    def test_keeps_to_the_plan_of_the_hosts_function(self, program: Program, configure: Any) -> None:
        configure(PLAN="tests.integration.test_api_webhooks.one_endpoint")
        program.post("/webhooks", NEW)
        assert program.refused("post", "/webhooks", NEW)[1] == "MAX_WEBHOOK_ENDPOINTS_REACHED"
        configure(PLAN="tests.integration.test_api_webhooks.no_webhooks")
        assert program.refused("post", "/webhooks", NEW)[1] == "WEBHOOKS_NOT_AVAILABLE_ON_PLAN"


class TestAnIdempotencyKey:
    def test_makes_one_webhook_and_shows_its_secret_once(self, program: Program) -> None:
        first = program.post("/webhooks", NEW, Idempotency_Key="a")
        response = program("post", "/webhooks", NEW, Idempotency_Key="a")
        assert (response.status_code, response["Idempotent-Replayed"]) == (201, "true")
        assert response.json() == {key: value for key, value in first.items() if key != "secret"}
        assert Endpoint.objects.count() == 1

    def test_of_another_request_is_a_conflict(self, program: Program) -> None:
        program.post("/webhooks", NEW, Idempotency_Key="a")
        other = {**NEW, "description": "x"}
        assert program.refused("post", "/webhooks", other, Idempotency_Key="a")[:2] == (409, "IDEMPOTENCY_CONFLICT")

    def test_of_a_request_with_another_query_is_a_conflict(self, program: Program) -> None:
        assert program("post", "/deliveries/retry?type=test.happened", {}, Idempotency_Key="a").status_code == 200
        refused = program.refused("post", "/deliveries/retry?type=test.other", {}, Idempotency_Key="a")
        assert refused[:2] == (409, "IDEMPOTENCY_CONFLICT")

    def test_is_stored_with_nothing_from_which_a_password_can_be_guessed(self, program: Program) -> None:
        program.post("/webhooks", NEW, Idempotency_Key="a")
        body = json.dumps(NEW, sort_keys=True)
        hashes = {
            hashlib.sha256(text.encode()).hexdigest()
            for path in ("/api/v1/webhooks", "/webhooks")
            for text in (f"POST\n{path}\n{body}", body)
        }
        assert IdempotencyRecord.objects.get().fingerprint not in hashes

    def test_of_a_request_that_failed_may_be_used_again(self, program: Program) -> None:
        assert program.refused("post", "/webhooks", {**NEW, "events": []}, Idempotency_Key="a")[0] == 400
        program.post("/webhooks", NEW, Idempotency_Key="a")

    def test_is_the_tenants_own(self, program: Program) -> None:
        program.post("/webhooks", NEW, Idempotency_Key="a")
        Program("other").post("/webhooks", NEW, Idempotency_Key="a")
        assert Endpoint.objects.count() == 2


class TestChange:
    def test_changes_what_is_named(self, program: Program) -> None:
        made = program.post("/webhooks", {**NEW, "description": "a", "filters": {"data.n": 1}})
        response = program("patch", f"/webhooks/{made['id']}", {"description": "b", "events": ["test.*"]})
        assert response.status_code == 200
        changed = response.json()
        assert (changed["description"], changed["events"], changed["filters"]) == ("b", ["test.*"], {"data.n": 1})
        assert "secret" not in changed

    def test_of_the_host_gives_a_new_secret(self, program: Program) -> None:
        made = program.post("/webhooks", NEW)
        changed = program("patch", f"/webhooks/{made['id']}", {"url": "https://other.example.com/"}).json()
        assert changed["secret"] not in ("", made["secret"])

    def test_of_active_switches_it_off_and_on(self, program: Program) -> None:
        made = program.post("/webhooks", NEW)
        path = f"/webhooks/{made['id']}"
        assert program("patch", path, {"active": False}).json()["status"] == "disabled"
        assert program("patch", path, {"active": True}).json()["status"] == "active"
        assert program.post(f"{path}/disable", status=200)["active"] is False
        assert program.post(f"{path}/enable", status=200)["active"] is True

    def test_keeps_an_event_that_was_retired_meanwhile(self, program: Program) -> None:
        made = program.post("/webhooks", NEW)
        from webhooks_app import registry

        registry.unregister(["test.happened"])
        events = ["test.happened", "test.other"]
        assert program("patch", f"/webhooks/{made['id']}", {"events": events}).json()["events"] == events

    def test_delete_leaves_nothing_to_see(self, program: Program) -> None:
        made = program.post("/webhooks", NEW)
        assert program("delete", f"/webhooks/{made['id']}").status_code == 204
        assert program.refused("get", f"/webhooks/{made['id']}") == (404, "NOT_FOUND", None)
        assert program.get("/webhooks")["results"] == []


class TestRotation:
    def test_gives_the_new_secret_and_the_old_ones_end(self, program: Program) -> None:
        made = program.post("/webhooks", NEW)
        rotated = program.post(f"/webhooks/{made['id']}/rotate-secret", status=200)
        assert rotated["secret"] != made["secret"]
        assert rotated["previous_expires_at"] > timezone.now().isoformat()

    def test_may_end_the_old_one_at_once(self, program: Program) -> None:
        made = program.post("/webhooks", NEW)
        rotated = program.post(f"/webhooks/{made['id']}/rotate-secret", {"overlap_hours": 0}, status=200)
        assert rotated["previous_expires_at"] <= timezone.now().isoformat().replace("+00:00", "Z")

    @pytest.mark.parametrize("hours", [-1, "x", 1e9])
    def test_refuses_what_is_no_overlap(self, program: Program, hours: Any) -> None:
        made = program.post("/webhooks", NEW)
        refused = program.refused("post", f"/webhooks/{made['id']}/rotate-secret", {"overlap_hours": hours})
        assert refused == (400, "INVALID_FIELD", "overlap_hours")


class TestATest:
    def test_answers_with_what_came_of_it(self, program: Program, receiver: Receiver) -> None:
        receiver.on("/hook", 418)
        made = program.post("/webhooks", {**NEW, "url": receiver.url("/hook")})
        attempt = program.post(f"/webhooks/{made['id']}/test", {"type": "test.other", "data": {"n": 1}}, status=200)
        assert (attempt["status"], attempt["outcome"], attempt["number"]) == (418, "client_error", 1)
        [request] = receiver.requests
        event = Event.objects.get()
        assert (request.headers["webhook-id"], event.type, event.subject) == (event.public_id, "test.other", "test")
        assert Delivery.objects.get().status == "exhausted"

    def test_counts_neither_as_health_nor_as_work(self, program: Program, receiver: Receiver, deliver: Any) -> None:
        receiver.on("/hook", 500)
        made = program.post("/webhooks", {**NEW, "url": receiver.url("/hook")})
        program.post(f"/webhooks/{made['id']}/test", {"type": "test.happened"}, status=200)
        deliver()
        assert Attempt.objects.count() == len(receiver.requests) == 1
        assert EndpointQueue.objects.get().consecutive_failures == 0
        assert not HourlyStat.objects.exists()

    def test_of_an_unknown_type_is_refused(self, program: Program) -> None:
        made = program.post("/webhooks", NEW)
        refused = program.refused("post", f"/webhooks/{made['id']}/test", {"type": "nobody.knows"})
        assert refused == (400, "UNKNOWN_EVENT_TYPE", "type")

    def test_needs_data_where_the_type_has_a_schema_and_no_example(self, program: Program) -> None:
        made = program.post("/webhooks", NEW)
        refused = program.refused("post", f"/webhooks/{made['id']}/test", {"type": "test.checked"})
        assert refused == (400, "INVALID_EVENT", "data")


class TestALongRecovery:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recover, "_MOST_SECONDS", 0.0)  # each part examines one event

    @pytest.mark.parametrize("filters", [{}, {"data.n": 1}], ids=["all are wanted", "none is wanted"])
    def test_goes_on_part_by_part_until_all_events_were_examined(
        self, program: Program, filters: dict[str, object]
    ) -> None:
        made = program.post("/webhooks", {**NEW, "filters": filters})
        endpoint = Endpoint.objects.get()
        DeliveryFactory(endpoint=endpoint, exhausted=True)
        EventFactory.create_batch(3, tenant=endpoint.tenant, type="test.happened", fanned_out_at=timezone.now())
        since, after, parts = (timezone.now() - timedelta(hours=1)).isoformat(), "", []
        while not parts or parts[-1]["more"]:
            parts.append(program.post(f"/webhooks/{made['id']}/recover{after}", {"since": since}, status=200))
            after = f"?after={parts[-1]['after']}"
        assert [part["created"] for part in parts] == ([0, 0, 0, 0] if filters else [1, 1, 1, 0])
        assert [part["resent"] for part in parts] == [1, 0, 0, 0]
        assert AuditEntry.objects.filter(verb="endpoint.recovered").count() == len(parts), "none without an entry"

    def test_resends_what_failed_part_by_part(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recover, "CHUNK", 2)
        monkeypatch.setattr(recover, "_READ_AT_ONCE", 1)
        made = program.post("/webhooks", NEW)
        DeliveryFactory.create_batch(5, endpoint=Endpoint.objects.get(), exhausted=True)
        since, after, parts = (timezone.now() - timedelta(hours=1)).isoformat(), "", []
        while not parts or parts[-1]["more"]:
            parts.append(program.post(f"/webhooks/{made['id']}/recover{after}", {"since": since}, status=200))
            after = f"?after={parts[-1]['after']}"
        assert [part["resent"] for part in parts if part["resent"]] == [2, 2, 1]
        assert not Delivery.objects.filter(status="exhausted").exists()

    @pytest.mark.parametrize("after", ["nonsense", "dlv_1", "evt_"])
    def test_goes_on_from_no_place_that_is_none(self, program: Program, after: str) -> None:
        made = program.post("/webhooks", NEW)
        refused = program.refused(
            "post", f"/webhooks/{made['id']}/recover?after={after}", {"since": "2026-01-01T00:00:00Z"}
        )
        assert (refused[0], refused[2]) == (400, "after")

    def test_of_the_host_examines_all_at_once(self) -> None:
        endpoint = EndpointFactory()
        EventFactory.create_batch(250, tenant=endpoint.tenant, type="test.happened", fanned_out_at=timezone.now())
        report = recover.recover(endpoint, timezone.now() - timedelta(hours=1))
        assert report == recover.RecoverReport(resent=0, created=250)

    def test_keeps_the_tenant_from_starting_another(self, program: Program) -> None:
        made = program.post("/webhooks", NEW)
        path, body = f"/webhooks/{made['id']}/recover", {"since": timezone.now().isoformat()}
        with one_at_a_time("recover", Endpoint.objects.get().tenant_id, 60, ""):
            assert program.refused("post", path, body)[0] == 409
        program.post(path, body, status=200)


def test_recover_sends_again_what_failed(program: Program) -> None:
    made = program.post("/webhooks", NEW)
    endpoint = Endpoint.objects.get()
    DeliveryFactory(endpoint=endpoint, status="exhausted", completed_at=timezone.now())
    since = (timezone.now() - timedelta(hours=1)).isoformat()
    assert program.post(f"/webhooks/{made['id']}/recover", {"since": since}, status=200) == {
        "resent": 1,
        "created": 0,
        "more": False,
        "after": None,
    }
    assert program.post(f"/webhooks/{made['id']}/recover", {"since": "0001-01-01T00:00:00Z"}, status=200)["resent"] == 0
    assert program.refused("post", f"/webhooks/{made['id']}/recover", {"since": "yesterday"})[1:] == (
        "INVALID_FIELD",
        "since",
    )


def test_stats_are_by_the_hour(program: Program) -> None:
    made = program.post("/webhooks", NEW)
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    HourlyStat.objects.create(
        endpoint=Endpoint.objects.get(),
        hour=hour,
        succeeded=3,
        timeout=1,
        latency_2=3,
        latency_sum_ms=90,
        latency_max_ms=40,
    )
    [shown] = program.get(f"/webhooks/{made['id']}/stats")["hours"]
    assert (shown["succeeded"], shown["timeout"], shown["latency_mean_ms"]) == (3, 1, 30.0)
    for since in ("now", "0001-01-01T00:00:00Z"):
        assert program.refused("get", f"/webhooks/{made['id']}/stats?since={since}")[1:] == ("INVALID_FILTER", "since")
    assert program.get(f"/webhooks/{made['id']}/stats?until=1970-01-01T00:00:00Z")["hours"] == []


class TestLists:
    def test_go_on_by_cursor(self, program: Program) -> None:
        for _ in range(5):
            program.post("/webhooks", NEW)
        page = program.get("/webhooks?limit=2")
        seen = [one["id"] for one in page["results"]]
        while page["next"]:
            page = program.get(page["next"].split("/api/v1")[1])
            seen += [one["id"] for one in page["results"]]
        assert len(set(seen)) == 5
        assert seen == sorted(seen, reverse=True)

    def test_cost_the_same_for_one_and_for_many(self, program: Program, django_assert_num_queries: Any) -> None:
        program.post("/webhooks", {**NEW, "events": ["test.happened", "test.other"]})
        program.get("/webhooks")  # the key's use is noted once a minute
        with django_assert_num_queries(3):
            program.get("/webhooks")
        for _ in range(4):
            program.post("/webhooks", NEW)
        with django_assert_num_queries(3):
            assert len(program.get("/webhooks")["results"]) == 5
