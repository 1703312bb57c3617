"""libcurl's messages are kept without what they quote from a response."""

from __future__ import annotations

import pytest

pycurl = pytest.importorskip("pycurl")

from webhooks_app.transport.curl_outcome import without_receivers_text  # noqa: E402
from webhooks_app.transport.validation import cut_text  # noqa: E402


@pytest.mark.parametrize(
    ("code", "message", "kept"),
    [
        (92, "Invalid HTTP header field was received: name: [x-echo], value: [Bearer tok]", "…received: name: …"),
        (92, "HTTP/2 stream 1 was not closed cleanly: INTERNAL_ERROR (err 2)", "…INTERNAL_ERROR (err 2)"),
        (92, "HTTP/2 stream 1 reset by server (error 0x2 INTERNAL_ERROR)", "…(error 0x2 INTERNAL_ERROR)"),
        (92, "[Bearer tok]", "the response cannot be read"),
        (pycurl.E_RECV_ERROR, "Unsolicited Transfer-Encoding (Bearer tok\n) found", "Unsolicited Transfer-Encoding …"),
        (pycurl.E_RECV_ERROR, "Recv failure: Connection reset by peer", "…Connection reset by peer"),
        (
            pycurl.E_PEER_FAILED_VERIFICATION,
            "SSL: certificate subject name 'it's\nBearer tok' does not match target hostname 'shop.test'",
            "SSL: certificate subject name '…' does not match target hostname 'shop.test'",
        ),
        (
            pycurl.E_SSL_CONNECT_ERROR,
            "TLS connect error: error:0A000410 (alert)",
            "TLS connect error: error:0A000410 (alert)",
        ),
    ],
)
def test_messages(code: int, message: str, kept: str) -> None:
    found = without_receivers_text(code, message)
    assert found == kept or (kept.startswith("…") and found.endswith(kept[1:]))
    assert "Bearer" not in found


def test_details_have_no_control_characters() -> None:
    assert cut_text("a\x1b[31m\r\nb\0\x7f\x9bc\ud800") == "a [31m  b   c?"
