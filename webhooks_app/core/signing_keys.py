"""Signing keys, derived from a secret's text.

A key is either bytes (HMAC-SHA256) or an `Ed25519Key`. `key_of` returns the key of a secret's text.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from webhooks_app.core.secret_format import SecretFormat
from webhooks_app.exceptions import InvalidSecret, gettext_noop

ED25519_PRIVATE = "whsk_"
ED25519_PUBLIC = "whpk_"
_ED25519_BYTES = 32


@dataclass(frozen=True, slots=True)
class Ed25519Key:
    """An asymmetric key. Without its private half (`whpk_…`) it can verify only."""

    public: bytes
    private: Ed25519PrivateKey | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_private_bytes(cls, raw: bytes) -> Ed25519Key:
        """Return the key from 32 bytes (the seed), or 64 (seed and public key, as in `whsk_`). Raises InvalidSecret."""
        if len(raw) not in (_ED25519_BYTES, 2 * _ED25519_BYTES):
            raise InvalidSecret(
                gettext_noop("An ed25519 private key has 32 bytes, or 64 together with its public key.")
            )
        private = Ed25519PrivateKey.from_private_bytes(raw[:_ED25519_BYTES])
        public = private.public_key().public_bytes_raw()
        if len(raw) > _ED25519_BYTES and raw[_ED25519_BYTES:] != public:
            raise InvalidSecret(gettext_noop("The two halves of this ed25519 key do not belong together."))
        return cls(public, private)

    @property
    def public_text(self) -> str:
        """Return the public key for receivers, `whpk_…`. Not secret."""
        return ED25519_PUBLIC + base64.b64encode(self.public).decode()

    def sign(self, content: bytes) -> bytes:
        """Return the 64 bytes of the signature. Raises InvalidSecret for a public key."""
        if self.private is None:
            raise InvalidSecret(gettext_noop("This is a public key (whpk_…); signing needs the private one (whsk_…)."))
        return self.private.sign(content)

    def fits(self, signature: bytes, content: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, content)
        except InvalidSignature:
            return False
        return True


Key = bytes | Ed25519Key


def key_of(secret_text: str, secret_format: SecretFormat) -> Key:
    """Return the key of a secret's text. Raises InvalidSecret if the text is empty or not of this format."""
    if secret_format.key_from == "utf8":
        key = _utf8(secret_text)
    elif secret_text.startswith(ED25519_PRIVATE):
        return Ed25519Key.from_private_bytes(_base64(secret_text[len(ED25519_PRIVATE) :]))
    elif secret_text.startswith(ED25519_PUBLIC):
        return _public_key(secret_text)
    else:
        key = _base64(secret_text.removeprefix(secret_format.prefix))
    if not key:
        raise InvalidSecret(gettext_noop("The secret is empty."))
    return key


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidSecret(gettext_noop("The secret has characters that cannot be written as UTF-8.")) from error


def _base64(text: str) -> bytes:
    try:
        # Some tools drop the padding; the standard's own verifiers take both.
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except ValueError as error:
        raise InvalidSecret(gettext_noop("The secret is not base64 after its prefix.")) from error


def _public_key(text: str) -> Ed25519Key:
    raw = _base64(text[len(ED25519_PUBLIC) :])
    if len(raw) != _ED25519_BYTES:
        raise InvalidSecret(gettext_noop("An ed25519 public key has 32 bytes."))
    return Ed25519Key(raw)
