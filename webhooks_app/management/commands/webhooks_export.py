"""`manage.py webhooks_export`: write everything that is kept of a tenant as JSON Lines."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from webhooks_app.maintenance.export import export_tenant
from webhooks_app.management.database import DatabaseCommand
from webhooks_app.management.migrated import require_tables
from webhooks_app.management.tenants import tenant_with


class Command(DatabaseCommand):
    help = "Write everything that is kept of a tenant as JSON Lines, without secrets."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", metavar="UID", help="Your own key of the tenant.")
        parser.add_argument(
            "--output", metavar="FILE", help="The file to write, which must not exist yet. Default: standard output."
        )

    def handle(self, *args: Any, tenant: str, output: str | None, **options: Any) -> None:
        require_tables("webhooks_app")
        lines = export_tenant(tenant_with(tenant), actor="command")
        if output is None:
            for line in lines:
                self.stdout.write(line, ending="")
            return
        try:
            # Only its owner may read it: it holds the tenant's data.
            with open(output, "x", encoding="utf-8", opener=_private) as file:
                file.writelines(lines)
        except FileExistsError as error:
            raise CommandError(f"The file {output!r} exists. Choose another name.") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
