"""Fixtures and small words for the tests of transports. A test file takes the fixtures it wants by assignment:
`transport = transports.transport`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.receiver import Authority, Receiver
from webhooks_app.core.addresses import AddressPolicy
from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Request, Response, Transport, TransportOptions, open_transport

PORTS = frozenset(range(1, 65536))  # test receivers listen wherever there is room
LOOPBACK = AddressPolicy(allow_http=True, ports=PORTS, allowed_networks=("127.0.0.0/8",))
PUBLIC = AddressPolicy(allow_http=True, ports=PORTS)
Open = Callable[..., Transport]


@pytest.fixture(params=["curl", "requests"])
def transport_name(request: pytest.FixtureRequest) -> str:
    if request.param == "curl":
        pytest.importorskip("pycurl")
    return str(request.param)


@pytest.fixture
def open_one(transport_name: str) -> Iterator[Open]:
    """Opens transports of the kind under test, and closes them at the end."""
    opened: list[Transport] = []

    def open_one(policy: AddressPolicy = LOOPBACK, **options: object) -> Transport:
        opened.append(open_transport(TransportOptions(policy, **options), transport_name))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def transport(open_one: Open) -> Transport:
    return open_one()


@pytest.fixture(scope="module")
def shared_receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(shared_receiver: Receiver) -> Receiver:
    shared_receiver.reset()
    return shared_receiver


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(Path(tmp_path_factory.mktemp("authority")))


class Names(dict[str, list[str]]):
    """What names resolve to in a test. A name with an empty list hangs until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.over = threading.Event()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Any:
    names, real = Names(), socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **named: Any) -> list[Any]:
        if host not in names:
            return list(real(host, port, *rest, **named))
        names.asked.append(host)
        if not names[host]:
            names.over.wait(20)
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0))
            for address in names[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield names
    names.over.set()


def request(
    url: str,
    token: object = None,
    total: float = 5.0,
    body: bytes = b"{}",
    tls: ClientTLS | None = None,
    **headers: str,
) -> Request:
    """A request; header names with underscores for dashes."""
    named = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Request(
        token, url, tuple(named.items()), body, connect_timeout=min(total, 5.0), total_timeout=total, tls=tls
    )


def gather(transport: Transport, number: int = 1, seconds: float = 20.0) -> list[Response]:
    """Wait for this many responses."""
    until = time.monotonic() + seconds
    found: list[Response] = []
    while len(found) < number:
        assert time.monotonic() < until, f"{len(found)} of {number} responses came in {seconds} s"
        found += transport.wait(0.5)
    return found


def send(transport: Transport, url: str, total: float = 5.0, **more: object) -> Response:
    """Send one request and wait for its response."""
    transport.start(request(url, total=total, **more))  # type: ignore[arg-type]
    [response] = gather(transport)
    assert (response.status is None) == (response.failure is not None)
    return response


def check_refused(response: Response, detail: str) -> None:
    assert (response.status, response.failure) == (None, OutcomeKind.PROTOCOL_ERROR)
    assert response.detail == detail
