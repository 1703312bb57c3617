"""A receiver's side of Standard Webhooks, written from its specification.

Nothing of the app's own code is used, so that a mistake there cannot hide here.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

#: Seconds by which the sender's clock may differ from ours.
TOLERANCE = 300

#: (body, headers with lower-case names) → is the signature good?
Verifier = Callable[[bytes, Mapping[str, str]], bool]


def verifier(secret: str) -> Verifier:
    """A function that checks requests signed with this secret: the package `standardwebhooks` where it is installed."""
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
    """The same with nothing but the standard library."""
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
