"""`manage.py webhooks_release_quarantined`: release quarantined events once the cause is fixed."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from webhooks_app.events.quarantine import quarantined, release_all_quarantined
from webhooks_app.management.commands.webhooks_api_key import ACTOR, moment
from webhooks_app.management.database import DatabaseCommand
from webhooks_app.management.migrated import require_tables
from webhooks_app.models import Event
from webhooks_app.models.ids import parse_public_id


class Command(DatabaseCommand):
    help = (
        "Release events that an engine quarantined: they are pending again and are delivered. Correct the mistake first. "
        "Events that `emit` did not accept stay quarantined: emit them again. Safe to repeat."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("events", nargs="*", metavar="EVENT_ID", help="These events: evt_…")
        parser.add_argument("--tenant", metavar="UID", help="Events of this tenant, by your own key.")
        parser.add_argument(
            "--since", type=moment, metavar="DATE", help="Quarantined since then: 2027-01-31 or 2027-01-31T12:00:00Z"
        )
        parser.add_argument("--all", action="store_true", help="All quarantined events.")

    def handle(
        self,
        *args: Any,
        events: list[str],
        tenant: str | None,
        since: datetime | None,
        all: bool,  # noqa: A002 - the option's name
        **options: Any,
    ) -> None:
        require_tables("webhooks_app")
        narrowed = bool(events) or tenant is not None or since is not None
        if narrowed == all:
            raise CommandError("Name events, or use --tenant, --since or both; or use --all alone.")
        chosen: dict[str, Any] = {"tenant": tenant, "since": since}
        if events:
            chosen["events"] = [_key(text) for text in events]
        released = release_all_quarantined(**chosen, actor=ACTOR)
        left = quarantined(**chosen).refused().count()
        self.stdout.write(f"Released: {released}.")
        if left:
            text = f"Still quarantined, since `emit` did not accept them: {left}. Emit these again."
            if events:
                raise CommandError(text)
            self.stderr.write(text)


def _key(text: str) -> Any:
    key = parse_public_id(text, "evt")
    if key is None or not Event.objects.filter(pk=key).exists():
        raise CommandError(f"There is no event {text!r}. Nothing was released.")
    return key
