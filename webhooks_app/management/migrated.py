"""Has `migrate` been run? A command that finds no tables says so, instead of showing a database's error."""

from __future__ import annotations

from collections import defaultdict

from django.apps import apps
from django.core.management.base import CommandError
from django.db import connections, router


def require_tables(label: str) -> None:
    """Raises CommandError where a table of this app is not there yet."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for model in apps.get_app_config(label).get_models():
        if model._meta.managed:
            wanted[router.db_for_write(model)].add(model._meta.db_table)
    for alias, tables in wanted.items():
        if tables.difference(connections[alias].introspection.table_names()):
            raise CommandError(f"The tables of {label} are not in the database yet: run `manage.py migrate` first.")
