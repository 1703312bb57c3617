"""TLS and HTTP/2, against servers with real certificates."""

from __future__ import annotations

import base64
import datetime
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests import transports
from tests.receiver import Authority, Receiver
from tests.receiver_behaviours import Delay, Hang
from tests.transports import LOOPBACK, Open, gather, request, send
from webhooks_app.core.retry import OutcomeKind

transport_name = transports.transport_name
open_one = transports.open_one
authority = transports.authority


def test_a_good_certificate_is_accepted_and_the_name_is_asked_for(open_one: Open, authority: Authority) -> None:
    context = authority.context("localhost", "127.0.0.1")
    asked: list[str | None] = []
    context.sni_callback = lambda _tls, name, _context: asked.append(name)
    with Receiver(tls=context) as receiver:
        transport = open_one(ca_bundle=authority.bundle)
        response = send(transport, receiver.url(host="localhost"))
        assert (response.status, response.http_version) == (200, "1.1")
        assert send(transport, receiver.url(host="localhost")).status == 200
        assert send(transport, receiver.url()).status == 200
        assert [one.connection for one in receiver.requests] == [1, 1, 2]
        assert asked == ["localhost", None]


def test_a_certificate_for_another_name_is_refused(open_one: Open, authority: Authority) -> None:
    with Receiver(tls=authority.context("other.example.com")) as receiver:
        transport = open_one(ca_bundle=authority.bundle)
        for host in ("localhost", "127.0.0.1"):
            response = send(transport, receiver.url(host=host))
            assert response.failure is OutcomeKind.TLS_ERROR
            assert response.detail
        assert not receiver.requests


def test_an_expired_certificate_is_refused(open_one: Open, authority: Authority) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    with Receiver(tls=authority.context("localhost", not_after=past)) as receiver:
        response = send(open_one(ca_bundle=authority.bundle), receiver.url(host="localhost"))
        assert response.failure is OutcomeKind.TLS_ERROR


def test_an_unknown_authority_is_refused(open_one: Open, authority: Authority) -> None:
    with Receiver(tls=authority.context("localhost")) as receiver:
        assert send(open_one(), receiver.url(host="localhost")).failure is OutcomeKind.TLS_ERROR
        assert not receiver.requests


def test_a_self_signed_certificate_is_refused(open_one: Open, authority: Authority, tmp_path: Path) -> None:
    with Receiver(tls=_self_signed(tmp_path)) as receiver:
        response = send(open_one(ca_bundle=authority.bundle), receiver.url(host="localhost"))
        assert response.failure is OutcomeKind.TLS_ERROR
        assert not receiver.requests


def test_plain_text_on_the_tls_port_is_a_failure(open_one: Open, authority: Authority) -> None:
    with Receiver() as receiver:
        url = f"https://localhost:{receiver.port}/"
        assert send(open_one(ca_bundle=authority.bundle), url).failure is OutcomeKind.TLS_ERROR


def test_a_handshake_that_hangs_ends_at_the_deadline(open_one: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://localhost:{listener.getsockname()[1]}/"
        assert send(open_one(), url, total=0.5).failure is OutcomeKind.TIMEOUT


def test_closing_in_the_middle_of_a_handshake(open_one: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = open_one()
        transport.start(request(f"https://localhost:{listener.getsockname()[1]}/"))
        transport.wait(0.2)
        transport.close()


def test_an_old_version_of_tls_is_refused(open_one: Open, authority: Authority) -> None:
    context = authority.context("localhost")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with Receiver(tls=context) as receiver:
        response = send(open_one(ca_bundle=authority.bundle), receiver.url(host="localhost"))
        assert response.failure is OutcomeKind.TLS_ERROR


def test_a_key_exchange_whose_numbers_the_receiver_chooses_is_refused(
    open_one: Open, authority: Authority, tmp_path: Path
) -> None:
    """With larger ones than these, each handshake takes a second of a processor."""
    prime = (3**1292).to_bytes(257, "big")  # it is none, which no client finds out
    encoded = base64.encodebytes(b"\x30\x82\x01\x08\x02\x82\x01\x01" + prime + b"\x02\x01\x02").decode()
    numbers = tmp_path / "dh.pem"
    numbers.write_text(f"-----BEGIN DH PARAMETERS-----\n{encoded}-----END DH PARAMETERS-----\n")
    context = authority.context("localhost", key_type=trustme.KeyType.RSA)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DHE")
    context.load_dh_params(numbers)
    with Receiver(tls=context) as receiver:
        response = send(open_one(ca_bundle=authority.bundle), receiver.url(host="localhost"))
        assert response.failure is OutcomeKind.TLS_ERROR


def test_http2_is_spoken_where_it_is_offered(open_one: Open, authority: Authority, transport_name: str) -> None:
    with Receiver(tls=authority.context("localhost", http2=True)) as receiver:
        receiver.on("/", Delay(0.1)).on("/body", status=410, headers={"X-Shade": "blue"}, body=b"gone" * 9000)
        transport = open_one(LOOPBACK, ca_bundle=authority.bundle)
        response = send(transport, receiver.url("/body", host="localhost"), body=b"x" * 100_000)
        assert (response.status, response.truncated, len(response.body)) == (410, True, 16 * 1024)
        assert response.header("X-Shade") == "blue"
        assert response.http_version == ("2" if transport_name == "curl" else "1.1")
        assert receiver.requests[0].body == b"x" * 100_000
        for number in range(20):
            transport.start(request(receiver.url(host="localhost"), number))
        assert all(one.status == 200 for one in gather(transport, 20))
        if transport_name == "curl":
            assert len({one.connection for one in receiver.requests}) == 1


def test_one_hanging_http2_request_leaves_the_others_alone(open_one: Open, authority: Authority) -> None:
    with Receiver(tls=authority.context("localhost", http2=True)) as receiver:
        receiver.on("/hang", Hang())
        transport = open_one(LOOPBACK, ca_bundle=authority.bundle)
        transport.start(request(receiver.url("/hang", host="localhost"), "hanging", total=0.6))
        transport.start(request(receiver.url(host="localhost"), "quick"))
        responses = {one.token: one for one in gather(transport, 2)}
        assert responses["quick"].status == 200
        assert responses["hanging"].failure is OutcomeKind.TIMEOUT


def _self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "self-signed.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_an_http2_target_is_sent_byte_for_byte(open_one: Open, authority: Authority) -> None:
    with Receiver(tls=authority.context("localhost", http2=True)) as receiver:
        transport = open_one(LOOPBACK, ca_bundle=authority.bundle)
        for target in ("/a/../b", "/%7ea?", "/?x=%c3%a9&y=[1]"):
            assert send(transport, receiver.url(target, host="localhost")).status == 200
            assert receiver.requests[-1].path == target


def test_the_common_name_of_a_certificate_does_not_count(
    open_one: Open, authority: Authority, transport_name: str
) -> None:
    """libcurl still compares it. No public authority issues certificates without alternative names."""
    if transport_name == "curl":
        pytest.skip("libcurl has no option for it")
    with Receiver(tls=authority.context(common_name="localhost")) as receiver:
        response = send(open_one(ca_bundle=authority.bundle), receiver.url(host="localhost"))
        assert response.failure is OutcomeKind.TLS_ERROR


_SEND_ONE = """
import sys
from tests.transports import LOOPBACK, gather, request
from webhooks_app.transport import TransportOptions, open_transport
transport = open_transport(TransportOptions(addresses=LOOPBACK, ca_bundle=sys.argv[2]), sys.argv[3])
transport.start(request(sys.argv[1]))
print(gather(transport)[0].status)
"""


def test_tls_secrets_are_written_to_no_file(
    open_one: Open, authority: Authority, transport_name: str, tmp_path: Path
) -> None:
    """SSLKEYLOGFILE asks libraries to do that. In a process of its own, since libcurl reads it when it is loaded."""
    log = tmp_path / "keys.log"
    with Receiver(tls=authority.context("localhost")) as receiver:
        command = [sys.executable, "-c", _SEND_ONE, receiver.url(host="localhost"), authority.bundle, transport_name]
        environment = {**os.environ, "SSLKEYLOGFILE": str(log), "DJANGO_SETTINGS_MODULE": "project.settings_test"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "200"
    assert not log.exists() or not log.read_text()
