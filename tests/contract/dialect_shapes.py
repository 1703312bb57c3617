"""What each dialect may answer: a shape for every success and one for its errors, as its document shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "array", "items": TEXT}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "integer", "minimum": 1}
MILLISECONDS: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
SECONDS: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
UUID: Schema = {"type": "string", "pattern": r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$"}
WEBHOOK_ID: Schema = {"type": "string", "pattern": "^wh_[0-9a-f]{32}$"}


def has(fields: Mapping[str, Schema], **optional: Schema) -> Schema:
    """An object with these fields, perhaps the optional ones, and no others."""
    return {
        "type": "object",
        "properties": {**fields, **optional},
        "required": list(fields),
        "additionalProperties": False,
    }


def many(shape: Schema) -> Schema:
    return {"type": "array", "items": shape}


@dataclass(frozen=True, slots=True)
class Dialect:
    """`new`: the body that its document shows. `answers`: by method and path, the status and shape of a success; no shape
    means no body. `tells`: methods and paths whose answer may have a secret in it."""

    #: The header that a key goes into, `{}` standing for the key.
    key: tuple[str, str]
    new: dict[str, Any]
    error: Schema
    answers: dict[tuple[str, str], tuple[int, Schema | None]]
    tells: frozenset[tuple[str, str]] = field(default_factory=frozenset)


BEARER = ("Authorization", "Bearer {}")
#: A secret that a customer of the gateway's brings: it is in no answer.
BROUGHT = "brought-along-7f3a9c"

_ONE, _ALL, _DEEPER = "/api/v1/webhooks/<path:text>", "/api/v1/webhooks", "/api/webhooks/<path:text>/rotate-secret"
_MSGFLASH = {"id": UUID, "url": TEXT, "events": TEXTS, "createdAt": MILLISECONDS}
_MUCHAW = {
    "id": WEBHOOK_ID,
    "url": TEXT,
    "events": TEXTS,
    "numberIds": TEXTS,
    "active": FLAG,
    "createdAt": MILLISECONDS,
}
_MESSAGES_DEV = {
    "id": WEBHOOK_ID,
    "from": TEXT,
    "url": TEXT,
    "events": TEXTS,
    "active": FLAG,
    "created_at": {"type": "integer", "minimum": 1_700_000_000_000},
}
_GATEWAY = {"id": NUMBER, "url": TEXT, "events": TEXTS, "active": FLAG, "created_at": SECONDS}
_CODED = has({"error": has({"code": TEXT, "message": TEXT})})
_FLAT = has({"error": TEXT, "code": TEXT})


def _enveloped(code: int, message: str, data: Schema) -> Schema:
    return has({"status": {"const": True}, "code": {"const": code}, "message": {"const": message}, "data": data})


#: By the prefix that the project mounts it at.
DIALECTS: dict[str, Dialect] = {
    "msgflash": Dialect(
        key=("x-api-key", "{}"),
        new={"url": "https://example.com/webhooks/msgflash", "events": ["message.delivered", "message.failed"]},
        error=_CODED,
        answers={
            ("GET", _ALL): (200, has({"data": many(has(_MSGFLASH))})),
            ("POST", _ALL): (201, has({"data": has(_MSGFLASH, secret=TEXT)})),
            ("GET", _ONE): (200, has({"data": has(_MSGFLASH)})),
            ("DELETE", _ONE): (204, None),
        },
        tells=frozenset({("POST", _ALL)}),
    ),
    "msgine": Dialect(
        key=BEARER,
        new={"to": "+256701521269", "message": "Your code is 123456", "callbackUrl": "https://your-app.com/msgine"},
        error=_FLAT,
        answers={
            ("POST", "/api/v1/messages/sms"): (
                201,
                has({"id": TEXT, "status": {"const": "sent"}, "to": TEXT, "from": TEXT, "sid": TEXT}),
            )
        },
    ),
    "messages-dev": Dialect(
        key=BEARER,
        new={"from": "+15551234567", "url": "https://your-server.com/webhooks", "events": ["message.received"]},
        error=_CODED,
        answers={
            ("GET", "/webhooks"): (200, has({"data": many(has(_MESSAGES_DEV))})),
            ("POST", "/webhooks"): (201, has(_MESSAGES_DEV, secret=TEXT)),
            ("DELETE", "/webhooks"): (204, None),
        },
        tells=frozenset({("POST", "/webhooks")}),
    ),
    "muchaw": Dialect(
        key=BEARER,
        new={"url": "https://your-server.com/webhooks/muchaw", "events": ["message.received", "number.activated"]},
        error=_FLAT,
        answers={
            ("GET", "/api/webhooks"): (200, many(has(_MUCHAW))),
            ("POST", "/api/webhooks"): (201, has(_MUCHAW, secret=TEXT)),
            ("GET", "/api/webhooks/<path:text>"): (200, has(_MUCHAW)),
            ("PATCH", "/api/webhooks/<path:text>"): (200, has(_MUCHAW, secret=TEXT)),
            ("DELETE", "/api/webhooks/<path:text>"): (204, None),
            ("POST", _DEEPER): (200, has({"previousSecretExpiresAt": MILLISECONDS}, secret=TEXT)),
        },
        tells=frozenset({("POST", "/api/webhooks"), ("PATCH", "/api/webhooks/<path:text>"), ("POST", _DEEPER)}),
    ),
    "gateway": Dialect(
        key=("Authorization", "{}"),
        new={"url": "https://your-server.com/webhook", "secret": BROUGHT, "events": ["message.received"]},
        error=has(
            {
                "status": {"const": False},
                "code": {"type": "integer", "minimum": 400, "maximum": 500},
                "message": TEXT,
                "error": TEXT,
            }
        ),
        answers={
            ("GET", "/webhooks"): (200, _enveloped(200, "Webhooks retrieved successfully", many(has(_GATEWAY)))),
            ("POST", "/webhooks"): (
                201,
                _enveloped(201, "Webhook created successfully", has(_GATEWAY, secret=TEXT)),
            ),
            ("GET", "/webhooks/<path:number>"): (
                200,
                _enveloped(200, "Webhook retrieved successfully", has(_GATEWAY)),
            ),
            ("DELETE", "/webhooks/<path:number>"): (204, None),
        },
        tells=frozenset({("POST", "/webhooks")}),
    ),
}
