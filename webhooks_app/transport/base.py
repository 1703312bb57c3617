"""The interface of all transports: send bytes to a checked address, within a deadline, with a bounded response.

A transport knows nothing of models, signatures or retries. Both implementations pass the same conformance tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from webhooks_app.core.addresses import AddressPolicy
from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.core.retry import OutcomeKind


class OurFault(StrEnum):
    """Faults on our side: why a request or its response failed locally or at the proxy. Stable keys, for logs and metrics."""

    DESCRIPTORS = "descriptors"  # no free file descriptor: raise `ulimit -n`
    MEMORY = "memory"  # no memory, or no buffer space in the kernel
    PORTS = "ports"  # no free local port or address to connect from
    THREADS = "threads"  # no new thread can be started
    CAPACITY = "capacity"  # no connection became free before the deadline
    RESOLVER = "resolver"  # the lookup of the host name did not start before the deadline
    PROXY = "proxy"  # the egress proxy is down, hangs, has no valid certificate or rejects our credentials
    PROXY_TARGET = (
        "proxy_target"  # the egress proxy works, but could not reach the receiver (502, 503, 504, no response)
    )
    PROXY_REFUSED = (
        "proxy_refused"  # the egress proxy refused with another status; the receiver may be the reason, or we
    )
    CA_BUNDLE = "ca_bundle"  # the file with the certificate authorities cannot be read
    STALLED = "stalled"  # this process was stalled when the deadline passed; the receiver may have got the request
    REQUEST = "request"  # the request cannot be sent as it is: its URL, a header, a timeout, an address rule


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """The options shared by all requests of one transport."""

    addresses: AddressPolicy
    #: How many requests may be on the network at once.
    concurrency: int = 384
    #: The maximum number of bytes of a response body to keep; the rest is not read.
    body_limit: int = 16 * 1024
    header_limit: int = 8 * 1024
    #: Seconds that the body may take after the headers are complete. The status counts, whatever happens to the body.
    body_seconds: float = 2.0
    #: Path of a PEM file with the certificate authorities to trust; empty: certifi's.
    ca_bundle: str = ""
    #: The URL of the operator's egress proxy; never taken from the environment.
    proxy: str = field(default="", repr=False)
    #: The egress proxy gets the names of receivers, and checks their addresses. False: it gets an address that was checked here.
    proxy_resolves_names: bool = False
    #: The local addresses that connections are bound to, at most one of each version of IP. If there is one of the other version
    #: only, nothing is connected to. Empty: the system chooses.
    source_addresses: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Request:
    """One POST request. `token` is returned with the response; only the caller uses it."""

    token: object
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # may contain secrets
    body: bytes = field(repr=False)
    connect_timeout: float = 5.0
    #: Seconds for the whole request: name lookup, connect, TLS, send, wait, read.
    total_timeout: float = 15.0
    #: On whose behalf the request is sent (any hashable value). One owner's names use only a share of the resolver's threads.
    owner: object = None
    #: Keep at least so many bytes of the response body, even if the transport's `body_limit` is lower.
    least_body: int = 0
    tls: ClientTLS | None = None


@dataclass(slots=True, eq=False)
class Response:
    """The response. `status` is None if and only if `failure` is set: no response with complete headers arrived."""

    token: object
    status: int | None
    #: Raw header block (without the status line), at most `header_limit` bytes.
    headers: bytes = field(repr=False)
    #: Raw, not decompressed, at most `body_limit` bytes (or `least_body`). That of a token server is a secret.
    body: bytes = field(repr=False)
    duration: float  # seconds
    failure: OutcomeKind | None = None
    detail: str = ""  # for staff, at most 500 characters; may contain the address, never a header value
    address: str = ""  # the address of the connection; empty if there was none
    truncated: bool = False  # `body` is not the whole body: it was too long, cut short or incomplete at the deadline
    http_version: str = ""  # "1.0", "1.1", "2", "3"; empty if unknown
    our_fault: str = ""  # an `OurFault` if `failure` is NOT_SENT, else empty

    def header(self, name: str) -> str | None:
        """Return the first value of a header, case-insensitively, decoded as latin-1."""
        wanted = name.lower().encode("latin-1")
        for line in self.headers.split(b"\r\n"):
            key, separator, value = line.partition(b":")
            if separator and key.strip().lower() == wanted:
                return value.strip().decode("latin-1")
        return None


class StuckCall(NamedTuple):
    """A call of the network library that does not return: the owners whose receivers may have caused it, each with a weight (1:
    most likely), and responses, which are failures, for the requests of these owners that may have."""

    suspects: dict[object, float]
    responses: list[Response]


class StuckCallEnded(BaseException):
    """Raised by `Transport.wait` if it returns from a call that another thread has abandoned meanwhile."""


class Transport(Protocol):
    """Sends many requests at once from one thread. Only `wake` and `give_up` may be called from another thread."""

    #: "curl" or "requests"; for logs and benchmarks.
    name: str
    #: How many requests it can have on the network at once. Further requests wait inside, and their timeouts run.
    capacity: int

    @property
    def in_flight(self) -> int:
        """Return how many requests were started and not yet returned by `wait`."""
        ...

    def start(self, request: Request) -> None:
        """Start one request. Never block on the network, and never raise an Exception: for a request that cannot be sent,
        `wait` returns a response with `failure` set."""
        ...

    def wait(self, timeout: float) -> Iterable[Response]:
        """Block until a request finishes, `wake` is called or `timeout` seconds pass; return the responses (maybe none).

        An Exception in one request becomes that request's response; a KeyboardInterrupt or SystemExit is raised here."""
        ...

    def wake(self) -> None:
        """Make a blocked `wait` return soon. Thread-safe."""
        ...

    @property
    def is_stuck(self) -> bool:
        """Return whether `wait` has not returned from one call of the network library for too long. Thread-safe."""
        ...

    def give_up(self) -> StuckCall | None:
        """Give up this transport, which is stuck. Thread-safe.

        Return who may have caused it, or None if the call has ended before. No request in flight gets another response. When the
        call ends, `wait` raises StuckCallEnded; its thread then closes the transport.
        """
        ...

    def take_costly(self) -> set[object]:
        """Return the owners whose receivers have cost too much processor time since the last call."""
        ...

    def close(self) -> None:
        """Close everything at once. Requests in flight are aborted and not returned."""
        ...
