"""Faults on our side: their names, and the responses of affected requests."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from http import HTTPStatus

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, Request, Response
from webhooks_app.transport.source_addresses import BindFailed
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
#: The SOCKS5 replies with the same meaning: network or host unreachable, connection refused, TTL expired.
_TARGET_REPLIES = frozenset({3, 4, 5, 6})
#: The last reply that RFC 1928 defines. With another one the proxy is at fault.
_LAST_REPLY = 8
#: The SOCKS5 reply for a destination that the proxy's rules do not allow.
_NOT_ALLOWED = 2
_SHORTEST_SECRET = 4  # shorter header values are not removed from error texts: they would match everywhere
_DEEPEST = 10


class ThreadsExhausted(RuntimeError):
    """The operating system does not start more threads for this process."""


def fault_of(error: BaseException) -> OurFault | None:
    """Return the fault on our side that caused an exception; None if it is not our fault."""
    for one in _chain(error, _DEEPEST):
        if isinstance(one, MemoryError):
            return OurFault.MEMORY
        if isinstance(one, BindFailed):
            return OurFault.PORTS
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


def proxy_failure(proxy: str, why: str) -> str:
    """Return the detail for a failure up to and at the egress proxy. `proxy`: its host and port."""
    return f"the egress proxy {proxy} failed: {why}"


def proxy_not_connected(proxy: str) -> tuple[OutcomeKind, str, str]:
    """Return kind, detail and fault for an egress proxy that did not accept the connection before the deadline."""
    return OutcomeKind.NOT_SENT, f"the egress proxy {proxy} could not be connected to in time", OurFault.PROXY


def proxy_silence(proxy: str) -> tuple[OutcomeKind, str, str]:
    """Return kind, detail and fault for an egress proxy that did not respond before the deadline."""
    detail = f"the egress proxy {proxy} did not connect to the receiver in time"
    return OutcomeKind.NOT_SENT, detail, OurFault.PROXY_TARGET


def proxy_refusal(proxy: str, status: int, *, challenged: bool = True) -> tuple[OutcomeKind, str, str]:
    """Return kind, detail and fault for an egress proxy that responded to CONNECT with `status`.

    `challenged`: it asked for credentials, or got some. Smokescreen refuses addresses with 407 and without asking.
    """
    if status == HTTPStatus.FORBIDDEN or (status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and not challenged):
        return OutcomeKind.ADDRESS_NOT_ALLOWED, f"the egress proxy {proxy} does not allow this host ({status})", ""
    fault = OurFault.PROXY_TARGET if status in _TARGET_STATUSES else OurFault.PROXY_REFUSED
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        fault = OurFault.PROXY
    return OutcomeKind.NOT_SENT, f"the egress proxy {proxy} answered CONNECT with {status}", fault


def socks_refusal(proxy: str, reply: int) -> tuple[OutcomeKind, str, str]:
    """Return kind, detail and fault for an egress proxy that refused with this SOCKS5 reply (RFC 1928, section 6)."""
    if reply == _NOT_ALLOWED:
        return (
            OutcomeKind.ADDRESS_NOT_ALLOWED,
            f"the egress proxy {proxy} does not allow this host (SOCKS5 reply 2)",
            "",
        )
    fault = OurFault.PROXY_TARGET if reply in _TARGET_REPLIES else OurFault.PROXY_REFUSED
    if reply > _LAST_REPLY:
        fault = OurFault.PROXY
    return OutcomeKind.NOT_SENT, f"the egress proxy {proxy} refused with SOCKS5 reply {reply}", fault


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
