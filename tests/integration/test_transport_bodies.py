"""A response counts once its headers are complete, whatever happens to its body."""

from __future__ import annotations

import pytest

from tests import transports
from tests.receiver import Authority, Receiver
from tests.receiver_behaviours import Behaviour, Drip, Endless, Hang, Raw, Reset, Stall
from tests.transports import Open, gather, request, send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Transport

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver
authority = transports.authority

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CUT_SHORT = {
    "length too large": Raw(b"HTTP/1.1 %d X\r\nContent-Length: 100\r\n\r\nshort"),
    "reset": Reset(b"HTTP/1.1 %d X\r\nContent-Length: 100\r\n\r\nshort"),
    "reset at once": Reset(b"HTTP/1.1 %d X\r\nContent-Length: 100\r\n\r\n"),
    "chunk broken off": Raw(b"HTTP/1.1 %d X\r\n" + CHUNKED + b"5\r\nshort\r\n64\r\n"),
    "chunk broken off inside": Raw(b"HTTP/1.1 %d X\r\n" + CHUNKED + b"64\r\nshort"),
    "chunk without size": Raw(b"HTTP/1.1 %d X\r\n" + CHUNKED + b"5\r\nshort\r\nnonsense\r\n"),
}
NOT_IN_TIME = {
    "drip": Drip(),
    "drip without length": Endless(b"HTTP/1.1 200 OK\r\n\r\n", b"a", 0.05),
    "drip of HTTP/1.0": Endless(b"HTTP/1.0 200 OK\r\n\r\n", b"a", 0.05),
    "drip of chunks": Endless(b"HTTP/1.1 200 OK\r\n" + CHUNKED, b"1\r\na\r\n", 0.05),
    "drip of a chunk's extension": Endless(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"1;", b"a", 0.05),
    "drip of trailers": Endless(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"1\r\na\r\n0\r\n", b"X-Trailer: b\r\n", 0.05),
}


def with_status(behaviour: Raw | Reset, status: int) -> Behaviour:
    if isinstance(behaviour, Raw):
        return Raw(behaviour.data.replace(b"%d", b"%d" % status))
    return Reset(behaviour.start.replace(b"%d", b"%d" % status))


@pytest.mark.parametrize("status", [200, 202, 404, 500])
@pytest.mark.parametrize("how", CUT_SHORT)
def test_a_body_that_is_cut_short(transport: Transport, receiver: Receiver, how: str, status: int) -> None:
    receiver.on("/", with_status(CUT_SHORT[how], status))
    response = send(transport, receiver.url())
    assert (response.status, response.failure, response.truncated) == (status, None, True)
    assert response.detail.startswith("the body was cut short")
    # A reset may take what was sent before it along.
    assert response.body in ((b"short", b"") if "reset" in how else (b"short",))
    assert len(receiver.requests) == 1
    assert send(transport, receiver.url("/next")).status == 200


@pytest.mark.parametrize("how", NOT_IN_TIME)
def test_a_body_that_is_not_complete_in_time(open_one: Open, receiver: Receiver, how: str) -> None:
    transport = open_one(body_seconds=0.3)
    receiver.on("/", NOT_IN_TIME[how])
    response = send(transport, receiver.url(), total=60.0)
    assert (response.status, response.failure, response.truncated) == (200, None, True)
    assert response.detail == "the body was not complete after 0.3 s"
    assert response.body.startswith(b"a") == (how != "drip of a chunk's extension")
    assert 0.3 <= response.duration < 30
    assert transport.in_flight == 0
    assert send(transport, receiver.url("/next")).status == 200


def test_a_body_gets_two_seconds_where_nothing_else_is_said(transport: Transport, receiver: Receiver) -> None:
    receiver.on("/", Drip())
    response = send(transport, receiver.url(), total=60.0)
    assert (response.status, response.detail) == (200, "the body was not complete after 2 s")


@pytest.mark.parametrize("how", NOT_IN_TIME)
def test_a_body_gets_no_time_beyond_the_total_deadline(open_one: Open, receiver: Receiver, how: str) -> None:
    transport = open_one(body_seconds=50.0)
    receiver.on("/", NOT_IN_TIME[how])
    response = send(transport, receiver.url(), total=0.4)
    assert (response.status, response.failure, response.truncated) == (200, None, True)
    assert response.detail == "the body was not complete at the deadline"
    assert response.duration < 30


def test_dripping_receivers_do_not_keep_their_places(open_one: Open, receiver: Receiver) -> None:
    """Two places, six receivers that drip: with the total deadline alone only two would be reached."""
    transport = open_one(concurrency=2, body_seconds=0.1)
    receiver.on("/drip", Drip())
    for number in range(6):
        transport.start(request(receiver.url("/drip"), number, total=5.0))
    assert [one.status for one in gather(transport, 6)] == [200] * 6


def test_one_slow_body_leaves_its_neighbours_on_the_same_connection_alone(
    open_one: Open, authority: Authority, transport_name: str
) -> None:
    with Receiver(tls=authority.context("localhost", http2=True)) as receiver:
        receiver.on("/slow", Stall(201))
        transport = open_one(ca_bundle=authority.bundle, body_seconds=0.5)
        assert send(transport, receiver.url("/first", host="localhost")).status == 200
        transport.start(request(receiver.url("/slow", host="localhost"), "slow", total=30.0))
        for number in range(5):
            transport.start(request(receiver.url(host="localhost"), number))
        responses = {one.token: one for one in gather(transport, 6)}
        slow = responses.pop("slow")
        assert (slow.status, slow.body, slow.truncated) == (201, b"part", True)
        assert [one.status for one in responses.values()] == [200] * 5
        assert send(transport, receiver.url("/last", host="localhost")).status == 200
        if transport_name == "curl":
            assert {one.connection for one in receiver.requests} == {1}


@pytest.mark.parametrize(
    "headers",
    [b"Content-Length: 50\r\n\r\n", CHUNKED, b"Connection: close\r\nContent-Length: 50\r\n\r\n", b"\r\n"],
    ids=["length", "chunked", "length and close", "nothing"],
)
@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none_whatever_the_headers_say(
    transport: Transport, receiver: Receiver, status: int, headers: bytes
) -> None:
    receiver.on("/", Raw(b"HTTP/1.1 %d X\r\n" % status + headers, close=False))
    response = send(transport, receiver.url())
    assert (response.status, response.body, response.truncated, response.detail) == (status, b"", False, "")


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n",
    ],
)
@pytest.mark.parametrize("end", ["close", "reset", "hang"])
def test_headers_that_are_not_complete_are_no_response(
    transport: Transport, receiver: Receiver, start: bytes, end: str
) -> None:
    receiver.on("/", {"close": Raw(start), "reset": Reset(start), "hang": Endless(start, b"", 0.05)}[end])
    response = send(transport, receiver.url(), total=0.5 if end == "hang" else 5.0)
    assert response.failure is (OutcomeKind.TIMEOUT if end == "hang" else OutcomeKind.PROTOCOL_ERROR)
    assert response.detail


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 X"])
def test_interim_responses_before_the_final_one(transport: Transport, receiver: Receiver, interim: bytes) -> None:
    block = b"HTTP/1.1 " + interim + b"\r\nLink: </a>; rel=preload\r\n\r\n"
    final = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX-Shade: blue\r\n\r\nok"
    receiver.on("/", Raw(block * 3 + final, close=False))
    for _ in range(2):
        response = send(transport, receiver.url())
        assert (response.status, response.body, response.header("x-shade")) == (202, b"ok", "blue")
        assert response.header("link") is None
    assert len({one.connection for one in receiver.requests}) == 1


def test_an_interim_response_without_a_final_one(transport: Transport, receiver: Receiver) -> None:
    receiver.on("/", [lambda _: Endless(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"", 0.05)])
    assert send(transport, receiver.url(), total=0.4).failure is OutcomeKind.TIMEOUT


def test_a_hanging_receiver_still_times_out(open_one: Open, receiver: Receiver) -> None:
    receiver.on("/", Hang())
    response = send(open_one(body_seconds=0.1), receiver.url(), total=0.5)
    assert (response.failure, response.status) == (OutcomeKind.TIMEOUT, None)
    assert response.duration >= 0.5
