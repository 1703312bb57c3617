"""Floods below HTTP: TLS messages without end, and certificates that take long to read, stop nobody."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests import transports
from tests.receiver import Authority, Receiver
from tests.receiver_behaviours import Delay, Drip
from tests.slow_certificates import serve_slow_certificates, serve_slow_handshakes, serve_unfinished_handshakes
from tests.transports import LOOPBACK, Open, check_refused, gather, request, send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Request, Response, StuckCallEnded, Transport, TransportOptions, open_transport

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver
authority = transports.authority

#: A record of HelloRequests, which ask a TLS client to say hello once more. They need no certificate, and a client that is about
#: to do so passes over them.
HELLO_REQUESTS = b"\x16\x03\x03\x40\x00" + b"\0\0\0\0" * 4096


@pytest.fixture
def hello_flood() -> Iterator[str]:
    """The URL of a server that answers each hello with HelloRequests, for ten seconds."""

    def flood(connection: socket.socket) -> None:
        until = time.monotonic() + 10.0
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            while time.monotonic() < until:
                connection.sendall(HELLO_REQUESTS * 16)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=flood, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)


def test_a_flood_of_handshake_messages_stops_nobody(transport: Transport, receiver: Receiver, hello_flood: str) -> None:
    """OpenSSL reads on as long as they come, and libcurl looks at no deadline meanwhile."""
    for number in range(3):
        transport.start(replace(request(hello_flood, f"flood {number}", total=4.0), owner=f"flood {number}"))
    for number in range(5):
        transport.start(request(receiver.url(), f"other {number}", total=4.0))
        time.sleep(0.05)
    responses = {response.token: response for response in gather(transport, 8)}
    others = [response for token, response in responses.items() if str(token).startswith("other")]
    assert [response.status for response in others] == [200] * 5
    floods = [response for token, response in responses.items() if str(token).startswith("flood")]
    # Theirs, and not ours: their endpoint's circuit breaker must open.
    assert {response.failure for response in floods} <= {
        OutcomeKind.TLS_ERROR,
        OutcomeKind.PROTOCOL_ERROR,
        OutcomeKind.TIMEOUT,
        OutcomeKind.REFUSED,  # cut off while it connected
    }


@pytest.fixture
def slow_certificates() -> Iterator[str]:
    with serve_slow_certificates(10) as url:
        yield url


def test_certificates_that_take_long_to_read_are_the_receivers_failure(
    transport: Transport, slow_certificates: str
) -> None:
    """Nothing ends OpenSSL meanwhile. But it is not this process that stood still: the circuit breaker must open."""
    response = send(transport, slow_certificates, total=1.0)
    check_refused(response, "reading the receiver's certificates kept this process busy")
    assert transport.take_costly() == {None}, "the owner of the request"
    assert transport.take_costly() == set()


def test_certificates_shown_at_the_same_moment_cost_their_owner_the_rest(
    transport: Transport, receiver: Receiver
) -> None:
    """Each of them takes too short to be noticed, and together they take seconds."""
    with serve_slow_certificates(1, together=30) as url:
        for number in range(30):
            transport.start(Request(number, url, (), b"{}", 5.0, 15.0, owner="evil"))
        transport.start(Request("good", receiver.url(), (), b"{}", 5.0, 15.0, owner="good"))
        responses = {response.token: response for response in gather(transport, 31)}
    assert responses.pop("good").status == 200
    failures = Counter(response.failure for response in responses.values())
    assert failures[OutcomeKind.NOT_SENT] > 20, "ended, because any of them might cost as much"
    assert {"another receiver of this tenant kept this process busy"} == {
        response.detail for response in responses.values() if response.failure is OutcomeKind.NOT_SENT
    }
    assert transport.take_costly() == {"evil"}


def test_an_unfinished_handshake_keeps_no_costly_certificates_from_being_charged(
    open_one: Open, authority: Authority
) -> None:
    """What was read for it once does not make it suspect for as long as it lasts."""
    transport = open_one(ca_bundle=authority.bundle)
    leaf = authority.leaf("127.0.0.1")
    with serve_unfinished_handshakes() as unfinished, serve_slow_certificates(1, leaf=leaf) as slow:
        for number in range(20):
            transport.start(Request(f"waits {number}", unfinished, (), b"{}", 10.0, 10.0, owner="waits"))
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            transport.wait(0.1)
        for number in range(10):
            transport.start(Request(number, slow, (), b"{}", 10.0, 10.0, owner="evil"))
        until, costly = time.monotonic() + 6.0, set()
        while not costly and time.monotonic() < until:
            transport.wait(0.1)
            costly = transport.take_costly()
    assert costly == {"evil"}


def test_handshakes_of_another_owner_keep_no_costly_certificates_from_being_charged_again_and_again(
    open_one: Open, authority: Authority
) -> None:
    """It reads as much in every quarter of a second, so that each call is uncertain."""
    transport = open_one(ca_bundle=authority.bundle)
    leaf = authority.leaf("127.0.0.1")
    costly: set[object] = set()
    with serve_unfinished_handshakes() as unfinished, serve_slow_certificates(1, leaf=leaf) as slow:
        until = time.monotonic() + 15.0
        while not costly and time.monotonic() < until:
            for _ in range(2):
                transport.start(Request("shield", unfinished, (), b"{}", 60.0, 60.0, owner="shield"))
            transport.wait(0.02)
            transport.start(Request("evil", slow, (), b"{}", 60.0, 60.0, owner="evil"))
            pause = time.monotonic() + 0.1
            while time.monotonic() < pause:
                transport.wait(0.02)
            costly |= transport.take_costly()
    assert costly == {"evil"}


def test_receivers_that_do_not_finish_the_handshake_delay_no_other(open_one: Open, authority: Authority) -> None:
    transport = open_one(ca_bundle=authority.bundle)
    with (
        Receiver(tls=authority.context("127.0.0.1")) as good,
        socket.create_server(("127.0.0.1", 0), backlog=64) as hangs,
    ):
        for number in range(40):
            url = f"https://127.0.0.1:{hangs.getsockname()[1]}/"
            transport.start(Request(number, url, (), b"{}", 5.0, 5.0, owner=("hangs", number % 4)))
        time.sleep(0.3)
        transport.start(Request("good", good.url(), (), b"{}", 5.0, 5.0, owner="good"))
        [response] = gather(transport, 1)
    assert (response.token, response.status) == ("good", 200)
    assert response.duration < 2.0


@pytest.mark.processes
def test_costly_certificates_are_not_charged_to_an_owner_that_shakes_hands_at_the_same_time(
    authority: Authority,
) -> None:
    """An owner that always reads something, and whose certificates are costly now and then, is the one that pays."""
    pytest.importorskip("pycurl")
    options = TransportOptions(addresses=LOOPBACK, ca_bundle=authority.bundle)
    tls = authority.context("127.0.0.1")
    with (
        Receiver(tls=tls) as drips,
        serve_slow_certificates(3) as slow,
        serve_slow_handshakes(tls, 0.5) as good,
        contextlib.closing(open_transport(options, "curl")) as transport,
    ):
        drips.on("/", Drip("headers", 0.05))
        for number in range(4):
            transport.start(Request(f"drip {number}", drips.url(), (), b"{}", 5.0, 60.0, owner="evil"))
        found: list[Response] = []
        costly: set[object] = set()

        def pump(seconds: float) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                found.extend(transport.wait(0.05))
                costly.update(transport.take_costly())

        pump(8.0)  # until that is usual
        for _ in range(5):
            for _ in range(3):
                transport.start(Request("good", good, (), b"{}", 5.0, 15.0, owner="good"))
            pump(0.2)  # until they are in the middle of it
            transport.start(Request("evil", slow, (), b"{}", 5.0, 15.0, owner="evil"))
            pump(0.8)
        pump(2.0)
    assert costly == {"evil"}
    assert [response.status for response in found if response.token == "good"] == [204] * 15


@pytest.mark.processes
def test_only_requests_that_read_tls_are_suspected(open_one: Open, authority: Authority, receiver: Receiver) -> None:
    """While libcurl handles one connection, it may handle others: the connection of a call proves nothing."""
    pytest.importorskip("pycurl")
    transport = open_transport(TransportOptions(addresses=LOOPBACK, ca_bundle=authority.bundle), "curl")
    receiver.on("/", Delay(30.0))
    ended = threading.Event()

    def wait() -> None:
        with contextlib.suppress(StuckCallEnded):
            while True:
                transport.wait(0.1)
        transport.close()
        ended.set()

    with (
        Receiver(tls=authority.context("127.0.0.1")) as tls_receiver,
        serve_slow_certificates(15) as url,
    ):
        tls_receiver.on("/", Delay(30.0))
        for number in range(3):
            transport.start(request(receiver.url(), f"plain {number}", total=40.0))
            transport.start(request(tls_receiver.url(), f"waits {number}", total=40.0))
        until = time.monotonic() + 1.0  # the handshakes are over, and the session tickets are read
        while time.monotonic() < until:
            transport.wait(0.1)
        transport.start(request(url, "evil", total=40.0))
        threading.Thread(target=wait, daemon=True).start()
        while not transport.is_stuck:
            time.sleep(0.01)
        call = transport.give_up()
        assert call is not None
        assert [response.token for response in call.responses] == ["evil"]
        assert transport.give_up() is None
        assert not transport.is_stuck
        assert ended.wait(20.0), "the stuck call returns, and its thread closes the transport"


class TicketFlood:
    """A TLS 1.3 server that sends session tickets without end, and no response."""

    def __init__(self, authority: Authority) -> None:
        self._tls = authority.context("127.0.0.1")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}/"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._flood, args=(connection,), daemon=True).start()

    def _flood(self, connection: socket.socket) -> None:
        self._tls.num_tickets = 100_000_000
        with contextlib.suppress(OSError), self._tls.wrap_socket(connection, server_side=True):
            pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in (self._listener, *self._open):
            one.close()


@pytest.fixture
def ticket_flood(authority: Authority) -> Iterator[TicketFlood]:
    flood = TicketFlood(authority)
    yield flood
    flood.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much was read")
def test_a_flood_after_the_handshake_is_a_protocol_error(
    open_one: Open, authority: Authority, ticket_flood: TicketFlood
) -> None:
    """Theirs, and not ours, and long before the deadline: their endpoint's circuit breaker must open."""
    response = send(open_one(ca_bundle=str(authority.bundle)), ticket_flood.url, total=15.0)
    assert (response.failure, response.detail) == (OutcomeKind.PROTOCOL_ERROR, "more data than a response may have")


def test_many_responses_beside_a_slow_one_are_no_flood(open_one: Open, authority: Authority) -> None:
    """On one HTTP/2 connection, what the others bring is not the slow request's."""
    with Receiver(tls=authority.context("localhost", http2=True)) as receiver:
        receiver.on("/slow", Delay(3.0)).on("/", body=b"x" * 8000)
        transport = open_one(ca_bundle=authority.bundle)
        url = receiver.url(host="localhost")
        assert send(transport, url).status == 200  # the connection is there
        transport.start(request(receiver.url("/slow", host="localhost"), "slow"))
        until, number, found = time.monotonic() + 2.5, 0, {}
        while time.monotonic() < until or transport.in_flight:
            while transport.in_flight < 5 and time.monotonic() < until:
                number += 1
                transport.start(request(url, number))
            found.update({response.token: response for response in transport.wait(0.1)})
        assert number > 100, "else they bring too little"
        assert {response.detail for response in found.values()} == {""}
        assert len(found) == number + 1
        assert [one.path for one in receiver.requests].count("/slow") == 1
