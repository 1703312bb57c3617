"""What every transport promises: bytes to a checked address, within a deadline, with a bounded answer.

A transport knows nothing of models, signatures or retries. Both implementations pass the same conformance tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from webhooks_app.core.addresses import AddressPolicy
from webhooks_app.core.retry import OutcomeKind


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """What is the same for every request of one transport."""

    addresses: AddressPolicy
    #: How many requests may be on the network at once.
    concurrency: int = 384
    #: Bytes of the answer that are kept; the rest is not read.
    body_limit: int = 16 * 1024
    header_limit: int = 8 * 1024
    #: Path of a PEM file with the authorities to trust; certifi's where empty.
    ca_bundle: str = ""
    #: An egress proxy of the operator's (`http://host:port`); never taken from the environment.
    proxy: str = ""


@dataclass(slots=True, eq=False)
class Request:
    """One POST. `token` comes back with the answer and is the caller's business."""

    token: object
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connect_timeout: float = 5.0
    #: Seconds for everything together: name, connect, TLS, send, wait, read.
    total_timeout: float = 15.0


@dataclass(slots=True, eq=False)
class Response:
    """What came back. `status` is None exactly where `failure` is set: no usable answer arrived."""

    token: object
    status: int | None
    headers: bytes  # raw header block (without the status line), at most `header_limit` bytes
    body: bytes  # raw, not decompressed, at most `body_limit` bytes
    duration: float  # seconds
    failure: OutcomeKind | None = None
    detail: str = ""  # for staff; may name the address
    address: str = ""  # the address that was connected to, empty where none was
    truncated: bool = False  # more body was there than was kept
    http_version: str = ""  # "1.1" or "2"

    def header(self, name: str) -> str | None:
        """The first value of a header, case-insensitively, decoded as latin-1."""
        wanted = name.lower().encode("latin-1")
        for line in self.headers.split(b"\r\n"):
            key, separator, value = line.partition(b":")
            if separator and key.strip().lower() == wanted:
                return value.strip().decode("latin-1")
        return None


class Transport(Protocol):
    """Sends many requests at once from one thread. Only `wake` may be called from another thread."""

    #: "curl" or "requests"; for logs and benchmarks.
    name: str
    #: How many requests it can have on the network at once; those started beyond it wait inside, and their time runs.
    capacity: int

    @property
    def in_flight(self) -> int:
        """How many requests were started and not yet returned by `wait`."""
        ...

    def start(self, request: Request) -> None:
        """Begin one request. Never blocks on the network and never raises for what the network or the URL does: a
        request that cannot be made comes back from `wait` with its `failure` set."""
        ...

    def wait(self, timeout: float) -> Iterable[Response]:
        """Block until a request finishes, `wake` is called or `timeout` seconds pass; return what has finished (maybe
        none)."""
        ...

    def wake(self) -> None:
        """Make a blocked `wait` return soon. Thread-safe."""
        ...

    def close(self) -> None:
        """Drop everything, at once. Requests still in flight are aborted and not returned."""
        ...
