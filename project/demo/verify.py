"""A receiver's side of Standard Webhooks, written from its specification.

It uses none of the app's own code, so that it does not repeat the app's mistakes.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

#: The allowed difference to the sender's clock in seconds.
TOLERANCE = 300

#: (body, headers with lower-case names) → whether the signature is valid.
Verifier = Callable[[bytes, Mapping[str, str]], bool]


def verifier(secret: str) -> Verifier:
    """Return a function that checks requests signed with this secret. It uses the package `standardwebhooks` if installed."""
    try:
        from standardwebhooks import Webhook, WebhookVerificationError
    except ImportError:
        return own_verifier(secret)
    webhook = Webhook(secret)

    def by_package(body: bytes, headers: Mapping[str, str]) -> bool:
        try:
            webhook.verify(body, dict(headers))
        except (WebhookVerificationError, ValueError):
            return False
        return True

    return by_package


def own_verifier(secret: str) -> Verifier:
    """Return such a function that uses only the standard library."""
    key = base64.b64decode(secret.removeprefix("whsec_"))

    def by_hand(body: bytes, headers: Mapping[str, str]) -> bool:
        stamp = headers.get("webhook-timestamp", "")
        if not stamp.isdigit() or abs(time.time() - int(stamp)) > TOLERANCE:
            return False
        signed = f"{headers.get('webhook-id', '')}.{stamp}.".encode() + body
        wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        given = headers.get("webhook-signature", "").split(" ")
        return any(hmac.compare_digest(wanted, one) for one in given)

    return by_hand
