"""Labels of the audit log: for each verb, its details, and the actor."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from webhooks_app.templatetags.webhooks import state_name

#: Verb → label. Contains every verb that an action writes.
VERBS = {
    "api_key.created": _("made an API key"),
    "api_key.refused": _("was refused access to the API"),
    "api_key.revoked": _("revoked an API key"),
    "deliveries.retried": _("sent failed deliveries again"),
    "delivery.cancelled": _("cancelled a delivery"),
    "delivery.hurried": _("retried a delivery at once"),
    "delivery.replayed": _("sent a delivery again"),
    "endpoint.changed": _("changed an endpoint"),
    "endpoint.created": _("added an endpoint"),
    "endpoint.deleted": _("deleted an endpoint"),
    "endpoint.disabled": _("disabled an endpoint"),
    "endpoint.enabled": _("enabled an endpoint"),
    "endpoint.paused": _("paused an endpoint"),
    "endpoint.recovered": _("recovered what an endpoint had missed"),
    "endpoint.resumed": _("resumed an endpoint"),
    "endpoint.tested": _("sent a test event"),
    "event.erased": _("erased an event"),
    "event.released": _("released a quarantined event"),
    "event.replayed": _("sent an event again to all its endpoints"),
    "events.released": _("released quarantined events"),
    "payload.viewed": _("looked at the data of an event, or at a response"),
    "playground.answers": _("chose how the playground answers"),
    "playground.opened": _("opened the playground"),
    "playground.tested": _("sent a test event to the playground"),
    "portal_link.created": _("made a link to these pages"),
    "portal_link.refused": _("was refused access to these pages"),
    "portal_link.revoked": _("revoked a link to these pages, and ended its session"),
    "portal_link.used": _("opened these pages by a link"),
    "secret.ended": _("ended the old signing secret"),
    "secret.rotated": _("replaced the signing secret"),
    "tenant.changed": _("changed the account"),
    "tenant.created": _("made the account"),
    "tenant.erased": _("erased the account's data"),
    "tenant.exported": _("exported the account's data"),
}

#: Key of an entry's detail → its label. Contains every key that an action writes.
DETAILS = {
    "answer": _("Answer"),
    "brought": _("Chosen by you"),
    "count": _("How many"),
    "events": _("Events"),
    "fields": _("Changed"),
    "name": _("Name"),
    "new_secret": _("New secret, too"),
    "previous_expires_at": _("The old one is valid until"),
    "previous_server": _("Its server was"),
    "reason": _("Reason"),
    "role": _("Role"),
    "scopes": _("Scopes"),
    "server": _("Its server"),
    "since": _("Since"),
    "type": _("Event type"),
    "was": _("It was"),
}
_TIMES = frozenset({"previous_expires_at", "since"})


def verb_in_words(verb: str) -> str:
    return str(VERBS.get(verb, verb))


def details_in_words(detail: Mapping[str, Any]) -> list[tuple[str, str | datetime]]:
    """Return label and value of each detail; leave out what is empty or false."""
    return [(str(DETAILS.get(key, key)), _value(key, value)) for key, value in detail.items() if value]


def actor_in_words(actor: str, keys: Mapping[str, str]) -> str:
    """Return the actor as text. `keys`: names of API keys by public id."""
    kind, _colon, name = actor.partition(":")
    if kind == "user":
        return name
    if kind == "key":
        return str(_("API key “%(name)s”") % {"name": keys[name]}) if keys.get(name) else str(_("an API key"))
    # The tenant does not see which of the host's staff it was.
    names = {
        "staff": _("our support"),
        "portal": _("somebody with a portal link"),
        "system": _("the app itself"),
        "command": _("an operator"),
    }
    return str(names.get(kind, actor))


def _value(key: str, value: Any) -> str | datetime:
    if value is True:
        return str(_("yes"))
    if key in _TIMES and isinstance(value, str):
        return parse_datetime(value) or value
    if key == "was":
        return state_name(str(value))
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return str(value)
