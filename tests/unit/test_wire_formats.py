"""The wire formats, line by line against what the documents of the reference systems say."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings

from webhooks_app import contrib
from webhooks_app.core.message import Message
from webhooks_app.core.retry import STANDARD_RULES, DeliveryVerdict, OutcomeKind, decide, outcome_of_status
from webhooks_app.core.signing import key_of
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.wire_formats import get_wire_format, standard, wire_format_names
from webhooks_app.wire_formats.base import WireFormat

BUILT_IN = ("gateway", "messages_dev", "msgflash", "msgine", "muchaw", "standard")
FIXED = ("msgflash", "msgine", "muchaw")
MINE = replace(standard.WIRE_FORMAT, name="mine")
MOMENT = datetime(2024, 1, 15, 10, 30, 15, 999_999, tzinfo=UTC)


def body(name: str, type_: str, data: dict[str, Any], moment: datetime = MOMENT) -> str:
    return get_wire_format(name).envelope(Message("evt_1", type_, moment, json.dumps(data))).decode()


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# --- finding them ----------------------------------------------------------------------------------------------------


@override_settings(WEBHOOKS={})
def test_standard_is_always_there_and_the_others_are_switched_on() -> None:
    assert wire_format_names() == ("standard",)
    assert get_wire_format("standard") is standard.WIRE_FORMAT
    with pytest.raises(
        ConfigurationError, match=r"Switch it on: .*'muchaw': 'webhooks_app\.contrib\.muchaw\.WIRE_FORMAT'"
    ):
        get_wire_format("muchaw")


@override_settings(WEBHOOKS={"WIRE_FORMATS": contrib.WIRE_FORMATS})
def test_the_wire_formats_of_contrib() -> None:
    assert wire_format_names() == BUILT_IN
    for name in BUILT_IN:
        assert get_wire_format(name).name == name


def test_a_hosts_own_wire_format_goes_first() -> None:
    path = f"{__name__}.MINE"
    with override_settings(WEBHOOKS={"WIRE_FORMATS": {"mine": path, "muchaw": path}}):
        assert get_wire_format("mine") is MINE
        assert get_wire_format("muchaw") is MINE
        assert get_wire_format("standard") is standard.WIRE_FORMAT
        assert wire_format_names() == ("mine", "muchaw", "standard")


def test_an_unknown_wire_format_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"no wire format 'nope'.*msgflash, msgine"):
        get_wire_format("nope")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no.such.module", "cannot be imported"),
        ("nodots", "cannot be imported"),
        (f"{__name__}.MOMENT", "is not a WireFormat"),
    ],
)
def test_a_dotted_path_that_leads_nowhere(path: str, message: str) -> None:
    with override_settings(WEBHOOKS={"WIRE_FORMATS": {"mine": path}}), pytest.raises(ConfigurationError, match=message):
        get_wire_format("mine")


# --- what all have in common -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_wire_format_is_consistent(name: str) -> None:
    wire_format = get_wire_format(name)
    message = Message("evt_1", "message.sent", MOMENT, "{}")
    extra = {header.lower() for header, _ in wire_format.extra_headers(message)}
    assert not extra & set(wire_format.scheme.header_names)
    assert wire_format.connect_timeout <= wire_format.total_timeout
    assert len({type_.name for type_ in wire_format.event_types}) == len(wire_format.event_types)
    assert json.loads(wire_format.envelope(message))


@pytest.mark.parametrize(
    ("name", "reserved"), [("msgflash", ["event", "timestamp"]), ("msgine", ["event", "status", "timestamp"])]
)
def test_a_hosts_data_do_not_replace_what_a_flat_body_says_itself(name: str, reserved: list[str]) -> None:
    message = Message("evt_1", "message.sent", MOMENT, json.dumps(dict.fromkeys(reserved, "host")))
    body = json.loads(get_wire_format(name).envelope(message))
    assert not [key for key in reserved if body[key] == "host"]


@pytest.mark.parametrize("name", ["msgflash", "msgine", "messages_dev", "muchaw"])
def test_one_signature_whose_key_is_the_shown_text(name: str) -> None:
    wire_format = get_wire_format(name)
    assert wire_format.single_signature
    assert key_of("whsec_generated_once_secret", wire_format.secret_format) == b"whsec_generated_once_secret"


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("status", [301, 400, 404, 410, 429, 500, 503])
def test_a_fixed_schedule_treats_no_answer_specially(name: str, status: int) -> None:
    policy = get_wire_format(name).retry
    outcome = outcome_of_status(status, retry_after=7200)
    for step, delay in enumerate(policy.delays):
        decision = decide(outcome, step, MOMENT, policy)
        assert (decision.verdict, decision.at, decision.disable) == (DeliveryVerdict.RETRY, MOMENT + delay, "")
    assert decide(outcome, len(policy.delays), MOMENT, policy).verdict is DeliveryVerdict.GIVE_UP
    assert outcome.kind is not OutcomeKind.SUCCEEDED
    assert policy.rules == ()
    assert not policy.breaker


@pytest.mark.parametrize(
    ("name", "requests", "minutes"),
    [
        ("msgflash", 5, (1, 2, 4, 8)),
        ("msgine", 6, (1, 5, 15, 60, 360)),
        ("muchaw", 4, (0.5, 5, 30)),
    ],
)
def test_the_documented_schedules(name: str, requests: int, minutes: tuple[float, ...]) -> None:
    policy = get_wire_format(name).retry
    assert policy.max_attempts == requests
    assert policy.delays == tuple(timedelta(minutes=value) for value in minutes)
    assert bool(policy.jitter) == (name == "muchaw")  # the only document that says "about"


@pytest.mark.parametrize("name", ["standard", "gateway", "messages_dev"])
def test_where_a_document_is_silent_the_standards_schedule_applies(name: str) -> None:
    policy = get_wire_format(name).retry
    assert policy.max_attempts == 10
    assert policy.rules == STANDARD_RULES


# --- each document ---------------------------------------------------------------------------------------------------


def test_msgflash_as_documented() -> None:
    wire_format = get_wire_format("msgflash")
    data = {
        "instanceId": "inst_uuid",
        "messageId": "msg_uuid",
        "providerMessageId": "BAE5D1A2B3C4D5E6",
        "to": "+33612345678",
    }
    moment = datetime(2026, 4, 1, 10, 0, 5, tzinfo=UTC)
    documented = {
        "event": "message.delivered",
        **data,
        "status": "delivered",
        "timestamp": "2026-04-01T10:00:05.000Z",
    }
    assert body("msgflash", "message.delivered", data, moment) == compact(documented)
    message = Message("evt_1", "instance.connected", moment, "{}")
    assert wire_format.extra_headers(message) == (("X-MsgFlash-Event", "instance.connected"),)
    assert "status" not in json.loads(wire_format.envelope(message))
    assert json.loads(body("msgflash", "message.delivered", {"status": "read"}))["status"] == "read"
    assert wire_format.https_only
    assert len(wire_format.event_types) == 7


def test_msgine_as_documented() -> None:
    data = {"sid": "SM1234567890abcdef", "messageId": "msg_1234567890", "from": "MyApp", "to": "+256701521269"}
    documented = {
        "id": "msg_1234567890",
        "event": "message.delivered",
        "status": "delivered",
        "to": "+256701521269",
        "from": "MyApp",
        "timestamp": "2024-01-15T10:30:15Z",
        "messageId": "msg_1234567890",
        "sid": "SM1234567890abcdef",
    }
    assert body("msgine", "message.delivered", data) == compact(documented)
    wire_format = get_wire_format("msgine")
    assert wire_format.total_timeout == 5.0
    assert wire_format.warn_body_bytes == 100_000
    assert wire_format.https_only


def test_a_failed_msgine_message_as_documented() -> None:
    data = {
        "id": "msg_1234567890",
        "to": "+256701521269",
        "from": "MyApp",
        "failureReason": "Invalid phone number",
        "errorCode": "invalid_phone_number",
        "messageId": None,
    }
    documented = {
        "id": "msg_1234567890",
        "event": "message.failed",
        "status": "failed",
        "to": "+256701521269",
        "from": "MyApp",
        "timestamp": "2024-01-15T10:30:15Z",
        "failureReason": "Invalid phone number",
        "errorCode": "invalid_phone_number",
    }
    assert body("msgine", "message.failed", data) == compact(documented)


@pytest.mark.parametrize(
    ("data", "reason"),
    [({}, "Unknown"), ({"failureReason": None}, "Unknown"), ({"failureReason": "", "errorCode": "e1"}, "e1")],
)
def test_a_failed_msgine_message_always_has_a_reason(data: dict[str, Any], reason: str) -> None:
    assert json.loads(body("msgine", "message.failed", data))["failureReason"] == reason
    assert "failureReason" not in json.loads(body("msgine", "message.sent", {"failureReason": None}))


def test_msgines_own_fields_cannot_be_overridden_and_there_is_always_an_id() -> None:
    sent = json.loads(body("msgine", "message.sent", {"event": "x", "status": "x", "timestamp": "x", "extra": 1}))
    assert sent == {
        "id": "evt_1",
        "event": "message.sent",
        "status": "sent",
        "timestamp": "2024-01-15T10:30:15Z",
        "extra": 1,
    }


def test_messages_dev_as_documented() -> None:
    data = {"object": "message", "id": "msg_abc123", "is_from_me": False, "sent_at": 1710000000000, "text": None}
    moment = datetime(2024, 3, 9, 16, 0, 0, 123_000, tzinfo=UTC)
    documented = (
        '{"event":"message.received","data":{"object":"message","id":"msg_abc123","is_from_me":false,'
        '"sent_at":1710000000000},"timestamp":1710000000123}'
    )
    assert body("messages_dev", "message.received", data, moment) == documented
    assert get_wire_format("messages_dev").channel_prefix == "line:"


def test_muchaw_as_documented() -> None:
    data = {"id": "msg_01j", "numberId": "clxyz123", "body": {"body": "Hello!"}}
    moment = datetime(2024, 1, 15, 10, 5, tzinfo=UTC)
    documented = {"event": "message.received", "timestamp": "2024-01-15T10:05:00.000Z", "data": data}
    assert body("muchaw", "message.received", data, moment) == compact(documented)
    wire_format = get_wire_format("muchaw")
    assert wire_format.retry.disable_after_failures == 10
    assert wire_format.retry.disable_after is None
    assert wire_format.channel_prefix == "number:"


def test_the_gateway_is_the_standards_wire() -> None:
    gateway: WireFormat = get_wire_format("gateway")
    assert gateway.scheme == get_wire_format("standard").scheme
    assert body("gateway", "message.received", {"a": 1}) == body("standard", "message.received", {"a": 1})
    assert gateway.https_only
