"""Base class of commands that need the database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from webhooks_app.database_errors import is_outage, one_line


class DatabaseCommand(BaseCommand):
    """A command that exits with one line on standard error and code 1 if the database is unavailable or refuses the login.

    `--traceback` shows the database's error.
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            if not is_outage(error):
                raise
            raise CommandError(
                f"The database cannot be used ({one_line(error)}). Start it, or correct DATABASES, then run this command again."
            ) from error
