"""Muchaw DEV's API, spoken as its document's `curl` lines do, against the running project."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests
from django.test import Client
from django.utils import timezone

from tests.acceptance.dialects import NO_IDS, NO_OBJECTS, Muchaw, root_of
from tests.factories import EndpointFactory
from webhooks_app.models import Endpoint, IdempotencyRecord, Scope, Secret, Subscription, Tenant

pytestmark = pytest.mark.django_db(transaction=True)

WEBHOOKS, NEW = Muchaw.PATH, Muchaw.NEW
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


root = root_of("muchaw")


@pytest.fixture
def curl(root: str) -> Muchaw:
    return Muchaw(root)


def without_secret(webhook: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in webhook.items() if name != "secret"}


def refusal(answer: requests.Response) -> tuple[int, str]:
    """Status and code of an error, which is flat and has nothing else."""
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json()) == {"error", "code"}
    assert isinstance(answer.json()["error"], str)
    assert answer.json()["error"]
    return answer.status_code, answer.json()["code"]


class TestCreate:
    def test_answers_as_documented(self, curl: Muchaw) -> None:
        answer = curl("POST", WEBHOOKS, NEW)
        assert answer.status_code == 201
        assert answer.headers["Content-Type"] == "application/json"
        body = answer.json()
        assert list(body) == ["id", "url", "secret", "events", "numberIds", "active", "createdAt"]
        assert (body["url"], body["events"], body["numberIds"], body["active"]) == (*NEW.values(), [], True)
        assert re.fullmatch(r"wh_[0-9a-f]{32}", body["id"])
        assert re.fullmatch(r"whsec_\w{32,}", body["secret"])
        assert TIME.fullmatch(body["createdAt"])
        assert Endpoint.objects.get().wire_format == "muchaw"

    def test_takes_every_documented_event_and_ignores_what_it_does_not_know(self, curl: Muchaw) -> None:
        events = [f"message.{kind}" for kind in ("received", "sent", "delivered", "read", "failed")]
        events += [f"number.{kind}" for kind in ("activated", "disconnected", "banned")]
        body = curl.made(events=events, secret="whsec_" + "0" * 64, wire_format="msgflash", fifo="?", channels=["x"])
        assert (body["events"], body["numberIds"]) == (events, [])
        assert body["secret"] != "whsec_" + "0" * 64
        assert (Endpoint.objects.get().wire_format, Endpoint.objects.get().channels) == ("muchaw", [])

    def test_takes_numbers_each_once(self, curl: Muchaw) -> None:
        body = curl.made(numberIds=["clxyz123", "number:7", "clxyz123", "é"])
        assert body["numberIds"] == ["clxyz123", "number:7", "é"]
        assert Endpoint.objects.get().channels == ["number:clxyz123", "number:number:7", "number:é"]

    def test_may_begin_switched_off(self, curl: Muchaw) -> None:
        assert curl.made(active=False)["active"] is False

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"url": None}, "INVALID_FIELD"),
            ({"url": 7}, "INVALID_FIELD"),
            ({"url": {"href": "https://example.com/"}}, "INVALID_FIELD"),
            ({"url": "https://example.com/\ud800"}, "INVALID_FIELD"),
            ({"url": "ftp://example.com/"}, "URL_NOT_ALLOWED"),
            ({"url": "https://10.0.0.1/"}, "URL_NOT_ALLOWED"),
            ({"url": "https://u:p@example.com/"}, "URL_NOT_ALLOWED"),
            ({"events": None}, "INVALID_FIELD"),
            ({"events": "message.sent"}, "INVALID_FIELD"),
            ({"events": [7]}, "INVALID_FIELD"),
            ({"events": []}, "INVALID_ENDPOINT"),
            ({"events": ["nobody.knows"]}, "INVALID_ENDPOINT"),
            ({"events": [f"message.n{number}" for number in range(51)]}, "INVALID_ENDPOINT"),
            ({"numberIds": None}, "INVALID_FIELD"),
            ({"numberIds": "clxyz123"}, "INVALID_FIELD"),
            ({"numberIds": {"clxyz123": True}}, "INVALID_FIELD"),
            ({"numberIds": [7]}, "INVALID_FIELD"),
            ({"numberIds": [None]}, "INVALID_FIELD"),
            ({"numberIds": [""]}, "INVALID_FIELD"),
            ({"numberIds": [" \n"]}, "INVALID_FIELD"),
            ({"numberIds": ["a\x00b"]}, "INVALID_FIELD"),
            ({"numberIds": ["\ud800"]}, "INVALID_FIELD"),
            ({"numberIds": ["x" * 122]}, "INVALID_FIELD"),
            ({"numberIds": [f"n{number}" for number in range(51)]}, "INVALID_FIELD"),
            ({"active": None}, "INVALID_FIELD"),
            ({"active": "yes"}, "INVALID_FIELD"),
            ({"active": 1}, "INVALID_FIELD"),
        ],
        ids=lambda value: repr(value)[:60],
    )
    def test_and_change_refuse_what_is_wrong(self, curl: Muchaw, change: dict[str, Any], code: str) -> None:
        assert refusal(curl("POST", WEBHOOKS, {**NEW, **change})) == (400, code)
        assert not Endpoint.objects.exists()
        webhook = curl.made()
        assert refusal(curl("PATCH", f"{WEBHOOKS}/{webhook['id']}", change)) == (400, code)
        assert curl.seen(webhook) == without_secret(webhook)

    def test_names_the_field_that_is_wrong(self, curl: Muchaw) -> None:
        assert curl("POST", WEBHOOKS, {"url": NEW["url"]}).json()["error"].startswith("events: ")
        assert curl("POST", WEBHOOKS, {**NEW, "numberIds": ["a", 7]}).json()["error"].startswith("numberIds.1: ")

    @pytest.mark.parametrize("kind", NO_OBJECTS)
    def test_and_change_refuse_a_body_that_is_none(self, curl: Muchaw, kind: str) -> None:
        body, content_type = NO_OBJECTS[kind]
        status, _ = refusal(curl.raw("POST", WEBHOOKS, body, {"Content-Type": content_type}))
        assert status in (400, 415)
        if kind not in ("empty", "a strange charset"):  # an object without fields changes nothing
            path = f"{WEBHOOKS}/{curl.made()['id']}"
            assert refusal(curl.raw("PATCH", path, body, {"Content-Type": content_type}))[0] in (400, 415)

    @pytest.mark.parametrize(
        ("plan", "code"),
        [
            ({"webhooks_enabled": False}, "WEBHOOKS_NOT_AVAILABLE_ON_PLAN"),
            ({"max_endpoints": 0}, "MAX_WEBHOOK_ENDPOINTS_REACHED"),
        ],
    )
    def test_keeps_to_the_plan(self, curl: Muchaw, plan: dict[str, Any], code: str) -> None:
        Tenant.objects.update(**plan)
        assert refusal(curl("POST", WEBHOOKS, NEW)) == (403, code)


class TestTheSecret:
    def test_is_in_the_answer_that_made_it_and_in_no_other(self, curl: Muchaw) -> None:
        webhook = curl.made()
        shown = without_secret(webhook)
        assert curl("GET", WEBHOOKS).json() == [shown]
        assert curl.seen(webhook) == shown
        assert curl.changed(webhook) == shown

    def test_is_not_in_an_idempotent_replay_and_is_not_kept_for_one(self, curl: Muchaw) -> None:
        first = curl("POST", WEBHOOKS, NEW, Idempotency_Key="a").json()
        again = curl("POST", WEBHOOKS, NEW, Idempotency_Key="a")
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
        assert again.json() == without_secret(first)
        assert first["secret"] not in IdempotencyRecord.objects.get().body
        assert Endpoint.objects.count() == 1

    def test_of_a_rotation_is_not_in_an_idempotent_replay(self, curl: Muchaw) -> None:
        path = f"{WEBHOOKS}/{curl.made()['id']}/rotate-secret"
        first = curl("POST", path, Idempotency_Key="a").json()
        again = curl("POST", path, Idempotency_Key="a")
        assert again.json() == {"previousSecretExpiresAt": first["previousSecretExpiresAt"]}
        assert Secret.objects.count() == 2

    def test_is_a_new_one_for_a_receiver_at_another_host(self, curl: Muchaw) -> None:
        webhook = curl.made()
        assert "secret" not in curl.changed(webhook, url="https://your-server.com/other/path")
        moved = curl.changed(webhook, url="https://other.example.com/")
        assert moved["secret"] not in ("", webhook["secret"])
        assert moved["url"] == "https://other.example.com/"


class TestAWebhook:
    def test_is_listed_newest_first(self, curl: Muchaw) -> None:
        assert curl("GET", WEBHOOKS).json() == []
        ids = [curl.made()["id"] for _ in range(3)]
        assert [one["id"] for one in curl("GET", WEBHOOKS).json()] == ids[::-1]

    def test_changes_where_it_is_told_to(self, curl: Muchaw) -> None:
        webhook = curl.made(numberIds=["a"])
        after = curl.changed(webhook, events=["message.*"], numberIds=["b", "c"], id="wh_x", createdAt=None)
        assert after == {**without_secret(webhook), "events": ["message.*"], "numberIds": ["b", "c"]}
        assert curl.changed(webhook, numberIds=[])["numberIds"] == []

    def test_keeps_names_that_the_catalogue_has_no_more_and_takes_no_new_ones(self, curl: Muchaw) -> None:
        webhook = curl.made()
        Subscription.objects.filter(pattern="number.activated").update(pattern="number.old")
        kept = ["number.old", "message.read"]
        assert set(curl.changed(webhook, events=kept)["events"]) == set(kept)
        answer = curl("PATCH", f"{WEBHOOKS}/{webhook['id']}", {"events": [*kept, "number.older"]})
        assert refusal(answer) == (400, "INVALID_ENDPOINT")

    def test_is_gone_when_it_was_deleted(self, curl: Muchaw) -> None:
        path = f"{WEBHOOKS}/{curl.made()['id']}"
        answer = curl("DELETE", path)
        assert (answer.status_code, answer.content) == (204, b"")
        for method, its in (("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/rotate-secret")):
            assert refusal(curl(method, its, {})) == (404, "NOT_FOUND")
        assert curl("GET", WEBHOOKS).json() == []

    @pytest.mark.parametrize("text", NO_IDS, ids=lambda text: text[:20])
    def test_is_not_found_by_what_is_no_id_of_one(self, curl: Muchaw, text: str) -> None:
        for method, path in (("GET", text), ("PATCH", text), ("DELETE", text), ("POST", f"{text}/rotate-secret")):
            assert refusal(curl(method, f"{WEBHOOKS}/{path}", {})) == (404, "NOT_FOUND")

    def test_of_another_customer_or_of_another_product_is_not_there(self, curl: Muchaw, root: str) -> None:
        others = [Muchaw(root, "other").made()["id"]]
        others += [EndpointFactory(tenant=curl.tenant, wire_format=name).public_id for name in ("standard", "msgflash")]
        assert curl("GET", WEBHOOKS).json() == []
        for text in others:
            path = f"{WEBHOOKS}/{text}"
            for method, its in (("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/rotate-secret")):
                assert refusal(curl(method, its, {"active": False})) == (404, "NOT_FOUND")
        assert Endpoint.objects.filter(status="active").count() == Secret.objects.count() == 3

    def test_list_costs_the_same_for_one_and_for_many(self, curl: Muchaw, django_assert_num_queries: Any) -> None:
        client = Client(headers=curl.headers)
        curl.made(numberIds=["a"])
        for _ in range(2):
            with django_assert_num_queries(3):
                client.get(f"/muchaw{WEBHOOKS}")
            curl.made(numberIds=["b", "c"])


class TestAKey:
    @pytest.mark.parametrize(
        ("headers", "code"),
        [
            ({}, "NOT_AUTHENTICATED"),
            ({"Authorization": "Basic eDp5"}, "NOT_AUTHENTICATED"),
            ({"Authorization": "Bearer unknown"}, "INVALID_API_KEY"),
        ],
    )
    def test_is_needed(self, root: str, headers: dict[str, str], code: str) -> None:
        path = f"{WEBHOOKS}/1"
        for method, its in (("GET", WEBHOOKS), ("POST", WEBHOOKS), ("PATCH", path), ("POST", f"{path}/rotate-secret")):
            answer = requests.request(method, root + its, headers=headers, allow_redirects=False, timeout=10)
            assert refusal(answer) == (401, code)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_needs_the_scope(self, root: str, curl: Muchaw) -> None:
        reader = Muchaw(root, scopes=[Scope.WEBHOOKS_READ])
        path = f"{WEBHOOKS}/{curl.made()['id']}"
        assert reader("GET", path).status_code == 200
        for method, its in (("POST", WEBHOOKS), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/rotate-secret")):
            assert refusal(reader(method, its, NEW)) == (403, "FORBIDDEN")


def test_other_verbs_are_refused_in_the_same_shape(curl: Muchaw) -> None:
    path = f"{WEBHOOKS}/1"
    for method, its in (("PUT", WEBHOOKS), ("DELETE", WEBHOOKS), ("PUT", path), ("GET", f"{path}/rotate-secret")):
        assert refusal(curl(method, its, {})) == (405, "METHOD_NOT_ALLOWED")


def test_nothing_is_redirected(curl: Muchaw) -> None:
    for path in (
        WEBHOOKS,
        f"{WEBHOOKS}/",
        f"{WEBHOOKS}/1",
        f"{WEBHOOKS}/1/rotate-secret",
        f"{WEBHOOKS}/1/rotate-secret/",
    ):
        assert curl("POST", path, NEW).status_code in (201, 404, 405)


class TestRotation:
    def test_answers_with_the_new_secret_and_when_the_old_one_ends(self, curl: Muchaw, configure: Any) -> None:
        configure(ROTATION_OVERLAP_HOURS=24)
        webhook = curl.made()
        answer = curl.rotated(webhook)
        assert set(answer) == {"secret", "previousSecretExpiresAt"}
        assert re.fullmatch(r"whsec_\w{32,}", answer["secret"])
        assert answer["secret"] != webhook["secret"]
        assert TIME.fullmatch(answer["previousSecretExpiresAt"])
        ends = datetime.fromisoformat(answer["previousSecretExpiresAt"])
        assert abs(ends - timezone.now() - timedelta(hours=24)) < timedelta(minutes=1)

    @pytest.mark.parametrize("body", [b"", b"[]", b"{broken", b'{"secret": "mine"}'], ids=str)
    def test_asks_nothing_of_the_body(self, curl: Muchaw, body: bytes) -> None:
        path = f"{WEBHOOKS}/{curl.made()['id']}/rotate-secret"
        answer = curl.raw("POST", path, body, {"Content-Type": "application/json"})
        assert answer.status_code == 200
        assert answer.json()["secret"] != "mine"
