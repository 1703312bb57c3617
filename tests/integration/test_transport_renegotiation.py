"""With `requests` each request has a thread: TLS renegotiations are refused, and a thread that goes on computing is noticed."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests import transports
from tests.pipelines import eventually
from tests.receiver import Authority
from tests.renegotiations import serve_renegotiations
from tests.slow_certificates import serve_slow_certificates
from tests.transports import LOOPBACK, gather, request, send
from webhooks_app.transport import TransportOptions, open_transport

authority = transports.authority


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun"], ids=["no head", "head"])
def test_requests_refuses_to_renegotiate(authority: Authority, tmp_path: Path, head: bytes) -> None:
    """A renegotiation is a handshake within a read, so its steps need no turn; and it may begin after the response's head."""
    with (
        contextlib.closing(
            open_transport(TransportOptions(addresses=LOOPBACK, ca_bundle=authority.bundle), "requests")
        ) as transport,
        serve_renegotiations(authority.context("localhost"), tmp_path / "keys", 15, head) as url,
    ):
        before = time.process_time()
        response = send(transport, url, total=2.0)
        time.sleep(1.0)
        assert time.process_time() - before < 0.5, "the certificates take 3 s"
    if head:
        assert (response.status, response.body) == (200, b"begun")
    else:
        assert response.failure is not None


def test_a_thread_that_computes_after_its_request_has_ended_lets_others_go_first() -> None:
    """The deadline ends the request, and nothing ends the call in which its thread is."""
    with (
        contextlib.closing(open_transport(TransportOptions(addresses=LOOPBACK), "requests")) as transport,
        serve_slow_certificates(10) as url,
    ):
        transport.start(replace(request(url, "late", total=0.1), owner="evil"))
        (response,) = gather(transport, 1)
        assert response.failure is not None
        costly: set[object] = set()
        eventually(lambda: transport.wait(0.05) or costly.update(transport.take_costly()) or costly == {"evil"})
