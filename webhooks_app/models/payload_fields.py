"""Fields for payloads and responses: encrypted at rest if ENCRYPT_PAYLOADS is on, and read and written as plaintext.

Encrypted and plain values may stand side by side, so the setting can be changed at any time. A stored value that begins with

- `s1.` is encrypted (see `core.encryption`) and opens only in its own row and column;
- `s0.` is plain, and itself begins with `s0.` or `s1.`: receivers choose what is stored of their responses.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.query_utils import DeferredAttribute

from webhooks_app.conf import settings
from webhooks_app.models.fields import context_of, key_ring

#: Shown in place of a payload or a response that cannot be decrypted.
UNREADABLE = "[not readable: its encryption key is missing]"


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds, a str or bytes, as `values_list` returns it. `PayloadField.open` returns its plaintext."""

    value: Any = field(repr=False)


class _OpenedWhenRead(DeferredAttribute):
    """The attribute of a model. It opens the stored value when it is read."""

    field: Any

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        return self.field.open(instance.pk, value) if isinstance(value, Stored) else value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
    _BinaryField = models.BinaryField[bytes, bytes]
else:
    _TextField = models.TextField
    _BinaryField = models.BinaryField


class PayloadField:
    """What both fields have in common. Their values are str or bytes."""

    descriptor_class: Any = _OpenedWhenRead
    attname: str
    #: How a stored value begins; see above.
    _plain: Any
    _sealed: Any

    def store(self, pk: object, value: Any) -> Any:
        """Return what to store in this row. Raises SealingError if it has to be encrypted and there is no key."""
        if value and settings().ENCRYPT_PAYLOADS:
            return self._seal(value, context_of(self, pk))
        return self._plain + value if value.startswith((self._plain, self._sealed)) else value

    def open(self, pk: object, stored: Any) -> Any:
        """Return the plaintext of what this row has stored. Raises SealingError if the key is missing or the ciphertext was
        changed or moved."""
        value = stored.value if isinstance(stored, Stored) else stored
        if self.is_sealed(value):
            return self._unseal(value, context_of(self, pk))
        return value.removeprefix(self._plain)

    def is_sealed(self, value: Any) -> bool:
        return bool(value.startswith(self._sealed))

    def is_current(self, value: Any) -> bool:
        """Return whether it is encrypted with the newest key or, if ENCRYPT_PAYLOADS is off, not encrypted."""
        if not settings().ENCRYPT_PAYLOADS:
            return not self.is_sealed(value)
        return key_ring().is_newest(value if isinstance(value, str) else value.decode("ascii", "replace"))

    @abstractmethod
    def _seal(self, value: Any, context: str) -> Any:
        """Encrypt, into a value of the same type."""

    @abstractmethod
    def _unseal(self, value: Any, context: str) -> Any:
        """Decrypt what `_seal` has returned."""

    def from_db_value(self, value: Any, expression: object, connection: object) -> Stored:
        return Stored(bytes(value) if isinstance(value, memoryview) else value)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = model_instance.__dict__[self.attname]
        return value.value if isinstance(value, Stored) else self.store(model_instance.pk, value)


class PayloadTextField(PayloadField, _TextField):
    _plain, _sealed = "s0.", "s1."

    def _seal(self, value: str, context: str) -> str:
        return key_ring().seal(value, context)

    def _unseal(self, value: str, context: str) -> str:
        return key_ring().open(value, context)


class PayloadBytesField(PayloadField, _BinaryField):
    _plain, _sealed = b"s0.", b"s1."

    def _seal(self, value: bytes, context: str) -> bytes:
        return key_ring().seal_bytes(value, context).encode()

    def _unseal(self, value: bytes, context: str) -> bytes:
        return key_ring().open_bytes(value.decode("ascii", "replace"), context)
