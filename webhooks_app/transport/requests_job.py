"""The state of one request of the `requests` transport."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.cpu_time import seconds_of_thread, thread_seconds
from webhooks_app.thread_priority import lower_priority
from webhooks_app.transport.base import OurFault, Request, Response, TransportOptions
from webhooks_app.transport.validation import ADDRESS_CHARACTERS, cut_text, failed


class Stopped(Exception):
    """There is no response. `kind` is the outcome to record. urllib3 does not catch this class."""

    def __init__(self, kind: OutcomeKind, detail: str, our_fault: OurFault | str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.our_fault = our_fault


class Head(NamedTuple):
    """The complete headers of a final response."""

    status: int
    http_version: str
    headers: bytes


class Connection(Protocol):
    """The interface of a connection that a job uses."""

    job: Job | None
    address: str

    def cut(self) -> None: ...

    def bytes_read(self) -> int: ...


@dataclass(slots=True, eq=False)
class Job:
    """A request's state, shared by the thread that executes it and the thread that checks the deadlines."""

    request: Request
    deadline: float
    begun: bool = False
    over: bool = False  # it has a response; anything that still arrives is dropped
    dialled: bool = False  # a new connection was opened for it, none was reused
    connection: Connection | None = None
    resolving: str = ""  # the host name whose lookup it waits for
    late: tuple[OutcomeKind, str, str] = (OutcomeKind.TIMEOUT, "the total deadline passed", "")  # if its time is up
    head: Head | None = None
    body: list[bytes] = field(default_factory=list, repr=False)
    body_until: float | None = None
    has_low_priority: bool = False
    charged: float = 0.0  # processor time (seconds) that its owner was charged with
    cost_when_over: float = 0.0  # processor time (seconds) that it had used when it was abandoned
    _thread: threading.Thread | None = None
    _cpu_at_start: float = 0.0

    @property
    def address(self) -> str:
        """Return the address of the connection; empty if there is none."""
        return self.connection.address[:ADDRESS_CHARACTERS] if self.connection is not None else ""

    def note_thread(self) -> None:
        """Note that the current thread executes the job."""
        self._thread, self._cpu_at_start = threading.current_thread(), thread_seconds()

    def cpu_seconds(self) -> float:
        """Return the processor time that the job has cost; not above 0 if the system does not report it. Call it only while a
        thread executes the job."""
        ident = self._thread.ident if self.begun and self._thread is not None else None
        return seconds_of_thread(ident) - self._cpu_at_start if ident is not None else 0.0

    def lower_priority(self) -> None:
        """Give the job's thread the lowest priority, if the system has priorities of threads."""
        self.has_low_priority = self._thread is not None and lower_priority(self._thread.native_id)

    def cut(self) -> None:
        """Cut off the job's connection, so that the thread that is blocked on it continues."""
        connection = self.connection
        if connection is not None and connection.job is self:
            connection.cut()

    def bytes_read(self) -> int:
        """Return how many bytes were read from the job's connection; 0 if there is none, or if that is unknown."""
        connection = self.connection
        return connection.bytes_read() if connection is not None and connection.job is self else 0

    def late_response(self, now: float, options: TransportOptions) -> Response:
        """Return the response of a job whose time is up: a failure, or the response without the rest of its body."""
        if not self.begun:
            detail = "no connection was free before the deadline"
            return failed(self.request, OutcomeKind.NOT_SENT, detail, our_fault=OurFault.CAPACITY)
        if self.head is not None:
            late_body = self.body_until is not None and self.deadline > now
            when = f"after {options.body_seconds:g} s" if late_body else "at the deadline"
            return self.response(self.head, options.body_limit, f"the body was not complete {when}")
        kind, detail, fault = self.late
        late = failed(self.request, kind, detail, our_fault=fault)
        late.address = self.address
        return late

    def response(self, head: Head, body_limit: int, why_cut: str = "") -> Response:
        """Return the response. `why_cut`: why the body is incomplete, if it is."""
        body_limit = max(body_limit, self.request.least_body)
        body = b"".join(list(self.body))  # a copy, because the other thread may still append
        return Response(
            self.request.token,
            head.status,
            head.headers,
            body[:body_limit],
            0.0,
            detail=cut_text(why_cut),
            address=self.address,
            truncated=bool(why_cut) or len(body) > body_limit,
            http_version=head.http_version,
        )


class _Current(threading.local):
    """The job of the current thread; urllib3 has no other way to pass it to its connections."""

    job: Job | None = None


current = _Current()
