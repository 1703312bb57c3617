"""One request's fault is that request's only: on both transports, the request beside it is sent and nothing leaks."""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import transports
from tests.receiver import Receiver
from tests.receiver_behaviours import Delay
from tests.transports import LOOPBACK, Open, gather, request, send
from webhooks_app.core.playground import url_of
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Request, Response, Transport, TransportOptions, open_transport
from webhooks_app.transport.poller import EpollPoller
from webhooks_app.transport.requests import RequestsTransport
from webhooks_app.transport.requests_job import Job

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver

SECRET = "hush-hush-tacet"
BROKEN: dict[str, dict[str, Any]] = {
    "header value is a number": {"headers": (("X-Key", SECRET), ("X-Attempt", 1))},
    "header value is None": {"headers": (("X-Key", SECRET), ("X-Attempt", None))},
    "header value is bytes": {"headers": (("X-Key", SECRET.encode()),)},
    "header name is a number": {"headers": ((1, SECRET),)},
    "header without value": {"headers": (("X-Key",),)},
    "header value begins with a tab": {"headers": (("X-Key", "\r" + SECRET),)},
    "headers are None": {"headers": None},
    "connect timeout is None": {"connect_timeout": None},
    "connect timeout is text": {"connect_timeout": "5"},
    "connect timeout is negative": {"connect_timeout": -1.0},
    "total timeout is None": {"total_timeout": None},
    "total timeout is not a number": {"total_timeout": float("nan")},
    "total timeout is endless": {"total_timeout": float("inf")},
    "URL is None": {"url": None},
    "URL is bytes": {"url": b"http://127.0.0.1/"},
    "URL is a list": {"url": ["http://127.0.0.1/"]},
    "URL has half a surrogate pair": {"url": "http://127.0.0.1/\ud800"},
    "body is a number": {"body": 5},
    "owner without a hash": {"owner": [], "url": "http://name.example.com/"},
}


def sound(receiver: Receiver) -> Request:
    return Request("sound", receiver.url(), (("X-Key", SECRET),), b"{}", 5.0, 10.0)


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("inspected", [False, True], ids=["network", "playground"])
def test_a_broken_request_is_not_sent(transport: Transport, receiver: Receiver, how: str, inspected: bool) -> None:
    if inspected and ("URL" in how or "owner" in how or "connect" in how or "body" in how):
        pytest.skip("the playground does not look at it")
    right = sound(receiver)
    wrong = dataclasses.replace(right, token="broken", **BROKEN[how])
    if inspected:
        wrong = dataclasses.replace(wrong, url=url_of("200"))
    for _ in range(3):
        transport.start(wrong)
    transport.start(right)
    responses = gather(transport, 4)
    assert transport.in_flight == 0
    for response in responses:
        if response.token == "sound":
            assert response.status == 200
        elif how == "body is a number" and response.status:
            pytest.fail("a number is no body")
        else:
            assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "request")
            assert response.detail
            assert SECRET not in response.detail
    assert len(receiver.requests) == 1


def test_a_broken_request_that_waited_for_a_place(open_one: Open, receiver: Receiver) -> None:
    transport = open_one(concurrency=1)
    for number in range(5):
        transport.start(dataclasses.replace(sound(receiver), token=number))
        transport.start(dataclasses.replace(sound(receiver), token="broken", headers=(("X-Key", 1),)))  # type: ignore[arg-type]
    responses = gather(transport, 10)
    assert sorted(one.token for one in responses if one.status == 200) == list(range(5))
    assert {one.failure for one in responses if one.token == "broken"} == {OutcomeKind.NOT_SENT}
    assert transport.in_flight == 0


def test_seventy_broken_requests_do_not_use_up_the_places(open_one: Open, receiver: Receiver) -> None:
    transport = open_one(concurrency=8)
    for number in range(70):
        transport.start(dataclasses.replace(sound(receiver), token=number, body=5))  # type: ignore[arg-type]
    assert all(one.failure is OutcomeKind.NOT_SENT for one in gather(transport, 70))
    for number in range(20):
        transport.start(dataclasses.replace(sound(receiver), token=number))
    assert all(one.status == 200 for one in gather(transport, 20))


class Fault(Exception):
    """Something that nobody expects."""


@pytest.mark.parametrize("error", [Fault("oh"), MemoryError(), OSError(errno.EBADF, "Bad file descriptor")])
@pytest.mark.parametrize(
    "where", ["curl_handle.os.set_inheritable", "curl_handle.may_connect", "curl_received.status_of"]
)
def test_an_exception_in_a_callback_of_libcurl(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    pytest.importorskip("pycurl")

    def fails(*_: object) -> None:
        raise error

    transport = open_transport(TransportOptions(LOOPBACK), "curl")
    with monkeypatch.context() as patch:
        patch.setattr(f"webhooks_app.transport.{where}", fails)
        response = send(transport, receiver.url())
    assert response.failure is OutcomeKind.NOT_SENT
    assert type(error).__name__ in response.detail
    assert response.our_fault == ("memory" if isinstance(error, MemoryError) else "request")
    assert send(transport, receiver.url()).status == 200
    assert transport.in_flight == 0
    transport.close()


class _Refusing(EpollPoller):
    """A poller that has no room for a connection now and then, as epoll says ENOSPC. libcurl has other descriptors, too."""

    refuses = 0

    def register(self, fd: int, events: int) -> None:
        if self.refuses and _is_tcp(fd):
            self.refuses -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        super().register(fd, events)


def _is_tcp(fd: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as duplicate:
        return duplicate.family == socket.AF_INET


def test_a_socket_that_the_poller_does_not_take(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycurl")
    receiver.on("/", Delay(0.05))
    monkeypatch.setattr("webhooks_app.transport.curl_sockets.Poller", _Refusing)
    network: Any = open_transport(TransportOptions(LOOPBACK), "curl")
    poller = network._network._sockets._poller
    for _ in range(2):  # on a new connection, and on a kept one
        poller.refuses = 1
        response = send(network, receiver.url(), total=60.0)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "request")
        assert "No space left" in response.detail
        assert response.duration < 30
        assert send(network, receiver.url()).status == 200
    network.close()


@pytest.fixture
def no_threads() -> Iterator[None]:
    """Threads whose stack is larger than any memory: the operating system starts none."""
    before = threading.stack_size(1 << 46)
    yield
    threading.stack_size(before)


class TestNoThreadCanBeStarted:
    def test_for_a_name(self, open_one: Open, receiver: Receiver) -> None:
        transport = open_one()
        before = threading.stack_size(1 << 46)
        try:
            transport.start(request(f"http://localhost:{receiver.port}/", "name"))
            transport.start(request(f"http://localhost:{receiver.port}/", "same name"))
            responses = gather(transport, 2)
        finally:
            threading.stack_size(before)
        assert {(one.failure, one.our_fault) for one in responses} == {(OutcomeKind.NOT_SENT, "threads")}
        assert transport.in_flight == 0
        assert all("thread" in one.detail for one in responses)

    def test_for_a_sender(self, receiver: Receiver, no_threads: None) -> None:
        transport = open_transport(TransportOptions(LOOPBACK), "requests")
        for number in range(3):
            transport.start(request(receiver.url(), number))
        for response in gather(transport, 3):
            assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "threads")
            assert "can't start new thread" in response.detail
        assert transport.in_flight == 0
        threading.stack_size(0)
        assert send(transport, receiver.url()).status == 200
        transport.close()

    def test_for_more_senders(self, receiver: Receiver) -> None:
        """The threads there do the work of those that cannot be started."""
        transport = open_transport(TransportOptions(LOOPBACK), "requests")
        assert send(transport, receiver.url()).status == 200
        before = threading.stack_size(1 << 46)
        try:
            for number in range(20):
                transport.start(request(receiver.url(), number))
            assert all(one.status == 200 for one in gather(transport, 20))
        finally:
            threading.stack_size(before)
        transport.close()


@pytest.mark.parametrize("error", [KeyError("x"), Fault("oh"), SystemError("bad")])
def test_any_exception_in_a_lookup_is_an_answer(
    open_one: Open, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("webhooks_app.transport.resolver.KEEP_ERROR_SECONDS", 0.3)
    transport = open_one()
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", fails)
        response = send(transport, f"http://localhost:{receiver.port}/", total=30.0)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "resolver")
        assert type(error).__name__ in response.detail
        assert response.duration < 20
    time.sleep(0.4)
    assert send(transport, f"http://localhost:{receiver.port}/").status == 200  # it is not pending for ever


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_no_exception_is_raised_by_wait(
    open_one: Open, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], transport_name: str
) -> None:
    def interrupted(*_: object) -> bool:
        raise error("as a signal handler does")

    transport = open_one()
    with monkeypatch.context() as patch:
        patch.setattr(f"webhooks_app.transport.{_ADDRESS_CHECK[transport_name]}", interrupted)
        transport.start(request(receiver.url()))
        with pytest.raises(error):
            gather(transport)
        [response] = gather(transport)
    assert response.status is None
    assert send(transport, receiver.url()).status == 200
    assert transport.in_flight == 0


_ADDRESS_CHECK = {"curl": "curl_handle.may_connect", "requests": "requests_adapter.addresses_to_connect"}


def test_threads_that_do_not_return_are_replaced(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread at work inside OpenSSL does not notice that its connection was cut off."""
    released = threading.Event()
    transport = RequestsTransport(TransportOptions(LOOPBACK))
    carry_out = transport._exchange.carry_out

    def stuck(job: Job) -> Response:
        if job.request.url.endswith("/stuck"):
            released.wait(30.0)
        return carry_out(job)

    monkeypatch.setattr(transport._exchange, "carry_out", stuck)
    try:
        for number in range(10):
            transport.start(request(receiver.url("/stuck"), number, total=0.3))
        assert {response.failure for response in gather(transport, 10)} == {OutcomeKind.TIMEOUT}
        for number in range(3):
            transport.start(request(receiver.url("/"), number))
        assert [response.status for response in gather(transport, 3)] == [200] * 3
        released.set()
        for number in range(12):
            transport.start(request(receiver.url("/"), number))
        assert [response.status for response in gather(transport, 12)] == [200] * 12
    finally:
        released.set()
        transport.close()
