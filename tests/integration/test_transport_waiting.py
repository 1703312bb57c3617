"""How long a transport waits: a request ends by its deadline, and the calling thread sleeps until there is something to do."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests import transports
from tests.receiver import Receiver
from tests.receiver_behaviours import Answer, Delay, Drip, Endless, Hang
from tests.transports import Open, gather, request, send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Request, Transport

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver


class TestTheDeadline:
    @pytest.mark.parametrize(
        "behaviour",
        [
            Hang(),
            Drip("headers"),
        ],
        ids=["hang", "header drip"],
    )
    def test_holds(self, transport: Transport, receiver: Receiver, behaviour: Endless) -> None:
        receiver.on("/", behaviour)
        began = time.monotonic()
        response = send(transport, receiver.url(), total=0.4)
        assert response.failure is OutcomeKind.TIMEOUT
        assert 0.3 < time.monotonic() - began < 5
        assert 0.3 < response.duration < 5

    def test_holds_where_nobody_accepts(self, transport: Transport) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            assert send(transport, url, total=0.4).failure is OutcomeKind.TIMEOUT

    def test_of_one_does_not_hold_up_the_others(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/hang", Hang())
        transport.start(request(receiver.url("/hang"), "hanging", total=4))  # time for the others on a busy machine
        for number in range(200):
            transport.start(request(receiver.url("/quick"), number))
        responses = gather(transport, 200)
        assert {one.token for one in responses} == set(range(200))
        assert all(one.status == 200 for one in responses)
        assert transport.in_flight == 1
        [last] = gather(transport)
        assert (last.token, last.failure) == ("hanging", OutcomeKind.TIMEOUT)

    def test_runs_for_requests_that_wait_for_a_free_place(self, open_one: Open, receiver: Receiver) -> None:
        transport = open_one(concurrency=2)
        assert transport.capacity == 2
        receiver.on("/hang", Hang())
        for number, seconds in enumerate((0.5, 0.5, 0.4)):
            transport.start(request(receiver.url("/hang"), number, total=seconds))
        responses = {one.token: one for one in gather(transport, 3)}
        assert [responses[0].failure, responses[1].failure] == [OutcomeKind.TIMEOUT, OutcomeKind.TIMEOUT]
        assert responses[2].failure is OutcomeKind.NOT_SENT
        assert len(receiver.requests) == 2

    def test_leaves_the_transport_usable(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", [Hang(), 200])
        assert send(transport, receiver.url(), total=0.4).failure is OutcomeKind.TIMEOUT
        assert send(transport, receiver.url()).status == 200


class TestTheCallingThread:
    def test_is_woken_by_another(self, transport: Transport) -> None:
        threading.Timer(0.2, transport.wake).start()
        began = time.monotonic()
        assert list(transport.wait(20.0)) == []
        assert time.monotonic() - began < 10

    def test_is_woken_once_for_a_wake_up_before_it_waits(self, transport: Transport) -> None:
        transport.wake()
        transport.wake()
        began = time.monotonic()
        transport.wait(20.0)
        assert time.monotonic() - began < 10
        transport.wait(0.3)
        assert time.monotonic() - began > 0.25

    def test_sleeps_while_it_waits(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", Delay(0.6))
        transport.start(request(receiver.url()))
        before = time.thread_time()
        gather(transport)
        assert time.thread_time() - before < 0.3

    def test_sleeps_after_a_name_was_resolved(self, transport: Transport, receiver: Receiver) -> None:
        """The time that the lookup might have taken is over while the response is waited for."""
        receiver.on("/", Delay(1.2))
        url = receiver.url(host="localhost")
        transport.start(Request(None, url, (), b"{}", connect_timeout=0.3, total_timeout=10.0))
        before = time.thread_time()
        [response] = gather(transport)
        assert response.status == 200
        assert time.thread_time() - before < 0.4

    def test_does_not_wait_when_asked_not_to(self, transport: Transport) -> None:
        assert list(transport.wait(0.0)) == []

    def test_can_close_with_requests_in_flight(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/hang", Hang())
        for number in range(20):
            transport.start(request(receiver.url("/hang"), number))
        transport.wait(0.2)
        began = time.monotonic()
        transport.close()
        assert time.monotonic() - began < 3
        assert transport.in_flight == 0
        transport.wake()

    def test_gets_all_of_many_answers(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", lambda received: Answer(200, body=received.body))
        for number in range(300):
            transport.start(request(receiver.url(), number, body=b"%d" % number))
        responses = gather(transport, 300)
        assert all(one.body == b"%d" % one.token for one in responses)  # type: ignore[str-bytes-safe]
        assert len({one.connection for one in receiver.requests}) <= transport.capacity
