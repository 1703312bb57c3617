"""Re-encrypt what is encrypted at rest with the newest key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from webhooks_app.exceptions import SealingError
from webhooks_app.maintenance.reencrypt import reencrypt
from webhooks_app.management.database import DatabaseCommand
from webhooks_app.management.migrated import require_tables


class Command(DatabaseCommand):
    help = (
        "Encrypts every secret again with the first key of WEBHOOKS['ENCRYPTION_KEYS'], and payloads and responses if "
        "WEBHOOKS['ENCRYPT_PAYLOADS'] is on; if it is off, decrypts these. Safe to repeat and to run beside the workers, "
        "once all of them have that key. Afterwards the older keys can be taken out of the list."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        require_tables("webhooks_app")
        try:
            report = reencrypt()
        except SealingError as error:
            raise CommandError(str(error)) from error
        said = f"{report.reencrypted} reencrypted, {report.current} had the newest key, {report.unreadable} unreadable."
        if report.unreadable:
            raise CommandError(
                f"{said} Put the keys that encrypted those back into WEBHOOKS['ENCRYPTION_KEYS'], after the newest, and "
                "run this again; if they are lost, rotate those endpoints' secrets. Until then take no key out."
            )
        self.stdout.write(said)
