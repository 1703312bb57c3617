"""Which transport the settings choose, and what only one of them can do."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
import responses

from tests.transports import PUBLIC, gather, request, send
from webhooks_app.address_settings import address_policy
from webhooks_app.core.addresses import AddressPolicy
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.transport import TransportOptions, open_transport, transport_options


@pytest.mark.parametrize("name", ["curl", "requests"])
def test_the_settings_choose(settings: Any, name: str) -> None:
    if name == "curl":
        pytest.importorskip("pycurl")
    settings.WEBHOOKS = {"TRANSPORT": name, "ENGINE": {"WINDOW": 7}}
    with closing(open_transport()) as transport:
        # Four times as many again as the window holds: room for requests that hang.
        assert (transport.name, transport.capacity) == (name, 35)


def test_curl_is_taken_where_pycurl_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycurl")
    transport = open_transport(name="auto")
    assert transport.name == "curl"
    transport.close()
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    transport = open_transport(name="auto")
    assert transport.name == "requests"
    transport.close()
    with pytest.raises(ConfigurationError, match="pycurl"):
        open_transport(name="curl")


def test_an_unknown_transport_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="curl or requests"):
        open_transport(name="pigeon")


def test_the_settings_make_the_options(settings: Any) -> None:
    settings.WEBHOOKS = {
        "ALLOW_HTTP": True,
        "ALLOWED_PORTS": [443, 8443],
        "ALLOWED_NETWORKS": ["10.1.0.0/16"],
        "DENIED_NETWORKS": ["93.184.216.0/24"],
        "RESPONSE_BODY_BYTES": 100,
        "EGRESS": {"CA_BUNDLE": "/etc/authorities.pem", "PROXY": "http://proxy:3128"},
        "ENGINE": {"WINDOW": 9, "RESPONSE_HEADER_BYTES": 200},
    }
    policy = AddressPolicy(True, frozenset({443, 8443}), ("10.1.0.0/16",), ("93.184.216.0/24",))
    assert address_policy() == policy
    assert transport_options() == TransportOptions(
        policy, 45, 100, 200, ca_bundle="/etc/authorities.pem", proxy="http://proxy:3128"
    )


def test_the_responses_library_can_stand_in_for_the_network() -> None:
    transport = open_transport(TransportOptions(PUBLIC), "requests")
    with responses.RequestsMock() as network:
        network.post("https://hooks.example.com/a", status=202, body=b"taken", headers={"X-Shade": "blue"})
        response = send(transport, "https://hooks.example.com/a", body=b"{}", webhook_id="evt_1")
        assert (response.status, response.body, response.header("x-shade")) == (202, b"taken", "blue")
        assert network.calls[0].request.body == b"{}"
        assert network.calls[0].request.headers["webhook-id"] == "evt_1"
        transport.start(request("https://elsewhere.example.com/"))
        [refused] = gather(transport)
        assert refused.failure is OutcomeKind.REFUSED
    transport.close()
