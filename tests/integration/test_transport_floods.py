"""A response may have only so many interim responses, header lines, header bytes and pieces of a body."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from tests import transports
from tests.receiver import Receiver
from tests.receiver_behaviours import Behaviour, Drip, Endless, Raw
from tests.transports import Open, check_refused, send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Response, Transport

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


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
