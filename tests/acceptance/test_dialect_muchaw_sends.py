"""What Muchaw DEV's API sets up is what is sent: numbers, switching off and on, and a rotation that breaks no receiver."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.dialects import Muchaw, root_of, verdicts
from tests.customer import deliver, make_due, statuses
from tests.receiver import Receiver
from webhooks_app import emit
from webhooks_app.endpoints.status import pause_endpoint
from webhooks_app.models import Endpoint, Notification, Secret, database_now

pytestmark = pytest.mark.django_db(transaction=True)

MOMENT = datetime(2024, 1, 15, 10, 5, tzinfo=UTC)


root = root_of("muchaw")


@pytest.fixture
def curl(root: str) -> Muchaw:
    return Muchaw(root)


def send(number: str = "", name: str = "message.received", **data: Any) -> None:
    """An event of this number's; without one it belongs to none."""
    own = {"numberId": number} if number else {}
    channels = [f"number:{number}"] if number else []
    emit(name, {"id": "msg_01j", **own, **data}, tenant="acme", channels=channels, occurred_at=MOMENT)


def received(receiver: Receiver, path: str = "") -> list[str | None]:
    """The numbers of the events that came, in any order."""
    found = [json.loads(one.body)["data"].get("numberId") for one in receiver.requests if one.path == path or not path]
    return sorted(found, key=str)


@pytest.mark.parametrize("language", ["node", "python"])
def test_what_is_sent_then_is_as_documented_and_the_documents_code_accepts_it(
    curl: Muchaw, receiver: Receiver, language: str
) -> None:
    webhook = curl.made(url=receiver.url("/webhooks/muchaw"))
    more = {"direction": "INBOUND", "fromNumber": "5511888880000", "type": "text", "body": {"body": "Hello! 👋"}}
    send("clxyz123", **more)
    send("clxyz123", "message.read")  # which it did not ask for
    send("clxyz123", "number.activated")
    deliver()
    assert statuses() == {"succeeded"}
    requests_ = sorted(receiver.requests, key=lambda one: json.loads(one.body)["event"])
    assert [json.loads(one.body)["event"] for one in requests_] == ["message.received", "number.activated"]
    assert {"Content-Type", "X-Muchaw-Signature"} <= {name for name, _ in requests_[0].header_lines}
    assert (requests_[0].method, requests_[0].path) == ("POST", "/webhooks/muchaw")
    body = json.loads(requests_[0].body)
    assert list(body) == ["event", "timestamp", "data"]
    assert body["timestamp"] == "2024-01-15T10:05:00.000Z"
    assert body["data"] == {"id": "msg_01j", "numberId": "clxyz123", **more}
    assert verdicts(language, "muchaw", webhook["secret"], requests_) == [True, True]
    assert verdicts(language, "muchaw", "whsec_" + "0" * 64, requests_) == [False, False]


class TestNumberIds:
    def test_filter_what_is_sent(self, curl: Muchaw, receiver: Receiver) -> None:
        curl.made(url=receiver.url("/all"))
        curl.made(url=receiver.url("/two"), numberIds=["a", "b"])
        for number in ("a", "b", "c", "A", "ab", ""):
            send(number)
        deliver()
        assert received(receiver, "/two") == ["a", "b"]
        assert received(receiver, "/all") == ["A", None, "a", "ab", "b", "c"]

    def test_that_were_changed_filter_from_then_on(self, curl: Muchaw, receiver: Receiver) -> None:
        webhook = curl.made(url=receiver.url(), numberIds=["a"])
        curl.changed(webhook, numberIds=["b"])
        send("a")
        send("b")
        deliver()
        assert received(receiver) == ["b"]
        curl.changed(webhook, numberIds=[])
        send("")
        send("c")
        deliver()
        assert received(receiver) == [None, "b", "c"]


class TestActive:
    def test_false_stops_and_true_goes_on(self, curl: Muchaw, receiver: Receiver) -> None:
        webhook = curl.made(url=receiver.url())
        assert curl.changed(webhook, active=False)["active"] is False
        assert curl.seen(webhook)["active"] is False
        send("while it is off")
        deliver()
        assert receiver.requests == []
        assert curl.changed(webhook, active=True)["active"] is True
        send("when it is on")
        deliver()
        assert received(receiver) == ["when it is on"]
        assert not Notification.objects.exists(), "nobody is told of what they did in person"

    def test_true_resumes_one_that_was_paused(self, curl: Muchaw, receiver: Receiver) -> None:
        webhook = curl.made(url=receiver.url())
        pause_endpoint(Endpoint.objects.get())
        send("a")
        assert curl.seen(webhook)["active"] is False
        curl.changed(webhook, active=True)
        deliver()
        assert received(receiver) == ["a"]

    def test_is_false_after_ten_failures_in_a_row_and_may_be_set_again(self, curl: Muchaw, receiver: Receiver) -> None:
        receiver.on("/", [500] * 10 + [200])
        webhook = curl.made(url=receiver.url("/"))
        for number in range(3):
            send(f"n{number}")
        for _ in range(4):
            deliver()
            make_due()
        assert len(receiver.requests) == 10
        assert curl.seen(webhook)["active"] is False
        assert curl.changed(webhook, active=True)["active"] is True
        send("later")
        deliver()
        assert "later" in received(receiver)
        assert curl.seen(webhook)["active"] is True


@pytest.mark.parametrize("language", ["node", "python"])
def test_a_rotation_leaves_both_secrets_good_until_the_old_one_ends(
    curl: Muchaw, receiver: Receiver, language: str
) -> None:
    webhook = curl.made(url=receiver.url("/"))
    old, new = webhook["secret"], curl.rotated(webhook)["secret"]
    receiver.on("/", [401, 200])  # a receiver that was not changed over yet
    send("a")
    deliver()
    assert statuses() == {"succeeded"}
    assert len(receiver.requests) == 2, "with one secret, then at once with the other"
    assert sorted(verdicts(language, "muchaw", old, receiver.requests)) == [False, True]
    assert sorted(verdicts(language, "muchaw", new, receiver.requests)) == [False, True]

    Secret.objects.filter(expires_at__isnull=False).update(expires_at=database_now("default") - timedelta(hours=1))
    receiver.clear()
    send("b")
    deliver()
    assert verdicts(language, "muchaw", new, receiver.requests) == [True]
    assert verdicts(language, "muchaw", old, receiver.requests) == [False]
