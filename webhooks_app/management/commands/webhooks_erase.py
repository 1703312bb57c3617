"""`manage.py webhooks_erase`: erase the personal data of an event, of all events with a subject, or of a tenant."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from webhooks_app.deliveries.erase import erase_event, erase_subject
from webhooks_app.exceptions import WebhooksError
from webhooks_app.maintenance.erase_tenant import erase_tenant
from webhooks_app.management.database import DatabaseCommand
from webhooks_app.management.migrated import require_tables
from webhooks_app.management.tenants import tenant_with
from webhooks_app.models import Event
from webhooks_app.models.ids import parse_public_id

ACTOR = "command"


class Command(DatabaseCommand):
    help = "Erase personal data. It cannot be undone, and can be repeated: after an error, run the command again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="event|subject|tenant")
        event = acts.add_parser("event", help="Erase one event.")
        event.add_argument("event", metavar="EVENT_ID", help="evt_…")
        subject = acts.add_parser("subject", help="Erase the events of a tenant that have this subject.")
        subject.add_argument("subject", metavar="SUBJECT", help="Your own id, as it was passed to emit().")
        subject.add_argument("--tenant", required=True, metavar="UID")
        tenant = acts.add_parser("tenant", help="Erase everything that may be personal data of a tenant.")
        tenant.add_argument("tenant", metavar="UID", help="Your own key of the tenant.")
        for act in (event, subject, tenant):
            act.add_argument("--no-input", action="store_true", help="Do not ask for confirmation.")

    def handle(self, *args: Any, act: str, no_input: bool, **options: Any) -> None:
        require_tables("webhooks_app")
        if not no_input and input("This cannot be undone. Type 'yes' to erase: ") != "yes":
            raise CommandError("Nothing was erased.")
        try:
            self.stdout.write(getattr(self, act)(**options))
        except WebhooksError as error:
            raise CommandError(str(error)) from error

    def event(self, *, event: str, **options: Any) -> str:
        key = parse_public_id(event, "evt")
        row = Event.objects.filter(pk=key).only("id", "tenant_id").first() if key else None
        if row is None:
            raise CommandError(f"There is no event {event!r}. Check the id.")
        erase_event(row, actor=ACTOR)
        return f"{row.public_id} is erased."

    def subject(self, *, tenant: str, subject: str, **options: Any) -> str:
        if not subject:
            raise CommandError("The subject is empty. Name one.")
        report = erase_subject(tenant_with(tenant), subject, actor=ACTOR)
        return f"Events erased: {report.events}."

    def tenant(self, *, tenant: str, **options: Any) -> str:
        report = erase_tenant(tenant_with(tenant), actor=ACTOR)
        return f"Events erased: {report.events}, endpoints: {report.endpoints}, API keys deleted: {report.api_keys}."
