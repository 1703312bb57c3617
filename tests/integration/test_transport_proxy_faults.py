"""Faults of the egress proxy are NOT_SENT and never the receiver's; what the receiver says through it is the receiver's."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Any

import pytest

from tests import transports
from tests.proxies import EgressProxy, HTTPProxy, SOCKSProxy
from tests.receiver import Authority, Receiver
from tests.receiver_behaviours import Hang, Raw
from tests.transports import PUBLIC, Names, Open, send
from webhooks_app.core.retry import OutcomeKind

transport_name = transports.transport_name
open_one = transports.open_one
shared_receiver = transports.shared_receiver
receiver = transports.receiver
authority = transports.authority

NAME, ADDRESS = "hooks.example.com", "93.184.216.34"
URLS = (f"http://{NAME}/a", f"https://{NAME}/a")
CREDENTIALS: dict[str, Any] = {"user": "operator", "password": "hush-tacet"}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found: Names = next(transports.names.__wrapped__(monkeypatch))  # type: ignore[attr-defined]
    found[NAME] = [ADDRESS]
    return found


@pytest.fixture(params=[HTTPProxy, SOCKSProxy], ids=["http", "socks5h"])
def kind(request: pytest.FixtureRequest) -> type[EgressProxy]:
    return request.param  # type: ignore[no-any-return]


class TestTheEgressProxy:
    @pytest.mark.parametrize("url", URLS)
    def test_that_is_down(self, open_one: Open, kind: type[EgressProxy], url: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        response = send(open_one(PUBLIC, proxy=f"{kind.scheme}://operator:hush-tacet@127.0.0.1:{port}"), url)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "proxy")
        assert f"the egress proxy 127.0.0.1:{port}" in response.detail
        assert "tacet" not in response.detail

    @pytest.mark.parametrize("url", URLS)
    def test_whose_name_does_not_resolve(self, open_one: Open, kind: type[EgressProxy], url: str) -> None:
        proxy = f"{kind.scheme}://operator:hush-tacet@nonexistent.invalid:3128"
        response = send(open_one(PUBLIC, proxy=proxy), url, total=20.0)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "proxy")
        assert "the egress proxy nonexistent.invalid:3128" in response.detail
        assert "tacet" not in response.detail

    def test_that_nobody_accepts_at(self, open_one: Open, kind: type[EgressProxy]) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
            for _ in range(4):  # the backlog is full
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    waiting.connect(listener.getsockname())
            transport = open_one(PUBLIC, proxy=f"{kind.scheme}://127.0.0.1:{listener.getsockname()[1]}")
            response = send(transport, URLS[1], total=0.6)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "proxy")

    @pytest.mark.parametrize("url", URLS)
    @pytest.mark.parametrize(
        ("fault", "ours"),
        [("hang", "proxy_target"), ("slow", "proxy_target"), ("close", "proxy"), ("garbage", "proxy")],
    )
    def test_that_makes_no_tunnel(
        self, open_one: Open, kind: type[EgressProxy], url: str, fault: str, ours: str
    ) -> None:
        with kind(fault=fault, **CREDENTIALS) as proxy:
            response = send(open_one(PUBLIC, proxy=proxy.url), url, total=1.0)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, ours)
        assert f"the egress proxy 127.0.0.1:{proxy.port}" in response.detail
        assert "tacet" not in response.detail

    @pytest.mark.parametrize(
        ("status", "ours"),
        [
            (401, "proxy_refused"),
            (500, "proxy_refused"),
            (502, "proxy_target"),
            (503, "proxy_target"),
            (504, "proxy_target"),
        ],
    )
    @pytest.mark.parametrize("url", URLS)
    def test_that_answers_connect_with_a_status(self, open_one: Open, url: str, status: int, ours: str) -> None:
        with HTTPProxy(refusal=status) as proxy:
            response = send(open_one(PUBLIC, proxy=proxy.url), url)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, ours)
        assert str(status) in response.detail

    @pytest.mark.parametrize(
        ("reply", "ours"),
        [(1, "proxy_refused"), (3, "proxy_target"), (4, "proxy_target"), (5, "proxy_target"), (6, "proxy_target"),
         (7, "proxy_refused"), (8, "proxy_refused"), (99, "proxy")],
    )  # fmt: skip
    @pytest.mark.parametrize("url", URLS)
    def test_that_refuses_with_a_socks_reply(self, open_one: Open, url: str, reply: int, ours: str) -> None:
        with SOCKSProxy(refusal=reply) as proxy:
            response = send(open_one(PUBLIC, proxy=proxy.url), url)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, ours)
        assert f"the egress proxy 127.0.0.1:{proxy.port}" in response.detail

    @pytest.mark.parametrize("url", URLS)
    @pytest.mark.parametrize(
        ("kind", "refusal"),
        [(HTTPProxy, 403), (HTTPProxy, 407), (SOCKSProxy, 2)],
        ids=["http", "smokescreen", "socks5h"],
    )
    def test_that_does_not_allow_the_host(
        self, open_one: Open, url: str, kind: type[EgressProxy], refusal: int
    ) -> None:
        with kind(refusal=refusal) as proxy:
            response = send(open_one(PUBLIC, proxy=proxy.url), url)
        assert (response.failure, response.our_fault) == (OutcomeKind.ADDRESS_NOT_ALLOWED, "")
        assert "does not allow this host" in response.detail

    @pytest.mark.parametrize("url", URLS)
    @pytest.mark.parametrize("given", [("", ""), ("operator", "wrong-tacet")], ids=["none", "wrong"])
    def test_that_wants_other_credentials(
        self, open_one: Open, kind: type[EgressProxy], url: str, given: tuple[str, str]
    ) -> None:
        with kind(**CREDENTIALS) as proxy:
            response = send(open_one(PUBLIC, proxy=proxy.url_with(*given)), url)
            assert not proxy.asked
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "proxy")
        assert "tacet" not in response.detail

    @pytest.mark.parametrize("status", [403, 407, 500, 502])
    def test_passes_on_what_the_receiver_says(
        self, open_one: Open, kind: type[EgressProxy], receiver: Receiver, status: int
    ) -> None:
        receiver.on("/a", status=status)
        with kind({f"{ADDRESS}:80": receiver.port}) as proxy:
            assert send(open_one(PUBLIC, proxy=proxy.url), URLS[0]).status == status

    def test_behind_which_the_receiver_hangs(self, open_one: Open, kind: type[EgressProxy], receiver: Receiver) -> None:
        """On a new connection and on a kept one: the proxy did its part."""
        receiver.on("/a", [200, Hang()]).on("/b", Hang())
        with kind({f"{ADDRESS}:80": receiver.port}, **CREDENTIALS) as proxy:
            transport = open_one(PUBLIC, proxy=proxy.url)
            assert send(transport, f"http://{NAME}/a").status == 200
            assert send(transport, f"http://{NAME}/a", total=0.5).failure is OutcomeKind.TIMEOUT
            assert send(transport, f"http://{NAME}/b", total=0.5).failure is OutcomeKind.TIMEOUT

    def test_behind_which_the_receiver_is_silent_in_its_handshake(
        self, open_one: Open, kind: type[EgressProxy]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for credentials in ({}, CREDENTIALS):
                with kind({f"{ADDRESS}:443": listener.getsockname()[1]}, **credentials) as proxy:
                    response = send(open_one(PUBLIC, proxy=proxy.url), URLS[1], total=0.7)
                    assert response.failure is OutcomeKind.TIMEOUT

    def test_behind_which_the_receivers_tls_fails(
        self, open_one: Open, kind: type[EgressProxy], receiver: Receiver
    ) -> None:
        with kind({f"{ADDRESS}:443": receiver.port}) as proxy:  # it speaks no TLS
            response = send(open_one(PUBLIC, proxy=proxy.url), URLS[1])
        assert (response.failure, response.our_fault) == (OutcomeKind.TLS_ERROR, "")

    def test_that_sends_more_than_its_response(self, open_one: Open, receiver: Receiver) -> None:
        receiver.on(f"{ADDRESS}:443", Raw(b"HTTP/1.1 200 Connection established\r\n\r\nno TLS here, sorry\r\n"))
        response = send(open_one(PUBLIC, proxy=receiver.url("")), URLS[1])
        assert (response.failure, response.our_fault) == (OutcomeKind.TLS_ERROR, "")

    @pytest.mark.parametrize("url", URLS)
    def test_with_a_bad_certificate(self, open_one: Open, authority: Authority, url: str) -> None:
        with HTTPProxy(tls=authority.context("other.example.com")) as proxy:
            response = send(open_one(PUBLIC, proxy=proxy.url, ca_bundle=authority.bundle), url)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "proxy")
        assert "the egress proxy localhost" in response.detail

    def test_with_a_handshake_that_hangs(self, open_one: Open) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            transport = open_one(PUBLIC, proxy=f"https://localhost:{listener.getsockname()[1]}")
            response = send(transport, URLS[1], total=0.7)
        assert (response.failure, response.our_fault) in [
            (OutcomeKind.NOT_SENT, "proxy"),
            (OutcomeKind.NOT_SENT, "proxy_target"),
        ]


def test_no_log_line_has_the_password(
    open_one: Open, kind: type[EgressProxy], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with kind(fault="close", **CREDENTIALS) as proxy:
        transport = open_one(PUBLIC, proxy=proxy.url)
        send(transport, URLS[1])
        assert "tacet" not in repr(transport.options if hasattr(transport, "options") else "")
    assert "tacet" not in caplog.text
