"""What is particular to the transport on libcurl."""

from __future__ import annotations

import asyncio
import os
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests import transports
from tests.pipelines import PATIENCE, eventually
from tests.receiver import Receiver
from tests.receiver_behaviours import Behaviour, Delay, Drip, Hang, Raw
from tests.transports import LOOPBACK, Names, gather, request, send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Transport, TransportOptions, open_transport
from webhooks_app.transport.curl_sockets import CurlSockets
from webhooks_app.transport.resolver import Resolution

curl = pytest.importorskip("webhooks_app.transport.curl", exc_type=ImportError)

shared_receiver = transports.shared_receiver
names = transports.names
receiver = transports.receiver


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = open_transport(TransportOptions(LOOPBACK), "curl")
    yield transport
    transport.close()


def test_an_exception_in_a_callback_is_raised_by_wait(
    transport: Transport, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt("as a signal handler does")

    with monkeypatch.context() as patch:
        patch.setattr("webhooks_app.transport.curl_handle.may_connect", interrupted)
        transport.start(request(receiver.url()))
        with pytest.raises(KeyboardInterrupt):
            gather(transport)
    assert gather(transport)[0].failure is OutcomeKind.REFUSED
    assert send(transport, receiver.url()).status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "starts.test"], ids=["at once", "once its name is resolved"])
def test_requests_do_not_start_in_a_call_for_the_socket_of_another(
    receiver: Receiver, names: Names, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """What the start costs would be charged to the owner of that socket."""
    names["starts.test"] = ["127.0.0.1"]
    calls: list[list[int]] = []
    opened = CurlSockets.note_opened

    def note_opened(sockets: CurlSockets, fd: int, owner: object) -> None:
        calls.append(list(sockets.guard._call or []))
        opened(sockets, fd, owner)

    monkeypatch.setattr(CurlSockets, "note_opened", note_opened)
    with closing(open_transport(TransportOptions(LOOPBACK), "curl")) as transport:
        receiver.on("/waits", Delay(0.3))
        transport.start(request(receiver.url("/waits"), token="waits"))
        transport.wait(0.1)
        for number in range(5):
            transport.start(request(receiver.url().replace("127.0.0.1", host), token=number))
        time.sleep(0.5)  # now the first response is there, too, and perhaps the address
        assert len(gather(transport, 6)) == 6
    assert len(calls) == 6
    assert all(call == [-1] for call in calls)  # the timer's


def test_its_sockets_are_not_inherited_and_not_leaked(transport: Transport, receiver: Receiver) -> None:
    before = _descriptors()
    receiver.on("/hang", Hang())
    transport.start(request(receiver.url("/hang")))
    send(transport, receiver.url())
    opened = _descriptors() - before
    assert opened
    assert not any(os.get_inheritable(one) for one in opened)
    transport.close()
    assert len(_descriptors()) <= len(before)


def _descriptors() -> set[int]:
    """The open descriptors of this process that lead to sockets."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.add(int(name))
        except OSError:  # the one that listed the folder
            continue
    return found


def test_no_name_is_resolved_by_libcurl_itself(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It forgets what we resolved for a request; the handle that is used again must bring it again."""
    monkeypatch.setattr("webhooks_app.transport.curl_options.DNS_CACHE_SECONDS", 1)
    monkeypatch.setattr(
        "webhooks_app.transport.resolver.Resolver.lookup",
        lambda _self, _host, _owner: Resolution(("127.0.0.1",), "", float("inf")),
    )
    receiver.on("/", Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
    transport = open_transport(TransportOptions(LOOPBACK), "curl")
    url = f"http://only-we-know.example.com:{receiver.port}/"
    answers = [send(transport, url)]
    time.sleep(2.1)
    answers.append(send(transport, url))
    transport.close()
    assert [(answer.status, answer.detail) for answer in answers] == [(200, "")] * 2


@dataclass(frozen=True)
class Together(Behaviour):
    """Answers when `go` is set, so that many responses are there at once."""

    go: threading.Event
    answered: list[int] = field(default_factory=list)

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        while not self.go.is_set():
            await asyncio.sleep(0.01)
        going = await Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", close=False).play(writer)
        self.answered.append(1)
        return going


class TestManyResponsesAtOnce:
    """The transport handles sockets for a limited time, and then lets its caller start requests."""

    def test_are_handled_in_several_turns(
        self, transport: Transport, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("webhooks_app.transport.curl_sockets._TURN_SECONDS", 0.0)
        go = threading.Event()
        together = Together(go)
        receiver.on("/", together)
        for number in range(100):
            transport.start(request(receiver.url(), number, total=30.0))
        until = time.monotonic() + 20
        while len(receiver.requests) < 100:
            assert transport.wait(0.05) == []
            assert time.monotonic() < until, "the requests did not arrive"
        go.set()
        eventually(lambda: len(together.answered) == 100)
        batches = []
        while sum(map(len, batches)) < 100:
            batches.append(transport.wait(10.0))
            assert time.monotonic() < until + 20, "the responses were not handled"
        assert sorted(one.token for batch in batches for one in batch) == list(range(100))  # type: ignore[type-var]
        assert all(one.status == 200 for batch in batches for one in batch)
        assert max(map(len, batches)) < 50

    def test_leave_no_socket_out(
        self, transport: Transport, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Endpoints that always have more to read do not keep the others from being read."""
        monkeypatch.setattr("webhooks_app.transport.curl_sockets._TURN_SECONDS", 0.0)
        receiver.on("/drip", Drip("headers", 0.001))
        for number in range(60):
            transport.start(request(receiver.url("/drip"), number, total=60.0))
        for number in range(60, 80):
            transport.start(request(receiver.url("/ok"), number, total=60.0))
        assert {one.token for one in gather(transport, 20)} == set(range(60, 80))


def test_a_closed_connection_is_not_taken_for_another_owners_new_one(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that are opened while others are closed get the same numbers. Which owner's they are decides whose turn it is,
    and a flood cuts off the connection of its own request only."""
    monkeypatch.setattr("webhooks_app.transport.curl_sockets._TURN_SECONDS", 10.0)
    receiver.on("/slow", Hang())
    arrived, gone, closed = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)

    class Closes(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            arrived.release()
            gone.wait(PATIENCE)
            self.request.shutdown(socket.SHUT_RDWR)
            closed.release()

    transport = curl.CurlTransport(TransportOptions(LOOPBACK))
    running = transport._running
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Closes) as closes, closing(transport):
        closes.daemon_threads = True
        closes.socket.listen(20)
        threading.Thread(target=closes.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{closes.server_address[1]}/"
        for number in range(20):
            transport.start(replace(request(url, number), owner="ends"))
        for _ in range(20):
            while not arrived.acquire(blocking=False):
                transport.wait(0.01)
        ending, before = list(running.values()), {handle.descriptor for handle in running.values()}
        gone.set()
        assert all(closed.acquire(timeout=PATIENCE) for _ in range(20))
        for number in range(20):
            transport.start(replace(request(receiver.url("/slow", host="localhost"), f"new {number}"), owner="begins"))
        time.sleep(0.3)
        assert {response.failure for response in gather(transport, 20)} == {OutcomeKind.PROTOCOL_ERROR}
        until = time.monotonic() + PATIENCE
        while any(handle.descriptor < 0 for handle in running.values()) and time.monotonic() < until:
            transport.wait(0.01)
        closes.shutdown()
        new = {handle.descriptor for handle in running.values()}
        assert len(new & before) > 5, "else no number was used again"
        assert {transport._sockets._owners.get(fd) for fd in new} == {"begins"}
        assert {handle.descriptor for handle in ending if handle not in running.values()} == {-1}


class TestReceiversOfOneOwner:
    def test_do_not_hold_up_another_owners(self) -> None:
        """Three hundred large responses are ready at once. Another owner's requests wait for a few of them and not for all."""
        many = 300
        parts = b"".join(b"x%d: %s\r\n" % (number, b"y" * 100) for number in range(180))
        answer = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + parts + b"\r\n" + b"1\r\na\r\n" * 200 + b"0\r\n\r\n"
        )
        received, release = threading.Semaphore(0), threading.Event()

        class Heavy(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.recv(65536)
                received.release()
                release.wait(PATIENCE)
                self.request.sendall(answer)

        transport = open_transport(TransportOptions(LOOPBACK, concurrency=400), "curl")
        with Receiver() as good, socketserver.ThreadingTCPServer(("127.0.0.1", 0), Heavy) as heavy, closing(transport):
            heavy.daemon_threads = True
            heavy.request_queue_size = many
            heavy.socket.listen(many)
            threading.Thread(target=heavy.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{heavy.server_address[1]}/"
            for number in range(many):
                transport.start(replace(request(url, number), owner="heavy"))
            arrived = 0
            while arrived < many:
                transport.wait(0.01)
                arrived += received.acquire(blocking=False)
            release.set()
            time.sleep(0.5)  # until all of it has arrived at this machine
            transport.start(replace(request(good.url(), "good"), owner="good"))
            before: list[object] = []
            while "good" not in before:
                before += [response.token for response in transport.wait(1.0)]
            heavy.shutdown()
        assert len(before) < many / 2
