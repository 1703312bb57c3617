"""Every value that a receiver chooses is bounded, so that it can always be stored."""

from __future__ import annotations

import random

import pytest

from tests import transports
from tests.broken_responses import broken_response
from tests.receiver import Receiver
from tests.receiver_behaviours import Raw
from tests.transports import Open, gather, request, send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Response, Transport

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver


def check_bounds(response: Response) -> None:
    """Check what the table of attempts relies on."""
    assert (response.status is None) == (response.failure is not None)
    assert response.status is None or 200 <= response.status <= 999
    assert response.http_version in {"", "1.0", "1.1", "2", "3"}
    assert len(response.detail) <= 500
    assert "\0" not in response.detail
    response.detail.encode()
    assert len(response.address) <= 64
    assert len(response.headers) <= 8 * 1024
    assert len(response.body) <= 16 * 1024


class TestALineThatLooksLikeAStatusLine:
    @pytest.mark.parametrize(
        "line", [b"HTTP/" + b"A" * 300 + b": x", b"HTTP/1.1 101 x: y", b"HTTP/2 200: x", b"HTTP/1.1 500 No: thing"]
    )
    def test_is_no_header_and_no_status_inside_a_block(
        self, transport: Transport, receiver: Receiver, line: bytes
    ) -> None:
        """A header's name contains neither a slash nor a space."""
        receiver.on("/", Raw(b"HTTP/1.1 200 OK\r\nX-A: b\r\n" + line + b"\r\nContent-Length: 2\r\n\r\nok", close=False))
        response = send(transport, receiver.url())
        assert (response.status, response.http_version) == (None, "")
        assert response.failure is OutcomeKind.PROTOCOL_ERROR
        assert response.detail.startswith("no valid header line")
        check_bounds(response)

    @pytest.mark.parametrize("line", [b"HTTP/" + b"A" * 300 + b": x", b"HTTP/1.1: y", b"HTTP/1.1-101: x"])
    def test_is_nothing_in_the_trailers(self, transport: Transport, receiver: Receiver, line: bytes) -> None:
        chunks = b"2\r\nok\r\n0\r\n" + line + b"\r\n\r\n"
        receiver.on("/", Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, close=False))
        response = send(transport, receiver.url())
        assert (response.status, response.http_version, response.body) == (200, "1.1", b"ok")
        check_bounds(response)


class TestAStatusLine:
    @pytest.mark.parametrize(
        "line",
        [b"HTTP/1.1 099 X", b"HTTP/1.1 000 X", b"HTTP/1.1 2000 X", b"HTTP/1.1 20 X", b"HTTP/1.1 -20 X", b"HTTP/1.1 2x0 X",
         b"HTTP/4 200 X", b"HTTP/1.7 200 X", b"HTTP/1.1000 200 X", b"HTTP/" + b"1" * 300 + b" 200 X", b"HTTP/1.1 " + b"9" * 300],
    )  # fmt: skip
    def test_that_is_none_is_a_protocol_error(self, transport: Transport, receiver: Receiver, line: bytes) -> None:
        receiver.on("/", Raw(line + b"\r\nContent-Length: 0\r\n\r\n"))
        response = send(transport, receiver.url())
        assert response.failure is OutcomeKind.PROTOCOL_ERROR
        assert response.detail
        check_bounds(response)

    @pytest.mark.parametrize(("version", "kept"), [(b"1.0", "1.0"), (b"1.1", "1.1")])
    def test_says_which_version(self, transport: Transport, receiver: Receiver, version: bytes, kept: str) -> None:
        receiver.on("/", Raw(b"HTTP/" + version + b" 200\r\nContent-Length: 0\r\n\r\n"))
        response = send(transport, receiver.url())
        assert (response.status, response.http_version) == (200, kept)

    def test_may_have_a_reason_of_any_length(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", Raw(b"HTTP/1.1 200 " + b"r\xffason " * 4000 + b"\r\nContent-Length: 0\r\n\r\n"))
        response = send(transport, receiver.url())
        assert response.status == 200
        check_bounds(response)


@pytest.mark.parametrize("number", [101, 199])
def test_many_headers_are_a_valid_response(transport: Transport, receiver: Receiver, number: int) -> None:
    receiver.on("/", headers={f"X-{one}": "v" for one in range(number)}, body=b"body")
    response = send(transport, receiver.url())
    assert (response.status, response.body) == (200, b"body")
    assert response.header(f"X-{number - 1}") == "v"


def test_both_transports_keep_the_same_headers(open_one: Open, receiver: Receiver) -> None:
    block = b"X-A: b\r\nx-a:  c \r\nX-Empty:\r\nX-Raw: \xff\xfe\r\nContent-Length: 0\r\n"
    receiver.on("/", Raw(b"HTTP/1.1 200 OK\r\n" + block + b"\r\n", close=False))
    assert send(open_one(), receiver.url()).headers == block


def test_no_bytes_of_a_receiver_break_a_bound(transport: Transport, receiver: Receiver) -> None:
    """Three hundred broken responses; a failing one names its seed."""
    for seed in range(300):
        receiver.on(f"/{seed}", Raw(broken_response(random.Random(seed))))
        transport.start(request(receiver.url(f"/{seed}"), seed, total=8.0))
    responses = gather(transport, 300, seconds=60.0)
    assert {one.token for one in responses} == set(range(300))
    for response in responses:
        assert response.failure in {None, OutcomeKind.PROTOCOL_ERROR, OutcomeKind.TIMEOUT}, response
        check_bounds(response)
    assert transport.in_flight == 0
    with Receiver() as another:
        assert send(transport, another.url("/next")).status == 200
