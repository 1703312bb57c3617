"""Generate an encryption key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from webhooks_app.core.encryption import new_key


class Command(BaseCommand):
    help = (
        "Prints a new key for WEBHOOKS['ENCRYPTION_KEYS'], and nothing else. The first key of the list encrypts, all of them "
        "decrypt. To replace a key of a running system: add the new one at the end, on every process; then move it to the "
        "front; then run webhooks_reencrypt and take the old one out."
    )
    # Users run this command when the checks report that the key is missing.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(new_key())
