"""Check which URLs and IP addresses may be reached. Pure: no name is resolved here.

`check_url` validates a URL that a user enters, with helpful errors. `address_allowed` is the security check: the transports
call it for the address of every connection that they open, whatever name it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import idna

from webhooks_app.core.networks import (
    GLOBAL_V6,
    REFUSED_V4,
    REFUSED_V6,
    Address,
    Network,
    parse_networks,
    reached_address,
    within,
)
from webhooks_app.exceptions import URLNotAllowed
from webhooks_app.exceptions import gettext_noop as _

#: The error for every refused address: always the same text, so that it reveals nothing about what is behind the firewall.
ADDRESS_REFUSED = _("This address is not allowed.")
MAX_URL_LENGTH = 2000
DEFAULT_PORTS = {"https": 443, "http": 80}
#: The maximum number of port ranges in an error.
_MOST_RANGES = 10

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)(?P<fragment>#.*)?", re.S
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_REST_AS_IT_IS = frozenset(b"!$%&'()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~")
#: Suffixes of names that exist only inside a network; accepted only if the operator allows inside addresses.
_INSIDE_SUFFIXES = (".local", ".internal", ".home.arpa")


@dataclass(frozen=True)
class AddressPolicy:
    """The operator's rules. Networks are CIDR strings. Raises ValueError, which names the invalid entry."""

    allow_http: bool = False
    ports: frozenset[int] = frozenset({443, 80})
    allowed_networks: tuple[str, ...] = ()
    denied_networks: tuple[str, ...] = ()
    #: The networks, parsed once.
    allowed: tuple[Network, ...] = field(init=False, repr=False, compare=False)
    denied: tuple[Network, ...] = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Policies are keys of caches, so a list would fail at the first address.
        object.__setattr__(self, "ports", frozenset(self.ports))
        object.__setattr__(self, "allowed_networks", tuple(self.allowed_networks))
        object.__setattr__(self, "denied_networks", tuple(self.denied_networks))
        check_ports(self.ports)
        object.__setattr__(self, "allowed", parse_networks(self.allowed_networks))
        object.__setattr__(self, "denied", parse_networks(self.denied_networks))
        key = (self.allow_http, self.ports, self.allowed_networks, self.denied_networks)
        object.__setattr__(self, "_hash", hash(key))

    def __hash__(self) -> int:
        return self._hash  # each request looks into several caches


@dataclass(frozen=True, slots=True)
class CheckedURL:
    """A URL that may be saved. `host`: lower-case ASCII, or a literal without brackets. `url`: the URL to send to."""

    scheme: str
    host: str
    port: int
    url: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return scheme, host and port. If these change, it is another receiver, which must be trusted again."""
        return self.scheme, self.host, self.port


def check_ports(ports: Iterable[object]) -> None:
    """Raise ValueError, which names the entry, if one is not a valid port."""
    for port in ports:
        if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
            raise ValueError(f"{port!r:.100} is no port: ports are whole numbers from 1 to 65535")


@lru_cache(maxsize=8192)
def address_allowed(address: str | bytes, policy: AddressPolicy) -> bool:
    """Return whether this address may be connected to: a string, or 4 or 16 packed bytes. Invalid addresses are refused."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return _allowed(parsed, policy)


def _allowed(address: Address, policy: AddressPolicy) -> bool:
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    address = reached_address(address, policy.allowed)
    if within(address, policy.allowed):
        return True
    if within(address, policy.denied):
        return False
    if isinstance(address, IPv4Address):
        return not within(address, REFUSED_V4)
    return address in GLOBAL_V6 and not within(address, REFUSED_V6)


def explicitly_allowed(address: str, policy: AddressPolicy) -> bool:
    """Return whether the operator has allowed the network of this valid address."""
    return _explicitly_allowed(ip_address(address), policy)


def _explicitly_allowed(address: Address, policy: AddressPolicy) -> bool:
    return within(reached_address(address, policy.allowed), policy.allowed)


def usable_addresses(addresses: tuple[str, ...], policy: AddressPolicy) -> tuple[str, ...]:
    """Return the addresses of a name that may be connected to; none if any of them is not allowed.

    A public name with an internal address is an attack. A mix is legitimate only if the operator's allowlist contains one of
    them (`localhost` is often ::1 and 127.0.0.1): then those in the list are used.
    """
    usable = tuple(address for address in addresses if address_allowed(address, policy))
    if len(usable) == len(addresses):
        return usable
    return tuple(address for address in usable if explicitly_allowed(address, policy))


@lru_cache(maxsize=8192)
def refusal(scheme: str, host: str, port: int, policy: AddressPolicy) -> str:
    """Return why the current rules refuse a saved URL, as far as known without resolving, for staff; empty if allowed.

    `host` as in `CheckedURL`. The rules may have become stricter since the URL was saved.
    """
    try:
        trusted = _check_host(host, ip_address(host) if is_literal(host) else None, policy)
    except URLNotAllowed as error:
        return error.reason
    if scheme == "http" and not policy.allow_http:
        return "plain http:// is not sent to: ALLOW_HTTP is off"
    return "" if trusted or port in policy.ports else f"port {port} is not sent to: it is not in ALLOWED_PORTS"


def is_literal(host: str) -> bool:
    """Return whether this host (brackets removed) is an address and not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def check_url(url: str, policy: AddressPolicy, https_only: bool = False) -> CheckedURL:
    """Check a URL that a user entered, and return it normalised. No name is resolved.

    Raises URLNotAllowed: its message is for the customer, its `reason` for staff.
    """
    scheme, authority, rest = _split(url)
    if scheme not in DEFAULT_PORTS:
        raise URLNotAllowed(_("The URL must start with https://."), reason=f"scheme {scheme!r}")
    if "@" in authority:
        raise URLNotAllowed(_("The URL must not contain a user name or password; use a header instead."))
    if (match := _AUTHORITY.fullmatch(authority)) is None:
        raise URLNotAllowed(_("The host or port of the URL is not valid."), reason=f"authority {authority!r}")
    literal = _literal(match["host"])
    host = str(literal) if literal is not None else _name(match["host"])
    trusted = _check_host(host, literal, policy)
    # `https_only` is a product's promise about the public network; it does not cover a developer's loopback.
    if scheme == "http" and not (policy.allow_http and (trusted or not https_only)):
        raise URLNotAllowed(
            _("The URL must start with https://; plain http:// is not accepted."),
            reason="http, which this wire format never allows" if policy.allow_http else "http, and ALLOW_HTTP is off",
        )
    port = int(match["port"] or DEFAULT_PORTS[scheme])
    if not 0 < port < 65536:
        raise URLNotAllowed(_("%(port)s is no port: ports go from 1 to 65535."), reason=f"port {port}", port=port)
    if not (trusted or port in policy.ports):
        raise URLNotAllowed(
            _("This port is not allowed. Allowed ports: %(ports)s."),
            reason=f"port {port} is not in ALLOWED_PORTS",
            ports=_in_ranges(policy.ports),
        )
    written = f"[{host}]" if isinstance(literal, IPv6Address) else host
    suffix = "" if port == DEFAULT_PORTS[scheme] else f":{port}"
    return CheckedURL(scheme, host, port, f"{scheme}://{written}{suffix}{_rest(rest)}")


@lru_cache(maxsize=8)
def _in_ranges(ports: frozenset[int]) -> str:
    """Return the ports as text such as `80, 443, 8000–8999`: neighbours as ranges, and only the first few ranges."""
    ranges: list[list[int]] = []
    for port in sorted(ports):
        if ranges and ranges[-1][-1] == port - 1:
            ranges[-1][1:] = [port]
        else:
            ranges.append([port])
    written = ["–".join(str(end) for end in ends) for ends in ranges[:_MOST_RANGES]]
    return ", ".join([*written, "…"] if len(ranges) > _MOST_RANGES else written)


def _split(url: str) -> tuple[str, str, str]:
    """Return scheme (lower case), authority, and the rest. Stricter than `urllib.parse`, which drops characters."""
    if len(url) > MAX_URL_LENGTH:
        raise URLNotAllowed(_("The URL must not be longer than %(most)s characters."), most=MAX_URL_LENGTH)
    if any(character in "\\\x7f" or character.isspace() or not character.isprintable() for character in url):
        raise URLNotAllowed(_("The URL must not contain spaces, backslashes or control characters."))
    match = _URL.fullmatch(url)
    if match is None or not match["authority"]:
        raise URLNotAllowed(_("Enter a full URL, such as https://example.com/webhooks."))
    if match["fragment"] is not None:
        raise URLNotAllowed(_("The URL must not contain a fragment (#…); it would not be sent."))
    return match["scheme"].lower(), match["authority"], match["rest"]


def _literal(host: str) -> Address | None:
    """Return the address that the host spells, None for a name. Numbers that are not a plain address are refused."""
    try:
        if host.startswith("["):
            return IPv6Address(host[1:-1])
        if _is_number(host):
            return IPv4Address(host)
    except ValueError:
        raise URLNotAllowed(ADDRESS_REFUSED, reason=f"{host} is an unusual spelling of an address") from None
    return None


def _is_number(host: str) -> bool:
    """Return whether a resolver would take this for an address, however it is spelled."""
    return _NUMBER.fullmatch(host.lower().rstrip(".").rpartition(".")[2]) is not None


def _is_name(host: str) -> bool:
    """Return whether this is a host name in lower-case ASCII."""
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in host.split(".")) and not _is_number(host)


def _name(host: str) -> str:
    """Return a host name in lower-case ASCII (IDNA 2008 without mappings: lookalike characters are refused)."""
    invalid = URLNotAllowed(_("The host name of the URL is not valid."), reason=f"host {host!r}")
    try:
        labels = [label if label.isascii() else idna.alabel(label).decode() for label in host.lower().split(".")]
    except UnicodeError:  # idna's own errors are of this class
        raise invalid from None
    name = ".".join(labels)
    if not _is_name(name):
        raise invalid
    return name


def _check_host(host: str, literal: Address | None, policy: AddressPolicy) -> bool:
    """Refuse hosts that are invalid without resolving. Return True if the operator's allowlist has the host: any port then."""
    loopback = host == "localhost" or host.endswith(".localhost")
    address = IPv4Address("127.0.0.1") if loopback else literal
    if address is not None:
        if not _allowed(address, policy):
            raise URLNotAllowed(
                ADDRESS_REFUSED, reason=f"{host} is in a network that is not sent to; ALLOWED_NETWORKS can allow it"
            )
        return _explicitly_allowed(address, policy)
    if not _is_name(host):  # libraries and proxies would decode it, or take it for a number
        raise URLNotAllowed(ADDRESS_REFUSED, reason=f"{host} is an unusual spelling of a name or an address")
    if ("." not in host or host.endswith(_INSIDE_SUFFIXES)) and not policy.allowed:
        raise URLNotAllowed(
            ADDRESS_REFUSED, reason=f"{host} is a name of an inside network; ALLOWED_NETWORKS can allow that"
        )
    return False


def _rest(rest: str) -> str:
    """Return path and query, with invalid characters percent-encoded as browsers do."""
    path = _STRAY_PERCENT.sub("%25", rest if rest.startswith("/") else "/" + rest)
    return "".join(chr(byte) if byte in _REST_AS_IT_IS else f"%{byte:02X}" for byte in path.encode())
