"""The audit log, in plain words."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.audit_labels import actor_in_words, details_in_words, verb_in_words
from webhooks_app.dashboard.keyset import BEFORE, Slice, newest, newest_of
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.dashboard.sections import AUDIT_LOG
from webhooks_app.endpoints.queries import name_of
from webhooks_app.exceptions import NotFound
from webhooks_app.maintenance.prune import MONTHS_KEPT
from webhooks_app.models import ActorKind, ApiKey, AuditEntry, Endpoint, EndpointStatus
from webhooks_app.models.ids import parse_public_id, public_id

#: The most endpoints in the filter.
MOST_OFFERED = 200
KINDS = {
    ActorKind.USER.value: _("People"),
    ActorKind.STAFF.value: _("Our support"),
    ActorKind.KEY.value: _("API keys"),
    ActorKind.PORTAL.value: _("Portal links"),
    ActorKind.SYSTEM.value: _("The app and its operators"),
}
_TARGET = re.compile(r"(wh|evt|dlv|key)_")
#: Prefix of objects with a page → URL name.
_PAGES = {"wh": "endpoint", "evt": "event", "dlv": "delivery"}


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One entry, for readers."""

    at: datetime
    actor: str
    verb: str
    #: The name and URL of the object that was changed; both may be empty.
    target: str
    address: str
    details: list[tuple[str, str | datetime]]


@dataclass(frozen=True, slots=True)
class Named:
    """The names of the objects in the entries, if they still exist, by public id."""

    #: Names of endpoints as customers know them.
    endpoints: dict[str, str]
    #: Those of the endpoints that have a page.
    visible: frozenset[str]
    #: Names of API keys; a key without a name shows its first characters.
    keys: dict[str, str]


@dashboard_view()
def audit_log(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    target, kind = _target(request.GET.get("target", "")), _kind(request.GET.get("by", ""))
    found = _entries(visitor, target, kind, request.GET.get(BEFORE, ""))
    named = _named_in(found.rows, visitor.tenant.pk)
    endpoints = Endpoint.objects.visible().filter(tenant=visitor.tenant).order_by("-pk")[:MOST_OFFERED]
    chosen = {"target": target, "by": kind or ""}
    query = urlencode({name: value for name, value in chosen.items() if value})
    context: dict[str, Any] = {
        "section": AUDIT_LOG,
        "months_kept": MONTHS_KEPT,
        "slice": found,
        "lines": [_line(entry, named) for entry in found.rows],
        "offered": list(endpoints),
        "kinds": KINDS,
        "chosen": chosen,
        "query": f"{query}&" if query else "",
    }
    context["other"] = target if target and target not in {row.public_id for row in context["offered"]} else ""
    return render_page(request, visitor, "audit_log", context)


def _entries(visitor: Visitor, target: str, kind: ActorKind | None, before: str) -> Slice[AuditEntry]:
    rows = AuditEntry.objects.filter(tenant=visitor.tenant)
    if target:
        rows = rows.on(target)
    return newest(rows, before) if kind is None else newest_of(rows, rows.by(kind), before)


def _target(text: str) -> str:
    """Return the target as entries store it. Raises NotFound if the text is not a public id."""
    if not text:
        return ""
    prefix = _TARGET.match(text)
    key = parse_public_id(text, prefix[1]) if prefix else None
    if prefix is None or key is None:
        raise NotFound()
    return public_id(prefix[1], key)


def _kind(text: str) -> ActorKind | None:
    try:
        return ActorKind(text) if text else None
    except ValueError:
        raise NotFound() from None


def _named_in(entries: Collection[AuditEntry], tenant_id: uuid.UUID) -> Named:
    """Look up the names. Always two queries."""
    targets = [entry.target for entry in entries]
    users = [entry.actor.removeprefix("key:") for entry in entries]
    endpoints = Endpoint.objects.filter(tenant_id=tenant_id, pk__in=_ids("wh", targets))
    keys = ApiKey.objects.filter(tenant_id=tenant_id, pk__in=_ids("key", targets + users))
    return Named(
        endpoints={row.public_id: name_of(row) for row in endpoints},
        visible=frozenset(
            row.public_id for row in endpoints if row.status != EndpointStatus.DELETED and not row.is_callback
        ),
        keys={row.public_id: row.name or f"{row.hint}…" for row in keys},
    )


def _ids(prefix: str, texts: Iterable[str]) -> set[uuid.UUID]:
    ids = (parse_public_id(text, prefix) for text in texts if text.startswith(f"{prefix}_"))
    return {key for key in ids if key is not None}


def _line(entry: AuditEntry, named: Named) -> AuditLine:
    target = _name(entry.target, named)
    return AuditLine(
        at=entry.at,
        actor=actor_in_words(entry.actor, named.keys),
        verb=verb_in_words(entry.verb),
        target=target,
        address=_address(entry.target, named),
        details=[(label, value) for label, value in details_in_words(entry.detail) if value != target],
    )


def _name(target: str, named: Named) -> str:
    """Return a URL or name if there is one, else the id; empty for a portal link, whose id means nothing to readers."""
    if "_" not in target:
        return str(_("the account")) if target == "account" else ""
    return named.endpoints.get(target) or named.keys.get(target) or target


def _address(target: str, named: Named) -> str:
    prefix = target.partition("_")[0]
    if prefix == "key":
        return reverse("webhooks_app:keys")
    if prefix not in _PAGES or (prefix == "wh" and target not in named.visible):
        return ""
    return reverse(f"webhooks_app:{_PAGES[prefix]}", args=[target])


paths = [
    path("audit-log", audit_log, name="audit_log"),
]
