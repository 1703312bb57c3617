"""Body shapes: which bytes come out for a message."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks_app.core.envelope import Flat, Nested, encode, epoch_ms, iso_ms, iso_seconds, standard_envelope
from webhooks_app.core.message import Message

MOMENT = datetime(2026, 4, 1, 10, 0, 5, 123_987, tzinfo=UTC)
NESTED = Nested(order=("event", "data", "timestamp"))


def message(data: str, type_: str = "message.delivered", moment: datetime = MOMENT) -> Message:
    return Message("evt_1", type_, moment, data)


def test_the_times_are_cut_off_and_in_utc() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    for moment in (MOMENT, elsewhere):
        assert iso_ms(moment) == "2026-04-01T10:00:05.123Z"
        assert iso_seconds(moment) == "2026-04-01T10:00:05Z"
        assert epoch_ms(moment) == 1_775_037_605_123
    assert iso_ms(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
    assert epoch_ms(datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=UTC)) == -1


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_time_is_the_same_millisecond_in_all_formats(moment: datetime) -> None:
    read = datetime.fromisoformat(iso_ms(moment))
    assert timedelta(0) <= moment - read < timedelta(milliseconds=1)
    assert epoch_ms(moment) == epoch_ms(read)


def test_the_standard_body_keeps_the_stored_data_byte_for_byte() -> None:
    body = standard_envelope(message('{"b":1.0,"1":1e-07,"b":2,"é":"\\u00e9"}'))
    assert body.decode() == (
        '{"type":"message.delivered","timestamp":"2026-04-01T10:00:05.123Z",'
        '"data":{"b":1.0,"1":1e-07,"b":2,"é":"\\u00e9"}}'
    )


def test_a_lone_surrogate_never_stops_a_body() -> None:
    assert standard_envelope(message('"\ud800"')).endswith(b'"data":"\\ud800"}')
    assert encode('"é\udfffé"') == '"é\\udfffé"'.encode()
    assert NESTED(message('{"x":"\ud800"}')).startswith(b'{"event":"message.delivered","data":{"x":"\\ud800"}')


def test_a_nested_body_has_the_keys_in_the_order_asked_for() -> None:
    shape = Nested(order=("at", "payload", "kind"), type_key="kind", time_key="at", data_key="payload", time=epoch_ms)
    assert shape(message('{"b":[1,2]}')) == b'{"at":1775037605123,"payload":{"b":[1,2]},"kind":"message.delivered"}'


def test_a_nested_body_leaves_out_what_is_not_known() -> None:
    assert json.loads(NESTED(message('{"a":null,"b":{"c":null},"d":[null]}')))["data"] == {
        "b": {"c": None},
        "d": [None],
    }
    kept = Nested(order=NESTED.order, omit_null=False)
    assert json.loads(kept(message('{"a":null}')))["data"] == {"a": None}


@pytest.mark.parametrize("data", ["[1,null]", '"text"', "null", "7", "true", "{}", "[]"])
def test_data_need_not_be_an_object(data: str) -> None:
    assert json.loads(NESTED(message(data)))["data"] == json.loads(data)


def test_without_javascript_numbers_stay_as_python_has_them() -> None:
    plain = Nested(order=NESTED.order, javascript=False)
    assert b'"data":{"b":1.0,"1":18446744073709551616}' in plain(message('{"b":1.0,"1":18446744073709551616}'))
    assert b'"data":{"1":"18446744073709551616","b":1}' in NESTED(message('{"b":1.0,"1":18446744073709551616}'))
    assert Flat(javascript=False)(message('{"b":1.0}')).startswith(b'{"b":1.0,')


def test_a_flat_body_spreads_the_data_out_in_order() -> None:
    shape = Flat(order=("event", "to", "timestamp"))
    assert shape(message('{"z":1,"to":"+336","a":null}')).decode() == (
        '{"event":"message.delivered","to":"+336","timestamp":"2026-04-01T10:00:05.123Z","z":1}'
    )


def test_the_data_cannot_override_the_events_own_fields() -> None:
    shape = Flat(
        order=("event",),
        always=lambda message, data: {"sure": "ours"},
        unless_given=lambda message, data: {"maybe": "ours", "other": "ours"},
    )
    body = json.loads(shape(message('{"event":"theirs","timestamp":0,"sure":"theirs","maybe":"theirs"}')))
    assert body == {
        "event": "message.delivered",
        "timestamp": "2026-04-01T10:00:05.123Z",
        "sure": "ours",
        "maybe": "theirs",
        "other": "ours",
    }


def test_flat_data_that_is_no_object_goes_under_data() -> None:
    assert json.loads(Flat()(message("[1]")))["data"] == [1]
    assert "data" not in json.loads(Flat()(message("null")))


@pytest.mark.parametrize("shape", [standard_envelope, NESTED, Flat(order=("event",))])
def test_the_same_message_gives_the_same_bytes(shape: object) -> None:
    assert callable(shape)
    assert shape(message('{"b":{"y":1,"x":2},"a":1.5}')) == shape(message('{"b":{"y":1,"x":2},"a":1.5}'))
