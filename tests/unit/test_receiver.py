"""What receivers verify with."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.wire_formats import BUILT_IN
from webhooks_app.core.message import Message
from webhooks_app.core.secrets import new_ed25519_secret, new_secret
from webhooks_app.core.signing import Ed25519Key, TimestampedHexScheme, key_of
from webhooks_app.exceptions import SignatureVerificationError, VerificationFailed
from webhooks_app.receiver import verify, verify_webhook
from webhooks_app.wire_formats.base import WireFormat

NOW = 1_775_037_605
MOMENT = datetime.fromtimestamp(NOW, UTC)
EVERY_WIRE_FORMAT = pytest.mark.parametrize("wire_format", BUILT_IN.values(), ids=lambda wire_format: wire_format.name)
DATED = ("standard", "gateway")


def signed(wire_format: WireFormat, secret: str, data: Any = None) -> tuple[bytes, dict[str, str]]:
    """A body and its headers as the app sends them at `NOW`."""
    message = Message("evt_1", "message.sent", MOMENT, json.dumps({"text": "À bientôt"} if data is None else data))
    body = wire_format.envelope(message)
    keys = (key_of(secret, wire_format.secret_format),)
    return body, dict(wire_format.scheme.headers(message_id=message.id, timestamp=NOW, body=body, keys=keys))


class TestVerify:
    @EVERY_WIRE_FORMAT
    def test_accepts_what_the_app_sends(self, wire_format: WireFormat) -> None:
        secret = new_secret(wire_format.secret_format)
        body, headers = signed(wire_format, secret)
        verify(body, headers, secret, wire_format=wire_format.name, now=NOW)
        verify(
            body,
            {name.upper(): value for name, value in headers.items()},
            secret,
            wire_format=wire_format,
            now=NOW + 0.5,
        )

    @EVERY_WIRE_FORMAT
    def test_refuses_another_body_another_secret_and_no_signature(self, wire_format: WireFormat) -> None:
        secret = new_secret(wire_format.secret_format)
        body, headers = signed(wire_format, secret)
        other = new_secret(wire_format.secret_format)
        for arguments in (
            (body + b" ", headers, secret),
            (body, headers, other),
            (body, {}, secret),
            (body, dict.fromkeys(headers, "é"), secret),
            (body, headers, ""),
            (body, headers, "\ud800"),
        ):
            with pytest.raises(VerificationFailed):
                verify(*arguments, wire_format=wire_format.name, now=NOW)

    @EVERY_WIRE_FORMAT
    def test_refuses_what_is_old_where_the_signature_is_dated(self, wire_format: WireFormat) -> None:
        secret = new_secret(wire_format.secret_format)
        body, headers = signed(wire_format, secret)
        if wire_format.name not in DATED:
            verify(body, headers, secret, wire_format=wire_format.name, now=NOW + 3600)
            return
        for now in (NOW + 301, NOW - 301):
            with pytest.raises(VerificationFailed):
                verify(body, headers, secret, wire_format=wire_format.name, now=now)
        verify(body, headers, secret, wire_format=wire_format.name, now=NOW + 301, tolerance=400)

    def test_looks_at_the_clock_by_itself(self) -> None:
        secret = new_secret(BUILT_IN["standard"].secret_format)
        body, headers = signed(BUILT_IN["standard"], secret)
        with pytest.raises(VerificationFailed, match="too far from now"):
            verify(body, headers, secret, tolerance=10)

    def test_takes_the_public_half_of_a_key_pair(self) -> None:
        private = new_ed25519_secret()
        body, headers = signed(BUILT_IN["standard"], private)
        key = key_of(private, BUILT_IN["standard"].secret_format)
        assert isinstance(key, Ed25519Key)
        verify(body, headers, key.public_text, now=NOW)

    def test_takes_a_wire_format_of_ones_own(self) -> None:
        mine = replace(BUILT_IN["muchaw"], name="mine", scheme=TimestampedHexScheme("X-Mine"))
        body, headers = signed(mine, "0123456789abcdef")
        verify(body, headers, "0123456789abcdef", wire_format=mine, now=NOW)

    def test_of_an_unknown_wire_format_says_which_there_are(self) -> None:
        with pytest.raises(ValueError, match="messages_dev"):
            verify(b"{}", {}, "x", wire_format="nobody")


class TestVerifyWebhook:
    secret = "a webhook secret of theirs"

    def test_gives_the_event(self) -> None:
        body, headers = signed(BUILT_IN["messages_dev"], self.secret)
        event = {"event": "message.sent", "data": {"text": "À bientôt"}, "timestamp": NOW * 1000}
        signature = headers["X-Webhook-Signature"]
        assert verify_webhook(body, signature, self.secret) == event
        assert verify_webhook(body.decode(), signature, self.secret) == event

    @pytest.mark.parametrize("signature", ["", None, "0" * 64, "é", "\ud800"])
    def test_raises_where_the_signature_does_not_fit(self, signature: str | None) -> None:
        body, _ = signed(BUILT_IN["messages_dev"], self.secret)
        with pytest.raises(SignatureVerificationError):
            verify_webhook(body, signature, self.secret)

    def test_raises_for_another_body_and_for_no_secret(self) -> None:
        body, headers = signed(BUILT_IN["messages_dev"], self.secret)
        signature = headers["X-Webhook-Signature"]
        for changed, secret in ((body + b" ", self.secret), ("\ud800", self.secret), (body, ""), (b"", self.secret)):
            with pytest.raises(SignatureVerificationError):
                verify_webhook(changed, signature, secret)

    def test_raises_what_those_who_catch_verification_failed_catch_too(self) -> None:
        assert issubclass(SignatureVerificationError, VerificationFailed)


@pytest.mark.parametrize(
    "module",
    ["webhooks_app.receiver", "webhooks_app.core.signing", "webhooks_app.wire_formats", "webhooks_app.snippets"],
)
def test_a_receiver_needs_no_django(module: str) -> None:
    program = f"""
import sys
for name in ("django", "rest_framework", "celery", "requests"):
    sys.modules[name] = None
import {module}
from webhooks_app.receiver import SignatureVerificationError, verify_webhook
try:
    verify_webhook(b"{{}}", "0", "secret")
except SignatureVerificationError:
    print("refused")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("refused\n", "")
