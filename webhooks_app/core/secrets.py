"""Secrets as people see them: make one, or check one that is brought. The result is to be sealed."""

from __future__ import annotations

import base64
import hashlib
import os

from webhooks_app.core.signing import ED25519_PRIVATE, Ed25519Key, SecretFormat, key_of
from webhooks_app.exceptions import InvalidSecret
from webhooks_app.exceptions import gettext_noop as _

_WRONG_LENGTH = _(
    "The secret has %(length)s bytes; it must have %(least)s to %(most)s bytes. "
    "Use one of that length, or leave it empty, and one is made for you."
)
_WRONG_LENGTH_BASE64 = _(
    "The secret has %(length)s bytes; it must have %(least)s to %(most)s random bytes, written in base64. "
    "Use one of that length, or leave it empty, and one is made for you."
)


def new_secret(secret_format: SecretFormat) -> str:
    """A fresh random secret of this format, as it is shown to the customer."""
    raw = os.urandom(secret_format.random_bytes)
    text = raw.hex() if secret_format.written_as == "hex" else base64.b64encode(raw).decode()
    return secret_format.prefix + text


def new_ed25519_secret() -> str:
    """A fresh private key, `whsk_…` (seed and public key, 64 bytes). It stays with us: customers get `public_text`."""
    seed = os.urandom(32)
    return ED25519_PRIVATE + base64.b64encode(seed + Ed25519Key.from_private_bytes(seed).public).decode()


def token_digest(token: str) -> str:
    """What is kept of a random token to know it by: SHA-256, in hex. It has 256 random bits of its own and needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def check_secret(text: str, secret_format: SecretFormat) -> str:
    """The secret to keep for what the customer brought, or InvalidSecret that says what to do.

    Base64 secrets lose white space around them, as it comes with copying. Of a text that is itself the key every
    character counts, so it is kept as it is.
    """
    if secret_format.key_from == "utf8":
        _check_length(len(_key_bytes(text, secret_format)), secret_format)
        return text
    text = text.strip()
    if text.startswith(ED25519_PRIVATE):
        key_of(text, secret_format)
        return text
    if not text.startswith(secret_format.prefix):
        raise InvalidSecret(
            _("The secret must begin with %(start)s. Leave it empty, and one is made for you."),
            field="secret",
            start=secret_format.prefix,
        )
    _check_length(len(_key_bytes(text, secret_format)), secret_format)
    return text


def check_existing_secret(text: str, secret_format: SecretFormat) -> str:
    """The secret to keep for one that a receiver verifies with already, or InvalidSecret where nothing can be signed with it.

    How long it is was decided when it was made: a longer one would not verify there.
    """
    if secret_format.key_from != "utf8":
        text = text.strip()
    if not text.startswith(ED25519_PRIVATE):
        _key_bytes(text, secret_format)
    key_of(text, secret_format)
    return text


def _key_bytes(text: str, secret_format: SecretFormat) -> bytes:
    key = key_of(text, secret_format)
    if not isinstance(key, bytes):
        raise InvalidSecret(_("A public key cannot sign; the secret must be the private one."), field="secret")
    return key


def _check_length(length: int, secret_format: SecretFormat) -> None:
    least, most = secret_format.min_key_bytes, secret_format.max_key_bytes
    if not least <= length <= most:
        raise InvalidSecret(
            _WRONG_LENGTH_BASE64 if secret_format.key_from == "base64" else _WRONG_LENGTH,
            field="secret",
            length=length,
            least=least,
            most=most,
        )
