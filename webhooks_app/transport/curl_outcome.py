"""Interpret libcurl error codes of requests that got no complete response headers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pycurl

from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.core.proxies import Proxy
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.core.tls_alerts import certificate_alert, closed_after_handshake
from webhooks_app.transport.base import OurFault
from webhooks_app.transport.faults import (
    fault_of_errno,
    proxy_failure,
    proxy_not_connected,
    proxy_refusal,
    proxy_silence,
    socks_refusal,
)
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
#: Codes whose messages may quote a response, in brackets or parentheses; only numbers of errors are kept there.
_HTTP2_STREAM = 92  # CURLE_HTTP2_STREAM; pycurl does not define it
_QUOTING = frozenset(
    {
        pycurl.E_HTTP2,
        _HTTP2_STREAM,
        pycurl.E_RECV_ERROR,
        pycurl.E_PARTIAL_FILE,
        pycurl.E_FTP_WEIRD_SERVER_REPLY,
        pycurl.E_BAD_CONTENT_ENCODING,
        pycurl.E_UNSUPPORTED_PROTOCOL,
    }
)
_QUOTED = re.compile(r"\[.*|\((?!err \d{1,3}\)|error 0x[0-9a-f]{1,8} [A-Z0-9_]+\)).*", re.S)
_SUBJECT = re.compile(r"subject name '.*' does not", re.S)
_PROXY_ERROR = 97  # CURLE_PROXY; pycurl does not define it
#: libcurl's code for an error of a SOCKS proxy (CURLPX_REPLY_…) → the SOCKS5 reply.
_SOCKS_REPLIES = {20: 1, 23: 2, 22: 3, 21: 4, 19: 5, 24: 6, 18: 7, 17: 8}
#: The length of a SOCKS5 proxy's replies until it has connected to an IPv4 address, and of the one to a password.
_SOCKS_BYTES = 12
_SOCKS_PASSWORD_BYTES = 2
#: Network errors for which libcurl keeps the operating system's error number.
_NETWORK_CODES = frozenset({pycurl.E_COULDNT_CONNECT, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR})


@dataclass(slots=True)
class Sockets:
    """The sockets of one request: how many of them libcurl never got, whether one was IPv6, and the descriptors of the others."""

    lost: int = 0
    ipv6: bool = False
    descriptors: list[int] = field(default_factory=list)
    #: How many bytes had been read when the last of them was closed, see `CurlSockets.bytes_at_end`.
    received: int = -1
    #: True: the connection led to the receiver, so the request was sent.
    requested: bool = False


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


def without_receivers_text(code: int, message: str) -> str:
    """Return libcurl's message without what it quotes from a response or a certificate.

    A receiver could repeat the request there, with its credentials, and messages are not encrypted in the database."""
    if code in _QUOTING:
        text = _QUOTED.sub("…", message)
        return text if text != "…" else "the response cannot be read"
    return _SUBJECT.sub("subject name '…' does not", message)


def failure_of(
    curl: Any, code: int, message: str, sockets: Sockets, proxy: Proxy | None, tls: ClientTLS | None
) -> Failure:
    """Return the failure of a request that got no complete headers."""
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
    if proxy is not None and not sockets.requested:
        failure = _proxy_failure(curl, code, message, sockets, proxy)
        if failure is not None:
            return failure
    # With TLS 1.3, the receiver's alert about our certificate comes after the handshake, when a response is read.
    sent = tls is not None and bool(tls.certificate)
    if alert := certificate_alert(message, sent=sent):
        return Failure(OutcomeKind.TLS_ERROR, alert)
    if code == pycurl.E_SEND_ERROR and curl.getinfo(pycurl.APPCONNECT_TIME) and not curl.getinfo(pycurl.REQUEST_SIZE):
        return Failure(
            OutcomeKind.TLS_ERROR, closed_after_handshake(sent=sent)
        )  # the alert came, but libcurl did not read it
    return Failure(_KINDS.get(code, OutcomeKind.PROTOCOL_ERROR), message)


def _proxy_failure(curl: Any, code: int, message: str, sockets: Sockets, proxy: Proxy) -> Failure | None:
    """Return the failure of the egress proxy; None if it had connected to the receiver."""
    if code == pycurl.E_COULDNT_RESOLVE_PROXY:
        return our_failure(f"the name of the egress proxy {proxy.name} does not resolve", OurFault.PROXY)
    if code == _PROXY_ERROR:
        reply = _SOCKS_REPLIES.get(curl.getinfo(pycurl.PROXY_ERROR))
        if reply is not None:
            return Failure(*socks_refusal(proxy.name, reply))
        return our_failure(proxy_failure(proxy.name, message), OurFault.PROXY)
    status = curl.getinfo(pycurl.HTTP_CONNECTCODE)
    if status and status // 100 != 2:
        challenged = bool(proxy.user or curl.getinfo(pycurl.PROXYAUTH_AVAIL))
        return Failure(*proxy_refusal(proxy.name, status, challenged=challenged))
    if status or (proxy.is_socks and _has_socks_connected(code, sockets, proxy)):
        return None
    if code != pycurl.E_OPERATION_TIMEDOUT:
        return our_failure(proxy_failure(proxy.name, message), OurFault.PROXY)
    return Failure(*(proxy_silence if sockets.received >= 0 else proxy_not_connected)(proxy.name))


def _has_socks_connected(code: int, sockets: Sockets, proxy: Proxy) -> bool:
    """Return whether a SOCKS proxy had connected to the receiver. libcurl does not tell."""
    replies = _SOCKS_BYTES + (_SOCKS_PASSWORD_BYTES if proxy.user else 0)
    return sockets.received >= replies or _KINDS.get(code) is OutcomeKind.TLS_ERROR
