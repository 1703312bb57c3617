"""Generate an encryption key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from webhooks_app.core.encryption import new_key


class Command(BaseCommand):
    help = "Prints a new key for WEBHOOKS['ENCRYPTION_KEYS'] (put it first in the list), and nothing else."
    # Users run this command when the checks report that the key is missing.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(new_key())
