"""People who come by a portal link."""

from __future__ import annotations

from django.test import Client
from django.urls import reverse

from tests.api import Program
from tests.visitors import seen
from webhooks_app.models import Scope

HOME, KEYS, NEW_KEY = "/webhooks/", "/webhooks/keys", "/webhooks/keys/new"
READ, WRITE, EVENTS, PORTAL = (scope.value for scope in Scope)


def opened(token: str) -> Client:
    """A browser in the session of this link."""
    client = Client()
    assert client.post(reverse("webhooks_app:portal", args=[token])).status_code == 302
    return client


def session_of(program: Program, role: str) -> Client:
    """A browser in the session of a link that the program has made."""
    link = program.post("/portal-links", {"role": role})["portal_url"]
    return opened(link.rpartition("/")[2])


def make_key(client: Client, *scopes: str, expires: str = "never") -> int:
    """Make a key named `made`, and return the status of the response."""
    form = seen(client.get(NEW_KEY))
    form_id = form.partition('name="form_id" value="')[2].partition('"')[0]
    data = {"form_id": form_id, "name": "made", "scopes": scopes, "expires": expires}
    return client.post(NEW_KEY, data).status_code
