"""Check each address before a connection: the policy must allow it, and it must not be an address of this machine.

A service may trust requests that come from its own machine.
"""

from __future__ import annotations

import contextlib
import random
import socket
from functools import lru_cache
from ipaddress import ip_address
from time import monotonic

from webhooks_app.core.addresses import AddressPolicy, address_allowed, explicitly_allowed, usable_addresses
from webhooks_app.core.networks import reached_address

#: For how long a result is cached (seconds): interfaces get other addresses.
_KEPT = 60.0
#: Addresses for documentation, which no machine has.
_NOBODYS = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


def may_connect(address: str, policy: AddressPolicy) -> bool:
    """Return whether to connect to this address: the policy allows it, and it is not this machine's own, unless the operator
    has named its network in ALLOWED_NETWORKS."""
    return address_allowed(address, policy) and not _refused_as_own(address, policy)


def addresses_to_connect(addresses: tuple[str, ...], policy: AddressPolicy) -> tuple[str, ...]:
    """Return the addresses to connect to; none if any address of the name is not allowed (see `usable_addresses`).

    They are at most two, in order of preference: libcurl connects to more of them at once, and each needs a file descriptor.
    The second is of the other version of IP if possible, and else any of the others.
    """
    usable = usable_addresses(addresses, policy)
    if any(_refused_as_own(address, policy) for address in usable):
        return ()
    if len(usable) <= 1:
        return usable
    first, *others = usable
    of_other_version = [address for address in others if (":" in address) != (":" in first)]
    return first, random.choice(of_other_version or others)


def address_for_proxy(addresses: tuple[str, ...]) -> str:
    """Return the one of these addresses that an egress proxy is asked to connect to. Not every proxy has IPv6."""
    return next((address for address in addresses if ":" not in address), addresses[0])


def _refused_as_own(address: str, policy: AddressPolicy) -> bool:
    reached = _reached(address, policy)
    return bool(reached) and is_own(reached)


@lru_cache(maxsize=8192)
def _reached(address: str, policy: AddressPolicy) -> str:
    """Return the address that a request to this one reaches; empty if the operator has explicitly allowed it."""
    if explicitly_allowed(address, policy):
        return ""
    return str(reached_address(ip_address(address), policy.allowed))


def is_own(address: str) -> bool:
    """Return whether an interface of this machine has the address."""
    return _is_own(address, monotonic() // _KEPT)


@lru_cache(maxsize=8192)
def _is_own(address: str, _period: float) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # If the system lets sockets be bound to any address (ip_nonlocal_bind), this does not show which addresses are local.
    return _can_bind(address, family) and not _can_bind(_NOBODYS[family], family)


def _can_bind(address: str, family: socket.AddressFamily) -> bool:
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        return True
    return False
