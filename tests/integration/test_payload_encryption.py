"""With ENCRYPT_PAYLOADS payloads and responses are encrypted in the database, and everything else works as without it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from tests import api
from tests.customer import TYPE, Customer, attempts, deliver, make_due, statuses, the_delivery
from tests.kept import in_tables
from tests.receiver_behaviours import Answer
from tests.staff import page, superuser
from webhooks_app import EventType, change_endpoint, export_tenant, registry
from webhooks_app.core.encryption import new_key
from webhooks_app.deliveries.erase import erase_event
from webhooks_app.deliveries.recover import recover
from webhooks_app.deliveries.sent_requests import sent_request
from webhooks_app.exceptions import IdempotencyConflict, SealingError
from webhooks_app.models import Delivery, Event
from webhooks_app.models.payload_fields import UNREADABLE

pytestmark = pytest.mark.django_db(transaction=True)

no_counts = api.no_counts

PAYLOAD = {"card": "4242-4242", "city": "Zürich"}
CANARIES = ("4242-4242", "Zürich", "echoed-canary", "x-canary")


@pytest.fixture
def encrypt(settings):
    """Switch the setting, and replace the keys if some are given."""

    def change(on: bool, *keys: str) -> None:
        chosen: dict[str, Any] = {"ENCRYPT_PAYLOADS": on}
        if keys:
            chosen["ENCRYPTION_KEYS"] = list(keys)
        settings.WEBHOOKS = {**settings.WEBHOOKS, **chosen}

    return change


@pytest.fixture
def customer():
    with Customer() as customer:
        yield customer


def echo(customer: Customer, body: bytes = b"echoed-canary") -> None:
    customer.receiver.on("/hook", [Answer(200, {"X-Canary": "x-canary"}, body)] * 10)


def delivered(customer: Customer) -> Event:
    """An event that was sent, and whose receiver has responded with canaries."""
    echo(customer)
    customer.endpoint()
    event = customer.emit(PAYLOAD, idempotency_key="once")
    deliver()
    return event


def test_the_receiver_gets_the_payload_and_the_database_holds_none_of_it(encrypt, customer):
    encrypt(True)
    echo(customer)
    customer.endpoint()
    event = customer.emit(PAYLOAD, idempotency_key="once")
    assert event.data == json.dumps(PAYLOAD, separators=(",", ":"), ensure_ascii=False)
    deliver()
    assert json.loads(customer.received[0].body)["data"] == PAYLOAD
    stored = Event.objects.get(pk=event.pk)
    assert stored.data == event.data
    assert stored.size == len(event.data.encode())
    (attempt,) = attempts()
    assert attempt.response_body == b"echoed-canary"
    assert "x-canary" in attempt.response_headers
    assert in_tables(*CANARIES, stored.fingerprint) == set()


def test_without_the_setting_they_are_found_there(encrypt, customer):
    """The search of the test above finds what it looks for."""
    encrypt(False)
    event = delivered(customer)
    for canary, table in [*zip(CANARIES, ("Event", "Event", "Attempt", "Attempt"), strict=True)]:
        assert table in in_tables(canary)
    assert in_tables(event.fingerprint) == {"Event"}


def test_filters_decide_by_the_payload(encrypt, customer):
    encrypt(True)
    customer.endpoint(filters={"data.city": "Zürich"})
    customer.emit(PAYLOAD)
    customer.emit({"city": "Bern"})
    deliver()
    assert [json.loads(request.body)["data"]["city"] for request in customer.received] == ["Zürich"]


def test_recover_reads_the_payload(encrypt, customer):
    encrypt(True)
    endpoint = customer.endpoint(filters={"data.city": "Geneva"})
    customer.emit(PAYLOAD)
    customer.emit({"city": "Bern"})
    deliver()
    change_endpoint(endpoint, filters={"data.city": "Zürich"})
    recover(endpoint, endpoint.created_at)
    deliver()
    assert [json.loads(request.body)["data"]["city"] for request in customer.received] == ["Zürich"]


def test_a_key_repeats_the_first_event_and_refuses_another(encrypt, customer):
    encrypt(True)
    first = customer.emit(PAYLOAD, idempotency_key="once")
    assert customer.emit(PAYLOAD, idempotency_key="once").pk == first.pk
    with pytest.raises(IdempotencyConflict):
        customer.emit({"city": "Bern"}, idempotency_key="once")


def test_the_setting_can_be_changed_at_any_time(encrypt, customer):
    customer.receiver.on("/hook", [500, 500, 200, 200])
    customer.endpoint()
    events = []
    for on in (True, False):
        encrypt(on)
        events.append(customer.emit({"card": f"{on}"}, idempotency_key=f"{on}"))
    deliver()
    make_due()
    for on in (True, False):
        encrypt(on)
        for event in events:
            assert customer.emit(json.loads(event.data), idempotency_key=event.idempotency_key).pk == event.pk
            assert Event.objects.get(pk=event.pk).data == event.data
    deliver()
    assert statuses() == {"succeeded"}
    assert {json.loads(request.body)["data"]["card"] for request in customer.received[2:]} == {"True", "False"}


def test_an_event_that_is_saved_again_stays_encrypted_and_readable(encrypt, customer):
    encrypt(True)
    event = Event.objects.get(pk=customer.emit(PAYLOAD).pk)
    event.save()
    event.refresh_from_db()
    assert json.loads(event.data) == PAYLOAD
    partly = Event.objects.defer("data").get(pk=event.pk)
    assert partly.data == event.data
    partly.save()
    assert json.loads(Event.objects.get(pk=event.pk).data) == PAYLOAD
    assert in_tables(*CANARIES) == set()


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("body", [b"s1.cafe.AAAA", b"s0.plain", b"s0.s1.cafe.AAAA", b"s1.", b"\xff\x00binary", b""])
def test_a_response_that_looks_encrypted_is_kept_as_it_came(encrypt, customer, on, body):
    encrypt(on)
    echo(customer, body)
    customer.endpoint()
    customer.emit()
    deliver()
    assert attempts()[0].response_body == body
    assert attempts()[0].shown_body == body


def test_reencrypt_brings_everything_to_the_state_of_the_settings(encrypt, customer, settings):
    (old,) = settings.WEBHOOKS["ENCRYPTION_KEYS"]
    event = delivered(customer)
    newest = new_key()
    encrypt(True, newest, old)
    # The secret, and of the event two columns, of the attempt two.
    assert run("webhooks_reencrypt") == "5 reencrypted, 0 had the newest key, 0 unreadable.\n"
    assert run("webhooks_reencrypt") == "0 reencrypted, 5 had the newest key, 0 unreadable.\n"
    assert in_tables(*CANARIES) == set()
    encrypt(True, newest)
    assert json.loads(Event.objects.get(pk=event.pk).data) == PAYLOAD
    assert attempts()[0].response_body == b"echoed-canary"
    assert customer.emit(PAYLOAD, idempotency_key="once").pk == event.pk
    encrypt(False)
    assert run("webhooks_reencrypt") == "4 reencrypted, 1 had the newest key, 0 unreadable.\n"
    assert in_tables("4242-4242") == {"Event"}
    assert json.loads(Event.objects.get(pk=event.pk).data) == PAYLOAD


def test_without_its_key_a_payload_is_not_sent_and_costs_no_attempt(encrypt, customer, settings):
    (key,) = settings.WEBHOOKS["ENCRYPTION_KEYS"]
    encrypt(True)
    other = customer.endpoint("/other")
    event = customer.emit(PAYLOAD)
    encrypt(True, new_key())
    deliver()
    assert customer.received == []
    assert not Delivery.objects.filter(attempts__gt=0).exists()
    encrypt(True, key)
    make_due()
    deliver()
    assert the_delivery(event).status == "succeeded"
    assert other.pk == the_delivery(event).endpoint_id


def test_without_the_key_of_one_payload_the_others_are_sent(encrypt, customer, caplog):
    customer.endpoint("/lost", filters={"data.lost": True})
    customer.endpoint("/other", filters={"data.lost": False})
    encrypt(True)
    event = customer.emit({"lost": True})
    customer.emit({"lost": False})
    _replace(event, _stored(event).replace(_stored(event)[3:11], "00000000"))
    deliver()
    assert [request.path for request in customer.received] == ["/other"]
    assert Event.objects.pending().filter(quarantine_reason="").get() == event
    assert "'00000000'" in caplog.text


def test_a_payload_opens_only_in_its_own_row(encrypt, customer):
    encrypt(True)
    customer.endpoint()
    mine, others = customer.emit({"n": 1}), customer.emit({"n": 2})
    _replace(mine, _stored(others))
    with pytest.raises(SealingError):
        _ = Event.objects.get(pk=mine.pk).data
    deliver()
    assert 1 not in customer.numbers
    assert customer.numbers.count(2) <= 1
    assert not Delivery.objects.filter(event=mine, attempts__gt=0).exists()


def test_what_cannot_be_decrypted_is_shown_as_such(encrypt, customer):
    encrypt(True)
    echo(customer)
    customer.endpoint()
    event = customer.emit(PAYLOAD)
    deliver()
    (attempt,) = attempts()
    delivery = the_delivery(event)
    encrypt(True, new_key())
    program = api.Program(customer.tenant)
    assert program.get(f"/events/{event.public_id}")["data"] == UNREADABLE
    listed = program.get(f"/deliveries/{delivery.public_id}/attempts")
    assert UNREADABLE in json.dumps(listed)
    lines = [json.loads(line) for line in export_tenant(customer.tenant, actor="test")]
    assert {line["data"] for line in lines if line["kind"] == "event"} == {UNREADABLE}
    assert {line["response_body"] for line in lines if line["kind"] == "attempt"} == {UNREADABLE}
    assert sent_request(delivery, attempt, with_signature=True) is None
    staff = superuser()
    for row in (event, delivery, attempt):
        assert UNREADABLE in staff.get(page(row)).content.decode()


def test_an_erased_event_holds_nothing_and_is_shown_as_erased(encrypt, customer):
    encrypt(True)
    event = delivered(customer)
    erase_event(event, actor="test")
    erased = Event.objects.get(pk=event.pk)
    assert (erased.data, erased.fingerprint) == ("null", "")
    assert (attempts()[0].response_body, attempts()[0].response_headers) == (b"", "")
    run("webhooks_reencrypt")
    assert Event.objects.get(pk=event.pk).data == "null"


def test_without_any_key_emit_says_what_to_do_and_stores_nothing(encrypt, customer, settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPT_PAYLOADS": True, "ENCRYPTION_KEYS": []}
    with pytest.raises(SealingError, match="webhooks_key"):
        customer.emit(PAYLOAD)
    assert not Event.objects.exists()


def test_redacted_fields_are_hidden_as_without_it(encrypt, customer):
    encrypt(True)
    registry.unregister([TYPE])
    registry.register(EventType(TYPE, redact=("data.card",)))
    event = customer.emit(PAYLOAD)
    assert json.loads(Event.objects.get(pk=event.pk).shown_data) == {**PAYLOAD, "card": "[redacted]"}


def run(command: str) -> str:
    out = io.StringIO()
    call_command(command, stdout=out)
    return out.getvalue()


def _stored(event: Event) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, data FROM {Event._meta.db_table}")
        adapt = Event._meta.pk.get_db_prep_value
        rows = {str(adapt(key, connection)): data for key, data in cursor.fetchall()}
    return str(rows[str(adapt(event.pk, connection))])


def _replace(event: Event, stored: str) -> None:
    Event.objects.filter(pk=event.pk).update(data=stored)
