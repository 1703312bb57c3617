"""`manage.py demo_setup`: create a login, an organisation and its endpoints for `make run`. Repeating it changes nothing."""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

from project.demo.behaviour import Behaviour, Played
from project.demo.receiving import write_config
from project.messaging.models import Organisation
from webhooks_app import change_endpoint, create_endpoint, tenant_for
from webhooks_app.models import Endpoint, Secret

USER = "demo"
PLAYED = (Behaviour.HEALTHY, Behaviour.FLAKY)


class Command(BaseCommand):
    help = "Set up the demo's login, organisation and endpoints; prints the login as JSON."

    def handle(self, *args: Any, **options: Any) -> None:
        password = _login(settings.VAR / "demo-password")
        organisation, _ = Organisation.objects.get_or_create(name="Parcel Express (demo)")
        organisation.members.add(get_user_model().objects.get_by_natural_key(USER))
        write_config(settings.VAR / "receiver.json", [_endpoint(organisation, behaviour) for behaviour in PLAYED])
        self.stdout.write(json.dumps({"user": USER, "password": password}))


def _login(path: Path) -> str:
    """Return the password of the demo's user, created once and kept in a file that only this user may read."""
    users = get_user_model().objects
    user = users.filter(username=USER).first()
    if user is not None and path.exists():
        return path.read_text().strip()
    password = os.environ.get("DEMO_PASSWORD") or secrets.token_urlsafe(9)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(password + "\n")
    if user is None:
        users.create_superuser(USER, "demo@example.org", password)
    else:
        user.set_password(password)
        user.save(update_fields=["password"])
    return password


def _endpoint(organisation: Organisation, behaviour: Behaviour) -> Played:
    """Return the demo endpoint with this behaviour, created if it does not exist, and its newest secret.

    The secret can be decrypted here only because sender and receiver are one machine.
    """
    url = f"http://127.0.0.1:{settings.DEMO_RECEIVER_PORT}/{behaviour}"
    tenant = tenant_for(organisation)
    endpoint = Endpoint.objects.visible().filter(tenant=tenant, metadata__demo=str(behaviour)).first()
    if endpoint is None:
        endpoint, _ = create_endpoint(
            tenant,
            url=url,
            events=["message.*"],
            description=f"Demo: {behaviour}",
            wire_format="demo",
            metadata={"demo": str(behaviour)},
        )
    elif endpoint.url != url:  # the receiver's port has changed
        change_endpoint(endpoint, url=url)
    newest = Secret.objects.live().filter(endpoint=endpoint).latest("id")
    return Played(str(behaviour), newest.reveal(), behaviour)
