"""What a TLS alert of the receiver says about client certificates."""

from __future__ import annotations

import re

#: Alerts as OpenSSL words them, in the errors of both HTTP libraries. "alert" is only in alerts of the other side.
_ABOUT_CERTIFICATES = re.compile(
    r"alert (certificate required|(?:bad|unsupported) certificate|certificate (?:revoked|expired|unknown)|unknown ca"
    r"|access denied|decrypt error)"
)
#: How libcurl words the alert "certificate expired": the receiver's own certificate would be a "problem".
_EXPIRED = "SSL certificate verification failed"
_UNCLEAR = re.compile(r"alert handshake failure")
REQUIRED = "the receiver requires a client certificate"
REFUSED = "the receiver refused our client certificate"


def certificate_alert(error: str, *, sent: bool) -> str:
    """Return what the alert in an error's text says about the client certificate; empty if it says nothing.

    `sent`: the request has a client certificate. With TLS 1.2, a server that gets no certificate sends the same alert as for
    other faults of the handshake.
    """
    if found := _ABOUT_CERTIFICATES.search(error):
        return f"{REFUSED} ({found[1]})" if sent else f"{REQUIRED} ({found[1]})"
    if sent and error == _EXPIRED:
        return f"{REFUSED} (certificate expired)"
    if _UNCLEAR.search(error):
        return f"the receiver ended the TLS handshake (handshake failure); {_guess(sent)}"
    return ""


def closed_after_handshake(*, sent: bool) -> str:
    """Return the detail for a receiver that closed the connection after the handshake, before it got any part of the request."""
    return f"the receiver closed the connection at the end of the TLS handshake; {_guess(sent)}"


def _guess(sent: bool) -> str:
    return "it may have refused our client certificate" if sent else "it may require a client certificate"
