"""One request of the `requests` transport, and how far it has come."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, Request, Response
from webhooks_app.transport.validation import ADDRESS_CHARACTERS, cut_text


class Stopped(Exception):
    """No response. `kind` says what to record; urllib3 does not know this class and passes it on."""

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

    def __hash__(self) -> int: ...

    def cut(self) -> None: ...

    def bytes_read(self) -> int: ...


@dataclass(slots=True, eq=False)
class Job:
    """A request's state, shared by the thread that executes it and the thread that watches the time."""

    request: Request
    deadline: float
    begun: bool = False
    over: bool = False  # a response was given for it; what still arrives is dropped
    dialled: bool = False  # a new connection was opened for it, rather than one used again
    connection: Connection | None = None
    resolving: str = ""  # the name that it waits for
    late: tuple[OutcomeKind, str, str] = (OutcomeKind.TIMEOUT, "the total deadline passed", "")  # if time is up now
    head: Head | None = None
    body: list[bytes] = field(default_factory=list)
    body_until: float | None = None

    @property
    def address(self) -> str:
        """The address that the connection leads to; empty where there is none."""
        return self.connection.address[:ADDRESS_CHARACTERS] if self.connection is not None else ""

    def cut(self) -> None:
        """Wake the thread that is blocked on this job's connection."""
        connection = self.connection
        if connection is not None and connection.job is self:
            connection.cut()

    def response(self, head: Head, body_limit: int, why_cut: str = "") -> Response:
        """Return the response, whose body may not be complete: then `why_cut` says why."""
        body = b"".join(list(self.body))  # a list of its own: the other thread may still append
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
    """What the running thread works on; urllib3 gives no other way through to its connections."""

    job: Job | None = None


current = _Current()
