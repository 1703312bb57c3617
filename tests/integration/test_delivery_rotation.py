"""Requests while a secret is being replaced, and while it cannot be opened."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.customer import Customer, attempts, deliver, make_due, statuses, the_delivery
from tests.pipelines import eventually, running_engine
from tests.receiver_behaviours import Answer, Delay, Received
from webhooks_app.endpoints.secrets import end_old_secret, rotate_secret
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.engine import lease
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue, EndpointStatus, Engine, Secret
from webhooks_app.models.ids import new_id

pytestmark = pytest.mark.django_db(transaction=True)

OTHER_KEY = base64.b64encode(b"another key of thirty-two bytes!").decode()


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


class Lock:
    """A receiver of the single-signature kind that accepts what is signed with `secret`, and counts both kinds."""

    def __init__(self, secret: str, seconds: float = 0.0) -> None:
        self.secret = secret
        self.seconds = seconds
        self.answers: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, request: Received) -> Delay:
        digest = hmac.new(self.secret.encode(), request.body, hashlib.sha256).hexdigest()
        status = 200 if request.headers["x-muchaw-signature"] == f"sha256={digest}" else 401
        with self._lock:
            self.answers.append(status)
        return Delay(self.seconds, Answer(status))


def muchaw(customer: Customer) -> tuple[Endpoint, str]:
    url = customer.receiver.url("/hook")
    return create_endpoint(customer.tenant, url=url, events=["*"], wire_format="muchaw")


# --- several signatures -----------------------------------------------------------------------------------------------


def test_the_standard_wire_format_signs_with_the_old_and_the_new_secret(customer):
    url = customer.receiver.url("/hook")
    endpoint, old = create_endpoint(customer.tenant, url=url, events=["*"])
    new = rotate_secret(endpoint).text
    customer.emit()
    deliver()
    [request] = customer.received
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        Webhook(secret).verify(request.body, dict(request.headers))
    assert Attempt.objects.count() == 1


def test_after_the_overlap_only_the_new_secret_signs(customer):
    url = customer.receiver.url("/hook")
    endpoint, old = create_endpoint(customer.tenant, url=url, events=["*"])
    new = rotate_secret(endpoint).text
    end_old_secret(endpoint)
    customer.emit()
    deliver()
    [request] = customer.received
    Webhook(new).verify(request.body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(request.body, dict(request.headers))


def test_a_rotation_between_two_attempts_is_in_force_with_the_second(customer):
    url = customer.receiver.url("/hook")
    endpoint, _ = create_endpoint(customer.tenant, url=url, events=["*"])
    customer.receiver.on("/hook", [500, 200])
    customer.emit()
    deliver()
    new = rotate_secret(endpoint).text
    make_due()
    deliver()
    Webhook(new).verify(customer.received[1].body, dict(customer.received[1].headers))


# --- one signature ----------------------------------------------------------------------------------------------------


def test_a_receiver_that_knows_the_old_secret_gets_one_request(customer):
    endpoint, old = muchaw(customer)
    rotate_secret(endpoint)
    lock = Lock(old)
    customer.receiver.on("/hook", lock)
    customer.emit()
    deliver()
    assert lock.answers == [200]


def test_a_receiver_that_knows_the_new_secret_gets_it_at_once_within_the_same_attempt(customer):
    endpoint, _ = muchaw(customer)
    lock = Lock(rotate_secret(endpoint).text)
    customer.receiver.on("/hook", lock)
    customer.emit()
    deliver()
    assert lock.answers == [401, 200]
    delivery = the_delivery()
    assert (delivery.status, delivery.attempts, delivery.retry_step) == ("succeeded", 1, 0)
    assert [(row.number, row.status) for row in attempts()] == [(1, 401), (1, 200)]
    by_age = list(Secret.objects.filter(endpoint=endpoint).order_by("id").values_list("id", flat=True))
    assert [row.secret_id for row in attempts()] == by_age
    assert EndpointQueue.objects.get().consecutive_failures == 0


def test_the_secret_that_was_accepted_last_goes_first_from_then_on(customer):
    endpoint, old = muchaw(customer)
    lock = Lock(rotate_secret(endpoint).text)
    customer.receiver.on("/hook", lock)
    customer.emit_several(3)
    deliver()
    assert lock.answers == [401, 200, 200, 200], "within one lease"
    customer.emit()
    deliver()
    assert lock.answers[4:] == [200], "and in the next one"
    lock.secret = old
    customer.emit()
    deliver()
    customer.emit()
    deliver()
    assert lock.answers[5:] == [401, 200, 200], "also back again"


def test_a_receiver_that_changes_over_under_load_misses_nothing(customer):
    endpoint, old = muchaw(customer)
    new = rotate_secret(endpoint).text
    lock = Lock(old, seconds=0.02)
    changed_over = threading.Event()

    def react(request: Received) -> Delay:
        if len(lock.answers) == 30 and not changed_over.is_set():
            changed_over.set()
            lock.secret = new
        return lock(request)

    customer.receiver.on("/hook", react)
    customer.emit_several(80)
    deliver()
    assert statuses() == {"succeeded"}
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}
    assert 1 <= lock.answers.count(401) <= 8, "only what was in flight"
    current = Secret.objects.get(endpoint=endpoint, expires_at=None)
    for row in attempts()[-10:]:
        assert (row.status, row.secret_id) == (200, current.pk)
    assert current.accepted_at is not None
    lock.answers.clear()
    customer.emit()
    deliver()
    assert lock.answers == [200]


def test_a_receiver_that_knows_neither_secret_costs_one_attempt_of_two_requests(customer):
    endpoint, _ = muchaw(customer)
    rotate_secret(endpoint)
    lock = Lock("something else")
    customer.receiver.on("/hook", lock)
    customer.emit()
    deliver()
    assert lock.answers == [401, 401]
    delivery = the_delivery()
    assert (delivery.status, delivery.attempts) == ("pending", 1)
    assert EndpointQueue.objects.get().consecutive_failures == 1, "the pair counts once"


@pytest.mark.parametrize("status", [429, 500, 302])
def test_only_an_answer_that_may_be_about_the_signature_tries_the_other_secret(customer, status):
    endpoint, _ = muchaw(customer)
    rotate_secret(endpoint)
    customer.receiver.on("/hook", status)
    customer.emit()
    deliver()
    assert len(customer.received) == Attempt.objects.count() == 1


def test_without_a_rotation_a_refusal_is_one_request(customer):
    muchaw(customer)
    customer.receiver.on("/hook", 401)
    customer.emit()
    deliver()
    assert len(customer.received) == 1


# --- no key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [[], [OTHER_KEY]], ids=["none", "another"])
def test_without_the_encryption_key_nothing_is_sent_and_nothing_is_lost(customer, settings, keys):
    before = settings.WEBHOOKS
    endpoint = customer.endpoint(headers={"X-Token": "t"})
    customer.emit_several(3)
    settings.WEBHOOKS = {**before, "ENCRYPTION_KEYS": keys}
    for _ in range(3):
        deliver()
        make_due()
    assert customer.received == []
    assert Attempt.objects.count() == 0
    assert set(Delivery.objects.values_list("status", "attempts")) == {("pending", 0)}
    assert Endpoint.objects.get(pk=endpoint.pk).status == EndpointStatus.ACTIVE
    settings.WEBHOOKS = before
    make_due()
    deliver()
    assert statuses() == {"succeeded"}
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}


def test_an_engine_without_the_key_leaves_the_endpoint_to_one_that_has_it(customer, monkeypatch):
    """As during a deployment: the processes have different keys."""
    customer.endpoint("/hook")
    load, first = lease.load_endpoint_configs, []

    def load_configs(ids, using):
        configs = load(ids, using)
        if configs:
            first.append(threading.get_ident())
        if first[:1] != [threading.get_ident()]:
            return configs
        return {key: replace(each, fault="no key", fault_is_local=True) for key, each in configs.items()}

    monkeypatch.setattr(lease, "load_endpoint_configs", load_configs)
    with running_engine(2):
        eventually(lambda: Engine.objects.count() == 2)
        for number in range(1, 6):
            customer.emit_several(1)
            # And not after the hold of a minute.
            eventually(lambda number=number: len(attempts()) == number, patience=15.0)
    assert len(set(first)) == 2
    assert statuses() == {"succeeded"}


def test_a_secret_that_cannot_be_opened_does_not_stop_other_endpoints(customer):
    broken, works = customer.endpoint("/broken"), customer.endpoint("/works")
    Secret.objects.filter(endpoint=broken).update(id=new_id())  # sealed to its row: moved, it does not open
    customer.emit_several(2)
    deliver()
    assert {request.path for request in customer.received} == {"/works"}
    assert set(Delivery.objects.filter(endpoint=works).values_list("status", flat=True)) == {"succeeded"}
    assert set(Delivery.objects.filter(endpoint=broken).values_list("status", "attempts")) == {("pending", 0)}
    rotate_secret(broken)
    Secret.objects.filter(endpoint=broken, expires_at__isnull=False).delete()
    make_due()
    deliver()
    assert statuses() == {"succeeded"}
