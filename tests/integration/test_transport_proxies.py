"""Requests through an egress proxy: which requests, and to which address or name."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests import transports
from tests.proxies import EgressProxy, HTTPProxy, SOCKSProxy
from tests.receiver import Authority, Receiver
from tests.transports import PORTS, PUBLIC, Names, Open, gather, request, send
from webhooks_app.core.addresses import AddressPolicy
from webhooks_app.core.retry import OutcomeKind

transport_name = transports.transport_name
open_one = transports.open_one
shared_receiver = transports.shared_receiver
receiver = transports.receiver
authority = transports.authority
names = transports.names

ADDRESS, ADDRESS_V6 = "93.184.216.34", "2606:2800:220:1::1"
CREDENTIALS: dict[str, Any] = {"user": "operator", "password": "hush:tacet@/%"}


@pytest.fixture(params=[HTTPProxy, SOCKSProxy], ids=["http", "socks5h"])
def kind(request: pytest.FixtureRequest) -> type[EgressProxy]:
    return request.param  # type: ignore[no-any-return]


class TestEveryRequest:
    def test_goes_through_the_proxy_to_the_checked_address(
        self, open_one: Open, kind: type[EgressProxy], receiver: Receiver, names: Names
    ) -> None:
        names["hooks.example.com"] = [ADDRESS]
        with kind({f"{ADDRESS}:80": receiver.port}) as proxy:
            transport = open_one(PUBLIC, proxy=proxy.url)
            for _ in range(3):
                assert send(transport, "http://hooks.example.com/a/../b?c=%7e").status == 200
            assert proxy.asked == [f"{ADDRESS}:80"], "one connection is kept"
        assert {one.path for one in receiver.requests} == {"/a/../b?c=%7e"}
        assert {one.headers["host"] for one in receiver.requests} == {"hooks.example.com"}

    def test_keeps_the_name_for_tls(
        self, open_one: Open, kind: type[EgressProxy], authority: Authority, names: Names
    ) -> None:
        names["hooks.example.com"] = [ADDRESS]
        asked: list[str | None] = []
        context = authority.context("hooks.example.com")
        context.sni_callback = lambda _tls, name, _context: asked.append(name)
        with (
            Receiver(tls=context) as receiver,
            kind({f"{ADDRESS}:443": receiver.port}) as proxy,
        ):
            transport = open_one(PUBLIC, proxy=proxy.url, ca_bundle=authority.bundle)
            assert send(transport, "https://hooks.example.com/a", body=b"x" * 100_000).status == 200
            assert proxy.asked == [f"{ADDRESS}:443"]
            assert receiver.requests[0].headers["host"] == "hooks.example.com"
            assert len(receiver.requests[0].body) == 100_000
        assert asked == ["hooks.example.com"]

    @pytest.mark.parametrize("path", ["/", "/a"])
    def test_is_sent_with_the_operators_credentials(
        self, open_one: Open, kind: type[EgressProxy], receiver: Receiver, path: str
    ) -> None:
        with kind({f"{ADDRESS}:80": receiver.port}, **CREDENTIALS) as proxy:
            url = proxy.url_with("operator", "hush%3Atacet%40%2F%25")
            assert send(open_one(PUBLIC, proxy=url), f"http://{ADDRESS}{path}").status == 200
        assert "proxy-authorization" not in receiver.requests[0].headers

    def test_shows_the_proxy_no_header_that_is_for_the_receiver(
        self, open_one: Open, receiver: Receiver, authority: Authority
    ) -> None:
        with HTTPProxy({f"{ADDRESS}:80": receiver.port}) as proxy:
            response = send(open_one(PUBLIC, proxy=proxy.url), f"http://{ADDRESS}/", authorization="hush-tacet")
            assert response.status == 200
            [head] = proxy.heads
        assert receiver.requests[0].headers["authorization"] == "hush-tacet"
        assert "tacet" not in head
        assert "content-type" not in head.lower()

    def test_to_an_address_of_either_version(
        self, open_one: Open, kind: type[EgressProxy], receiver: Receiver, names: Names
    ) -> None:
        names["six.example.com"] = [ADDRESS_V6]
        names["both.example.com"] = [ADDRESS_V6, ADDRESS]
        with kind({f"{ADDRESS}:80": receiver.port, f"[{ADDRESS_V6}]:80": receiver.port}) as proxy:
            transport = open_one(PUBLIC, proxy=proxy.url)
            for host in ("six.example.com", "both.example.com", f"[{ADDRESS_V6}]", ADDRESS):
                assert send(transport, f"http://{host}/").status == 200
            asked = proxy.asked
        # Not every proxy has IPv6.
        assert asked == [f"[{ADDRESS_V6}]:80", f"{ADDRESS}:80", f"[{ADDRESS_V6}]:80", f"{ADDRESS}:80"]

    def test_through_an_https_proxy(self, open_one: Open, authority: Authority, names: Names) -> None:
        names["hooks.example.com"] = [ADDRESS]
        with (
            Receiver(tls=authority.context("hooks.example.com")) as secure,
            Receiver() as plain,
            HTTPProxy(
                {f"{ADDRESS}:443": secure.port, f"{ADDRESS}:80": plain.port},
                tls=authority.context("localhost"),
                **CREDENTIALS,
            ) as proxy,
        ):
            url = proxy.url_with("operator", "hush%3Atacet%40%2F%25")
            transport = open_one(PUBLIC, proxy=url, ca_bundle=authority.bundle)
            for scheme in ("http", "https"):
                for number in range(20):
                    transport.start(request(f"{scheme}://hooks.example.com/", number, body=b"x" * 50_000))
                assert [one.status for one in gather(transport, 20)] == [200] * 20
            assert len(secure.requests) == len(plain.requests) == 20


class TestAnAddressThatIsNotAllowed:
    @pytest.mark.parametrize(
        "records",
        [["127.0.0.1"], ["169.254.169.254"], [ADDRESS, "10.0.0.1"], ["10.0.0.1", ADDRESS], ["::ffff:127.0.0.1"],
         [ADDRESS_V6, "::1"], ["8.8.8.8"]],
    )  # fmt: skip
    def test_is_not_asked_for(self, open_one: Open, kind: type[EgressProxy], names: Names, records: list[str]) -> None:
        names["hooks.example.com"] = records
        policy = AddressPolicy(allow_http=True, ports=PORTS, denied_networks=("8.8.8.0/24",))
        with kind() as proxy:
            transport = open_one(policy, proxy=proxy.url)
            for scheme in ("http", "https"):
                response = send(transport, f"{scheme}://hooks.example.com/")
                assert response.failure is OutcomeKind.ADDRESS_NOT_ALLOWED
            assert not proxy.clients

    @pytest.mark.parametrize("resolves", [False, True])
    @pytest.mark.parametrize(
        "host",
        [
            "169.254.169.254",
            "127.0.0.1",
            "[::1]",
            "localhost",
            "0x7f.1",
            "2130706433",
            "%31%32%37.0.0.1",
            "%6cocalhost",
        ],
    )
    def test_is_not_asked_for_as_a_literal(
        self, open_one: Open, kind: type[EgressProxy], host: str, resolves: bool
    ) -> None:
        with kind() as proxy:
            transport = open_one(PUBLIC, proxy=proxy.url, proxy_resolves_names=resolves)
            response = send(transport, f"http://{host}/")
            assert response.failure is OutcomeKind.ADDRESS_NOT_ALLOWED
            assert not proxy.clients

    def test_is_not_asked_for_after_the_name_moved_there(
        self, open_one: Open, kind: type[EgressProxy], receiver: Receiver, names: Names, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("webhooks_app.transport.resolver.KEEP_SECONDS", 0.2)
        names["hooks.example.com"] = [ADDRESS]
        receiver.on("/", status=200, headers={"Connection": "close"})
        with kind({f"{ADDRESS}:80": receiver.port}) as proxy:
            transport = open_one(PUBLIC, proxy=proxy.url)
            assert send(transport, "http://hooks.example.com/").status == 200
            names["hooks.example.com"] = ["127.0.0.1"]
            time.sleep(0.3)
            assert send(transport, "http://hooks.example.com/").failure is OutcomeKind.ADDRESS_NOT_ALLOWED
            assert proxy.asked == [f"{ADDRESS}:80"]


def test_a_name_that_does_not_resolve_here_is_the_receivers_failure(open_one: Open, kind: type[EgressProxy]) -> None:
    with kind() as proxy:
        response = send(open_one(PUBLIC, proxy=proxy.url), "https://nonexistent.invalid/", total=20.0)
        assert (response.failure, response.our_fault) == (OutcomeKind.NAME_ERROR, "")
        assert not proxy.clients


def test_a_proxy_that_resolves_names_gets_the_name(
    open_one: Open, kind: type[EgressProxy], authority: Authority, names: Names
) -> None:
    with (
        Receiver(tls=authority.context("only-there.example.com")) as receiver,
        kind({"only-there.example.com:443": receiver.port}) as proxy,
    ):
        transport = open_one(PUBLIC, proxy=proxy.url, proxy_resolves_names=True, ca_bundle=authority.bundle)
        assert send(transport, "https://only-there.example.com/").status == 200
        assert proxy.asked == ["only-there.example.com:443"]
    assert not names.asked
