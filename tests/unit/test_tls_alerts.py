"""What the alerts of receivers say about client certificates, in the words of both HTTP libraries."""

from __future__ import annotations

import pytest

from webhooks_app.core.tls_alerts import certificate_alert

REQUIRED = "the receiver requires a client certificate"
REFUSED = "the receiver refused our client certificate"


@pytest.mark.parametrize(
    ("error", "sent", "said"),
    [
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2580)", False, REQUIRED),
        ("TLS connect error: error:0A00045C:SSL routines::tlsv13 alert certificate required", True, REFUSED),
        # Go sends this one, with TLS 1.2, to clients without a certificate.
        ("error:0A000412:SSL routines::ssl/tls alert bad certificate", False, REQUIRED),
        ("error:0A000412:SSL routines::sslv3 alert bad certificate", True, REFUSED),
        (
            "OpenSSL SSL_read: OpenSSL/3.6.5: error:0A000418:SSL routines::tlsv1 alert unknown ca, errno 0",
            True,
            REFUSED,
        ),
        ("SSL certificate verification failed", True, f"{REFUSED} (certificate expired)"),
        (
            "[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure (_ssl.c:1006)",
            False,
            "the receiver ended",
        ),
    ],
)
def test_alerts_are_understood(error: str, sent: bool, said: str) -> None:
    assert certificate_alert(error, sent=sent).startswith(said)


@pytest.mark.parametrize(
    "error",
    [
        "SSL certificate problem: unable to get local issuer certificate",
        "SSL certificate problem: certificate has expired",
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate",
        "SSL: no alternative certificate subject name matches target host name 'localhost'",
        "",
    ],
)
@pytest.mark.parametrize("sent", [False, True])
def test_faults_of_the_receivers_own_certificate_are_something_else(error: str, sent: bool) -> None:
    assert certificate_alert(error, sent=sent) == ""
