"""The wire, byte by byte. A change here breaks receivers that are already out there: make a new wire format instead."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from webhooks_app import core
from webhooks_app.core.message import Message
from webhooks_app.core.signing import key_of
from webhooks_app.wire_formats import get_wire_format

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = Message(
    "evt_0190a1b2",
    "message.delivered",
    datetime(2026, 4, 1, 10, 0, 5, 120_000, tzinfo=UTC),
    '{"messageId":"msg_1","to":"+33612345678","text":"À 😀 \\ud83d","cost":1.0,"9":null,"1":1e-07,"sid":null}',
)

# Signatures: openssl dgst -sha256 -hmac "$SECRET" (in base64 over `id.timestamp.body` for the standard ones).
WIRE = {
    "standard": (
        (
            '{"type":"message.delivered","timestamp":"2026-04-01T10:00:05.120Z","data":{"messageId":"msg_1",'
            '"to":"+33612345678","text":"À 😀 \\ud83d","cost":1.0,"9":null,"1":1e-07,"sid":null}}'
        ),
        {
            "webhook-id": "evt_0190a1b2",
            "webhook-timestamp": "1775037605",
            "webhook-signature": "v1,Ehxsfq/QT1kP9QjK9984d36M98Fxe+yN2/d2NvyPWtY=",
        },
    ),
    "gateway": (
        (
            '{"type":"message.delivered","timestamp":"2026-04-01T10:00:05.120Z","data":{"messageId":"msg_1",'
            '"to":"+33612345678","text":"À 😀 \\ud83d","cost":1.0,"9":null,"1":1e-07,"sid":null}}'
        ),
        {
            "webhook-id": "evt_0190a1b2",
            "webhook-timestamp": "1775037605",
            "webhook-signature": "v1,Kx6k2A3iq4iJ+3+W/goqi4wlQZIDFmJi8fqBOiOGpKI=",
        },
    ),
    "msgflash": (
        (
            '{"1":1e-7,"event":"message.delivered","messageId":"msg_1","to":"+33612345678","status":"delivered",'
            '"timestamp":"2026-04-01T10:00:05.120Z","text":"À 😀 \\ud83d","cost":1}'
        ),
        {
            "X-MsgFlash-Event": "message.delivered",
            "X-MsgFlash-Signature": "sha256=42d9173a7fe35a28db62aa5026c5b74d3074daa145a1e6c2a8d323f8fcb5ceec",
        },
    ),
    "msgine": (
        (
            '{"1":1e-7,"id":"msg_1","event":"message.delivered","status":"delivered","to":"+33612345678",'
            '"timestamp":"2026-04-01T10:00:05Z","messageId":"msg_1","text":"À 😀 \\ud83d","cost":1}'
        ),
        {"X-MsGine-Signature": "fd5bcce62fe2a875c0384b6e45e64edcc8118bd0d67abec59e19218f21225213"},
    ),
    "messages_dev": (
        (
            '{"event":"message.delivered","data":{"1":1e-7,"messageId":"msg_1","to":"+33612345678",'
            '"text":"À 😀 \\ud83d","cost":1},"timestamp":1775037605120}'
        ),
        {"X-Webhook-Signature": "1bcf51d02ace989e812d39f586437c7ae5a241c6d7f4acf25625b2eae361f4bb"},
    ),
    "muchaw": (
        (
            '{"event":"message.delivered","timestamp":"2026-04-01T10:00:05.120Z","data":{"1":1e-7,'
            '"messageId":"msg_1","to":"+33612345678","text":"À 😀 \\ud83d","cost":1}}'
        ),
        {"X-Muchaw-Signature": "sha256=9e516a14a407da1850af8483b5ead53fd56b6106fc06bd94e24fee0ea7085ff2"},
    ),
}


@pytest.mark.parametrize("name", WIRE)
def test_the_body_and_the_headers_stay_as_they_are(name: str) -> None:
    wire_format = get_wire_format(name)
    text, headers = WIRE[name]
    body = wire_format.envelope(MESSAGE)
    assert body.decode() == text
    key = key_of(SECRET, wire_format.secret_format)
    signature = wire_format.scheme.headers(message_id=MESSAGE.id, timestamp=1775037605, body=body, keys=(key,))
    assert dict((*wire_format.extra_headers(MESSAGE), *signature)) == headers


def test_core_runs_without_django() -> None:
    """So that signatures, envelopes and decisions can be tested, and used by a receiver, without a project."""
    names = [file.stem for file in Path(core.__file__).parent.glob("*.py")]
    program = "import sys\n" + "".join(f"import webhooks_app.core.{name}\n" for name in names)
    program += "sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
