"""Customers' receivers, run as processes of their own, accept what the wire formats put on the wire."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from tests.acceptance.receivers.harness import RECEIVERS, Receiver, receiver
from webhooks_app.core import js_json
from webhooks_app.core.envelope import Nested
from webhooks_app.core.message import Message
from webhooks_app.core.secrets import new_secret
from webhooks_app.core.signing import key_of
from webhooks_app.wire_formats import get_wire_format
from webhooks_app.wire_formats.base import WireFormat

MOMENT = datetime(2026, 4, 1, 10, 0, 5, 120_000, tzinfo=UTC)
DEEP: Any = "bottom"
for _ in range(60):
    DEEP = {"down": [DEEP]}

PAYLOADS: dict[str, Any] = {
    "documented": {"id": "msg_1", "messageId": "msg_1", "to": "+33612345678", "sid": "SM1", "numberId": "clx"},
    "empty": {},
    "empties": {"a": {}, "b": [], "c": "", "d": [[], {}], "": ""},
    "nulls": {"a": None, "b": [None], "c": {"d": None}},
    "scripts": {"fr": "À bientôt", "hi": "नमस्ते", "ar": "مرحبا", "zh": "你好", "ko": "안녕", "he": "שלום", "clé": 1},
    "emoji": {"text": "👍🏽 🇫🇷 \U0001f468\u200d\U0001f467", "🎉": "party"},
    "lone surrogates": {"a": "\ud83d", "b": "x\ude00y", "\udfff": 1, "c": "\ude00\ud83d", "d": "\ud83d\ude00"},
    "controls": {"all": "".join(map(chr, range(32))), "del": "\x7f\x80\x9f", "lines": "\u2028\u2029\r\n\t"},
    "beginnings": {"bom": "\ufeff", "nul": "\x00", "\ufeff": 1, "\x00": 2},
    "escapes": {"quote": '"', "back": "\\", "slash": "/", "html": "<script>&'</script>", "json": '{"a":1}'},
    "whole numbers": {"a": 0, "b": -1, "c": 2**53 - 1, "d": 1 - 2**53, "e": 2**53, "f": -(2**64), "g": 10**400},
    "fractions": {"a": 1.0, "b": -0.0, "c": 0.1, "d": 1e-07, "e": 1e-06, "f": 123.456, "g": 0.1 + 0.2, "h": 9.99},
    "far numbers": {"a": 1e21, "b": 1e20, "c": 1.5e300, "d": 5e-324, "e": 1.7976931348623157e308, "f": 1e16},
    "booleans": {"a": True, "b": False, "c": [True, False]},
    "integer-like keys": {"b": 1, "10": 2, "9": 3, "a": 4, "01": 5, "-1": 6, "deep": {"z": 1, "2": 2, "1": 3}},
    "the last indexes": {"a": 1, "4294967295": 2, "4294967294": 3, "18446744073709551615": 4, "9007199254740991": 5},
    "special keys": {"__proto__": {"x": 1}, "constructor": 1, "toString": 2, "hasOwnProperty": 3, "length": 4},
    "names of ours": {"event": "x", "timestamp": 0, "status": "y", "data": {"data": 1}, "type": "z", "id": 5},
    "deep": DEEP,
    "wide": {f"key{number}": number / 7 for number in range(500)},
    "long": {"text": "é" * 40_000},
    "a list": [1.0, {"1": 1, "0": 0}, None],
    "a text": "text",
    "null": None,
}


def made_up(count: int) -> Iterator[Any]:
    """Payloads of every kind, the same ones in every run."""
    dice = random.Random(7)
    planes = ((0x20, 0x7F), (0xA0, 0x2FF), (0x900, 0xDFFF), (0xE000, 0xFFFF), (0x1F300, 0x1FAFF), (0, 0x1F))

    def text() -> str:
        return "".join(chr(dice.randint(*dice.choice(planes))) for _ in range(dice.randint(0, 12)))

    def key() -> str:
        return dice.choice((text(), str(dice.randint(0, 2**33)), str(dice.randint(0, 20))))

    def value(depth: int) -> Any:
        kind = dice.randint(0, 8 if depth < 4 else 6)
        if kind > 6:
            size = dice.randint(0, 6)
            return (
                {key(): value(depth + 1) for _ in range(size)} if kind == 8 else [value(depth + 1) for _ in range(size)]
            )
        return (
            text(),
            dice.randint(-(2**60), 2**60),
            dice.uniform(-1, 1) * 10.0 ** dice.randint(-20, 40),
            round(dice.uniform(0, 100), 2),
            float(dice.randint(-5, 5)),
            dice.choice((True, False, None)),
            dice.randint(0, 9),
        )[kind]

    for _ in range(count):
        yield {key(): value(0) for _ in range(dice.randint(0, 8))}


@dataclass
class Customer:
    """A receiver, with the wire format and the secret that its requests are made with."""

    running: Receiver
    wire_format: WireFormat
    secret: str
    session: requests.Session

    def send(self, data: Any, *, type_: str = "message.failed", secret: str = "", spoil: bytes = b"") -> int:
        """POST one event as the engine does; the status of the answer."""
        stored = js_json.escape_surrogates(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
        message = Message("evt_018f", type_, MOMENT, stored)
        body = self.wire_format.envelope(message)
        key = key_of(secret or self.secret, self.wire_format.secret_format)
        signature = self.wire_format.scheme.headers(
            message_id=message.id, timestamp=int(time.time()), body=body, keys=(key,)
        )
        headers = {
            "Content-Type": "application/json",
            **dict(self.wire_format.extra_headers(message)),
            **dict(signature),
        }
        answer = self.session.post(self.running.url, data=body + spoil, headers=headers, timeout=10)
        return answer.status_code


@pytest.fixture(scope="module", params=RECEIVERS, ids=lambda pair: f"{pair[1]} in {pair[0]}")
def customer(request: pytest.FixtureRequest) -> Iterator[Customer]:
    language, system = request.param
    wire_format = get_wire_format(system.partition("-")[0])
    secret = new_secret(wire_format.secret_format)
    with receiver(language, system, secret) as running, requests.Session() as session:
        session.trust_env = False
        yield Customer(running, wire_format, secret, session)


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_receiver_verifies_every_payload(customer: Customer, name: str) -> None:
    before = len(customer.running.verdicts)
    assert customer.send(PAYLOADS[name]) == 200
    verdict = customer.running.wait_for(before + 1)[-1]
    assert verdict.verified
    assert json.loads(verdict.body)


def test_a_receiver_verifies_payloads_that_nobody_thought_of(customer: Customer) -> None:
    refused = [data for data in made_up(150) if customer.send(data) != 200]
    assert refused == []


def test_a_receiver_verifies_every_documented_event(customer: Customer) -> None:
    assert {customer.send({"id": "msg_1"}, type_=type_.name) for type_ in customer.wire_format.event_types} <= {200}


def test_a_receiver_refuses_another_secret_and_a_changed_body(customer: Customer) -> None:
    """Or else the tests above would show nothing."""
    assert customer.send({"a": 1}, secret=new_secret(customer.wire_format.secret_format)) == 401
    assert customer.send({"a": 1}) == 200
    parses = customer.running.url.endswith(("msgine", "messages_dev-json"))  # these do not notice white space
    assert parses or customer.send({"a": 1}, spoil=b" ") == 401
    changed = replace(customer, wire_format=replace(customer.wire_format, envelope=lambda message: b'{"a":1}'))
    assert changed.send({}) == 200
    assert changed.send({}, spoil=b"}") in (401, 500)


def test_receivers_that_parse_need_bodies_made_for_javascript() -> None:
    """The same events as Python writes them do not verify: `core.js_json` is what makes the difference."""
    wire_format = get_wire_format("messages_dev")
    assert isinstance(wire_format.envelope, Nested)
    plain = replace(wire_format, envelope=replace(wire_format.envelope, javascript=False))
    secret = new_secret(wire_format.secret_format)
    with receiver("node", "messages_dev-json", secret) as running, requests.Session() as session:
        customer = Customer(running, plain, secret, session)
        assert customer.send({"text": "plain"}) == 200
        assert [customer.send(PAYLOADS[name]) for name in ("fractions", "integer-like keys", "whole numbers")] == [
            401
        ] * 3


def test_a_secret_brought_along_works_as_it_was_typed() -> None:
    for name, language, secret in (
        ("muchaw", "node", "whsec_clé à moi 😀 0123456789"),
        ("msgflash", "python", "generated_once_secret"),
        ("gateway", "node", "string"),
        ("gateway", "python", "string"),
        ("standard", "python", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ):
        with receiver(language, name, secret) as running, requests.Session() as session:
            assert Customer(running, get_wire_format(name), secret, session).send({"a": 1}) == 200
