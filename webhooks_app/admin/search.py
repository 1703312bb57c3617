"""Search: find rows by whatever text a user has.

The text may be an id (public or bare), a URL, the host's own id of an event, or a tenant. Each lookup is one bounded query on
an index, newest rows first; small tables (tenants, endpoints) may be scanned. The result is a list of primary keys, so that
further conditions of a page stay cheap on tables of any size.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.db.models import Q, QuerySet

from webhooks_app.models import Attempt, Delivery, Endpoint, Event, Tenant
from webhooks_app.models.ids import parse_public_id

#: The most rows that one lookup returns.
MOST_FOUND = 200
#: If a text matches more tenants or endpoints than this, it is too vague to search their rows.
_MOST_MEANT = 5
_PREFIXES = ("evt", "dlv", "wh", "key")
Keys = list[uuid.UUID]


def tenants_like(text: str, *, most: int = MOST_FOUND) -> Keys:
    """Return tenants by key, or by a part of uid, name or e-mail address; an exact match of the uid comes first."""
    rows = Tenant.objects.order_by("uid")
    exact = Q(uid=text) if (key := key_in(text)) is None else Q(uid=text) | Q(pk=key)
    found = list(rows.filter(exact).values_list("pk", flat=True))
    part = Q(uid__icontains=text) | Q(name__icontains=text) | Q(email__icontains=text)
    return list(dict.fromkeys([*found, *rows.filter(part).values_list("pk", flat=True)[:most]]))[:most]


def endpoints_like(text: str) -> Keys:
    """Return endpoints by public id or key, by a part of URL or description, or by tenant."""
    rows = Endpoint.objects.order_by("-pk")
    if (key := key_in(text)) is not None:
        return list(rows.filter(Q(pk=key) | Q(tenant_id=key)).values_list("pk", flat=True)[:MOST_FOUND])
    tenants = tenants_like(text)
    part = Q(url__icontains=text) | Q(description__icontains=text) | Q(tenant_id__in=tenants)
    return list(rows.filter(part).values_list("pk", flat=True)[:MOST_FOUND])


def events_like(text: str) -> Keys:
    """Return events by public id or key (their own, a delivery's, their tenant's), by the host's own id, or by tenant."""
    rows = Event.objects.all()
    found = _of_subject(text)
    if (key := key_in(text)) is not None:
        of_delivery = Delivery.objects.filter(pk=key).values_list("event_id", flat=True)
        return [*found, *_keys(rows, pk__in=[key, *of_delivery]), *_keys(rows, tenant_id=key)]
    for tenant_id in _few(tenants_like(text, most=_MOST_MEANT + 1)):
        found += _keys(rows, tenant_id=tenant_id)
    return found


def deliveries_like(text: str) -> Keys:
    """Return deliveries by public id or key (their own, their event's, endpoint's or tenant's), by the host's own id of their
    event, by URL or by tenant."""
    rows = Delivery.objects.all()
    of_subject = _of_subject(text)
    found = _keys(rows, event_id__in=of_subject) if of_subject else []
    if (key := key_in(text)) is not None:
        for column in ("pk", "event_id", "endpoint_id", "tenant_id"):  # each with its own index
            found += _keys(rows, **{column: key})
        return found
    for tenant_id in _few(tenants_like(text, most=_MOST_MEANT + 1)):
        found += _keys(rows, tenant_id=tenant_id)
    part = Q(url__icontains=text) | Q(description__icontains=text)
    named = Endpoint.objects.filter(part).values_list("pk", flat=True)[: _MOST_MEANT + 1]
    for endpoint_id in _few(list(named)):
        found += _keys(rows, endpoint_id=endpoint_id)
    return found


def attempts_like(text: str) -> Keys:
    """Return attempts by key, or those of the deliveries that the text matches."""
    rows = Attempt.objects.all()
    own = _keys(rows, pk=key) if (key := key_in(text)) is not None else []
    deliveries = sorted(deliveries_like(text), reverse=True)[:MOST_FOUND]
    return [*own, *_keys(rows, delivery_id__in=deliveries)] if deliveries else own


def key_in(text: str) -> uuid.UUID | None:
    """Return the key in a public id of any kind, or in a bare UUID; None if the text is neither."""
    for prefix in _PREFIXES:
        if (key := parse_public_id(text, prefix)) is not None:
            return key
    return None


def _of_subject(text: str) -> Keys:
    """Return rows by the host's own id, which may look like one of our ids."""
    return _keys(Event.objects.exclude(subject=""), subject=text)


def _keys(rows: QuerySet[Any], **condition: object) -> Keys:
    return list(rows.filter(**condition).order_by("-pk").values_list("pk", flat=True)[:MOST_FOUND])


def _few(keys: Sequence[uuid.UUID]) -> Sequence[uuid.UUID]:
    """Return the keys, or none if there are so many that the text is too vague."""
    return keys if len(keys) <= _MOST_MEANT else ()
