"""Where the database holds a text: every column of every table of the app, and what the session and cache tables hold."""

from __future__ import annotations

from django.apps import apps
from django.core import serializers
from django.db import connection


def holding(*texts: str) -> set[str]:
    """The models (`Event`, `Attempt` …) that have a row in which one of these texts occurs."""
    found = set()
    for model in (*apps.get_app_config("webhooks_app").get_models(), *apps.get_app_config("sessions").get_models()):
        for row in model._base_manager.all():
            values = [getattr(row, field.attname) for field in model._meta.concrete_fields]
            shown = " ".join(
                bytes(one).decode("latin-1") if isinstance(one, memoryview | bytes) else str(one) for one in values
            )
            if any(text in shown or text in serializers.serialize("json", [row]) for text in texts):
                found.add(model.__name__)
    return found


def in_tables(*texts: str) -> set[str]:
    """The models in whose tables one of these texts stands, as the database holds it: encrypted values are not opened."""
    found = set()
    for model in apps.get_app_config("webhooks_app").get_models():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)}")
            values = {_text(value) for row in cursor.fetchall() for value in row}
        if any(text in value for text in texts for value in values):
            found.add(model.__name__)
    return found


def _text(value: object) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, memoryview | bytes) else str(value)
