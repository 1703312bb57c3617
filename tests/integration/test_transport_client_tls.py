"""Client certificates and private certificate authorities, against receivers that demand them."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests import transports
from tests.client_certificates import demanding, identity, judging, trusting, tunnel
from tests.receiver import Authority, Receiver
from tests.receiver_behaviours import Delay
from tests.transports import Open, gather, request, send
from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.core.tls_alerts import closed_after_handshake
from webhooks_app.transport import Response, Transport

transport_name = transports.transport_name
open_one = transports.open_one
authority = transports.authority

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
version = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that issues client certificates."""
    return Authority(Path(tmp_path_factory.mktemp("clients")))


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority of one customer, which is not among the public ones."""
    return Authority(Path(tmp_path_factory.mktemp("private")))


def send_as(transport: Transport, tls: ClientTLS | None, receiver: Receiver, **more: Any) -> Response:
    return send(transport, receiver.url(host="localhost"), tls=tls, **more)


def _unread(transport_name: str, *, sent: bool) -> set[str]:
    """The detail if a receiver closes the connection so early that libcurl does not read its alert. It does only on loopback."""
    return {closed_after_handshake(sent=sent)} if transport_name == "curl" else set()


@version
@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_the_certificate_is_shown_to_a_receiver_that_demands_one(
    open_one: Open, authority: Authority, clients: Authority, version: ssl.TLSVersion, key_type: trustme.KeyType
) -> None:
    with demanding(authority, clients, version) as receiver:
        transport = open_one(ca_bundle=authority.bundle)
        tls = identity(clients, "acme", key_type=key_type)
        for _ in range(2):
            assert send_as(transport, tls, receiver).status == 200
        assert [(one.client, one.connection) for one in receiver.requests] == [("acme", 1), ("acme", 1)]


def test_intermediate_certificates_are_sent(open_one: Open, authority: Authority, clients: Authority) -> None:
    tls = identity(clients.intermediate(), "acme")
    with demanding(authority, clients) as receiver:
        assert send_as(open_one(ca_bundle=authority.bundle), tls, receiver).status == 200


@version
def test_a_receiver_that_demands_a_certificate_and_gets_none(
    open_one: Open, authority: Authority, clients: Authority, version: ssl.TLSVersion, transport_name: str
) -> None:
    with judging(clients.demanding(authority.context("localhost"), version)) as url:
        response = send(open_one(ca_bundle=authority.bundle), url)
        assert response.failure is OutcomeKind.TLS_ERROR
        certain = "the receiver requires a client certificate (certificate required)"
        if version is ssl.TLSVersion.TLSv1_2:  # the alert is the same as for other faults of the handshake
            certain = "the receiver ended the TLS handshake (handshake failure); it may require a client certificate"
        assert response.detail in {certain, *_unread(transport_name, sent=False)}


@version
def test_a_receiver_that_refuses_the_certificate(
    open_one: Open,
    authority: Authority,
    clients: Authority,
    private: Authority,
    version: ssl.TLSVersion,
    transport_name: str,
) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    others = {
        "unknown ca": identity(private, "acme"),
        "certificate expired": identity(clients, "acme", not_after=past),
    }
    with judging(clients.demanding(authority.context("localhost"), version)) as url:
        transport = open_one(ca_bundle=authority.bundle)
        for reason, tls in others.items():
            response = send(transport, url, tls=tls)
            assert response.failure is OutcomeKind.TLS_ERROR
            certain = f"the receiver refused our client certificate ({reason})"
            assert response.detail in {certain, *_unread(transport_name, sent=True)}


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@version
def test_a_connection_is_only_used_with_the_certificate_that_it_was_made_with(
    open_one: Open, authority: Authority, clients: Authority, http2: bool, version: ssl.TLSVersion
) -> None:
    """Two tenants, the same host and port; one replaces its certificate; a third has none."""
    context = clients.demanding(authority.context("localhost", http2=http2), version)
    context.verify_mode = ssl.CERT_OPTIONAL
    acme, renewed, other = (identity(clients, name) for name in ("acme", "acme renewed", "other"))
    with Receiver(tls=context) as receiver:
        receiver.on("/", Delay(0.02))
        transport = open_one(ca_bundle=authority.bundle)
        turns = [acme, other, None, renewed] * 3
        for tls in turns:
            assert send_as(transport, tls, receiver).status == 200
        names = {acme: "acme", other: "other", renewed: "acme renewed", None: ""}
        assert [one.client for one in receiver.requests] == [names[tls] for tls in turns]
        assert {one.connection for one in receiver.requests} == {1, 2, 3, 4}
        assert len({(one.client, one.connection) for one in receiver.requests}) == 4
        # All at once, so that libcurl may put them on the connections of HTTP/2 that are there.
        receiver.clear()
        for tls in turns:
            transport.start(request(receiver.url(host="localhost"), tls=tls, x_name=names[tls]))
        assert [one.status for one in gather(transport, len(turns))] == [200] * len(turns)
        assert all(one.client == one.headers["x-name"] for one in receiver.requests)


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_a_private_authority_is_trusted_for_its_endpoint_only(
    open_one: Open, authority: Authority, private: Authority, http2: bool
) -> None:
    with Receiver(tls=private.context("localhost", http2=http2)) as receiver:
        transport = open_one(ca_bundle=authority.bundle)
        tls = trusting(private)
        assert send_as(transport, tls, receiver).status == 200
        # The connection is kept open, and yet nobody else may use it.
        for other in (None, trusting(authority)):
            assert send_as(transport, other, receiver).failure is OutcomeKind.TLS_ERROR
        assert send_as(transport, tls, receiver).status == 200
        assert [one.connection for one in receiver.requests] == [1, 1]


@version
def test_no_session_of_tls_is_resumed_with_other_certificates(
    open_one: Open, authority: Authority, clients: Authority, private: Authority, version: ssl.TLSVersion
) -> None:
    """Each request needs a new connection, for which a session of an earlier one might be resumed."""
    context = clients.demanding(private.context("localhost"), version)
    context.verify_mode = ssl.CERT_OPTIONAL
    with Receiver(tls=context) as receiver:
        receiver.on("/", headers={"Connection": "close"})
        transport = open_one(ca_bundle=authority.bundle)
        trusted = private.pem.encode()
        acme, other = (ClientTLS(*parts, trusted) for parts in (_bytes(clients, "acme"), _bytes(clients, "other")))
        for tls in (acme, other, trusting(private), acme, other):
            assert send_as(transport, tls, receiver).status == 200
            assert send_as(transport, None, receiver).failure is OutcomeKind.TLS_ERROR
        assert [one.client for one in receiver.requests] == ["acme", "other", "", "acme", "other"]


def _bytes(clients: Authority, name: str) -> tuple[bytes, bytes]:
    chain, key = clients.client_pems(name)
    return chain.encode(), key.encode()


def test_public_authorities_stay_trusted_beside_a_private_one(
    open_one: Open, authority: Authority, private: Authority
) -> None:
    """The receiver may change from one to the other, and back."""
    tls = trusting(private)
    transport = open_one(ca_bundle=authority.bundle)
    contexts = [authority.context("localhost"), private.context("localhost")]
    for context in (*contexts, *contexts):
        with Receiver(tls=context) as receiver:
            for _ in range(2):
                assert send_as(transport, tls, receiver).status == 200


def test_a_receiver_that_neither_verifies_says_why(
    open_one: Open, authority: Authority, private: Authority, transport_name: str
) -> None:
    """Its certificate has expired, which the public authorities cannot tell."""
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    with Receiver(tls=private.context("localhost", not_after=past)) as receiver:
        transport = open_one(ca_bundle=authority.bundle)
        for _ in range(2):  # the second request begins with the public ones
            response = send_as(transport, trusting(private), receiver)
            assert response.failure is OutcomeKind.TLS_ERROR
            assert "expired" in response.detail
            if transport_name == "curl":
                own, public = response.detail.split("; with the public ones: ")
                assert own.startswith("with the endpoint's own certificate authorities: SSL certificate")
                assert "expired" not in public


def test_an_intermediate_authority_may_be_trusted_without_its_root(
    open_one: Open, authority: Authority, private: Authority
) -> None:
    intermediate = private.intermediate()
    with Receiver(tls=intermediate.context("localhost")) as receiver:
        assert send_as(open_one(ca_bundle=authority.bundle), trusting(intermediate), receiver).status == 200


def test_a_private_authority_does_not_excuse_another_name(
    open_one: Open, authority: Authority, private: Authority
) -> None:
    with Receiver(tls=private.context("other.example.com")) as receiver:
        response = send_as(open_one(ca_bundle=authority.bundle), trusting(private), receiver)
        assert response.failure is OutcomeKind.TLS_ERROR
        assert not receiver.requests


def test_both_work_through_the_tunnel_of_an_egress_proxy(
    open_one: Open, authority: Authority, clients: Authority, private: Authority
) -> None:
    chain, key = clients.client_pems("acme")
    tls = ClientTLS(chain.encode(), key.encode(), private.pem.encode())
    with demanding(private, clients) as receiver, tunnel() as port:
        transport = open_one(ca_bundle=authority.bundle, proxy=f"http://127.0.0.1:{port}")
        assert send_as(transport, tls, receiver).status == 200
        assert send_as(transport, None, receiver).failure is OutcomeKind.TLS_ERROR
        assert [one.client for one in receiver.requests] == ["acme"]


def test_certificates_that_cannot_be_used_are_an_error_of_tls(open_one: Open, authority: Authority) -> None:
    with Receiver(tls=authority.context("localhost")) as receiver:
        transport = open_one(ca_bundle=authority.bundle)
        response = send_as(transport, ClientTLS(b"none", b"CANARY"), receiver)
        assert response.failure is OutcomeKind.TLS_ERROR
        assert "CANARY" not in response.detail
        assert send_as(transport, None, receiver).status == 200


def test_a_libcurl_that_may_mix_up_connections_is_not_used(
    open_one: Open, authority: Authority, clients: Authority, transport_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if transport_name != "curl":
        pytest.skip("it is about libcurl")
    monkeypatch.setattr("webhooks_app.transport.curl_tls._MIN_VERSION", 0xFFFFFF)
    with Receiver(tls=authority.context("localhost")) as receiver:
        transport = open_one(ca_bundle=authority.bundle)
        response = send_as(transport, identity(clients, "acme"), receiver)
        assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, "request")
        assert response.detail.endswith("need libcurl 7.84 or newer")
        assert send_as(transport, None, receiver).status == 200
        assert len(receiver.requests) == 1


def test_hundreds_of_endpoints_with_certificates_of_their_own(
    open_one: Open, authority: Authority, clients: Authority, transport_name: str
) -> None:
    number = 300 if transport_name == "curl" else 140  # more than there are contexts
    chain, key = clients.client_pems("acme")
    with demanding(authority, clients) as receiver:
        transport = open_one(ca_bundle=authority.bundle, concurrency=16)
        for count in range(number):
            tls = ClientTLS(chain.encode() + b"\n" * count, key.encode())
            transport.start(request(receiver.url(host="localhost"), tls=tls, total=60.0))
        assert all(one.status == 200 for one in gather(transport, number, 60.0))
        assert len({one.connection for one in receiver.requests}) == number


def test_no_part_is_in_a_repr(clients: Authority) -> None:
    tls = identity(clients, "acme")
    assert repr(tls) == "ClientTLS()"
    assert "BEGIN" not in repr(request("https://localhost/", tls=tls))
