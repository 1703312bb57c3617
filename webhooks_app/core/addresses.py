"""Which URL and which IP address may be reached. Pure: no name is resolved here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AddressPolicy:
    """The operator's rules. Networks are CIDR texts; parsed once."""

    allow_http: bool = False
    ports: frozenset[int] = frozenset({443, 80})
    allowed_networks: tuple[str, ...] = ()
    denied_networks: tuple[str, ...] = ()
