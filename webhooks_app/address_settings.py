"""The operator's rules on which addresses may be reached, from the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from webhooks_app.conf import Settings, settings
from webhooks_app.core.addresses import AddressPolicy, check_ports
from webhooks_app.core.networks import parse_networks
from webhooks_app.exceptions import ConfigurationError

#: The settings and their policy. One tuple, replaced as a whole, because threads read it without a lock.
_addresses: tuple[Settings, AddressPolicy] | None = None


def address_policy() -> AddressPolicy:
    """Return the operator's address rules from the current settings. Built again only if the settings have changed.

    Raises ConfigurationError, which names the setting and the invalid entry.
    """
    global _addresses
    chosen, known = settings(), _addresses
    if known is None or known[0] is not chosen:
        known = _addresses = chosen, _address_policy(chosen)
    return known[1]


def _address_policy(chosen: Settings) -> AddressPolicy:
    checks: tuple[tuple[str, Callable[[Sequence[object]], object]], ...] = (
        ("ALLOWED_PORTS", check_ports),
        ("ALLOWED_NETWORKS", parse_networks),
        ("DENIED_NETWORKS", parse_networks),
    )
    for name, check in checks:
        try:
            check(getattr(chosen, name))
        except ValueError as error:
            raise ConfigurationError(f"WEBHOOKS[{name!r}]: {error}.", field=name) from error
    return AddressPolicy(
        allow_http=chosen.ALLOW_HTTP,
        ports=frozenset(chosen.ALLOWED_PORTS),
        allowed_networks=tuple(chosen.ALLOWED_NETWORKS),
        denied_networks=(*chosen.DENIED_NETWORKS, *filter(_is_network, chosen.EGRESS.ADDRESSES)),
    )


def _is_network(text: str) -> bool:
    """Return whether this is an address or a network: EGRESS.ADDRESSES are shown to customers and may be anything."""
    try:
        parse_networks([text])
    except ValueError:
        return False
    return True
