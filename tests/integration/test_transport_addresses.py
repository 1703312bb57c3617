"""Where a transport may not go, whatever the name, the environment or a proxy says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import transports
from tests.receiver import Receiver
from tests.receiver_behaviours import Raw
from tests.transports import PORTS, PUBLIC, Names, Open, gather, request, send
from webhooks_app.core import addresses
from webhooks_app.core.addresses import AddressPolicy
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Transport, connection_check, resolver

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver
names = transports.names


class TestAnAddressThatIsNotAllowed:
    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::]", "0.0.0.0", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
         "[fd00:ec2::254]", "169.254.169.254", "100.100.100.200", "192.0.0.192", "224.0.0.1", "127.1", "2130706433",
         "0x7f000001", "0177.0.0.1", "0", "localhost"],
    )  # fmt: skip
    def test_is_not_dialled(self, open_one: Open, receiver: Receiver, host: str) -> None:
        response = send(open_one(PUBLIC), f"http://{host}:{receiver.port}/")
        assert response.failure is OutcomeKind.ADDRESS_NOT_ALLOWED
        assert response.address == ""
        assert response.detail
        assert not receiver.requests

    @pytest.mark.parametrize(
        "records",
        [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["127.0.0.1", "93.184.216.34"], ["::ffff:127.0.0.1"],
         ["2606:2800:220:1::1", "::1"], ["169.254.169.254"], ["fe80::1%lo"]],
    )  # fmt: skip
    def test_is_not_dialled_for_a_public_name(
        self, open_one: Open, receiver: Receiver, names: Names, records: list[str]
    ) -> None:
        names["hooks.example.com"] = records
        response = send(open_one(PUBLIC), f"http://hooks.example.com:{receiver.port}/")
        assert response.failure is OutcomeKind.ADDRESS_NOT_ALLOWED
        assert not receiver.requests

    def test_is_not_dialled_after_the_name_moved_there(
        self, open_one: Open, receiver: Receiver, names: Names, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(resolver, "KEEP_SECONDS", 0.2)
        receiver.on("/", Raw(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"))
        names["moving.example.com"] = ["127.0.0.1"]
        transport = open_one(AddressPolicy(allow_http=True, ports=PORTS, allowed_networks=("127.0.0.1/32",)))
        url = f"http://moving.example.com:{receiver.port}/"
        assert send(transport, url).status == 500
        names["moving.example.com"] = ["127.0.0.2"]
        time.sleep(0.3)
        assert send(transport, url).failure is OutcomeKind.ADDRESS_NOT_ALLOWED
        assert len(receiver.requests) == 1

    def test_is_refused_by_the_operator_although_public(self, open_one: Open, names: Names) -> None:
        names["hooks.example.com"] = ["93.184.216.34"]
        policy = AddressPolicy(allow_http=True, denied_networks=("93.184.216.0/24",))
        assert send(open_one(policy), "http://hooks.example.com/").failure is OutcomeKind.ADDRESS_NOT_ALLOWED

    def test_is_seen_by_libcurl_s_own_callback_too(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        curl = pytest.importorskip("webhooks_app.transport.curl", exc_type=ImportError)
        monkeypatch.setattr(curl, "addresses_to_connect", lambda addresses, _policy: addresses)
        monkeypatch.setattr(curl, "refusal", lambda *_: "")
        transport = curl.CurlTransport(transports.TransportOptions(PUBLIC))
        for host in ("127.0.0.1", "localhost", "127.1", "0x7f000001", "[::ffff:127.0.0.1]"):
            response = send(transport, f"http://{host}:{receiver.port}/")
            assert response.failure is OutcomeKind.ADDRESS_NOT_ALLOWED
        transport.close()
        assert not receiver.requests


class TestARuleMadeStricterSinceTheURLWasSaved:
    """Endpoints stay as they are when an operator takes http or a port out of the settings."""

    @pytest.mark.parametrize(
        ("policy", "detail"),
        [
            (AddressPolicy(allow_http=True), "port {port} is not sent to: it is not in ALLOWED_PORTS"),
            (AddressPolicy(ports=PORTS), "plain http:// is not sent to: ALLOW_HTTP is off"),
        ],
        ids=["port", "http"],
    )
    def test_holds(self, open_one: Open, receiver: Receiver, names: Names, policy: AddressPolicy, detail: str) -> None:
        names["hooks.example.com"] = ["203.0.114.1"]
        response = send(open_one(policy), f"http://hooks.example.com:{receiver.port}/")
        assert response.failure is OutcomeKind.ADDRESS_NOT_ALLOWED
        assert response.detail == detail.format(port=receiver.port)
        assert not names.asked


class TestAName:
    def test_that_does_not_exist(self, transport: Transport) -> None:
        response = send(transport, "http://nonexistent.invalid/", total=20.0)
        assert response.failure is OutcomeKind.NAME_ERROR

    def test_stays_in_the_host_header(self, transport: Transport, receiver: Receiver, names: Names) -> None:
        names["hooks.example.com"] = ["127.0.0.1"]
        response = send(transport, f"http://hooks.example.com:{receiver.port}/a")
        assert (response.status, response.address) == (200, "127.0.0.1")
        assert receiver.requests[0].headers["host"] == f"hooks.example.com:{receiver.port}"

    def test_with_records_beside_those_allowed_by_the_operator(
        self, transport: Transport, receiver: Receiver, names: Names
    ) -> None:
        names["both.example.com"] = ["::1", "127.0.0.1"]
        assert send(transport, f"http://both.example.com:{receiver.port}/").status == 200

    def test_is_tried_at_its_next_address_when_one_refuses(
        self, transport: Transport, receiver: Receiver, names: Names
    ) -> None:
        names["two.example.com"] = ["127.0.0.9", "127.0.0.1"]  # the receiver listens at the second only
        response = send(transport, f"http://two.example.com:{receiver.port}/")
        assert (response.status, response.address) == (200, "127.0.0.1")

    def test_is_looked_up_once_for_many_requests(self, transport: Transport, receiver: Receiver, names: Names) -> None:
        names["often.example.com"] = ["127.0.0.1"]
        for number in range(50):
            transport.start(request(f"http://often.example.com:{receiver.port}/", number))
        assert all(one.status == 200 for one in gather(transport, 50))
        assert names.asked == ["often.example.com"]

    def test_that_hangs_stops_at_the_deadline_and_holds_nobody_up(
        self, transport: Transport, receiver: Receiver, names: Names
    ) -> None:
        for number in range(40):
            names[f"hang{number}.example.com"] = []
            transport.start(request(f"http://hang{number}.example.com/", number, total=0.8))
        names["good.example.com"] = ["127.0.0.1"]
        transport.start(request(f"http://good.example.com:{receiver.port}/", "good"))
        responses = gather(transport, 41)
        assert (responses[0].token, responses[0].status) == ("good", 200)
        assert {one.failure for one in responses[1:]} == {OutcomeKind.TIMEOUT}
        assert all(one.duration < 10 for one in responses)

    def test_that_hangs_does_not_hold_up_closing(self, transport: Transport, names: Names) -> None:
        names["hang.example.com"] = []
        transport.start(request("http://hang.example.com/", total=20.0))
        transport.wait(0.1)
        began = time.monotonic()
        transport.close()
        assert time.monotonic() - began < 5


class TestThisMachinesOwnAddress:
    """It may be public. Services trust requests that come from their own machine."""

    @pytest.fixture(autouse=True)
    def loopback_is_public(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(addresses, "REFUSED_V4", ())
        addresses.address_allowed.cache_clear()
        yield
        addresses.address_allowed.cache_clear()

    def test_is_not_sent_to(self, open_one: Open, receiver: Receiver, names: Names) -> None:
        names["own.example.com"] = ["127.0.0.1"]
        transport = open_one(AddressPolicy(allow_http=True, ports=frozenset(PORTS)))
        for host in ("own.example.com", "127.0.0.2"):
            response = send(transport, f"http://{host}:{receiver.port}/")
            assert response.failure is OutcomeKind.ADDRESS_NOT_ALLOWED
        assert not receiver.requests

    def test_is_not_sent_to_through_a_translator(self, open_one: Open) -> None:
        transport = open_one(AddressPolicy(allow_http=True, allowed_networks=("64:ff9b::/96",)))
        response = send(transport, "http://[64:ff9b::7f00:1]/")
        assert response.failure is OutcomeKind.ADDRESS_NOT_ALLOWED

    def test_is_sent_to_if_the_operator_allows_it(self, open_one: Open, receiver: Receiver) -> None:
        transport = open_one(AddressPolicy(allow_http=True, ports=frozenset(PORTS), allowed_networks=("127.0.0.1/32",)))
        assert send(transport, receiver.url()).status == 200

    def test_is_found_by_binding_to_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert connection_check.is_own("127.0.0.1")
        assert not connection_check.is_own("198.51.100.7")
        monkeypatch.setattr(connection_check, "_can_bind", lambda address, family: True)
        assert not connection_check.is_own("127.0.0.3"), "any address can be bound here"


class TestTheEnvironment:
    def test_cannot_bring_in_a_proxy(
        self, transport: Transport, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Receiver() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, proxy.url(""))
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            assert send(transport, receiver.url()).status == 200
            assert not proxy.requests

    def test_cannot_bring_in_credentials(
        self, transport: Transport, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine 127.0.0.1 login someone password something\ndefault login a password b\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(netrc))
        assert send(transport, receiver.url()).status == 200
        assert "authorization" not in receiver.requests[0].headers
