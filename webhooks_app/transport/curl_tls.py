"""Client certificates and an endpoint's own certificate authorities, for libcurl.

libcurl shares connections, and streams of HTTP/2, only among requests with the same client certificate and the same authorities.
"""

from __future__ import annotations

from typing import Any

import pycurl

from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.core.tls_alerts import certificate_alert

#: Earlier versions may reuse a connection although the client certificate is another one (CVE-2022-27782).
_MIN_VERSION = 0x075400  # 7.84
_MAX_REMEMBERED = 10_000


class Verified:
    """The ClientTLS of one transport whose receivers were last verified with the public authorities, not with their own."""

    def __init__(self) -> None:
        self._digests: set[str] = set()

    def __contains__(self, tls: ClientTLS) -> bool:
        return tls.digest in self._digests

    def put(self, tls: ClientTLS, *, public: bool) -> None:
        self._digests.discard(tls.digest)
        if public:
            if len(self._digests) >= _MAX_REMEMBERED:
                self._digests.clear()
            self._digests.add(tls.digest)


class HandleTLS:
    """The client certificate and the authorities of the one request that a handle with a ClientTLS sends.

    libcurl reads authorities in memory again for each connection. All the public ones would keep the sending thread busy for
    12 ms, so the endpoint's own are tried alone, and if these do not verify the receiver, the public ones, which libcurl reads
    once for all. The next request begins with those that were tried last.
    """

    def __init__(self, curl: Any, public: Verified) -> None:
        self._curl = curl
        self._public = public
        self._trusts_own = False
        #: libcurl's message with the authorities that were tried first; empty: the others were not tried.
        self._first_message = ""

    def load(self, tls: ClientTLS) -> None:
        """Set the options. Raises ValueError if libcurl is too old."""
        if pycurl.version_info()[2] < _MIN_VERSION or not hasattr(pycurl, "CAINFO_BLOB"):
            raise ValueError("client certificates and private certificate authorities need libcurl 7.84 or newer")
        # A TLS session that is resumed would stand for the certificates that it began with.
        self._curl.setopt(pycurl.SSL_SESSIONID_CACHE, 0)
        if tls.certificate:
            self._curl.setopt(pycurl.SSLCERT_BLOB, tls.certificate)
            self._curl.setopt(pycurl.SSLKEY_BLOB, tls.private_key)
        self._trusts_own = bool(tls.authorities) and tls not in self._public
        if self._trusts_own:
            self._curl.setopt(pycurl.CAINFO_BLOB, tls.authorities)
        else:
            self._curl.unsetopt(pycurl.CAINFO_BLOB)  # now CAINFO counts

    def may_try_others(self, tls: ClientTLS | None, code: int, message: str) -> bool:
        """Return whether the request, which failed so, may succeed with the other authorities. `load` chooses these then."""
        if tls is None or not tls.authorities or self._first_message or code != pycurl.E_PEER_FAILED_VERIFICATION:
            return False
        if certificate_alert(message, sent=True):  # the receiver did not verify us
            return False
        self._first_message = message
        self._public.put(tls, public=self._trusts_own)
        return True

    def explained(self, code: int, message: str) -> str:
        """Return libcurl's message, with that of the first try if neither authorities verified the receiver."""
        if (
            not self._first_message
            or code != pycurl.E_PEER_FAILED_VERIFICATION
            or certificate_alert(message, sent=True)
        ):
            return message
        own, public = (message, self._first_message) if self._trusts_own else (self._first_message, message)
        return f"with the endpoint's own certificate authorities: {own}; with the public ones: {public}"
