"""What is particular to the transport on libcurl."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import transports
from tests.receiver import Hang, Raw, Receiver
from tests.transports import LOOPBACK, gather, request, send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Transport, TransportOptions, open_transport
from webhooks_app.transport.resolver import Answer

pytest.importorskip("pycurl")

shared_receiver = transports.shared_receiver
receiver = transports.receiver


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = open_transport(TransportOptions(LOOPBACK), "curl")
    yield transport
    transport.close()


def test_an_exception_in_a_callback_is_raised_by_wait(
    transport: Transport, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt("as a signal handler does")

    with monkeypatch.context() as patch:
        patch.setattr("webhooks_app.transport.curl_handle.address_allowed", interrupted)
        transport.start(request(receiver.url()))
        with pytest.raises(KeyboardInterrupt):
            gather(transport)
    assert gather(transport)[0].failure is OutcomeKind.REFUSED
    assert send(transport, receiver.url()).status == 200


def test_no_free_descriptor_is_our_own_fault(
    transport: Transport, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: Any) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("webhooks_app.transport.curl_handle._Dialled", exhausted)
    response = send(transport, receiver.url())
    assert response.failure is OutcomeKind.NOT_SENT
    assert "Too many open files" in response.detail


def test_its_sockets_are_not_inherited_and_not_leaked(transport: Transport, receiver: Receiver) -> None:
    before = _descriptors()
    receiver.on("/hang", Hang())
    transport.start(request(receiver.url("/hang")))
    send(transport, receiver.url())
    opened = _descriptors() - before
    assert opened
    assert not any(os.get_inheritable(one) for one in opened)
    transport.close()
    assert len(_descriptors()) <= len(before)


def _descriptors() -> set[int]:
    """The open descriptors of this process that lead to sockets."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.add(int(name))
        except OSError:  # the one that listed the folder
            continue
    return found


def test_no_name_is_resolved_by_libcurl_itself(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It forgets what we resolved for a request; the handle that is used again must bring it again."""
    monkeypatch.setattr("webhooks_app.transport.curl_handle._DNS_CACHE_SECONDS", 1)
    monkeypatch.setattr(
        "webhooks_app.transport.resolver.Resolver.lookup", lambda _self, _host: Answer(("127.0.0.1",), "", float("inf"))
    )
    receiver.on("/", Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
    transport = open_transport(TransportOptions(LOOPBACK), "curl")
    url = f"http://only-we-know.example.com:{receiver.port}/"
    answers = [send(transport, url)]
    time.sleep(2.1)
    answers.append(send(transport, url))
    transport.close()
    assert [(answer.status, answer.detail) for answer in answers] == [(200, "")] * 2
