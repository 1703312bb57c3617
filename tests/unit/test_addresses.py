"""Which URLs may be saved and which addresses may be dialled."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks_app.core.addresses import (
    ADDRESS_REFUSED,
    AddressPolicy,
    address_allowed,
    check_url,
    usable_addresses,
)
from webhooks_app.core.networks import REFUSED_V4, parse_networks
from webhooks_app.exceptions import URLNotAllowed

POLICY = AddressPolicy(allow_http=True)
LOOPBACK = AddressPolicy(allow_http=True, allowed_networks=("127.0.0.0/8",))


def refusal(url: str, policy: AddressPolicy = POLICY) -> URLNotAllowed:
    with pytest.raises(URLNotAllowed) as caught:
        check_url(url, policy)
    return caught.value


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        ["0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.255.255.254",
         "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1",
         "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.1.1", "192.175.48.1", "198.18.0.1", "198.19.255.255",
         "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
         "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1",
         "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1",
         "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1", "4000::1"],
    )  # fmt: skip
    def test_inside_ones_are_refused(self, address: str) -> None:
        assert not address_allowed(address, POLICY)

    @pytest.mark.parametrize(
        "address",
        ["1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1",
         "192.0.1.1", "198.17.255.255", "198.20.0.1", "223.255.255.255", "::ffff:8.8.8.8", "2606:4700::1111",
         "2001:4860:4860::8888", "2a00:1450::1"],
    )  # fmt: skip
    def test_public_ones_are_allowed(self, address: str) -> None:
        assert address_allowed(address, POLICY)

    @pytest.mark.parametrize("address", ["", "localhost", "127.1", "1", "0x7f.1", "1.1.1.1 ", "01.1.1.1", b"", b"abc"])
    def test_what_is_no_address_is_refused(self, address: str | bytes) -> None:
        assert not address_allowed(address, POLICY)
        assert not address_allowed(address, AddressPolicy(allowed_networks=("0.0.0.0/0", "::/0")))

    def test_may_be_packed(self) -> None:
        assert address_allowed(socket.inet_aton("8.8.8.8"), POLICY)
        assert not address_allowed(socket.inet_aton("127.0.0.1"), POLICY)
        assert not address_allowed(socket.inet_pton(socket.AF_INET6, "::ffff:10.0.0.1"), POLICY)

    def test_the_operator_can_refuse_more(self) -> None:
        policy = AddressPolicy(denied_networks=("8.8.8.0/24", "2606:4700::/32", "::ffff:9.9.9.0/120"))
        for address in ("8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1", "9.9.9.9"):
            assert not address_allowed(address, policy)
        assert address_allowed("8.8.4.4", policy)

    def test_the_operator_s_allowlist_wins(self) -> None:
        policy = AddressPolicy(allowed_networks=("10.1.0.0/16", "fd00::/8"), denied_networks=("10.0.0.0/8",))
        for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1"):
            assert address_allowed(address, policy)
        for address in ("10.2.0.1", "fe80::1", "127.0.0.1"):
            assert not address_allowed(address, policy)

    def test_a_network_that_is_none_is_an_error_naming_it(self) -> None:
        with pytest.raises(ValueError, match="nonsense"):
            parse_networks(("10.0.0.0/8", "nonsense"))
        for field in ("allowed_networks", "denied_networks"):
            with pytest.raises(ValueError, match="nonsense"):
                AddressPolicy(**{field: ("10.0.0.0/8", "nonsense")})  # type: ignore[arg-type]

    @given(st.sampled_from(REFUSED_V4), st.integers(min_value=0))
    def test_no_spelling_of_a_refused_one_is_allowed(self, network: ipaddress.IPv4Network, offset: int) -> None:
        inside = network[offset % network.num_addresses]
        number, parts = int(inside), str(inside).split(".")
        assert not address_allowed(str(inside), POLICY)
        assert not address_allowed(inside.packed, POLICY)
        v6 = [
            f"::ffff:{inside}",
            f"::{inside}",
            f"64:ff9b::{inside}",
            str(ipaddress.IPv6Address((0x2002 << 112) | number << 80)),
        ]
        for address in v6:
            assert not address_allowed(address, POLICY)
            refusal(f"http://[{address}]/")
        octal = ".".join(f"0{int(part):o}" for part in parts)
        hexadecimal = ".".join(hex(int(part)) for part in parts)
        short = f"{parts[0]}.{number & 0xFFFFFF}"
        for host in (str(inside), str(number), hex(number), f"0{number:o}", octal, hexadecimal, short, f"{inside}."):
            assert str(refusal(f"http://{host}/")) == ADDRESS_REFUSED


class TestTheAddressesOfAName:
    def test_are_all_used_where_all_are_public(self) -> None:
        assert usable_addresses(("8.8.8.8", "2606:4700::1"), POLICY) == ("8.8.8.8", "2606:4700::1")

    @pytest.mark.parametrize("inside", ["127.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1%lo"])
    def test_are_none_where_one_is_inside(self, inside: str) -> None:
        assert usable_addresses(("8.8.8.8", inside), POLICY) == ()
        assert usable_addresses((inside,), POLICY) == ()

    def test_are_those_of_the_allowlist_where_they_are_mixed(self) -> None:
        assert usable_addresses(("::1", "127.0.0.1", "::ffff:127.0.0.1"), LOOPBACK) == ("127.0.0.1", "::ffff:127.0.0.1")
        assert usable_addresses(("10.0.0.1", "8.8.8.8"), LOOPBACK) == ()


class TestURLsThatAreRefused:
    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0X7F.0.0.1", "0177.0.0.1", "0", "127.0.0.1.", "127.0.0.1..",
         "10.0.0.1", "169.254.169.254", "100.100.100.200", "192.0.0.192", "224.0.0.1", "256.256.256.256", "1.2.3",
         "example.com.1", "0x", "[::1]", "[::ffff:127.0.0.1]", "[::]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
         "[fd00:ec2::254]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[nonsense]", "[]", "localhost", "LOCALHOST",
         "a.localhost", "intranet", "printer.local", "metadata.google.internal", "router.home.arpa"],
    )  # fmt: skip
    def test_for_their_address_say_always_the_same(self, host: str) -> None:
        error = refusal(f"http://{host}/")
        assert str(error) == ADDRESS_REFUSED == "This address is not allowed."
        assert error.reason != str(error)
        assert error.field == "url"

    @pytest.mark.parametrize(
        "host",
        ["①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.０.０.１", "exam\u00adple.com", "a" * 64 + ".com", "ｅｘａｍｐｌｅ.com",
         "127.0.0.1%00.example.com", "127.0.0.1%2f", "-a.example.com", "a-.example.com", "a..example.com",
         ".example.com", "example.com.", "exa$mple.com", "exam_ple\u200b.com", "ü" * 70 + ".de",
         ".".join(["abcdefghi"] * 30), "*.example.com", "a,b.com", "٣.example.com.٣", "ⅰ.com", "\u202eexample.com"],
    )  # fmt: skip
    def test_for_their_name(self, host: str) -> None:
        assert str(refusal(f"http://{host}/")) in (
            "The host name of the URL is not valid.",
            "The URL must not contain spaces, backslashes or control characters.",
        )

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("http://example.com@127.0.0.1/", "user name"),
            ("http://user:password@example.com/", "user name"),
            ("http://@example.com/", "user name"),
            ("http://127.0.0.1\\@example.com/", "backslashes"),
            ("http:\\\\example.com/", "backslashes"),
            ("http://1.1.1.1 &@2.2.2.2# @3.3.3.3/", "spaces"),
            ("http://[::1].example.com/", "not valid"),
            ("http://[::1/", "not valid"),
            ("http://::1/", "not valid"),
            ("//127.0.0.1/", "full URL"),
            ("/hook", "full URL"),
            ("example.com", "full URL"),
            ("", "full URL"),
            ("https:example.com", "full URL"),
            ("https:///hook", "full URL"),
            ("https://?a", "full URL"),
            ("mailto:someone@example.com", "full URL"),
            ("file:///etc/passwd", "full URL"),
            ("file://example.com/etc/passwd", "start with https"),
            ("gopher://example.com/", "start with https"),
            ("dict://example.com:11211/", "start with https"),
            ("ftp://example.com/", "start with https"),
            ("javascript://example.com/", "start with https"),
            ("https://example.com/#part", "fragment"),
            ("https://example.com/#", "fragment"),
            ("https://example.com:/", "not valid"),
            ("https://example.com:0/", "port"),
            ("https://example.com:22/", "port"),
            ("https://example.com:6379/", "port"),
            ("https://example.com:65536/", "port"),
            ("https://example.com:99999/", "99999 is no port: ports go from 1 to 65535."),
            ("https://example.com:123456/", "port"),
            ("https://example.com:+443/", "port"),
            ("https://example.com:４４３/", "port"),
            ("https://example.com:443:443/", "port"),
            ("https://exam\nple.com/", "control"),
            ("https://example.com/a\tb", "control"),
            ("https://example.com/\r\nX-Header: 1", "control"),
            ("https://example.com\r\nHost: x/", "control"),
            ("https://example.com/\0", "control"),
            ("https://example.com/\x7f", "control"),
            (" https://example.com/", "spaces"),
            ("https://example.com/ ", "spaces"),
            ("https://example.com/\u2028", "spaces"),
            ("https://example.com/\ud800", "control"),
            ("https://example.com/" + "a" * 2000, "longer"),
        ],
    )
    def test_for_their_form_say_what_is_wrong(self, url: str, says: str) -> None:
        assert says in str(refusal(url))

    def test_for_plain_http(self) -> None:
        assert "http://" in str(refusal("http://example.com/", AddressPolicy()))
        with pytest.raises(URLNotAllowed, match="https"):
            check_url("http://example.com/", POLICY, https_only=True)
        assert check_url("https://example.com/", POLICY, https_only=True).scheme == "https"

    @given(st.text(max_size=80))
    def test_whatever_is_typed_is_refused_properly_or_becomes_plain_ascii(self, text: str) -> None:
        for url in (text, f"https://{text}", f"https://example.com{text}"):
            try:
                checked = check_url(url, POLICY)
            except URLNotAllowed:
                continue
            assert checked.url.isascii()
            assert checked.url.isprintable()
            assert " " not in checked.url
            assert check_url(checked.url, POLICY) == checked


class TestURLsThatAreAccepted:
    @pytest.mark.parametrize(
        ("typed", "sent"),
        [
            ("https://example.com", "https://example.com/"),
            ("HTTPS://Example.COM/Hook?A=b%20c", "https://example.com/Hook?A=b%20c"),
            ("https://example.com:443/a", "https://example.com/a"),
            ("http://example.com:443/a", "http://example.com:443/a"),
            ("https://example.com?x=1", "https://example.com/?x=1"),
            ("https://bücher.example/ü?q=é", "https://xn--bcher-kva.example/%C3%BC?q=%C3%A9"),
            ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
            ('https://example.com/{id}"', "https://example.com/%7Bid%7D%22"),
            ("https://my_app.example.com/a@b:c", "https://my_app.example.com/a@b:c"),
            ("https://example.com/100%/%zz%2F", "https://example.com/100%25/%25zz%2F"),
            ("https://8.8.8.8/", "https://8.8.8.8/"),
            ("https://[2606:4700:0::1]/", "https://[2606:4700::1]/"),
            ("https://1.example.com/", "https://1.example.com/"),
        ],
    )
    def test_come_back_normalised(self, typed: str, sent: str) -> None:
        assert check_url(typed, POLICY).url == sent

    def test_tell_where_they_lead(self) -> None:
        assert check_url("https://Example.com/a", POLICY).origin == ("https", "example.com", 443)
        assert check_url("https://[2606:4700::1]/a", POLICY).host == "2606:4700::1"

    @pytest.mark.parametrize("port", [1, 443, 8000, 65535])
    def test_on_any_port_of_a_host_on_the_allowlist(self, port: int) -> None:
        for host in ("127.0.0.1", "localhost", "LOCALHOST", "a.localhost"):
            assert check_url(f"http://{host}:{port}/", LOOPBACK).port == port

    def test_on_no_other_port_of_another_host(self) -> None:
        assert "port" in str(refusal("http://8.8.8.8:8000/", LOOPBACK))
        assert "port" in str(refusal("http://example.com:8000/", LOOPBACK))
        assert "port" in str(refusal("http://localhost:0/", LOOPBACK))

    def test_on_the_operator_s_ports(self) -> None:
        policy = AddressPolicy(ports=frozenset({8443}))
        assert check_url("https://example.com:8443/", policy).url == "https://example.com:8443/"
        assert "8443" in str(refusal("https://example.com/", policy))

    @pytest.mark.parametrize(
        ("ports", "named"),
        [
            (range(1, 65535), "1–65534."),
            ([443, 80, 8001, 8000, 8002], "80, 443, 8000–8002."),
            (range(2, 65000, 2), "2, 4, 6, 8, 10, 12, 14, 16, 18, 20, …."),
        ],
    )
    def test_are_told_the_ports_in_a_few_words(self, ports: Iterable[int], named: str) -> None:
        policy = AddressPolicy(ports=frozenset(ports))
        assert str(refusal("https://example.com:65535/", policy)).endswith(f"Allowed ports: {named}")

    def test_by_an_inside_name_where_an_inside_network_is_allowed(self) -> None:
        policy = AddressPolicy(allow_http=True, allowed_networks=("172.16.0.0/12",))
        assert check_url("http://receiver/", policy).host == "receiver"
        assert str(refusal("http://localhost/", policy)) == ADDRESS_REFUSED
