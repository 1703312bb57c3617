"""Check that `migrate` has been run, so that a command without tables says so instead of showing a database error."""

from __future__ import annotations

from collections import defaultdict

from django.apps import apps
from django.core.management.base import CommandError
from django.db import connections, router


def require_tables(label: str) -> None:
    """Raise CommandError if a table of this app does not exist yet."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for model in apps.get_app_config(label).get_models():
        if model._meta.managed:
            wanted[router.db_for_write(model)].add(model._meta.db_table)
    for alias, tables in wanted.items():
        if tables.difference(connections[alias].introspection.table_names()):
            raise CommandError(f"The tables of {label} are not in the database yet: run `manage.py migrate` first.")
