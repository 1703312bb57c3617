"""Signature schemes: sign with all live secrets, verify with any. Pure: bytes in, headers out.

A scheme is described by its attribute `help`, so code outside this file need not check its class.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from webhooks_app.core.scheme_help import HeaderHelp as HeaderHelp
from webhooks_app.core.scheme_help import SchemeHelp as SchemeHelp
from webhooks_app.core.scheme_help import SnippetSource
from webhooks_app.core.secret_format import SecretFormat as SecretFormat
from webhooks_app.core.signing_keys import ED25519_PRIVATE as ED25519_PRIVATE
from webhooks_app.core.signing_keys import ED25519_PUBLIC as ED25519_PUBLIC
from webhooks_app.core.signing_keys import Ed25519Key as Ed25519Key
from webhooks_app.core.signing_keys import Key as Key
from webhooks_app.core.signing_keys import key_of as key_of
from webhooks_app.core.validation import check_texts
from webhooks_app.exceptions import InvalidSecret, VerificationFailed, gettext_noop

#: Seconds that a request's timestamp may be off, either way (Standard Webhooks).
TOLERANCE = 300
#: The most ed25519 signatures that are looked at: for each, all of the body is hashed. A sender has one per live secret.
_MOST_ED25519 = 20
_EPOCH_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


Headers = tuple[tuple[str, str], ...]


class SignatureScheme(Protocol):
    """A signature scheme: how a request proves its origin.

    A scheme may have an attribute `help`, a `SchemeHelp`, which pages and the signature check use.
    """

    @property
    def header_names(self) -> tuple[str, ...]:
        """Return the lower-case names of all headers that `headers` may set; customers cannot set these."""
        ...

    def headers(self, *, message_id: str, timestamp: int, body: bytes, keys: tuple[Key, ...]) -> Headers:
        """Return the signature's headers for one attempt. `timestamp` is in whole epoch seconds; `keys` newest first, never
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

    @property
    def help(self) -> SchemeHelp:
        of_id = gettext_noop("The event’s id. It is the same in every attempt: know repetitions by it.")
        of_time = gettext_noop("When this attempt was signed, in seconds since 1970.")
        of_signature = gettext_noop(
            "“v1,” and the HMAC-SHA256 in base64. Several, with spaces between, while a secret is replaced."
        )
        return SchemeHelp(
            signed_content="{webhook-id}.{webhook-timestamp}.{body}",
            headers=tuple(map(HeaderHelp, self.header_names, (of_id, of_time, of_signature))),
            event_id_header="webhook-id",
            timestamp=lambda headers: headers["webhook-timestamp"],
            snippet=SnippetSource("standard"),
        )

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
        shown = _standard_signatures(signatures)
        if not any(_standard_fits(key, shown, content) for key in _usable(keys)):
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

    @property
    def help(self) -> SchemeHelp:
        meaning = gettext_noop("The HMAC-SHA256 in hex.")
        if self.prefix:
            meaning = gettext_noop("“%(prefix)s” and the HMAC-SHA256 in hex.")
        return SchemeHelp(
            signed_content="{body}",
            headers=(HeaderHelp(self.header, meaning, {"prefix": self.prefix}),),
            snippet=SnippetSource("hex", self.header, self.prefix),
        )

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
    """One header `t=<epoch seconds>,v1=<hex>[,v1=…]`, HMAC-SHA256 over `t.body`, one `v1` per key (as Stripe does)."""

    header: str

    def __post_init__(self) -> None:
        check_texts(self, "header")

    @property
    def header_names(self) -> tuple[str, ...]:
        return (self.header.lower(),)

    @property
    def help(self) -> SchemeHelp:
        meaning = gettext_noop(
            "“t=”, when this attempt was signed, in seconds since 1970; “v1=”, the HMAC-SHA256 in hex. Several “v1=” while "
            "a secret is replaced."
        )
        return SchemeHelp(
            signed_content="{t}.{body}",
            headers=(HeaderHelp(self.header, meaning),),
            timestamp=lambda headers: next(iter(_times(_parts(headers[self.header.lower()]))), ""),
            snippet=SnippetSource("timestamped", self.header),
        )

    def headers(self, *, message_id: str, timestamp: int, body: bytes, keys: tuple[Key, ...]) -> Headers:
        content = f"{timestamp}.".encode() + body
        return ((self.header, f"t={timestamp}" + "".join([f",v1={_hex(key, content)}" for key in keys])),)

    def verify(
        self, headers: Mapping[str, str], body: bytes, keys: Iterable[Key], *, now: int, tolerance: int = TOLERANCE
    ) -> None:
        parts = _parts(_needed(_lower(headers), self.header.lower()))
        times = _times(parts)
        if len(times) != 1:
            raise VerificationFailed(f"{self.header} must have exactly one t=.")
        _check_time(times[0], now, tolerance)
        content = f"{times[0]}.".encode() + body
        wanted = [_hex(key, content) for key in _usable(keys)]
        shown = [value for name, _, value in parts if name == "v1"]
        if not any(_equal(one, other) for one in shown for other in wanted):
            raise VerificationFailed(f"No signature in {self.header} fits.")


def _parts(value: str) -> list[tuple[str, str, str]]:
    return [part.strip().partition("=") for part in value.split(",")]


def _times(parts: Iterable[tuple[str, str, str]]) -> list[str]:
    return [value for name, _, value in parts if name == "t"]


def _hmac(key: bytes, content: bytes) -> bytes:
    """Return the HMAC-SHA256. OpenSSL takes longer to set up a key than to sign a body, so prepared keys are cached."""
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


def _standard_signatures(text: str) -> dict[str, list[bytes]]:
    """Return the signatures of a header by their version."""
    shown: dict[str, list[bytes]] = {"v1": [], "v1a": []}
    for version, _, signature in (one.partition(",") for one in text.split(" ")):
        if version in shown:
            with suppress(ValueError):
                shown[version].append(base64.b64decode(signature, validate=True))
    return shown


def _standard_fits(key: Key, shown: Mapping[str, list[bytes]], content: bytes) -> bool:
    if isinstance(key, bytes):
        wanted = _hmac(key, content)  # once, however many signatures the header has
        return any(hmac.compare_digest(wanted, signature) for signature in shown["v1"])
    return any(key.fits(signature, content) for signature in shown["v1a"][:_MOST_ED25519])


def _hex(key: Key, content: bytes) -> str:
    if not isinstance(key, bytes):
        raise InvalidSecret(gettext_noop("This signature scheme knows HMAC secrets only, no ed25519 keys."))
    return _hmac(key, content).hex()


def _equal(shown: str, wanted: str) -> bool:
    # As bytes, because compare_digest refuses non-ASCII text and the header is untrusted.
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
    """Return the keys. Raises VerificationFailed for an empty HMAC key, with which anyone could sign, or if there is none."""
    usable = tuple(keys)
    if not usable or b"" in usable:
        raise VerificationFailed("There is no secret to verify with.")
    return usable
