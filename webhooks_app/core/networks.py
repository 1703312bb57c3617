"""Networks (CIDR): parse them, the ones that are refused by default, and the IPv4 addresses inside IPv6 addresses.

Refused by default are private, loopback, link-local, multicast and other reserved networks (protection against SSRF).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Private and other reserved networks. These lists are our own, because `ipaddress.is_global` differs between Python versions and
# lets multicast and more through.
REFUSED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
GLOBAL_V6 = IPv6Network("2000::/3")  # everything else in IPv6 is refused …
REFUSED_V6 = tuple(  # … and these inside it: tunnels, documentation, AS112
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
#: The prefixes that are reserved for NAT64: the well-known one (RFC 6052) and the one for local use (RFC 8215).
NAT64_WELL_KNOWN = IPv6Network("64:ff9b::/96")
NAT64_LOCAL_USE = IPv6Network("64:ff9b:1::/48")
#: The usual length of a NAT64 prefix: the last 32 bits are the IPv4 address.
_NAT64_LENGTH = 96
#: The octet of a NAT64 address with a shorter prefix that is not part of the IPv4 address.
_RESERVED_OCTET = 8


def parse_networks(texts: Iterable[object]) -> tuple[Network, ...]:
    """Return the networks of CIDR strings; host bits may be set. Raises ValueError, which names the invalid string."""
    return tuple(_unmapped_network(_network(text)) for text in texts)


def _network(text: object) -> Network:
    if not isinstance(text, str):  # ip_network would take a number for an address
        raise ValueError(f"{text!r:.100} is no network: write it as a text, such as '10.1.0.0/16'")
    if "%" in text:  # a zone: such addresses are refused before they are compared with any network
        raise ValueError(f"{text!r:.100} is no network: leave out the zone after the %")
    return ip_network(text, strict=False)


def _unmapped_network(network: Network) -> Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))


def within(address: Address, networks: Iterable[Network]) -> bool:
    """Return whether the address is in one of the networks. A network of the other version of IP does not contain it."""
    return any(address in network for network in networks)


def reached_address(address: Address, allowed: Iterable[Network]) -> Address:
    """Return the address that packets to `address` arrive at: the IPv4 address inside a mapped or a NAT64 address.

    A translator sends packets for 64:ff9b::7f00:1 to 127.0.0.1. So an address in an allow-listed NAT64 prefix must be judged by
    the IPv4 address inside it. NAT64 prefixes are the two reserved ones, and networks of 96 bits in `allowed`.
    """
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    lengths = [network.prefixlen for network in allowed if address in network]
    if not lengths:
        return address
    if address in NAT64_LOCAL_USE:
        return _embedded(address, max(lengths))
    if address in NAT64_WELL_KNOWN or _NAT64_LENGTH in lengths:
        return _embedded(address, _NAT64_LENGTH)
    return address


def _embedded(address: IPv6Address, length: int) -> IPv4Address:
    """Return the IPv4 address inside an address whose NAT64 prefix has this length (RFC 6052, section 2.2).

    Lengths besides 48, 56 and 64 count as 96.
    """
    octets = address.packed
    if length in (48, 56, 64):
        octets = octets[length // 8 : _RESERVED_OCTET] + octets[_RESERVED_OCTET + 1 :]
        return IPv4Address(octets[:4])
    return IPv4Address(octets[_NAT64_LENGTH // 8 :])


def are_sources(value: object) -> bool:
    """Return whether these are addresses to connect from: a list of at most one IPv4 and one IPv6 address."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) and "%" not in text for text in value):
        return False
    try:
        addresses = [ip_address(text) for text in value]
    except ValueError:
        return False
    usable = not any(address.is_unspecified or address.is_multicast for address in addresses)
    return usable and len({address.version for address in addresses}) == len(addresses)
