"""Encrypt every stored value again as the settings say, so that an old key can be removed from the key ring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Model

from webhooks_app.db import write
from webhooks_app.exceptions import SealingError
from webhooks_app.models.fields import EncryptedTextField, key_ring
from webhooks_app.models.payload_fields import PayloadBytesField, PayloadField, Stored

#: How many rows to read at once. A payload may have MAX_PAYLOAD_BYTES.
_BATCH = 50

EncryptedField = EncryptedTextField | PayloadField


@dataclass(slots=True)
class ReencryptionReport:
    """`reencrypted`: encrypted again, or decrypted. `current`: already used the newest key. `unreadable`: their key is not in the
    ring."""

    reencrypted: int = 0
    current: int = 0
    unreadable: int = 0


def reencrypt() -> ReencryptionReport:
    """Encrypt the values of every encrypted field again. Payloads and responses are decrypted if ENCRYPT_PAYLOADS is off.

    Safe to repeat, to interrupt and to run beside the engines. Values that cannot be decrypted are counted and stay unchanged.
    Raises SealingError if there is no key at all.
    """
    key_ring().seal("", "a key must be there before anything is read")
    report = ReencryptionReport()
    for model, field in encrypted_fields():
        last: Any = None
        while rows := _page(model, field, last):
            with write():
                for pk, stored in rows:
                    _reencrypt_one(model, field, pk, stored, report)
            last = rows[-1][0]
    return report


def encrypted_fields() -> Iterator[tuple[type[Model], EncryptedField]]:
    """Yield every column of the installed apps that is or may be encrypted."""
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, EncryptedTextField | PayloadField):
                yield model, field


def _page(model: type[Model], field: EncryptedField, last: Any) -> list[tuple[Any, Any]]:
    rows = model._default_manager.exclude(
        **{field.attname: b"" if isinstance(field, PayloadBytesField) else ""}
    ).order_by("pk")
    if last is not None:
        rows = rows.filter(pk__gt=last)
    found = rows.values_list("pk", field.attname)[:_BATCH]
    return [(pk, value.value if isinstance(value, Stored) else value) for pk, value in found]


def _reencrypt_one(model: type[Model], field: EncryptedField, pk: Any, stored: Any, report: ReencryptionReport) -> None:
    if field.is_current(stored):
        report.current += field.is_sealed(stored)
        return
    try:
        changed = field.store(pk, field.open(pk, stored))
    except SealingError:
        report.unreadable += 1
        return
    # Only if the value is unchanged: another transaction may be changing it now, with the newest key.
    rows = model._default_manager.filter(pk=pk, **{field.attname: stored})
    report.reencrypted += rows.update(**{field.attname: changed})
