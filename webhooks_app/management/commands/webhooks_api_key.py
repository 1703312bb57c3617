"""`manage.py webhooks_api_key`: create, list and revoke keys for the REST API."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from webhooks_app.exceptions import WebhooksError
from webhooks_app.management.database import DatabaseCommand
from webhooks_app.management.migrated import require_tables
from webhooks_app.models import ApiKey, Scope
from webhooks_app.models.ids import parse_public_id
from webhooks_app.tenants.api_keys import create_api_key, revoke_api_key

ACTOR = "command"


class Command(DatabaseCommand):
    help = "Make, list and revoke keys for the REST API. `create` prints the key, and nothing else, on standard output."

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="create|list|revoke")
        create = acts.add_parser("create", help="Make a key and print it: it is never shown again.")
        create.add_argument("--tenant", required=True, metavar="UID", help="Whose key it is, by your own key of them.")
        create.add_argument("--name", default="", help="For people, to tell keys apart.")
        create.add_argument(
            "--scope", action="append", choices=Scope.values, help="What it may do; several times. Default: everything."
        )
        create.add_argument("--expires", type=moment, metavar="DATE", help="e.g. 2027-01-31 or 2027-01-31T12:00:00Z")
        listed = acts.add_parser("list", help="The keys of a tenant, without their texts.")
        listed.add_argument("--tenant", required=True, metavar="UID")
        revoke = acts.add_parser("revoke", help="Refuse a key from now on.")
        revoke.add_argument("key", metavar="KEY_ID", help="As `list` shows it: key_…")

    def handle(self, *args: Any, act: str, **options: Any) -> None:
        require_tables("webhooks_app")
        getattr(self, act)(**options)

    def create(
        self, *, tenant: str, name: str, scope: list[str] | None, expires: datetime | None, **options: Any
    ) -> None:
        try:
            _, text = create_api_key(
                tenant, name=name, scopes=scope or tuple(Scope.values), expires_at=expires, actor=ACTOR
            )
        except WebhooksError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(text)

    def list(self, *, tenant: str, **options: Any) -> None:
        for key in ApiKey.objects.filter(tenant__uid=tenant):
            state = (
                "revoked" if key.revoked_at else f"expires {key.expires_at:%Y-%m-%d}" if key.expires_at else "active"
            )
            used = f"last used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
            self.stdout.write(f"{key.public_id}  {key.hint}…  {','.join(key.scopes)}  {state}  {used}  {key.name}")

    def revoke(self, *, key: str, **options: Any) -> None:
        primary_key = parse_public_id(key, "key")
        found = ApiKey.objects.filter(pk=primary_key).first() if primary_key else None
        if found is None:
            raise CommandError(f"There is no key {key!r}; `list` shows them.")
        revoke_api_key(found, actor=ACTOR)
        self.stderr.write(f"{found.public_id} is revoked.")


def moment(text: str) -> datetime:
    """Parse a date (its beginning, in the project's zone) or a time, for argparse."""
    value: datetime | None
    try:
        day = parse_date(text)
        value = datetime(day.year, day.month, day.day) if day else parse_datetime(text)
    except ValueError:
        value = None
    if value is None:
        raise ValueError
    return value if timezone.is_aware(value) else timezone.make_aware(value)
