"""Requests to receivers that require authentication: HTTP Basic, bearer tokens, OAuth 2.0 client credentials."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import host_formats
from tests.authentication import CLIENT_ID, CLIENT_SECRET, TokenServer, requires
from tests.customer import TYPE, Customer, attempts, deliver, make_due, statuses
from webhooks_app.deliveries.test_event import send_test_event
from webhooks_app.endpoints.service import change_endpoint
from webhooks_app.engine.access_tokens import token_cache
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue

pytestmark = pytest.mark.django_db(transaction=True)

BASIC = {"kind": "basic", "username": "Jürgen", "password": "pässword: 1"}
BASIC_VALUE = "Basic " + base64.b64encode("Jürgen:pässword: 1".encode()).decode()


@pytest.fixture(params=["curl", "requests"], autouse=True)
def transport(request: pytest.FixtureRequest, configure: Any) -> str:
    configure(TRANSPORT=request.param)
    return str(request.param)


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


@pytest.fixture
def tokens(customer: Customer) -> TokenServer:
    return TokenServer(customer.receiver)


def outcomes() -> list[tuple[str, int | None]]:
    return [(attempt.outcome, attempt.status) for attempt in attempts()]


def to_hook(customer: Customer) -> list[str]:
    return [one.headers.get("authorization", "") for one in customer.received if one.path == "/hook"]


@pytest.mark.parametrize(
    ("authentication", "value"),
    [(BASIC, BASIC_VALUE), ({"kind": "bearer", "token": "abc.DEF-1_~+/=="}, "Bearer abc.DEF-1_~+/==")],
)
def test_a_fixed_header_is_in_each_request_and_in_test_events(
    customer: Customer, authentication: dict[str, str], value: str
) -> None:
    customer.receiver.on("/hook", requires(value))
    endpoint = customer.endpoint(authentication=authentication)
    customer.emit_several(3)
    deliver()
    assert send_test_event(endpoint, type=TYPE).status == 200
    assert statuses() == {"succeeded"}
    assert outcomes() == [("succeeded", 200)] * 4


def test_requests_without_it_are_refused(customer: Customer) -> None:
    customer.receiver.on("/hook", requires(BASIC_VALUE))
    customer.endpoint(authentication={**BASIC, "password": "another"})
    customer.emit()
    deliver()
    assert outcomes() == [("client_error", 401)]
    assert len(customer.received) == 1, "a fixed header is not sent twice"


@pytest.mark.parametrize("client_authentication", ["header", "body"])
def test_one_access_token_serves_many_requests(
    customer: Customer, tokens: TokenServer, client_authentication: str
) -> None:
    more = {"scope": "hooks.write hooks.read", "audience": "https://api", "resource": "urn:r"}
    customer.endpoint(authentication=tokens.options(client_authentication=client_authentication, **more))
    customer.emit_several(20)
    deliver()
    customer.emit_several(5)
    deliver()
    assert statuses() == {"succeeded"}
    assert tokens.checked == [200] * 25
    [asked] = tokens.asked
    wanted = {"grant_type": "client_credentials", **more}
    if client_authentication == "body":
        wanted |= {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    assert asked == wanted


def test_tokens_are_read_where_the_operator_keeps_hardly_any_of_a_response(
    customer: Customer, tokens: TokenServer, configure: Any
) -> None:
    configure(RESPONSE_BODY_BYTES=1)
    customer.endpoint(authentication=tokens.options())
    customer.emit()
    deliver()
    assert statuses() == {"succeeded"}


def test_requests_that_host_code_builds_have_the_token_too(
    customer: Customer, tokens: TokenServer, configure: Any
) -> None:
    configure(WIRE_FORMATS=host_formats.WIRE_FORMATS)
    customer.endpoint(authentication=tokens.options(), wire_format="host_moment")
    customer.emit_several(5)
    deliver()
    tokens.revoke_all()
    customer.emit_several(5)
    deliver()
    assert (statuses(), len(tokens.asked)) == ({"succeeded"}, 2)


def test_two_endpoints_have_tokens_of_their_own(customer: Customer, tokens: TokenServer) -> None:
    for scope in ("one", "two"):
        customer.endpoint(authentication=tokens.options(scope=scope))
    customer.emit_several(3)
    deliver()
    assert sorted(one["scope"] for one in tokens.asked) == ["one", "two"]
    assert len(set(to_hook(customer))) == 2


def test_a_token_is_replaced_before_it_expires(customer: Customer, tokens: TokenServer) -> None:
    tokens.seconds = 0.8  # used for three quarters of it
    customer.endpoint(authentication=tokens.options())
    began = time.monotonic()
    while len(tokens.asked) < 3:
        assert time.monotonic() - began < 30.0
        customer.emit()
        deliver()
    assert set(tokens.checked) == {200}


def test_a_revoked_token_is_replaced_within_the_attempt(customer: Customer, tokens: TokenServer) -> None:
    customer.endpoint(authentication=tokens.options())
    customer.emit()
    deliver()
    tokens.revoke_all()
    event = customer.emit()
    deliver()
    delivery = Delivery.objects.get(event=event)
    assert (delivery.status, delivery.attempts) == ("succeeded", 1)
    assert [one.status for one in attempts(delivery)] == [401, 200]
    assert (tokens.checked, len(tokens.asked)) == ([200, 401, 200], 2)


def test_a_receiver_that_always_refuses_gets_no_more_requests_and_tokens_than_retries(
    customer: Customer, tokens: TokenServer
) -> None:
    customer.endpoint(authentication=tokens.options())
    customer.receiver.on("/hook", 401)
    customer.emit()
    for _ in range(3):
        deliver()
        make_due()
    assert outcomes() == [("client_error", 401)] * 3
    assert len(tokens.asked) == 3


def test_a_receiver_that_accepts_and_then_refuses_for_ever_gets_one_new_token_per_attempt(
    customer: Customer, tokens: TokenServer
) -> None:
    customer.endpoint(authentication=tokens.options())
    customer.emit()
    deliver()
    customer.receiver.on("/hook", 401)
    event = customer.emit()
    deliver()
    assert [one.status for one in attempts(Delivery.objects.get(event=event))] == [401, 401]
    assert len(tokens.asked) == 2


def test_one_event_that_is_always_refused_gets_one_new_token_per_attempt(
    customer: Customer, tokens: TokenServer
) -> None:
    """While the receiver accepts the same tokens for other events."""
    customer.endpoint(authentication=tokens.options())
    refused = b'{"n":7}'
    customer.receiver.on("/hook", lambda request: 401 if refused in request.body else tokens.check(request))
    events = customer.emit_several(40)
    deliver()
    by_event = {delivery.event_id: delivery for delivery in Delivery.objects.all()}
    poisoned = by_event.pop(events[7].pk)
    assert {delivery.status for delivery in by_event.values()} == {"succeeded"}
    assert [attempt.status for attempt in attempts(poisoned)] == [401, 401]
    assert len(tokens.asked) <= 3


def test_many_requests_in_flight_share_one_new_token(customer: Customer, tokens: TokenServer) -> None:
    customer.endpoint(authentication=tokens.options())
    customer.emit_several(50)
    deliver()
    tokens.revoke_all()
    customer.emit_several(50)
    deliver()
    assert statuses() == {"succeeded"}
    assert len(tokens.asked) == 2


def test_without_a_token_nothing_is_sent_and_the_outcome_says_why(customer: Customer, tokens: TokenServer) -> None:
    endpoint = customer.endpoint(authentication=tokens.options(client_secret="wrong"))
    customer.emit_several(20)
    deliver()
    [attempt] = attempts()
    assert (attempt.outcome, attempt.status) == ("authentication_failed", None)
    assert attempt.detail == "the token server responded 401 invalid_client"
    assert (attempt.response_headers, bytes(attempt.response_body)) == ("", b"")
    assert to_hook(customer) == []
    assert len(tokens.asked) == 1, "the other deliveries wait"
    queue = EndpointQueue.objects.get(pk=endpoint.pk)
    assert queue.consecutive_failures == 1
    assert queue.not_before > attempt.started_at
    make_due()
    deliver()
    assert len(tokens.asked) == 2


def test_a_changed_client_secret_is_used_at_once_and_the_old_token_is_not(
    customer: Customer, tokens: TokenServer
) -> None:
    endpoint = customer.endpoint(authentication=tokens.options())
    customer.emit()
    deliver()
    tokens.client_secret = "another"
    change_endpoint(endpoint, authentication=tokens.options())
    customer.emit()
    deliver()
    assert statuses() == {"succeeded"}
    assert len(set(to_hook(customer))) == len(tokens.asked) == 2


def test_a_restarted_process_gets_a_new_token(customer: Customer, tokens: TokenServer) -> None:
    customer.endpoint(authentication=tokens.options())
    for _ in range(2):
        token_cache._kept.clear()
        customer.emit()
        deliver()
    assert (statuses(), len(tokens.asked)) == ({"succeeded"}, 2)


def test_a_test_event_tests_the_token_server_too(customer: Customer, tokens: TokenServer) -> None:
    endpoint = customer.endpoint(authentication=tokens.options())
    assert send_test_event(endpoint, type=TYPE).status == 200
    tokens.client_secret = "another"
    attempt = send_test_event(endpoint, type=TYPE)
    assert (attempt.outcome, attempt.detail) == (
        "authentication_failed",
        "the token server responded 401 invalid_client",
    )
    assert len(to_hook(customer)) == 1


def test_a_token_url_must_be_allowed_when_the_token_is_requested_too(
    customer: Customer, tokens: TokenServer, configure: Any
) -> None:
    customer.endpoint(authentication=tokens.options(token_url=f"http://localhost:{customer.receiver.port}/token"))
    configure(ALLOWED_NETWORKS=[])
    customer.emit()
    deliver()
    assert [one.detail for one in attempts()] == ["the token URL leads to an address that is not allowed"]
    assert tokens.asked == []


def test_the_old_secret_signs_after_a_401_as_before(customer: Customer) -> None:
    """A receiver with one signature: a refused token must not use up the second secret."""
    tokens = TokenServer(customer.receiver)
    endpoint = customer.endpoint(authentication=tokens.options(), wire_format="muchaw")
    customer.emit()
    deliver()
    tokens.revoke_all()
    customer.emit()
    deliver()
    assert tokens.checked == [200, 401, 200]
    assert len({attempt.secret_id for attempt in Attempt.objects.all()}) == 1
    assert Endpoint.objects.get(pk=endpoint.pk).status == "active"
