"""Encryption at rest: AES-256-GCM with a ring of keys; each ciphertext is bound to its place."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from webhooks_app.exceptions import SealingError

#: How a ciphertext begins.
SEALED = "s1."
_KEY_BYTES = 32
_NONCE_BYTES = 12


class KeyRing:
    """Keys, newest first: the first one encrypts, all of them decrypt. A ciphertext names its key: `s1.<key id>.<base64>`."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._ciphers = {key_id: AESGCM(raw) for key_id, raw in (_parse(key) for key in keys)}
        self._newest = next(iter(self._ciphers), "")

    @staticmethod
    @lru_cache(maxsize=16)
    def of(keys: tuple[str, ...]) -> KeyRing:
        """Return the ring for these keys, created once."""
        return KeyRing(keys)

    def seal(self, plaintext: str, context: str) -> str:
        """Encrypt a text; see `seal_bytes`."""
        return self.seal_bytes(plaintext.encode(), context)

    def open(self, sealed: str, context: str) -> str:
        """Decrypt a text; see `open_bytes`."""
        try:
            return self.open_bytes(sealed, context).decode()
        except UnicodeDecodeError as error:
            raise SealingError("The encrypted value is not a text.") from error

    def seal_bytes(self, plaintext: bytes, context: str) -> str:
        """Encrypt. `context` names the place (table, row, field); decryption needs the same one. Raises SealingError if the
        ring is empty."""
        if not self._newest:
            raise SealingError(
                "There is no encryption key. Run `manage.py webhooks_key` and put its output into WEBHOOKS['ENCRYPTION_KEYS']."
            )
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._newest].encrypt(nonce, plaintext, context.encode())
        return f"{SEALED}{self._newest}.{base64.b64encode(nonce + sealed).decode()}"

    def open_bytes(self, sealed: str, context: str) -> bytes:
        """Decrypt. Raises SealingError for an unknown key or a moved or changed ciphertext; never returns the ciphertext."""
        key_id, _, payload = sealed.removeprefix(SEALED).partition(".")
        if not sealed.startswith(SEALED) or not payload:
            raise SealingError("This value is not encrypted.")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise SealingError(f"The encryption key {key_id!r} that encrypted this value is not in ENCRYPTION_KEYS.")
        try:
            raw = base64.b64decode(payload, validate=True)
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], context.encode())
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise SealingError("The encrypted value was changed, or moved here from another row.") from error

    def is_newest(self, sealed: str) -> bool:
        """Return whether this was encrypted with the newest key; otherwise it should be re-encrypted."""
        return sealed.startswith(f"{SEALED}{self._newest}.")


def new_key() -> str:
    """Return a new key for ENCRYPTION_KEYS: base64 of 32 random bytes."""
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def _parse(key: str) -> tuple[str, bytes]:
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealingError("A key in ENCRYPTION_KEYS is not base64.") from error
    if len(raw) != _KEY_BYTES:
        raise SealingError(f"A key in ENCRYPTION_KEYS has {len(raw)} bytes; it must have {_KEY_BYTES}.")
    return hashlib.sha256(b"webhooks key id" + raw).hexdigest()[:8], raw
