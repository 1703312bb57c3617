"""A response may have only so many interim responses, header lines, header bytes and pieces of a body."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests import transports
from tests.receiver import Authority, Behaviour, Drip, Endless, Raw, Receiver
from tests.transports import Open, gather, request, send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Response, Transport

authority = transports.authority
transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def check_refused(response: Response, detail: str) -> None:
    assert (response.status, response.failure) == (None, OutcomeKind.PROTOCOL_ERROR)
    assert response.detail == detail


def check_cut(response: Response, detail: str) -> None:
    assert (response.status, response.failure, response.truncated) == (200, None, True)
    assert response.detail == f"the body was cut short: {detail}"


class TestInterimResponses:
    @pytest.mark.parametrize("status", [b"100", b"102", b"103"])
    def test_ten_are_allowed(self, transport: Transport, receiver: Receiver, status: bytes) -> None:
        receiver.on("/", Raw((b"HTTP/1.1 " + status + b" \r\n\r\n") * 10 + OK))
        response = send(transport, receiver.url())
        assert (response.status, response.body, response.truncated) == (200, b"ok", False)

    @pytest.mark.parametrize("status", [b"100", b"102", b"103"])
    @pytest.mark.parametrize("number", [11, 7600])
    def test_more_are_a_protocol_error(
        self, transport: Transport, receiver: Receiver, status: bytes, number: int
    ) -> None:
        receiver.on("/", Raw((b"HTTP/1.1 " + status + b" \r\n\r\n") * number + OK))
        check_refused(send(transport, receiver.url()), "too many interim responses")

    def test_are_counted_for_each_response(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", Raw(b"HTTP/1.1 102 \r\n\r\n" * 10 + OK, close=False))
        assert [send(transport, receiver.url()).status for _ in range(3)] == [200] * 3
        assert len({one.connection for one in receiver.requests}) == 1


class TestHeaders:
    def test_two_hundred_lines_are_allowed(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", Raw(b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 198 + b"X-Last: b\r\nContent-Length: 2\r\n\r\nok"))
        response = send(transport, receiver.url())
        assert (response.status, response.body, response.header("x-last")) == (200, b"ok", "b")

    @pytest.mark.parametrize("line", [b"a:\r\n", b"a:\n", b"X-A: b\r\n"])
    @pytest.mark.parametrize("number", [200, 2000])
    def test_more_lines_are_a_protocol_error(
        self, transport: Transport, receiver: Receiver, line: bytes, number: int
    ) -> None:
        receiver.on("/", Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + line * number + b"\r\nok"))
        check_refused(send(transport, receiver.url()), "too many headers")

    def test_lines_of_interim_responses_count(self, transport: Transport, receiver: Receiver) -> None:
        interim = b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </a>\r\n" * 50 + b"\r\n"
        receiver.on("/", Raw(interim * 3 + OK)).on("/more", Raw(interim * 5 + OK))
        assert send(transport, receiver.url()).status == 200
        check_refused(send(transport, receiver.url("/more")), "too many headers")

    @pytest.mark.parametrize("line", [b"X-A: " + b"b" * 1000 + b"\r\n", b"X-A: " + b"b" * 33_000 + b"\r\n"])
    def test_more_bytes_are_a_protocol_error(self, transport: Transport, receiver: Receiver, line: bytes) -> None:
        lines = line * (40_000 // len(line))
        receiver.on("/", Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + lines + b"\r\nok"))
        check_refused(send(transport, receiver.url()), "too many headers")

    @pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\nX-A"])
    def test_a_line_without_end_is_a_protocol_error(
        self, transport: Transport, receiver: Receiver, start: bytes
    ) -> None:
        receiver.on("/", Endless(start, b"b" * 1000))
        response = send(transport, receiver.url(), total=30.0)
        assert (response.failure, response.our_fault) == (OutcomeKind.PROTOCOL_ERROR, "")

    def test_fewer_bytes_are_allowed_and_cut_at_a_line(self, transport: Transport, receiver: Receiver) -> None:
        lines = (b"X-A: " + b"b" * 1000 + b"\r\n") * 31
        receiver.on("/", Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + lines + b"\r\nok"))
        response = send(transport, receiver.url())
        assert (response.status, response.body) == (200, b"ok")
        assert 7000 < len(response.headers) <= 8 * 1024
        assert response.headers.endswith(b"b\r\n")

    def test_may_come_byte_by_byte(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on(
            "/", Pieces(b"HTTP/1.1 103 X\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok")
        )
        response = send(transport, receiver.url(), total=30.0)
        assert (response.status, response.body, response.headers) == (200, b"ok", b"X-A: b\r\nContent-Length: 2\r\n")

    def test_a_first_line_that_is_no_status_line_is_refused_at_once(
        self, transport: Transport, receiver: Receiver
    ) -> None:
        receiver.on("/", Endless(b"SSH-2.0-OpenSSH_9.2\r\n", b"", 0.05))
        assert send(transport, receiver.url(), total=30.0).failure is OutcomeKind.PROTOCOL_ERROR


class TestTrailers:
    def test_a_few_are_allowed(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", Raw(CHUNKED + b"2\r\nok\r\n0\r\n" + b"X-A: b\r\n" * 100 + b"\r\n", close=False))
        for _ in range(2):
            response = send(transport, receiver.url())
            assert (response.status, response.body, response.truncated) == (200, b"ok", False)
        assert len({one.connection for one in receiver.requests}) == 1

    @pytest.mark.parametrize("trailer", [b"a:\r\n", b"X-A: " + b"b" * 2000 + b"\r\n"])
    def test_more_cut_the_body_short(self, open_one: Open, receiver: Receiver, trailer: bytes) -> None:
        receiver.on("/", Endless(CHUNKED + b"2\r\nok\r\n0\r\n", trailer))
        response = send(open_one(body_seconds=60.0), receiver.url(), total=60.0)
        check_cut(response, "too many trailers")
        assert response.body == b"ok"


class TestPiecesOfABody:
    def test_a_few_hundred_chunks_are_allowed(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", Raw(CHUNKED + b"1\r\na\r\n" * 250 + b"0\r\n\r\n", close=False))
        response = send(transport, receiver.url())
        assert (response.status, response.body, response.truncated) == (200, b"a" * 250, False)

    def test_more_chunks_cut_the_body_short(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", Raw(CHUNKED + b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n", close=False))
        response = send(transport, receiver.url())
        check_cut(response, "too many small pieces")
        assert response.body == b"a" * len(response.body)
        assert 200 <= len(response.body) <= 256

    def test_a_drip_is_cut_short(self, open_one: Open, receiver: Receiver) -> None:
        receiver.on("/", Drip("body", 0.002))
        response = send(open_one(body_seconds=60.0), receiver.url(), total=60.0)
        check_cut(response, "too many small pieces")


@dataclass(frozen=True)
class Pieces(Behaviour):
    """Sends these bytes one at a time, each in a packet of its own, then closes."""

    data: bytes

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        for number in range(len(self.data)):
            writer.write(self.data[number : number + 1])
            await writer.drain()
            await asyncio.sleep(0.002)
        return False


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
        transport.start(request(hello_flood, f"flood {number}", total=4.0))
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


#: A certificate whose key has a curve of its own and points that are compressed: OpenSSL takes 0.2 s to read it, before it
#: looks at any signature.
SLOW_CERTIFICATE = base64.b64decode(
    "MIIB6zCCAdACAQEwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBeDAeFw0yMDAxMDEwMDAwMDBaFw00MDAxMDEwMDAwMDBaMAwxCjAIBgNVBAMMAXgw"
    "ggGBMIIBJgYHKoZIzj0CATCCARkCAQEwXgYHKoZIzj0BAQJTEAAAhMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEwBgQBAwQBBwRUAgdjQlh/0oA7q2w5jYg0in7tjRTwbT/vcBlmoMOB6I84wMj9hxK4"
    "vAdvN4e50XngbA/U9fgTDEI3cw7fr71n+WGWmc/hmIrZ8GwUSgJbQT+KmgIeAlMQAACEv///////////////////////////////////////////"
    "/////////////////////////////////////////////////////////////wIBAQNVAAIIE1GQn/SXaopD7yiAR5C+bG/pTEHZwPB1NP7qzBEO"
    "T3P9lBOR+bnbx5mwEhsoAE5vWpQMJQoD4CMDPTZOQz/3yIL0ICzIKExxcJW8yZroDwyKiTAKBggqhkjOPQQDAgMJADAGAgEBAgEB"
)


def sized(size: int, *parts: bytes) -> bytes:
    """Return the parts after their length in so many bytes."""
    data = b"".join(parts)
    return len(data).to_bytes(size, "big") + data


@pytest.fixture
def slow_certificates() -> Iterator[str]:
    """The URL of a server that shows ten such certificates."""
    hello = b"\x02" + sized(3, b"\x03\x03", bytes(32), b"\0\xc0\x2f\0", sized(2, b"\xff\x01\0\x01\0"))
    shown = b"\x0b" + sized(3, sized(3, *[sized(3, SLOW_CERTIFICATE)] * 10))
    answer = b"".join(b"\x16\x03\x03" + sized(2, message) for message in (hello, shown))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.recv(65536)
                connection.sendall(answer)
                opened.append(connection)

    opened: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
        for connection in opened:
            connection.close()


def test_certificates_that_take_long_to_read_are_the_receivers_failure(
    transport: Transport, slow_certificates: str
) -> None:
    """Nothing ends OpenSSL meanwhile. But it is not this process that stood still: the circuit breaker must open."""
    response = send(transport, slow_certificates, total=1.0)
    if transport.name == "curl":
        check_refused(response, "reading the receiver's certificates kept this process busy")
    else:
        assert response.failure is OutcomeKind.TIMEOUT


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
