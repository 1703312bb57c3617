"""Signature schemes: sign with all live secrets, verify with any. Pure: bytes in, headers out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFormat:
    """How a secret looks when shown, and how the shown text becomes a key."""

    prefix: str = "whsec_"
    random_bytes: int = 24
    #: "base64": the key is the base64 text after the prefix, decoded. "utf8": the key is the whole shown text's UTF-8 bytes.
    key_from: str = "base64"
    #: Shortest key, in bytes, that a customer may bring along.
    min_key_bytes: int = 24
    max_key_bytes: int = 64


class SignatureScheme(Protocol):
    #: Lower-case names of every header that `headers` may set; customers cannot set these.
    header_names: tuple[str, ...]

    def headers(self, *, message_id: str, timestamp: int, body: bytes, keys: tuple[bytes, ...]) -> tuple[tuple[str, str], ...]:
        """The signature's headers for one attempt. `timestamp` is in whole epoch seconds; `keys` newest first, never empty."""
        ...
