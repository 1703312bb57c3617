"""Faults on our side: their names, and the responses of affected requests."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, Request, Response
from webhooks_app.transport.validation import failed

#: Operating system errors that are caused by this process or host, and not by the receiver.
OUR_ERRNOS = {
    errno.EMFILE: OurFault.DESCRIPTORS,
    errno.ENFILE: OurFault.DESCRIPTORS,
    errno.ENOMEM: OurFault.MEMORY,
    errno.ENOBUFS: OurFault.MEMORY,
    errno.EADDRNOTAVAIL: OurFault.PORTS,
    errno.EAGAIN: OurFault.PORTS,  # `connect` returns it if all local ports are in use
}
#: Statuses of a proxy that could not reach the receiver: its own fault or the receiver's.
_TARGET_STATUSES = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
_SHORTEST_SECRET = 4  # shorter header values are not removed from error texts: they would match everywhere
_DEEPEST = 10


class ThreadsExhausted(RuntimeError):
    """The operating system does not start more threads for this process."""


def fault_of(error: BaseException) -> OurFault | None:
    """Return the fault on our side that caused an exception; None if it is not our fault."""
    for one in _chain(error, _DEEPEST):
        if isinstance(one, MemoryError):
            return OurFault.MEMORY
        if isinstance(one, ThreadsExhausted):
            return OurFault.THREADS
        if isinstance(one, OSError) and one.errno in OUR_ERRNOS:
            return OUR_ERRNOS[one.errno]
    return None


def fault_of_errno(number: int, ipv6: bool) -> OurFault | None:
    """Return the fault on our side that this error number of a connection means; None if it is not our fault.

    On a host without IPv6, every connection to an IPv6 address fails with EADDRNOTAVAIL, as if no local address were free. This
    counts as an unreachable network.
    """
    return None if ipv6 and number == errno.EADDRNOTAVAIL else OUR_ERRNOS.get(number)


def not_sent(request: Request, error: BaseException, seconds: float = 0.0) -> Response:
    """Return the response of a request that an exception on our side stopped."""
    fault = fault_of(error) or OurFault.REQUEST
    text = str(error)
    if not isinstance(error, ValueError) or not text:  # our own ValueErrors are complete sentences
        text = f"{type(error).__name__}: {text}".rstrip(": ")
    return failed(request, OutcomeKind.NOT_SENT, _without_values(text, request), seconds, fault)


def proxy_name(proxy: str) -> str:
    """Return host and port of a proxy's URL, without user name and password."""
    return urlsplit(proxy if "://" in proxy else f"//{proxy}").netloc.rpartition("@")[2] or proxy.partition(":")[0]


def proxy_refusal(proxy: str, status: int) -> tuple[OutcomeKind, str, str]:
    """Return kind, detail and fault for an egress proxy that responded to CONNECT with `status`."""
    if status == HTTPStatus.FORBIDDEN:
        return OutcomeKind.ADDRESS_NOT_ALLOWED, f"the egress proxy {proxy} does not allow this host (403)", ""
    fault = OurFault.PROXY_TARGET if status in _TARGET_STATUSES else OurFault.PROXY
    return OutcomeKind.NOT_SENT, f"the egress proxy {proxy} answered CONNECT with {status}", fault


def not_resolved_in_time(host: str) -> tuple[OutcomeKind, str, str]:
    """Return kind, detail and fault for a name whose lookup did not start before the deadline."""
    detail = f"resolving {host} could not begin in time: too many names are being resolved"
    return OutcomeKind.NOT_SENT, detail, OurFault.RESOLVER


def _chain(error: BaseException | None, deepest: int) -> Iterator[BaseException]:
    """Yield an exception, the exceptions in its arguments (urllib3 wraps errors like this), and its cause."""
    if error is None or deepest <= 0:
        return
    yield error
    for argument in error.args:
        if isinstance(argument, BaseException):
            yield from _chain(argument, deepest - 1)
    yield from _chain(error.__cause__ or error.__context__, deepest - 1)


def _without_values(text: str, request: Request) -> str:
    """Remove the values of the request's headers from an error's text: they may be secrets."""
    try:
        for _, value in request.headers:
            value = str(value)
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, "…").replace(repr(value)[1:-1], "…")
    except Exception:  # noqa: BLE001 - malformed headers: any part of the text may be a secret
        return text.partition(":")[0]
    return text
