"""Django's `flush`, which empties the database after each test that commits, for hundreds of tests that leave few rows.

Django truncates every table and then makes content types and permissions anew: with PostgreSQL some 0.14 s a test.
Deleting the few rows there are, and leaving alone what belongs to the schema, takes a tenth of that.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.core.management.commands import flush
from django.db import connections, transaction

#: Made by `migrate`, the same for every test.
PART_OF_THE_SCHEMA = {"django_migrations", "django_content_type", "auth_permission"}


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        alias = options["database"]
        connection = connections[alias]
        # In any order: foreign keys are checked at the commit or, by databases that cannot wait, not at all.
        with connection.constraint_checks_disabled(), transaction.atomic(using=alias), connection.cursor() as cursor:
            for statement in _deletes(alias):
                cursor.execute(statement)


@cache
def _deletes(alias: str) -> list[str]:
    connection = connections[alias]
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
    return [f"DELETE FROM {connection.ops.quote_name(table)}" for table in sorted(tables - PART_OF_THE_SCHEMA)]
