"""Encrypt every stored secret again with the newest key, so that an old key can be removed from the key ring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Model

from webhooks_app.db import write
from webhooks_app.exceptions import SealingError
from webhooks_app.models.fields import EncryptedTextField, key_ring

_BATCH = 500


@dataclass(slots=True)
class ReencryptionReport:
    """`reencrypted`: encrypted again. `current`: already used the newest key. `unreadable`: their key is not in the ring."""

    reencrypted: int = 0
    current: int = 0
    unreadable: int = 0


def reencrypt() -> ReencryptionReport:
    """Re-encrypt every encrypted field of all models. Safe to repeat, to interrupt and to run beside the engines.

    Values that cannot be decrypted are counted and stay unchanged. Raises SealingError if there is no key at all.
    """
    key_ring().seal("", "a key must be there before anything is read")
    report = ReencryptionReport()
    for model, field in encrypted_fields():
        last: Any = None
        while rows := _page(model, field, last):
            with write():
                for pk, sealed in rows:
                    _reencrypt_one(model, field, pk, sealed, report)
            last = rows[-1][0]
    return report


def encrypted_fields() -> Iterator[tuple[type[Model], EncryptedTextField]]:
    """Yield every encrypted column of the installed apps."""
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, EncryptedTextField):
                yield model, field


def _page(model: type[Model], field: EncryptedTextField, last: Any) -> list[tuple[Any, str]]:
    rows = model._default_manager.exclude(**{field.attname: ""}).order_by("pk")
    if last is not None:
        rows = rows.filter(pk__gt=last)
    return list(rows.values_list("pk", field.attname)[:_BATCH])


def _reencrypt_one(
    model: type[Model], field: EncryptedTextField, pk: Any, sealed: str, report: ReencryptionReport
) -> None:
    ring = key_ring()
    if ring.is_newest(sealed):
        report.current += 1
        return
    try:
        text = field.open(pk, sealed)
    except SealingError:
        report.unreadable += 1
        return
    # Only if the value is unchanged: somebody may be changing it at this moment, with the newest key.
    rows = model._default_manager.filter(pk=pk, **{field.attname: sealed})
    report.reencrypted += rows.update(**{field.attname: ring.seal(text, field.context(pk))})
