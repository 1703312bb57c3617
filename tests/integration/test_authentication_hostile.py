"""Token servers that hang, flood, redirect or write nonsense. They cost only the deliveries of their own endpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.authentication import TokenServer, answering, issued
from tests.customer import TYPE, Customer, attempts, deliver, make_due, statuses
from tests.pipelines import eventually, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Answer, Close, Drip, Endless, Hang, Raw, Reaction, Reset, Stall
from webhooks_app.deliveries.test_event import send_test_event
from webhooks_app.models import Delivery, EndpointQueue, Engine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LARGE = b'{"access_token": "abc", "token_type": "Bearer", "x": "' + b"x" * (10 * 1024 * 1024) + b'"}'


@pytest.fixture(params=["curl", "requests"], autouse=True)
def transport(request: pytest.FixtureRequest, configure: Any, pipeline: None) -> str:
    configure(TRANSPORT=request.param)
    return str(request.param)


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


def one_attempt(customer: Customer, reaction: Reaction) -> str:
    """Return the detail of the only attempt with this token server."""
    tokens = TokenServer(customer.receiver)
    customer.receiver.on("/token", reaction)
    customer.endpoint(authentication=tokens.options(), wire_format="once")
    customer.emit()
    deliver()
    [attempt] = attempts()
    assert (attempt.outcome, attempt.status, bytes(attempt.response_body)) == ("authentication_failed", None, b"")
    assert [one.path for one in customer.received] == ["/token"]
    return attempt.detail


@pytest.mark.parametrize(
    ("reaction", "detail"),
    [
        (Hang(), "the token server did not respond in time"),
        (Drip("headers"), "the token server did not respond in time"),
        (Reset(), "the token server sent no valid HTTP response"),
        (Close(), "the token server sent no valid HTTP response"),
        (Raw(b"nonsense\r\n\r\n"), "the token server sent no valid HTTP response"),
        (Answer(200, {}, LARGE), "the token server's response is too long or incomplete"),
        (Endless(HEAD + b"\r\n", b"x" * 65536), "the token server's response is too long or incomplete"),
        (Stall(), "the token server's response is too long or incomplete"),
        (Answer(307, {"Location": "http://169.254.169.254/"}), "the token server responded 307"),
        (answering(b'{"error": "invalid_scope"}', 400), "the token server responded 400 invalid_scope"),
        (answering(b'{"error": "s3cret: +/%=&"}', 400), "the token server responded 400"),
        (answering(b'{"error": "invalid_client"}'), "the token server responded 200 invalid_client"),
        (answering(b"{", 500), "the token server responded 500"),
        (answering(b"[" * 10_000), "the token server's response is not a JSON object"),
        (answering(b'{"access_token": "a\xff"}'), "the token server's response is not a JSON object"),
        (answering(b'["abc"]'), "the token server's response is not a JSON object"),
        (answering(b'{"access_token": "abc"}'), "the token server's response has no token_type Bearer"),
        (issued(token_type="mac"), "the token server's response has no token_type Bearer"),
        (issued(access_token="a\r\nX-Evil: 1"), "the token server's response has no access_token that can be sent"),
        (issued(access_token=None), "the token server's response has no access_token that can be sent"),
        (issued(access_token="a" * 9000), "the token server's response has no access_token that can be sent"),
        (issued(expires_in=-1), "the token server's response has an expires_in that is not a positive number"),
        (issued(expires_in=True), "the token server's response has an expires_in that is not a positive number"),
        (issued(expires_in="soon"), "the token server's response has an expires_in that is not a positive number"),
        (
            answering(b'{"access_token": "abc", "token_type": "bearer", "expires_in": 1e999}'),
            "the token server's response has an expires_in that is not a positive number",
        ),
        (
            answering(b'{"access_token": "abc", "token_type": "bearer", "expires_in": NaN}'),
            "the token server's response is not a JSON object",
        ),
        (
            answering(b'{"access_token": "abc", "token_type": "bearer", "expires_in": ' + b"9" * 5000 + b"}"),
            "the token server's response is not a JSON object",
        ),
    ],
)  # fmt: skip
def test_no_token_is_read_from_a_wrong_response(customer: Customer, reaction: Reaction, detail: str) -> None:
    assert one_attempt(customer, reaction) == detail


@pytest.mark.parametrize("expires_in", [10**4000, 1e308, "9999999999", 0.001, None])
def test_an_absurd_lifetime_is_limited(customer: Customer, expires_in: object) -> None:
    tokens = TokenServer(customer.receiver)
    customer.receiver.on("/hook", 200)
    body = f'{{"access_token": "abc", "token_type": "BEARER", "expires_in": {json.dumps(expires_in)}}}'
    customer.receiver.on("/token", answering(body.encode()))
    customer.endpoint(authentication=tokens.options())
    customer.emit_several(3)
    deliver()
    assert [attempt.status for attempt in attempts()] == [200] * 3


def test_a_token_server_that_hangs_gets_one_request_and_delays_no_other_endpoint(customer: Customer) -> None:
    with Receiver() as elsewhere, Customer() as another:
        tokens = TokenServer(elsewhere)
        elsewhere.on("/token", Hang())
        hanging = customer.endpoint(authentication=tokens.options(), wire_format="once")
        customer.endpoint("/beside")
        another.endpoint()
        for n in range(30):
            customer.emit({"n": n})
            another.emit({"n": n})
        deliver()
        assert len(elsewhere.requests) == 1, "the other deliveries wait"
        beside = [one.time for one in customer.received]
        assert len(beside) == len(another.received) == 30
        assert max([*beside, *(one.time for one in another.received)]) < elsewhere.requests[0].time + 0.9
        assert {one.outcome for one in attempts() if one.endpoint_id == hanging.pk} == {"authentication_failed"}
        assert Delivery.objects.filter(endpoint=hanging, status="pending").count() == 29


def test_failed_token_requests_come_ever_more_seldom(customer: Customer) -> None:
    """Also with a retry policy that holds nothing back: nothing could be sent meanwhile."""
    tokens = TokenServer(customer.receiver)
    endpoint = customer.endpoint(authentication=tokens.options(client_secret="wrong"))
    customer.emit_several(50)
    waits = []
    for _ in range(4):
        deliver()
        queue = EndpointQueue.objects.get(pk=endpoint.pk)
        assert queue.last_failure_at is not None
        waits.append((queue.not_before - queue.last_failure_at).total_seconds())
        make_due()
    assert waits == pytest.approx([5, 10, 20, 40], abs=1)
    assert len(tokens.asked) == 4


def test_a_token_server_without_a_connection_is_told_from_the_receiver(customer: Customer) -> None:
    tokens = TokenServer(customer.receiver)
    with Receiver() as gone:
        url = gone.url("/token")
    time.sleep(0.05)
    customer.endpoint(authentication=tokens.options(token_url=url), wire_format="once")
    customer.emit()
    deliver()
    assert [(one.outcome, one.detail) for one in attempts()] == [
        ("authentication_failed", "no connection to the token server")
    ]
    assert customer.received == []


def test_a_test_event_waits_no_longer_than_the_deadline_for_a_token(customer: Customer) -> None:
    tokens = TokenServer(customer.receiver)
    customer.receiver.on("/token", Hang())
    endpoint = customer.endpoint(authentication=tokens.options(), wire_format="once")
    began = time.monotonic()
    attempt = send_test_event(endpoint, type=TYPE)
    assert time.monotonic() - began < 3.0
    assert (attempt.outcome, attempt.detail) == ("authentication_failed", "the token server did not respond in time")
    assert EndpointQueue.objects.get(pk=endpoint.pk).consecutive_failures == 0


def test_an_engine_that_stops_while_it_waits_for_a_token_loses_nothing(customer: Customer) -> None:
    tokens = TokenServer(customer.receiver)
    customer.receiver.on("/token", [Hang(), tokens.issue])
    customer.endpoint(authentication=tokens.options())
    customer.emit_several(3)
    with running_engine():
        eventually(lambda: customer.received)
    assert not Engine.objects.exists()
    assert not EndpointQueue.objects.filter(holder_id__isnull=False).exists()
    make_due()
    deliver()
    assert statuses() == {"succeeded"}
    assert tokens.checked == [200] * 3
