"""Connections leave from the operator's addresses, on both transports."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests import transports
from tests.proxies import EgressProxy, HTTPProxy, SOCKSProxy
from tests.receiver import Receiver
from tests.transports import LOOPBACK, PORTS, PUBLIC, Names, Open, gather, request, send
from webhooks_app.core.addresses import AddressPolicy
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import transport_options

transport_name = transports.transport_name
open_one = transports.open_one
shared_receiver = transports.shared_receiver
receiver = transports.receiver
names = transports.names

BOTH = AddressPolicy(allow_http=True, ports=PORTS, allowed_networks=("127.0.0.0/8", "::1/128"))
#: An address for documentation, which no machine has.
NOBODYS = ("203.0.113.9", "2001:db8::9")


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
class TestOfBothVersions:
    def test_each_is_used_for_its_own(self, open_one: Open) -> None:
        transport = open_one(BOTH, source_addresses=("127.0.0.2", "::1"))
        for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            try:
                listener = socket.create_server((host, 0), family=family)
            except OSError:
                pytest.skip("needs IPv6 on loopback")
            with listener:
                written = f"[{host}]" if ":" in host else host
                transport.start(request(f"http://{written}:{listener.getsockname()[1]}/", total=0.5))
                gather(transport)
                listener.settimeout(5.0)
                connection, peer, *_ = listener.accept()
                connection.close()
            assert peer[0] == ("::1" if ":" in host else "127.0.0.2")


def test_a_connection_leaves_from_the_source_address(open_one: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for sources, expected in ((("127.0.0.2",), "127.0.0.2"), ((), "127.0.0.1")):
            transport = open_one(source_addresses=sources)
            transport.start(request(f"http://127.0.0.1:{listener.getsockname()[1]}/", total=0.5))
            gather(transport)
            listener.settimeout(5.0)
            connection, peer = listener.accept()
            connection.close()
            assert peer[0] == expected


@pytest.mark.parametrize("kind", [HTTPProxy, SOCKSProxy], ids=["http", "socks5h"])
def test_also_to_a_proxy(open_one: Open, receiver: Receiver, kind: type[EgressProxy]) -> None:
    with kind({"93.184.216.34:80": receiver.port}) as proxy:
        transport = open_one(PUBLIC, proxy=proxy.url, source_addresses=("127.0.0.2",))
        assert send(transport, "http://93.184.216.34/").status == 200
        assert [host for host, _ in proxy.clients] == ["127.0.0.2"]


def test_an_address_that_this_machine_does_not_have_is_our_fault(open_one: Open, receiver: Receiver) -> None:
    transport = open_one(BOTH, source_addresses=NOBODYS)
    for host in ("127.0.0.1", "[::1]"):
        response = send(transport, receiver.url(host=host))
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "ports")
        assert "SOURCE_ADDRESSES" in response.detail
    assert not receiver.requests


def test_a_receiver_of_the_other_version_is_not_connected_to(open_one: Open, receiver: Receiver) -> None:
    """As on a machine without IPv6: this counts as no connection."""
    transport = open_one(BOTH, source_addresses=("127.0.0.2",))
    response = send(transport, f"http://[::1]:{receiver.port}/")
    assert (response.failure, response.our_fault) == (OutcomeKind.REFUSED, "")
    assert "SOURCE_ADDRESSES has no IPv6 address" in response.detail


def test_a_name_with_both_versions_is_connected_to_by_the_one(open_one: Open, receiver: Receiver, names: Names) -> None:
    names["both.example.com"] = ["::1", "127.0.0.1"]
    transport = open_one(BOTH, source_addresses=("127.0.0.2",))
    response = send(transport, receiver.url(host="both.example.com"))
    assert (response.status, response.address) == (200, "127.0.0.1")


def test_many_connections_share_the_ports_of_an_address(open_one: Open, receiver: Receiver) -> None:
    transport = open_one(LOOPBACK, source_addresses=("127.0.0.2",))
    for number in range(200):
        transport.start(request(receiver.url(), number))
    assert {one.status for one in gather(transport, 200)} == {200}


def test_the_settings_name_them(settings: Any) -> None:
    settings.WEBHOOKS = {"EGRESS": {"SOURCE_ADDRESSES": ["127.0.0.2"]}}
    assert transport_options().source_addresses == ("127.0.0.2",)
