"""Put the periodic tasks into django-celery-beat's tables."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import CommandError, CommandParser

from webhooks_app.exceptions import ConfigurationError
from webhooks_app.maintenance.schedule import put_schedule, remove_schedule
from webhooks_app.management.database import DatabaseCommand
from webhooks_app.management.migrated import require_tables
from webhooks_app.telemetry.beat import BEAT


class Command(DatabaseCommand):
    help = (
        "Puts sweep, repair, send_notifications and prune into django-celery-beat's tables. Safe to repeat: what you changed "
        "there (interval, enabled) stays."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--remove", action="store_true", help="take them out instead")

    def handle(self, *args: Any, **options: Any) -> None:
        if apps.is_installed(BEAT):  # if it is not, the error says what to do
            require_tables(BEAT)
        try:
            report = remove_schedule() if options["remove"] else put_schedule()
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        done = {"created": report.created, "changed": report.changed, "kept": report.kept, "removed": report.removed}
        said = [f"{what} {', '.join(names)}" for what, names in done.items() if names]
        self.stdout.write(f"Schedule: {'; '.join(said) or 'nothing to do'}.")
