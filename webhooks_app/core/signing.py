"""Signature schemes: sign with all live secrets, verify with any. Pure: bytes in, headers out.

A key is either bytes (HMAC-SHA256) or an `Ed25519Key`. `key_of` makes one of a secret as it is shown to people.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from webhooks_app.core.secret_format import SecretFormat as SecretFormat
from webhooks_app.core.validation import check_texts
from webhooks_app.exceptions import InvalidSecret, VerificationFailed, gettext_noop

#: Seconds that a request's timestamp may be off, either way (Standard Webhooks).
TOLERANCE = 300
ED25519_PRIVATE = "whsk_"
ED25519_PUBLIC = "whpk_"
_ED25519_BYTES = 32
_EPOCH_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ed25519Key:
    """An asymmetric key. Without its private half (`whpk_…`) it can verify only."""

    public: bytes
    private: Ed25519PrivateKey | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_private_bytes(cls, raw: bytes) -> Ed25519Key:
        """From 32 bytes (the seed), or 64 (seed and public key, as `whsk_` has them). Raises InvalidSecret."""
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
        """What receivers verify with: `whpk_…`. No secret."""
        return ED25519_PUBLIC + base64.b64encode(self.public).decode()

    def sign(self, content: bytes) -> bytes:
        """The 64 bytes of the signature. Raises InvalidSecret for a key that can verify only."""
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
Headers = tuple[tuple[str, str], ...]


def key_of(secret_text: str, secret_format: SecretFormat) -> Key:
    """The key behind a secret's shown text. Raises InvalidSecret where the text is not of this format, or is empty."""
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


class SignatureScheme(Protocol):
    """How a request shows that it comes from us."""

    @property
    def header_names(self) -> tuple[str, ...]:
        """Lower-case names of every header that `headers` may set; customers cannot set these."""
        ...

    def headers(self, *, message_id: str, timestamp: int, body: bytes, keys: tuple[Key, ...]) -> Headers:
        """The signature's headers for one attempt. `timestamp` is in whole epoch seconds; `keys` newest first, never
        empty."""
        ...

    def verify(
        self, headers: Mapping[str, str], body: bytes, keys: Iterable[Key], *, now: int, tolerance: int = TOLERANCE
    ) -> None:
        """Check a request as a receiver does; header names in any case, any one good signature is enough.

        `now` is in epoch seconds, `tolerance` in seconds. Raises VerificationFailed, whose message is safe to show.
        """
        ...


@dataclass(frozen=True, slots=True)
class StandardScheme:
    """Standard Webhooks: `v1` (HMAC-SHA256) and `v1a` (ed25519) over `id.timestamp.body`, one signature a key."""

    @property
    def header_names(self) -> tuple[str, ...]:
        return ("webhook-id", "webhook-timestamp", "webhook-signature")

    def headers(self, *, message_id: str, timestamp: int, body: bytes, keys: tuple[Key, ...]) -> Headers:
        content = f"{message_id}.{timestamp}.".encode() + body
        return (
            ("webhook-id", message_id),
            ("webhook-timestamp", str(timestamp)),
            ("webhook-signature", " ".join([_standard_signature(key, content) for key in keys])),
        )

    def verify(
        self, headers: Mapping[str, str], body: bytes, keys: Iterable[Key], *, now: int, tolerance: int = TOLERANCE
    ) -> None:
        found = _lower(headers)
        message_id, timestamp, signatures = (_needed(found, name) for name in self.header_names)
        _check_time(timestamp, now, tolerance)
        content = f"{message_id}.{timestamp}.".encode(errors="replace") + body
        live = _usable(keys)
        for signature in signatures.split(" "):
            version, _, text = signature.partition(",")
            try:
                raw = base64.b64decode(text, validate=True)
            except ValueError:
                continue
            if any(_standard_fits(key, version, raw, content) for key in live):
                return
        raise VerificationFailed("No signature in webhook-signature fits.")


@dataclass(frozen=True, slots=True)
class HexScheme:
    """One header with the hex HMAC-SHA256 of the raw body, after a prefix such as `sha256=`.

    There is room for one signature only: the first key signs. Nothing in it is dated, so `now` and `tolerance` do
    nothing here.
    """

    header: str
    prefix: str = ""

    def __post_init__(self) -> None:
        check_texts(self, "header", "prefix")

    @property
    def header_names(self) -> tuple[str, ...]:
        return (self.header.lower(),)

    def headers(self, *, message_id: str, timestamp: int, body: bytes, keys: tuple[Key, ...]) -> Headers:
        return ((self.header, self.prefix + _hex(keys[0], body)),)

    def verify(
        self, headers: Mapping[str, str], body: bytes, keys: Iterable[Key], *, now: int, tolerance: int = TOLERANCE
    ) -> None:
        shown = _needed(_lower(headers), self.header.lower())
        if not any(_equal(shown, self.prefix + _hex(key, body)) for key in _usable(keys)):
            raise VerificationFailed(f"The signature in {self.header} does not fit.")


@dataclass(frozen=True, slots=True)
class TimestampedHexScheme:
    """One header `t=<epoch seconds>,v1=<hex>[,v1=…]`, HMAC-SHA256 over `t.body`, one `v1` a key (as Stripe has it)."""

    header: str

    def __post_init__(self) -> None:
        check_texts(self, "header")

    @property
    def header_names(self) -> tuple[str, ...]:
        return (self.header.lower(),)

    def headers(self, *, message_id: str, timestamp: int, body: bytes, keys: tuple[Key, ...]) -> Headers:
        content = f"{timestamp}.".encode() + body
        return ((self.header, f"t={timestamp}" + "".join([f",v1={_hex(key, content)}" for key in keys])),)

    def verify(
        self, headers: Mapping[str, str], body: bytes, keys: Iterable[Key], *, now: int, tolerance: int = TOLERANCE
    ) -> None:
        parts = [part.strip().partition("=") for part in _needed(_lower(headers), self.header.lower()).split(",")]
        times = [value for name, _, value in parts if name == "t"]
        if len(times) != 1:
            raise VerificationFailed(f"{self.header} must have exactly one t=.")
        _check_time(times[0], now, tolerance)
        content = f"{times[0]}.".encode() + body
        wanted = [_hex(key, content) for key in _usable(keys)]
        shown = [value for name, _, value in parts if name == "v1"]
        if not any(_equal(one, other) for one in shown for other in wanted):
            raise VerificationFailed(f"No signature in {self.header} fits.")


def _hmac(key: bytes, content: bytes) -> bytes:
    """HMAC-SHA256. OpenSSL sets up a key more slowly than it signs a body, so what was set up is kept and copied."""
    state = _prepared(key).copy()
    state.update(content)
    return state.digest()


@lru_cache(maxsize=4096)
def _prepared(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def _standard_signature(key: Key, content: bytes) -> str:
    if isinstance(key, bytes):
        return "v1," + binascii.b2a_base64(_hmac(key, content), newline=False).decode()
    return "v1a," + binascii.b2a_base64(key.sign(content), newline=False).decode()


def _standard_fits(key: Key, version: str, signature: bytes, content: bytes) -> bool:
    if isinstance(key, bytes):
        return version == "v1" and hmac.compare_digest(_hmac(key, content), signature)
    return version == "v1a" and key.fits(signature, content)


def _hex(key: Key, content: bytes) -> str:
    if not isinstance(key, bytes):
        raise InvalidSecret(gettext_noop("This signature scheme knows HMAC secrets only, no ed25519 keys."))
    return _hmac(key, content).hex()


def _equal(shown: str, wanted: str) -> bool:
    # As bytes, since compare_digest refuses text outside ASCII and a stranger chose what is in the header.
    return hmac.compare_digest(shown.encode(errors="replace"), wanted.encode())


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _needed(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise VerificationFailed(f"The header {name} is missing.")
    return value


def _check_time(text: str, now: int, tolerance: int) -> None:
    if not _EPOCH_SECONDS.fullmatch(text):
        raise VerificationFailed("The timestamp is not a number of seconds.")
    if abs(now - int(text)) > tolerance:
        raise VerificationFailed("The timestamp is too far from now.")


def _usable(keys: Iterable[Key]) -> tuple[Key, ...]:
    """An empty HMAC key would let anyone sign; so would, in effect, no key at all."""
    usable = tuple(keys)
    if not usable or b"" in usable:
        raise VerificationFailed("There is no secret to verify with.")
    return usable


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
