"""Fields: foreign keys of large tables, and a text that is encrypted at rest and bound to its table, row and column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models

from webhooks_app.conf import settings
from webhooks_app.core.encryption import KeyRing

Row = TypeVar("Row", bound=models.Model)


def unconstrained_key(
    to: type[Row], related_name: str, verbose_name: Any = None, *, indexed: bool = False
) -> models.ForeignKey[Row, Row]:
    """Return a foreign key for a table with millions of rows. The database does not check it, so the related row may be gone."""
    return models.ForeignKey(
        to,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=indexed,
        related_name=related_name,
        verbose_name=verbose_name,
    )


def key_ring() -> KeyRing:
    """Return the key ring of the current settings. Raises SealingError if there is no key."""
    return KeyRing.of(tuple(settings().ENCRYPTION_KEYS))


def context_of(field: Any, pk: object) -> str:
    """Return the place that a ciphertext is bound to: table, row and column."""
    return f"{field.model._meta.label_lower}:{pk}:{field.name}"


if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


class EncryptedTextField(_TextField):
    """Holds ciphertext. Write with `seal(instance, plaintext)`, read with `reveal(instance)`.

    The plaintext is never an attribute of the model, so it cannot leak through `__str__`, forms, serialisers, logs,
    fixtures or the admin's history. The ciphertext opens only in its own row: copying it to another row gives an error.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["editable"] = False
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("editable", None)
        return name, path, args, kwargs

    def seal(self, instance: models.Model, plaintext: str) -> None:
        """Encrypt into the instance's attribute; the caller saves the instance. The primary key must already be set."""
        setattr(instance, self.attname, self.store(instance.pk, plaintext))

    def reveal(self, instance: models.Model) -> str:
        """Decrypt. Raises SealingError if the key is missing or the ciphertext was changed or moved."""
        return self.open(instance.pk, getattr(instance, self.attname))

    def open(self, pk: object, sealed: str) -> str:
        """Decrypt a value read without its instance."""
        return key_ring().open(sealed, context_of(self, pk)) if sealed else ""

    def store(self, pk: object, plaintext: str) -> str:
        """Return the ciphertext for this row."""
        return key_ring().seal(plaintext, context_of(self, pk)) if plaintext else ""

    def is_sealed(self, stored: str) -> bool:
        return True

    def is_current(self, stored: str) -> bool:
        """Return whether it was encrypted with the newest key."""
        return key_ring().is_newest(stored)
