"""A response that arrives before its request is nobody's: the connection is closed (RFC 9112, section 9.2)."""

from __future__ import annotations

import asyncio
import ssl
import sys
import threading
import time
from dataclasses import dataclass, field

import pytest

from tests import transports
from tests.receiver import Authority, Receiver
from tests.receiver_behaviours import Answer, Behaviour, Delay
from tests.tls_tickets import OK, send_ticket, serve
from tests.transports import Open, send
from webhooks_app.transport import Response, Transport

transport_name = transports.transport_name
open_one = transports.open_one
authority = transports.authority

FORGED = b"HTTP/1.1 200 FORGED\r\nContent-Length: 6\r\n\r\nFORGED"
#: Seconds between a response and the unasked one. libcurl checks idle connections about once a second.
PAUSES = (0.0, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Twice(Behaviour):
    """Answers, and sends an unasked response some seconds later."""

    pause: float
    sent: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        await Answer(body=b"first").play(writer)
        await asyncio.sleep(self.pause)
        writer.write(FORGED)
        await writer.drain()
        self.sent.release()
        return True


def check_twice(transport: Transport, receiver: Receiver, gap: float, pause: float) -> None:
    receiver.reset()
    twice = Twice(pause)
    receiver.on("/twice", twice).on("/next", body=b"genuine")
    assert send(transport, receiver.url("/twice", host="localhost")).body == b"first"
    assert twice.sent.acquire(timeout=10.0)
    time.sleep(gap)
    following = [send(transport, receiver.url("/next", host="localhost")) for _ in range(2)]
    assert [(one.status, one.body) for one in following] == [(200, b"genuine")] * 2
    connections = [one.connection for one in receiver.requests if one.path == "/next"]
    assert len(set(connections[-2:])) == 1, "a good connection is kept"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("pause", PAUSES)
def test_an_unasked_response_is_not_the_next_requests(
    open_one: Open, authority: Authority, tls: bool, pause: float
) -> None:
    with Receiver(tls=authority.context("localhost") if tls else None) as receiver:
        transport = open_one(ca_bundle=authority.bundle)
        for gap in (0.0, 0.001, 0.01, 0.05):
            check_twice(transport, receiver, gap, pause)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_it_is_not_if_it_arrives_with_the_response_to_the_request(
    open_one: Open, authority: Authority, tls: bool
) -> None:
    """This process was busy, so both were received when it read them."""
    with Receiver(tls=authority.context("localhost") if tls else None) as receiver:
        transport = open_one(ca_bundle=authority.bundle)
        receiver.on("/twice", Twice(0.02)).on("/next", body=b"genuine")
        for _ in range(10):
            assert send(transport, receiver.url("/twice", host="localhost")).body == b"first"
            time.sleep(0.05)
            transport.start(transports.request(receiver.url("/next", host="localhost")))
            transport.wait(0)
            transport.wait(0)
            time.sleep(0.05)
            [response] = transports.gather(transport)
            assert (response.status, response.body) == (200, b"genuine")


def test_many_at_once_get_their_own_responses(open_one: Open, authority: Authority) -> None:
    with Receiver(tls=authority.context("localhost")) as receiver:
        transport, twice = open_one(ca_bundle=authority.bundle), Twice(0.005)
        receiver.on("/next", lambda received: Answer(body=received.body)).on(
            "/twice", Delay(0.1, twice)
        )  # each has a connection of its own
        for turn in range(10):
            for number in range(10):
                transport.start(transports.request(receiver.url("/twice", host="localhost"), number))
            transports.gather(transport, 10)
            assert all(twice.sent.acquire(timeout=10.0) for _ in range(10))
            time.sleep(0.001 * turn)
            for number in range(10):
                url, body = receiver.url("/next", host="localhost"), b"%d" % number
                transport.start(transports.request(url, body, body=body))
            responses: list[Response] = transports.gather(transport, 10)
            assert [one.body for one in responses] == [one.token for one in responses]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much was read")
@pytest.mark.parametrize("pause", PAUSES[:6])
def test_a_session_ticket_after_the_response_is_legitimate(
    open_one: Open, authority: Authority, transport_name: str, pause: float
) -> None:
    """The receiver is as far away as on a network: libcurl has read the ticket before the response arrives."""
    if transport_name != "curl":
        pytest.skip("urllib3 opens a new connection for each readable one")

    def after(connection: ssl.SSLSocket) -> None:
        time.sleep(pause)
        send_ticket(connection)

    with serve(authority.context("localhost"), after, delay=0.05) as (url, counts):
        transport = open_one(ca_bundle=authority.bundle)
        for _ in range(5):
            response = send(transport, url)
            assert (response.status, response.body) == (200, OK[-7:])
            time.sleep(pause + 0.02)
    assert counts == [5], "one connection"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much was read")
def test_a_response_after_a_session_ticket_is_not(open_one: Open, authority: Authority) -> None:
    def after(connection: ssl.SSLSocket) -> None:
        send_ticket(connection)
        connection.sendall(FORGED)

    with serve(authority.context("localhost"), after) as (url, _):
        transport = open_one(ca_bundle=authority.bundle)
        for _ in range(10):
            assert send(transport, url).body == b"genuine"
            time.sleep(0.02)
