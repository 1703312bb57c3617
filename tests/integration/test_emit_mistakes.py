"""A mistake in an event: told where developers see it, kept for staff in production; the host goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from project.messaging.models import Organisation
from tests.conftest import Configure
from tests.factories import EventTypeFactory
from tests.pipelines import rolled_back
from tests.receiver import Receiver
from webhooks_app import EventInput, emit, emit_many
from webhooks_app.core.message import Message
from webhooks_app.exceptions import (
    InvalidEvent,
    PayloadTooLarge,
    UnknownEventType,
    URLNotAllowed,
    WebhooksError,
)
from webhooks_app.models import Event
from webhooks_app.wire_formats import get_wire_format, wire_format_names

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]


def fails(thing: Any) -> str:
    raise KeyError(thing)


def nested(levels: int) -> list[Any]:
    data: list[Any] = []
    for _ in range(levels - 1):
        data = [data]
    return data


MISTAKES: dict[str, tuple[type[WebhooksError], dict[str, Any]]] = {
    "unknown type": (UnknownEventType, {"type": "nobody.knows"}),
    "type is no text": (UnknownEventType, {"type": 5}),
    "type with NUL": (UnknownEventType, {"type": "a\x00b"}),
    "type with a lone surrogate": (UnknownEventType, {"type": "a\ud800"}),
    "type too long": (UnknownEventType, {"type": "a" * 300}),
    "breaks the schema": (InvalidEvent, {"type": "test.checked", "data": {"n": "one"}}),
    "too large": (PayloadTooLarge, {"data": "x" * 300_000}),
    "too large in bytes": (PayloadTooLarge, {"data": "ü" * 140_000}),
    "not serialisable": (InvalidEvent, {"data": object()}),
    "NaN": (InvalidEvent, {"data": float("nan")}),
    "keys of tuples": (InvalidEvent, {"data": {(1, 2): 3}}),
    "recursion": (InvalidEvent, {"data": (loop := [])}),
    "nested too deeply": (InvalidEvent, {"data": nested(257)}),
    "channels are one text": (InvalidEvent, {"channels": "number:1"}),
    "too many channels": (InvalidEvent, {"channels": [str(n) for n in range(11)]}),
    "empty channel": (InvalidEvent, {"channels": [""]}),
    "long channel": (InvalidEvent, {"channels": ["c" * 129]}),
    "channel with NUL": (InvalidEvent, {"channels": ["a\x00"]}),
    "channel is no text": (InvalidEvent, {"channels": [7]}),
    "channel is a list": (InvalidEvent, {"channels": [["a"]]}),
    "channels are a number": (InvalidEvent, {"channels": 7}),
    "channels are None": (InvalidEvent, {"channels": None}),
    "subject is no text": (InvalidEvent, {"subject": 7}),
    "subject too long": (InvalidEvent, {"subject": "s" * 256}),
    "subject with NUL": (InvalidEvent, {"subject": "a\x00b"}),
    "subject with a lone surrogate": (InvalidEvent, {"subject": "a\ud800"}),
    "key empty": (InvalidEvent, {"idempotency_key": ""}),
    "key too long": (InvalidEvent, {"idempotency_key": "k" * 256}),
    "key is no text": (InvalidEvent, {"idempotency_key": 7}),
    "key with a lone surrogate": (InvalidEvent, {"idempotency_key": "a\ud800"}),
    "naive time": (InvalidEvent, {"occurred_at": datetime(2026, 1, 1)}),
    "time is a text": (InvalidEvent, {"occurred_at": "2026-01-01"}),
    "callback not allowed": (URLNotAllowed, {"callback_url": "http://10.0.0.1/"}),
    "callback is no URL": (URLNotAllowed, {"callback_url": "not a url"}),
    "callback with a lone surrogate": (URLNotAllowed, {"callback_url": "https://example.com/\ud800"}),
    "callback is a number": (InvalidEvent, {"callback_url": 7}),
    "tenant is nothing": (InvalidEvent, {"tenant": None}),
    "tenant with a lone surrogate": (InvalidEvent, {"tenant": "a\ud800"}),
}
loop.append(loop)


@pytest.mark.parametrize(("error", "values"), MISTAKES.values(), ids=MISTAKES)
class TestAMistake:
    def test_raises_where_developers_see_it(self, error: type[WebhooksError], values: dict[str, Any]) -> None:
        with pytest.raises(error):
            emit(**{"type": "test.happened", "data": {}, "tenant": "anna", **values})
        assert not Event.objects.exists()

    def test_is_stored_quarantined_in_production_and_the_host_goes_on(
        self, error: type[WebhooksError], values: dict[str, Any], configure: Configure, caplog: Any
    ) -> None:
        configure(STRICT=False)
        with transaction.atomic():
            event = emit(**{"type": "test.happened", "data": {"n": 1}, "tenant": "anna", **values})
            Organisation.objects.create(name="the host's business")
        assert Organisation.objects.exists()
        row = Event.objects.get()
        assert row == event
        assert row.quarantine_reason
        assert row.fanned_out_at is not None
        assert row.size <= 256 * 1024
        assert "was quarantined" in caplog.text
        assert caplog.records[-1].levelname == "ERROR"


class TestQuarantine:
    @pytest.fixture(autouse=True)
    def in_production(self, configure: Configure) -> None:
        configure(STRICT=False)

    def test_is_told_after_the_commit_only(self) -> None:
        from webhooks_app.signals import event_quarantined

        told: list[Any] = []

        def note(event_id: Any, reason: str, **_: object) -> None:
            told.append((event_id, reason))

        event_quarantined.connect(note)
        try:
            with transaction.atomic():
                event = emit("nobody.knows", {}, tenant="anna")
                assert told == []
            assert told == [(event.pk, event.quarantine_reason)]
            with rolled_back():
                emit("nobody.knows", {}, tenant="anna")
            assert len(told) == 1
        finally:
            event_quarantined.disconnect(note)

    def test_that_cannot_be_told_stops_nothing_of_the_hosts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from webhooks_app.signals import event_quarantined

        monkeypatch.setattr(event_quarantined, "send_robust", lambda **_: 1 / 0)
        done: list[bool] = []
        with transaction.atomic():
            emit("nobody.knows", {}, tenant="anna")
            transaction.on_commit(lambda: done.append(True))
        assert done

    def test_keeps_the_other_events_of_the_call(self) -> None:
        inputs = [EventInput(type=name, data={}, tenant="anna") for name in ("test.happened", "nobody.knows")]
        good, bad = emit_many(inputs)
        assert (good.quarantine_reason, bool(bad.quarantine_reason)) == ("", True)
        assert Event.objects.pending().get() == good

    def test_survives_a_function_of_the_hosts_that_fails(self, configure: Configure) -> None:
        configure(TENANT_UID_FUNCTION="tests.integration.test_emit_mistakes.fails")
        assert "KeyError" in emit("test.happened", {}, tenant=User(pk=1)).quarantine_reason
        assert Event.objects.get().tenant_uid == "(unknown)"

    def test_survives_data_that_fails_in_its_own_way(self) -> None:
        class Fails:
            def __str__(self) -> str:
                raise KeyError("no translation")

            __repr__ = __str__

        assert emit("test.happened", {"n": Fails()}, tenant="anna").quarantine_reason

    @pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "#/nowhere"}, {"pattern": "("}])
    def test_survives_a_schema_that_is_none(self, schema: Any) -> None:
        EventTypeFactory(name="staff.made", schema=schema)
        assert emit("staff.made", "text", tenant="anna").quarantine_reason


class TestNesting:
    def test_of_256_levels_is_taken_and_can_be_written_in_every_wire_format(self) -> None:
        emit("test.happened", nested(256), tenant="t1")
        event = Event.objects.get()
        assert event.quarantine_reason == ""
        message = Message("evt_1", event.type, event.occurred_at, event.data)
        for name in wire_format_names():
            assert event.data.encode() in get_wire_format(name).envelope(message)

    def test_is_not_seen_in_brackets_of_a_text(self) -> None:
        emit("test.happened", {"text": '[{"' * 500 + "\\", "more": "]" * 500}, tenant="t1")
        assert Event.objects.get().quarantine_reason == ""


class TestTheSchema:
    def test_is_that_of_the_declared_type(self) -> None:
        emit("test.checked", {"n": 1}, tenant="anna")
        with pytest.raises(InvalidEvent, match=r"\$\.n: 'one' is not of type 'integer'"):
            emit("test.checked", {"n": "one"}, tenant="anna")

    def test_is_that_of_a_type_added_by_staff(self) -> None:
        EventTypeFactory(name="staff.made", schema={"required": ["n"]})
        emit("staff.made", {"n": 1}, tenant="anna")
        with pytest.raises(InvalidEvent, match="'n' is a required property"):
            emit("staff.made", {}, tenant="anna")

    def test_is_never_fetched_from_the_network(self, receiver: Receiver) -> None:
        EventTypeFactory(name="staff.made", schema={"$ref": receiver.url("/schema")})
        with pytest.raises(InvalidEvent, match=r"The schema of 'staff.made' cannot be used"):
            emit("staff.made", {}, tenant="anna")
        assert receiver.requests == []

    def test_costs_a_bounded_number_of_steps(self, configure: Configure) -> None:
        refs = [{"$ref": f"#/$defs/d{number + 1}"} for number in range(40)]
        steps = {f"d{number}": {"allOf": [ref, ref]} for number, ref in enumerate(refs)}
        EventTypeFactory(name="staff.made", schema={"$ref": "#/$defs/d0", "$defs": {**steps, "d40": {}}})
        with pytest.raises(InvalidEvent, match=r"takes too many steps\. Send shorter lists and texts") as caught:
            emit("staff.made", {}, tenant="anna")
        assert caught.value.field == "data"
        configure(STRICT=False)
        assert "too many steps" in emit("staff.made", {}, tenant="anna").quarantine_reason

    def test_may_have_any_pattern_that_reads_each_character_once(self) -> None:
        """With `re`, forty characters would take hours."""
        EventTypeFactory(name="staff.made", schema={"pattern": "^(a+)+$"})
        emit("staff.made", "a" * 40, tenant="anna")
        with pytest.raises(InvalidEvent, match="does not match"):
            emit("staff.made", "a" * 40 + "!", tenant="anna")

    def test_with_a_pattern_that_cannot_be_used_says_so(self) -> None:
        EventTypeFactory(name="staff.made", schema={"pattern": "(?=a)b"})
        with pytest.raises(InvalidEvent, match=r"The pattern '\(\?=a\)b' cannot be used: it uses look-around"):
            emit("staff.made", "ab", tenant="anna")

    def test_sees_the_data_as_the_receiver_will(self) -> None:
        EventTypeFactory(name="staff.made", schema={"properties": {"at": {"type": "string"}}})
        emit("staff.made", {"at": datetime(2026, 1, 1, tzinfo=UTC)}, tenant="anna")
