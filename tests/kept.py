"""Where the database holds a text: every column of every table of the app, and what the session and cache tables hold."""

from __future__ import annotations

from django.apps import apps
from django.core import serializers


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
