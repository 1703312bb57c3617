"""Faults of the egress proxy are NOT_SENT and never the receiver's; what the receiver says through it is the receiver's."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests import transports
from tests.receiver import Authority, Receiver
from tests.receiver_behaviours import Behaviour, Hang, Raw
from tests.transports import PUBLIC, Open, send
from webhooks_app.core.retry import OutcomeKind

transport_name = transports.transport_name
open_one = transports.open_one
shared_receiver = transports.shared_receiver
receiver = transports.receiver
authority = transports.authority

WITH_PASSWORD = "http://operator:hush-4711@"


class TestTheEgressProxy:
    """`hooks.example.com` is never resolved or connected to here."""

    URLS = ("http://hooks.example.com/a", "https://hooks.example.com/a")

    @pytest.mark.parametrize("url", URLS)
    def test_that_is_down(self, open_one: Open, url: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        response = send(open_one(PUBLIC, proxy=f"{WITH_PASSWORD}127.0.0.1:{port}"), url)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "proxy")
        assert f"the egress proxy 127.0.0.1:{port}" in response.detail
        assert "4711" not in response.detail

    @pytest.mark.parametrize("url", URLS)
    def test_whose_name_does_not_resolve(self, open_one: Open, url: str) -> None:
        response = send(open_one(PUBLIC, proxy=f"{WITH_PASSWORD}nonexistent.invalid:3128"), url, total=20.0)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "proxy")
        assert (
            "the egress proxy nonexistent.invalid:3128" in response.detail or "nonexistent.invalid" in response.detail
        )
        assert "4711" not in response.detail

    @pytest.mark.parametrize("url", URLS)
    def test_that_nobody_accepts_at(self, open_one: Open, url: str) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
            for _ in range(4):  # the backlog is full
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    waiting.connect(listener.getsockname())
            transport = open_one(PUBLIC, proxy=f"http://127.0.0.1:{listener.getsockname()[1]}")
            response = send(transport, url, total=0.6)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "proxy")

    @pytest.mark.parametrize(
        ("behaviour", "kind", "fault"),
        [
            (Raw(b"HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\n\r\n"), OutcomeKind.NOT_SENT, "proxy"),
            (Raw(b"HTTP/1.1 401 X\r\n\r\n"), OutcomeKind.NOT_SENT, "proxy"),
            (Raw(b"HTTP/1.1 500 X\r\n\r\n"), OutcomeKind.NOT_SENT, "proxy"),
            (Raw(b"nonsense\r\n\r\n"), OutcomeKind.NOT_SENT, "proxy"),
            (Raw(b""), OutcomeKind.NOT_SENT, "proxy"),
            (Raw(b"HTTP/1.1 502 X\r\n\r\n"), OutcomeKind.NOT_SENT, "proxy_target"),
            (Raw(b"HTTP/1.1 503 X\r\n\r\n"), OutcomeKind.NOT_SENT, "proxy_target"),
            (Raw(b"HTTP/1.1 504 X\r\n\r\n"), OutcomeKind.NOT_SENT, "proxy_target"),
            (Hang(), OutcomeKind.NOT_SENT, "proxy_target"),
            (Raw(b"HTTP/1.1 403 X\r\n\r\n"), OutcomeKind.ADDRESS_NOT_ALLOWED, ""),
        ],
        ids=["407", "401", "500", "nonsense", "closes", "502", "503", "504", "hangs", "403"],
    )
    def test_that_makes_no_tunnel(
        self, open_one: Open, receiver: Receiver, behaviour: Behaviour, kind: OutcomeKind, fault: str
    ) -> None:
        receiver.on("hooks.example.com:443", behaviour)
        transport = open_one(PUBLIC, proxy=f"{WITH_PASSWORD}127.0.0.1:{receiver.port}")
        response = send(transport, "https://hooks.example.com/a", total=1.0)
        assert (response.failure, response.our_fault) == (kind, fault)
        assert "egress proxy 127.0.0.1" in response.detail
        assert "4711" not in response.detail
        assert receiver.requests[0].method == "CONNECT"

    def test_that_wants_other_credentials_for_a_plain_request(self, open_one: Open, receiver: Receiver) -> None:
        receiver.on("http://hooks.example.com/a", status=407)
        response = send(open_one(PUBLIC, proxy=receiver.url("")), "http://hooks.example.com/a")
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "proxy")

    @pytest.mark.parametrize("status", [403, 500, 502])
    def test_passes_on_what_the_receiver_says(self, open_one: Open, receiver: Receiver, status: int) -> None:
        receiver.on("http://hooks.example.com/a", status=status)
        assert send(open_one(PUBLIC, proxy=receiver.url("")), "http://hooks.example.com/a").status == status

    def test_behind_which_the_receiver_hangs(self, open_one: Open, receiver: Receiver) -> None:
        """On a new connection and on a kept one: the proxy did its part."""
        receiver.on("http://hooks.example.com/a", [200, Hang()]).on("http://hooks.example.com/b", Hang())
        transport = open_one(PUBLIC, proxy=receiver.url(""))
        assert send(transport, "http://hooks.example.com/a").status == 200
        assert send(transport, "http://hooks.example.com/a", total=0.5).failure is OutcomeKind.TIMEOUT
        assert send(transport, "http://hooks.example.com/b", total=0.5).failure is OutcomeKind.TIMEOUT

    def test_behind_which_the_receiver_s_tls_fails(self, open_one: Open, receiver: Receiver) -> None:
        receiver.on("hooks.example.com:443", Raw(b"HTTP/1.1 200 Connection established\r\n\r\nno TLS here, sorry\r\n"))
        response = send(open_one(PUBLIC, proxy=receiver.url("")), "https://hooks.example.com/a")
        assert (response.failure, response.our_fault) == (OutcomeKind.TLS_ERROR, "")

    @pytest.mark.parametrize("url", URLS)
    def test_with_a_bad_certificate(self, open_one: Open, authority: Authority, url: str) -> None:
        with Receiver(tls=authority.context("other.example.com")) as proxy:
            response = send(open_one(PUBLIC, proxy=proxy.url("", host="localhost"), ca_bundle=authority.bundle), url)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "proxy")
        assert "the egress proxy localhost" in response.detail

    def test_with_a_good_certificate(self, open_one: Open, authority: Authority) -> None:
        with Receiver(tls=authority.context("localhost")) as proxy:
            transport = open_one(PUBLIC, proxy=proxy.url("", host="localhost"), ca_bundle=authority.bundle)
            assert send(transport, "http://hooks.example.com/a").status == 200
            assert proxy.requests[0].path == "http://hooks.example.com/a"
