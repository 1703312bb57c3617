"""Generate signing secrets, and check secrets that customers provide. Encrypt the result before storing it."""

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
    """Return a new random secret of this format, as shown to the customer."""
    raw = os.urandom(secret_format.random_bytes)
    text = raw.hex() if secret_format.written_as == "hex" else base64.b64encode(raw).decode()
    return secret_format.prefix + text


def new_ed25519_secret() -> str:
    """Return a new private key, `whsk_…` (seed and public key, 64 bytes). Never show it: customers get `public_text`."""
    seed = os.urandom(32)
    return ED25519_PRIVATE + base64.b64encode(seed + Ed25519Key.from_private_bytes(seed).public).decode()


def token_digest(token: str) -> str:
    """Return the SHA-256 of a random token, in hex, for storage. The token has 256 random bits, so it needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def check_secret(text: str, secret_format: SecretFormat) -> str:
    """Return the secret to store for a customer's input. Raises InvalidSecret, which says what to do.

    White space around base64 secrets, which often comes with copying, is removed. If the text itself is the key, every
    character counts, so it is not changed.
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
    """Return the secret to store for one that a receiver already uses. Raises InvalidSecret if it cannot sign.

    Its length is not checked: it was fixed when the secret was created, and the receiver cannot use another one.
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
