"""Faults on our side: their names, and the responses of affected requests."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, Request, Response
from webhooks_app.transport.validation import failed

#: Errors of the operating system that say something about this process or host, and nothing about the receiver.
OUR_ERRNOS = {
    errno.EMFILE: OurFault.DESCRIPTORS,
    errno.ENFILE: OurFault.DESCRIPTORS,
    errno.ENOMEM: OurFault.MEMORY,
    errno.ENOBUFS: OurFault.MEMORY,
    errno.EADDRNOTAVAIL: OurFault.PORTS,
    errno.EAGAIN: OurFault.PORTS,  # `connect` says so when all local ports are in use
}
#: What a proxy says when it could not get through, which may be its own fault or the receiver's.
_TARGET_STATUSES = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
_SHORTEST_SECRET = 4  # a shorter header value is not looked for in an error's text: it would be found everywhere
_DEEPEST = 10


class ThreadsExhausted(RuntimeError):
    """The operating system starts no more threads for this process."""


def fault_of(error: BaseException) -> OurFault | None:
    """Return the fault on our side that an exception or one of its causes stands for; None if it is not ours."""
    for one in _chain(error, _DEEPEST):
        if isinstance(one, MemoryError):
            return OurFault.MEMORY
        if isinstance(one, ThreadsExhausted):
            return OurFault.THREADS
        if isinstance(one, OSError) and one.errno in OUR_ERRNOS:
            return OUR_ERRNOS[one.errno]
    return None


def fault_of_errno(number: int, ipv6: bool) -> OurFault | None:
    """Return which fault on our side an error number of a connection stands for.

    On a host without IPv6, every connection to an IPv6 address fails as if no address were free to connect from. That is no
    different from a network that is unreachable.
    """
    return None if ipv6 and number == errno.EADDRNOTAVAIL else OUR_ERRNOS.get(number)


def not_sent(request: Request, error: BaseException, seconds: float = 0.0) -> Response:
    """Return the response of a request that was stopped by an exception on our side."""
    fault = fault_of(error) or OurFault.REQUEST
    text = str(error)
    if not isinstance(error, ValueError) or not text:  # a ValueError of ours is a sentence already
        text = f"{type(error).__name__}: {text}".rstrip(": ")
    return failed(request, OutcomeKind.NOT_SENT, _without_values(text, request), seconds, fault)


def proxy_name(proxy: str) -> str:
    """Return host and port of a proxy's URL, without its user name and password."""
    return urlsplit(proxy if "://" in proxy else f"//{proxy}").netloc.rpartition("@")[2] or proxy.partition(":")[0]


def proxy_refusal(proxy: str, status: int) -> tuple[OutcomeKind, str, str]:
    """Return kind, detail and fault for a CONNECT that the egress proxy answered with `status`."""
    if status == HTTPStatus.FORBIDDEN:
        return OutcomeKind.ADDRESS_NOT_ALLOWED, f"the egress proxy {proxy} does not allow this host (403)", ""
    fault = OurFault.PROXY_TARGET if status in _TARGET_STATUSES else OurFault.PROXY
    return OutcomeKind.NOT_SENT, f"the egress proxy {proxy} answered CONNECT with {status}", fault


def not_resolved_in_time(host: str) -> tuple[OutcomeKind, str, str]:
    """Return kind, detail and fault for a name whose lookup did not begin before the deadline."""
    detail = f"resolving {host} could not begin in time: too many names are being resolved"
    return OutcomeKind.NOT_SENT, detail, OurFault.RESOLVER


def _chain(error: BaseException | None, deepest: int) -> Iterator[BaseException]:
    """Yield an exception, its arguments that are exceptions (urllib3 wraps errors so), and its cause."""
    if error is None or deepest <= 0:
        return
    yield error
    for argument in error.args:
        if isinstance(argument, BaseException):
            yield from _chain(argument, deepest - 1)
    yield from _chain(error.__cause__ or error.__context__, deepest - 1)


def _without_values(text: str, request: Request) -> str:
    """Take the values of the request's headers out of an error's text: they may be secrets."""
    try:
        for _, value in request.headers:
            value = str(value)
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, "…").replace(repr(value)[1:-1], "…")
    except Exception:  # noqa: BLE001 - headers that are no pairs of texts: then nothing is known to be harmless
        return text.partition(":")[0]
    return text
