"""Verify the signatures of received webhooks. Needs no Django.

    verify(request.body, request.headers, secret)                       # Standard Webhooks
    verify(request.body, request.headers, secret, wire_format="msgflash")   # another wire format

    @verified(settings.WEBHOOK_SECRET)                                  # a Django view
    def orders(request): ...

Verify the raw bytes of the body, before anything parses them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any

from webhooks_app.core.signing import TOLERANCE, Key, key_of
from webhooks_app.exceptions import InvalidSecret, SignatureVerificationError, VerificationFailed
from webhooks_app.wire_formats import CONTRIB, standard
from webhooks_app.wire_formats.base import WireFormat

__all__ = ["SignatureVerificationError", "VerificationFailed", "verified", "verify", "verify_webhook"]

View = Callable[..., Any]


def verify(
    payload: bytes,
    headers: Mapping[str, str],
    secret: str,
    *,
    wire_format: str | WireFormat = "standard",
    now: float | None = None,
    tolerance: int = TOLERANCE,
) -> None:
    """Verify a request. Raise VerificationFailed, whose message is safe to show, if it is not genuine.

    `payload`: the raw body. `headers`: names in any case. `secret`: the text shown when the secret was created.
    `wire_format`: the name of a built-in wire format, or your own wire format. `now`: epoch seconds; None: this machine's clock.
    `tolerance`: the maximum difference in seconds of a signature's timestamp from now; some wire formats have no timestamp.
    Raises ValueError if `wire_format` is a name, but not of a built-in wire format.
    """
    wire = wire_format if isinstance(wire_format, WireFormat) else _built_in(wire_format)
    moment = time.time() if now is None else now
    wire.scheme.verify(headers, payload, [_key(secret, wire)], now=int(moment), tolerance=tolerance)


def verified(
    secret: str | Callable[[Any], str | None], *, wire_format: str | WireFormat = "standard", tolerance: int = TOLERANCE
) -> Callable[[View], View]:
    """Decorator for a Django view that receives webhooks: the view gets only genuine POST requests.

    `secret`: the text, or a function that returns it for the request (None: reject the request). Other methods get 405, a
    bad signature 401. The view is exempt from CSRF checks, because the signature authenticates the request. The view reads
    `request.body`.
    """

    def decorate(view: View) -> View:
        from django.http import HttpResponse
        from django.views.decorators.csrf import csrf_exempt
        from django.views.decorators.http import require_POST

        @wraps(view)
        def guarded(request: Any, *args: Any, **kwargs: Any) -> Any:
            text = secret if isinstance(secret, str) else secret(request)
            try:
                verify(request.body, request.headers, text or "", wire_format=wire_format, tolerance=tolerance)
            except VerificationFailed as error:
                return HttpResponse(f"{error}\n", status=401, content_type="text/plain")
            return view(request, *args, **kwargs)

        return csrf_exempt(require_POST(guarded))

    return decorate


def verify_webhook(body: bytes | str, signature: str | None, secret: str) -> Any:
    """Verify a webhook like messages.dev's `verifyWebhook`, and return the event as a dict (`event`, `data`, `timestamp`).

    `body`: raw, not parsed. `signature`: the header X-Webhook-Signature. Raises SignatureVerificationError.
    """
    raw = body.encode(errors="surrogatepass") if isinstance(body, str) else body
    headers = {"X-Webhook-Signature": signature} if isinstance(signature, str) else {}
    try:
        verify(raw, headers, secret, wire_format="messages_dev")
    except VerificationFailed as error:
        raise SignatureVerificationError(str(error)) from error
    return json.loads(raw)


def _built_in(name: str) -> WireFormat:
    if name == "standard":
        return standard.WIRE_FORMAT
    if name not in CONTRIB:
        known = ", ".join([*CONTRIB, "standard"])
        raise ValueError(f"There is no built-in wire format {name!r}. There are: {known}.")
    wire_format: WireFormat = import_module(f"webhooks_app.contrib.{name}").WIRE_FORMAT
    return wire_format


def _key(secret: str, wire: WireFormat) -> Key:
    """Return the key of the secret. Raises VerificationFailed for an unusable secret, so that no request passes as genuine."""
    try:
        return key_of(secret, wire.secret_format)
    except InvalidSecret as error:
        raise VerificationFailed(f"There is no usable secret to verify with. {error}") from error
