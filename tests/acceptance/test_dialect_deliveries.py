"""Webhooks that were registered through a dialect get their events, and the documents' own code verifies them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.dialects import Curl, catalogue_of, key, served
from tests.acceptance.receivers import harness
from tests.customer import deliver
from tests.receiver import Receiver
from webhooks_app import emit
from webhooks_app.models import Endpoint
from webhooks_app.receiver import SignatureVerificationError, verify, verify_webhook

pytestmark = pytest.mark.django_db(transaction=True)

LINE = "+15551234567"


@pytest.fixture(autouse=True)
def _catalogue(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[None]:
    with catalogue_of(request.cls.wire_format):
        yield


@pytest.fixture
def curl(request: pytest.FixtureRequest, live_server: Any) -> Iterator[Curl]:
    for root in served(live_server, request.cls.root):
        yield Curl(root, {"Authorization": f"Bearer {key()}"})


class TestTheGateways:
    root = "gateway"
    wire_format = "gateway"

    @pytest.mark.parametrize("language", ["node", "python"])
    def test_verifies_with_the_callers_secret(self, curl: Curl, language: str) -> None:
        with harness.receiver(language, "gateway", "string") as running:
            status, _ = curl.asked("POST", "/webhooks", {"url": running.url, "secret": "string"})
            assert status == 201
            emit("message.received", {"text": "À bientôt"}, tenant="acme")
            deliver()
            [verdict] = running.wait_for(1)
        assert verdict.verified

    def test_verifies_with_a_generated_secret_and_gets_the_wanted_events_only(
        self, curl: Curl, receiver: Receiver
    ) -> None:
        body = {"url": receiver.url("/hook"), "events": ["message.received"]}
        secret = curl.asked("POST", "/webhooks", body)[1]["data"]["secret"]
        emit("connection.connected", {"n": 1}, tenant="acme")
        emit("message.received", {"n": 2}, tenant="acme")
        emit("message.received", {"n": 3}, tenant="other")
        deliver()
        [request] = receiver.requests
        assert b'"n":2' in request.body
        verify(request.body, request.headers, secret, wire_format="gateway")


class TestMessagesDevs:
    root = "messages-dev"
    wire_format = "messages_dev"

    def test_gets_its_own_lines_events_and_no_others(self, curl: Curl, receiver: Receiver) -> None:
        secrets = {}
        for path, line in (("/mine", LINE), ("/other", "+15550000000")):
            body = {"from": line, "url": receiver.url(path), "events": ["message.received"]}
            secrets[path] = curl.asked("POST", "/webhooks", body)[1]["secret"]
        emit("message.received", {"n": "mine"}, tenant="acme", channels=[f"line:{LINE}"])
        emit("message.received", {"n": "other"}, tenant="acme", channels=["line:+15550000000"])
        emit("message.received", {"n": "longer"}, tenant="acme", channels=[f"line:{LINE}0"])
        emit("message.received", {"n": "of no line"}, tenant="acme")
        emit("message.sent", {"n": "not wanted"}, tenant="acme", channels=[f"line:{LINE}"])
        deliver()
        came = {}
        for request in receiver.requests:
            signature = request.headers["x-webhook-signature"]
            event = verify_webhook(request.body, signature, secrets[request.path])
            assert event == json.loads(request.body)
            assert list(event) == ["event", "data", "timestamp"]
            came[request.path] = event["data"]["n"]
            with pytest.raises(SignatureVerificationError):
                verify_webhook(request.body + b" ", signature, secrets[request.path])
        assert came == {"/mine": "mine", "/other": "other"}
        assert len(receiver.requests) == 2

    @pytest.mark.parametrize(
        ("language", "system"), [("node", "messages_dev"), ("node", "messages_dev-json"), ("python", "messages_dev")]
    )
    def test_verifies_as_the_document_says(self, curl: Curl, language: str, system: str) -> None:
        body = {"from": LINE, "url": "http://127.0.0.1/later", "events": ["message.received"]}
        secret = curl.asked("POST", "/webhooks", body)[1]["secret"]
        with harness.receiver(language, system, secret) as running:
            Endpoint.objects.update(url=running.url)  # the receiver could not start without the secret
            emit("message.received", {"text": "À bientôt", "n": 1e21}, tenant="acme", channels=[f"line:{LINE}"])
            deliver()
            [verdict] = running.wait_for(1)
        assert verdict.verified
