"""The format of a product's signing secrets. A plain value; `core.secrets` generates and checks secrets."""

from __future__ import annotations

from dataclasses import dataclass

from webhooks_app.core.validation import check_choice, check_texts, check_whole_numbers, reject

#: Fewer random bytes than this can be guessed.
_LEAST_RANDOM_BYTES = 16
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFormat:
    """The text form of a secret, and how it becomes a key. Raises ConfigurationError for an invalid field."""

    prefix: str = "whsec_"
    #: How many random bytes a new secret has, and how they are written after the prefix: "base64" or "hex".
    random_bytes: int = 24
    written_as: str = "base64"
    #: "base64": the key is the base64 after the prefix, decoded. "utf8": the whole shown text's UTF-8 bytes.
    key_from: str = "base64"
    #: Minimum and maximum length, in bytes, of a key that a customer provides.
    min_key_bytes: int = 24
    max_key_bytes: int = 64

    def __post_init__(self) -> None:
        check_texts(self, "prefix")
        check_whole_numbers(self, "random_bytes", least=_LEAST_RANDOM_BYTES, most=_MOST_BYTES)
        check_choice(self, "written_as", ("base64", "hex"))
        check_choice(self, "key_from", ("base64", "utf8"))
        check_whole_numbers(self, "min_key_bytes", "max_key_bytes", least=1, most=_MOST_BYTES)
        if self.min_key_bytes > self.max_key_bytes:
            reject(self, "min_key_bytes", f"at most max_key_bytes ({self.max_key_bytes})")
