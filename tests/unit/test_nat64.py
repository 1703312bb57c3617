"""IPv6 addresses behind which a translator sends to an IPv4 address."""

from __future__ import annotations

import ipaddress

import pytest

from webhooks_app.core.addresses import AddressPolicy, address_allowed, check_url, usable_addresses
from webhooks_app.exceptions import URLNotAllowed


class TestNAT64:
    """A translator sends packets for an address in its prefix to the IPv4 address inside it (RFC 6052)."""

    PREFIXES = ("64:ff9b::/96", "64:ff9b::/32", "::/0", "64:ff9b:1:2::/96", "2a00:64::/96", "fd00:64::/96")

    @pytest.mark.parametrize("network", PREFIXES)
    @pytest.mark.parametrize(
        "inside", ["7f00:1", "a9fe:a9fe", "a00:1", "0:0", "ffff:ffff", "c0a8:101", "6440:1", "a83f:8110"]
    )
    def test_an_allowed_prefix_leads_to_no_inside_address(self, network: str, inside: str) -> None:
        prefix = "64:ff9b::" if network in ("::/0", "64:ff9b::/32") else network.partition("/")[0]
        policy = AddressPolicy(allowed_networks=(network,))
        address = f"{prefix}{inside}"
        assert not address_allowed(address, policy)
        assert not address_allowed(ipaddress.ip_address(address).packed, policy)
        with pytest.raises(URLNotAllowed):
            check_url(f"https://[{address}]/", policy)

    @pytest.mark.parametrize("network", PREFIXES)
    def test_an_allowed_prefix_leads_to_public_addresses(self, network: str) -> None:
        prefix = "64:ff9b::" if network in ("::/0", "64:ff9b::/32") else network.partition("/")[0]
        policy = AddressPolicy(allowed_networks=(network,))
        assert address_allowed(f"{prefix}5db8:d822", policy)
        assert usable_addresses((f"{prefix}5db8:d822", "93.184.216.34"), policy) == (
            f"{prefix}5db8:d822",
            "93.184.216.34",
        )

    @pytest.mark.parametrize(
        ("network", "refused", "allowed"),
        [  # 127.0.0.1 and 93.184.216.34 by RFC 6052, section 2.2; the last 32 bits say the contrary
            ("64:ff9b:1::/48", "64:ff9b:1:7f00:0:100:808:808", "64:ff9b:1:5db8:d8:2200:7f00:1"),
            ("64:ff9b:1:100::/56", "64:ff9b:1:17f:0:1:808:808", "64:ff9b:1:15d:b8:d822:7f00:1"),
            ("64:ff9b:1:1::/64", "64:ff9b:1:1:7f:0:108:808", "64:ff9b:1:1:5d:b8d8:2200:1"),
        ],
    )
    def test_the_prefix_for_local_use_may_be_shorter(self, network: str, refused: str, allowed: str) -> None:
        policy = AddressPolicy(allowed_networks=(network,))
        assert not address_allowed(refused, policy)
        assert address_allowed(allowed, policy)

    def test_the_rules_for_ipv4_apply_to_the_address_inside(self) -> None:
        policy = AddressPolicy(
            allowed_networks=("64:ff9b::/96", "10.1.0.0/16"), denied_networks=("93.184.216.0/24",), allow_http=True
        )
        assert address_allowed("64:ff9b::10.1.2.3", policy)
        assert not address_allowed("64:ff9b::10.2.2.3", policy)
        assert not address_allowed("64:ff9b::93.184.216.34", policy)
        assert check_url("https://[64:ff9b::10.1.2.3]:22/", policy).port == 22
        with pytest.raises(URLNotAllowed, match="port"):
            check_url("https://[64:ff9b::8.8.8.8]:22/", policy)

    def test_a_network_for_something_else_is_taken_as_it_is(self) -> None:
        policy = AddressPolicy(allowed_networks=("fd00:7f00::/64", "fd00:a::7f00:1/128"))
        assert address_allowed("fd00:7f00::7f00:1", policy)
        assert address_allowed("fd00:a::7f00:1", policy)

    def test_a_mix_with_an_inside_address_is_refused(self) -> None:
        policy = AddressPolicy(allowed_networks=("64:ff9b::/96",))
        assert usable_addresses(("93.184.216.34", "64:ff9b::7f00:1"), policy) == ()
        assert usable_addresses(("127.0.0.1", "64:ff9b::808:808"), policy) == ()
