"""The operator's rules are checked once; after that no address and no host raises."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from webhooks_app.address_settings import address_policy
from webhooks_app.core.addresses import (
    AddressPolicy,
    address_allowed,
    check_url,
    refusal,
    usable_addresses,
)
from webhooks_app.core.networks import parse_networks
from webhooks_app.exceptions import ConfigurationError, URLNotAllowed

NO_NETWORKS: list[Any] = [
    *("nonsense", "", " ", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "10.0.0.0/8 ", "fe80::1%eth0/64", "::/129"),
    *("10.0.0.0/" + "9" * 5000, "٣.0.0.0/8", "\0", "example.com", "10.0.0.0/8/8"),
    *(None, 5, 10.0, True, b"\x0a\0\0\1", ("10.0.0.0", 8), ["10.0.0.0/8"], {}, ip_network("10.0.0.0/8")),
]
NO_PORTS: list[Any] = [0, -1, 65536, 443.0, True, "443", None, b"443", (443,)]


@pytest.mark.parametrize("field", ["allowed_networks", "denied_networks"])
@pytest.mark.parametrize("entry", NO_NETWORKS, ids=lambda entry: f"{entry!r:.20}")
def test_a_policy_with_a_bad_network_is_refused(field: str, entry: Any) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is checked below
        AddressPolicy(**{field: ("10.0.0.0/8", entry)})
    assert f"{entry!r:.20}".strip("'") in str(caught.value)


@pytest.mark.parametrize("port", NO_PORTS)
def test_a_policy_with_a_bad_port_is_refused(port: Any) -> None:
    with pytest.raises(ValueError, match="is no port"):
        AddressPolicy(ports=frozenset({80, port}))


def test_lists_are_kept_as_what_caches_can_hold() -> None:
    given_lists: Any = {"ports": [443], "allowed_networks": ["10.0.0.0/8"], "denied_networks": ["8.8.8.8"]}
    policy = AddressPolicy(**given_lists)
    assert policy == AddressPolicy(
        ports=frozenset({443}), allowed_networks=("10.0.0.0/8",), denied_networks=("8.8.8.8",)
    )
    assert address_allowed("10.1.1.1", policy)
    assert not address_allowed("8.8.8.8", policy)


# --- from the settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ALLOWED_NETWORKS", "DENIED_NETWORKS"])
@pytest.mark.parametrize("entry", NO_NETWORKS, ids=lambda entry: f"{entry!r:.20}")
def test_a_setting_with_a_bad_network_is_named(name: str, entry: Any) -> None:
    with override_settings(WEBHOOKS={name: ["10.0.0.0/8", entry]}):
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=rf"WEBHOOKS\['{name}'\]: ") as caught:
                address_policy()
            assert caught.value.field == name
            assert f"{entry!r:.20}".strip("'") in str(caught.value)
    with override_settings(WEBHOOKS={name: ["10.0.0.0/8"]}):
        address_policy()


@pytest.mark.parametrize("port", NO_PORTS)
def test_a_setting_with_a_bad_port_is_named(port: Any) -> None:
    with override_settings(WEBHOOKS={"ALLOWED_PORTS": [443, port]}):
        with pytest.raises(ConfigurationError, match=r"WEBHOOKS\['ALLOWED_PORTS'\]: .* is no port") as caught:
            address_policy()
        assert caught.value.field == "ALLOWED_PORTS"


@pytest.mark.parametrize("webhooks", [None, {}, {"ALLOWED_PORTS": list(range(1, 65536))}])
def test_the_policy_is_built_once(webhooks: Any) -> None:
    with override_settings(WEBHOOKS=webhooks):
        assert address_policy() is address_policy()


def test_the_policy_follows_the_settings() -> None:
    with override_settings(WEBHOOKS={"ALLOW_HTTP": True, "ALLOWED_NETWORKS": ["10.0.0.0/8"], "ALLOWED_PORTS": [8443]}):
        outer = address_policy()
        assert outer == AddressPolicy(
            allow_http=True, ports=frozenset({8443}), allowed_networks=("10.0.0.0/8",), denied_networks=()
        )
        with override_settings(WEBHOOKS={"DENIED_NETWORKS": ["8.8.8.0/24"]}):
            assert address_policy() == AddressPolicy(denied_networks=("8.8.8.0/24",))
        assert address_policy() == outer


# --- whatever is asked -----------------------------------------------------------------------------------------------

POLICIES = [
    AddressPolicy(),
    AddressPolicy(allow_http=True, allowed_networks=("127.0.0.0/8", "fd00::/8", "::ffff:10.0.0.0/104")),
    AddressPolicy(denied_networks=("0.0.0.0/0", "::/0"), ports=frozenset()),
    AddressPolicy(allowed_networks=("0.0.0.0/0", "::/0")),
]
LITERALS = st.ip_addresses().map(str)
ODD = st.text() | st.text("0123456789abcdefx.:%[]/", max_size=60) | LITERALS
ADDRESSES = st.one_of(
    ODD,
    st.builds("{}{}".format, LITERALS, st.sampled_from(["", "%eth0", "%", "%%", "/8", " ", "\0", "."])),
    st.builds("::ffff:{}".format, LITERALS),
)


@given(address=ADDRESSES | st.binary(max_size=20), policy=st.sampled_from(POLICIES))
@pytest.mark.processes
def test_no_address_raises(address: str | bytes, policy: AddressPolicy) -> None:
    allowed = address_allowed(address, policy)
    assert isinstance(allowed, bool)
    if allowed:
        ip_address(address)


@given(addresses=st.lists(ADDRESSES, max_size=5).map(tuple), policy=st.sampled_from(POLICIES))
def test_no_list_of_addresses_raises(addresses: tuple[str, ...], policy: AddressPolicy) -> None:
    usable = usable_addresses(addresses, policy)
    assert set(usable) <= set(addresses)
    assert all(address_allowed(address, policy) for address in usable)


@given(
    scheme=st.sampled_from(["http", "https", "", "HTTP"]) | st.text(max_size=5),
    host=ADDRESSES | st.sampled_from(["", ".", "localhost", ".localhost", "a.local", "receiver"]),
    port=st.integers() | st.sampled_from([0, 80, 443, 65536]),
    policy=st.sampled_from(POLICIES),
)
def test_no_saved_url_raises(scheme: str, host: str, port: int, policy: AddressPolicy) -> None:
    assert isinstance(refusal(scheme, host, port, policy), str)


@given(host=ADDRESSES, rest=st.text(max_size=20), policy=st.sampled_from(POLICIES))
def test_a_typed_url_raises_nothing_but_its_refusal(host: str, rest: str, policy: AddressPolicy) -> None:
    for url in (f"https://{host}/{rest}", f"https://[{host}]{rest}", f"http://{host}:{rest}", rest):
        with suppress(URLNotAllowed):
            check_url(url, policy)


@given(text=ADDRESSES)
def test_a_network_is_parsed_or_refused(text: str) -> None:
    for each in (text, f"{text}/8", f"{text}/{text}"):
        with suppress(ValueError):
            parse_networks((each,))


def test_the_addresses_that_requests_come_from_are_not_sent_to() -> None:
    addresses = ["198.41.0.4", "2606:4700::/32", "from 198.41.1.1 to 198.41.1.9"]
    with override_settings(WEBHOOKS={"EGRESS": {"ADDRESSES": addresses}}):
        policy = address_policy()
        assert not address_allowed("198.41.0.4", policy)
        assert not address_allowed("2606:4700::1", policy)
        assert address_allowed("198.41.1.1", policy), "an entry that is no network is only shown"
    with override_settings(WEBHOOKS={"EGRESS": {"ADDRESSES": addresses}, "ALLOWED_NETWORKS": ["198.41.0.4/32"]}):
        assert address_allowed("198.41.0.4", address_policy())
