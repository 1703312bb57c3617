"""Interpret libcurl error codes of requests that got no complete response headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pycurl

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault
from webhooks_app.transport.faults import fault_of_errno, proxy_refusal
from webhooks_app.transport.validation import FLOODED, KEPT_BUSY, NEIGHBOUR_KEPT_BUSY

_KINDS = {
    pycurl.E_OPERATION_TIMEDOUT: OutcomeKind.TIMEOUT,
    pycurl.E_COULDNT_CONNECT: OutcomeKind.REFUSED,
    pycurl.E_COULDNT_RESOLVE_HOST: OutcomeKind.NAME_ERROR,
    pycurl.E_SSL_CONNECT_ERROR: OutcomeKind.TLS_ERROR,
    pycurl.E_PEER_FAILED_VERIFICATION: OutcomeKind.TLS_ERROR,
    pycurl.E_SSL_CERTPROBLEM: OutcomeKind.TLS_ERROR,
    pycurl.E_SSL_CIPHER: OutcomeKind.TLS_ERROR,
    pycurl.E_SSL_ISSUER_ERROR: OutcomeKind.TLS_ERROR,
    pycurl.E_SSL_INVALIDCERTSTATUS: OutcomeKind.TLS_ERROR,
}
_OURS = {
    pycurl.E_URL_MALFORMAT: OurFault.REQUEST,
    pycurl.E_FAILED_INIT: OurFault.REQUEST,
    pycurl.E_OUT_OF_MEMORY: OurFault.MEMORY,
    pycurl.E_SSL_CACERT_BADFILE: OurFault.CA_BUNDLE,
}
#: Network errors for which libcurl keeps the operating system's error number.
_NETWORK_CODES = frozenset({pycurl.E_COULDNT_CONNECT, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR})


@dataclass(slots=True)
class Sockets:
    """The sockets of one request: how many were opened, how many of them libcurl never got, and whether one was IPv6."""

    opened: int = 0
    lost: int = 0
    ipv6: bool = False


class Failure(NamedTuple):
    """The reason why there is no response."""

    kind: OutcomeKind
    detail: str
    our_fault: str = ""


#: A connection brought more than a response may; a request kept this process busy; and a request was ended because of such a one.
FLOOD = Failure(OutcomeKind.PROTOCOL_ERROR, FLOODED)
BUSY = Failure(OutcomeKind.PROTOCOL_ERROR, KEPT_BUSY)
NEIGHBOUR_BUSY = Failure(OutcomeKind.NOT_SENT, NEIGHBOUR_KEPT_BUSY, OurFault.STALLED)


def our_failure(detail: str, fault: OurFault) -> Failure:
    return Failure(OutcomeKind.NOT_SENT, detail, fault)


def failure_of(curl: Any, code: int, message: str, sockets: Sockets, proxy: str, url: str) -> Failure:
    """Return the failure of a request that got no complete headers. `proxy`: host and port of the egress proxy; empty if there
    is none."""
    if code == pycurl.E_OK:
        return Failure(OutcomeKind.PROTOCOL_ERROR, "the response ended inside its headers")
    if code in _OURS:
        return our_failure(message, _OURS[code])
    if sockets.lost and code == pycurl.E_COULDNT_CONNECT:
        # pycurl passes a duplicate of the socket to libcurl, and no descriptor was free for it.
        return our_failure("no file descriptor was free for the connection", OurFault.DESCRIPTORS)
    if code in _NETWORK_CODES:
        fault = fault_of_errno(curl.getinfo(pycurl.OS_ERRNO), sockets.ipv6)
        if fault is not None:
            return our_failure(message, fault)
    if proxy:
        failure = _proxy_failure(curl, code, message, sockets, proxy, tunnel=url.startswith("https:"))
        if failure is not None:
            return failure
    return Failure(_KINDS.get(code, OutcomeKind.PROTOCOL_ERROR), message)


def _proxy_failure(curl: Any, code: int, message: str, sockets: Sockets, proxy: str, tunnel: bool) -> Failure | None:
    """Return the failure of the egress proxy; None if the request got through it."""
    if code == pycurl.E_COULDNT_RESOLVE_PROXY:
        return our_failure(f"the name of the egress proxy {proxy} does not resolve", OurFault.PROXY)
    status = curl.getinfo(pycurl.HTTP_CONNECTCODE)
    if status and status // 100 != 2:
        return Failure(*proxy_refusal(proxy, status))
    requested = curl.getinfo(pycurl.REQUEST_SIZE) > 0
    if status or (requested and not (tunnel and sockets.opened)):
        return None
    if code != pycurl.E_OPERATION_TIMEDOUT:
        return our_failure(f"the egress proxy {proxy} failed: {message}", OurFault.PROXY)
    if tunnel and curl.getinfo(pycurl.CONNECT_TIME):
        return our_failure(f"the egress proxy {proxy} did not answer CONNECT in time", OurFault.PROXY_TARGET)
    return our_failure(f"the egress proxy {proxy} could not be connected to in time", OurFault.PROXY)
