"""The playground beside both transports: it keeps what every transport promises, and nothing of it is on the network."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests import transports
from tests.receiver import Receiver
from tests.transports import LOOPBACK, Open, gather, request, send
from webhooks_app.core.addresses import AddressPolicy, check_url
from webhooks_app.core.playground import ECHO_BYTES, PLAYGROUND_RESPONSES, arrived, url_of
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.exceptions import URLNotAllowed
from webhooks_app.transport import Request, Transport

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver

#: Rules under which no address at all can be reached.
NOWHERE = AddressPolicy(ports=frozenset(), denied_networks=("0.0.0.0/0", "::/0"))


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Whatever tries to connect or to resolve a name."""
    tried: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _self, address: tried.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *names, **_: tried.append(names))
    return tried


@pytest.mark.parametrize("name", [name for name, answer in PLAYGROUND_RESPONSES.items() if answer.status])
def test_it_answers_as_its_url_says(open_one: Open, no_sockets: list[object], name: str) -> None:
    transport, token = open_one(NOWHERE), object()
    transport.start(request(url_of(name), token, body=b'{"a":\xff}', webhook_id="evt_1"))
    assert transport.in_flight == 1
    [response] = gather(transport)
    assert transport.in_flight == 0
    assert response.token is token
    assert (response.status, response.failure, response.truncated) == (int(name), None, False)
    assert (response.address, response.http_version) == ("", "")
    assert response.header("content-type") == "message/http"
    assert response.header("retry-after") == ("10" if name == "429" else None)
    echoed = arrived(response.body)
    assert echoed is not None
    assert echoed.headers == (("content-type", "application/json"), ("webhook-id", "evt_1"))
    assert echoed.body == b'{"a":\xff}'
    assert no_sockets == []


def test_no_answer_comes_as_a_time_out_at_the_deadline(open_one: Open, no_sockets: list[object]) -> None:
    transport = open_one(NOWHERE)
    began = time.monotonic()
    response = send(transport, url_of("timeout"), total=0.3, body=b"seen")
    assert time.monotonic() - began >= 0.3
    assert (response.failure, response.duration) == (OutcomeKind.TIMEOUT, 0.3)
    echoed = arrived(response.body)
    assert echoed is not None
    assert echoed.body == b"seen"
    assert no_sockets == []


def test_who_is_not_answered_holds_nobody_up(transport: Transport, receiver: Receiver) -> None:
    transport.start(request(url_of("timeout"), "slow", total=15.0))
    transport.start(request(receiver.url("/hook"), "network"))
    transport.start(request(url_of("200"), "quick"))
    assert {response.token for response in gather(transport, 2)} == {"network", "quick"}
    assert transport.in_flight == 1


def test_answers_come_in_the_order_of_their_time(transport: Transport) -> None:
    for token, total in (("late", 0.3), ("early", 0.1)):
        transport.start(request(url_of("timeout"), token, total=total))
    assert [response.token for response in gather(transport, 2)] == ["early", "late"]


def test_waiting_ends_when_its_time_is_over(transport: Transport) -> None:
    transport.start(request(url_of("timeout"), total=15.0))
    assert list(transport.wait(0.05)) == []
    assert list(transport.wait(0.0)) == []


def test_waiting_ends_when_somebody_wakes_it(transport: Transport) -> None:
    transport.start(request(url_of("timeout"), total=60.0))
    timer = threading.Timer(0.1, transport.wake)
    timer.start()
    assert list(transport.wait(60.0)) == []
    assert transport.in_flight == 1
    timer.join()


def test_closing_drops_what_was_not_answered(open_one: Open) -> None:
    transport = open_one(LOOPBACK)
    transport.start(request(url_of("200")))
    transport.close()
    assert transport.in_flight == 0


@pytest.mark.parametrize("size", [0, ECHO_BYTES, ECHO_BYTES + 1])
def test_bodies_are_echoed_up_to_a_limit(open_one: Open, size: int) -> None:
    """Whatever is kept of the answers of others: here the body is what one came for."""
    transport = open_one(NOWHERE, body_limit=10)
    response = send(transport, url_of("200"), body=b"x" * size)
    echoed = arrived(response.body)
    assert echoed is not None
    assert len(echoed.body) == min(size, ECHO_BYTES)
    assert response.truncated == (size > ECHO_BYTES)


@pytest.mark.parametrize(
    "headers", [(("x-a", "b\r\nx-c: d"),), (("x a", "b"),), (("x-a", "b\x00"),), (("", "b"),), (("x-a", "ł"),)]
)
def test_a_header_that_would_break_out_is_not_sent(transport: Transport, headers: tuple[tuple[str, str], ...]) -> None:
    transport.start(Request("token", url_of("200"), headers, b"{}"))
    [response] = gather(transport)
    assert response.failure is OutcomeKind.NOT_SENT
    assert response.body == b""


@pytest.mark.parametrize("url", ["playground:", "playground:999", "playground:200/", "playground://example.com/"])
def test_an_answer_that_there_is_none_of_is_not_sent(open_one: Open, no_sockets: list[object], url: str) -> None:
    assert send(open_one(NOWHERE), url).failure is OutcomeKind.NOT_SENT
    assert no_sockets == []


@pytest.mark.parametrize("url", ["Playground:200", " playground:200", "http:playground:200", "inspect:200", "file:200"])
def test_no_other_scheme_leads_there(transport: Transport, url: str) -> None:
    response = send(transport, url)
    assert (response.failure, response.body) == (OutcomeKind.NOT_SENT, b"")


@pytest.mark.parametrize(
    "url", [*map(url_of, PLAYGROUND_RESPONSES), "PLAYGROUND:200", "playground://200", "playground:200#x"]
)
def test_nobody_can_type_such_a_url(url: str) -> None:
    with pytest.raises(URLNotAllowed):
        check_url(url, LOOPBACK)


@pytest.mark.parametrize("answer", [b"", b"{}", b"POST / HTTP/1.1\r\nno: end", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_bytes_that_are_no_echo_are_none(answer: bytes) -> None:
    assert arrived(answer) is None
