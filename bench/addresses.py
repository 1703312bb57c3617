"""Every page that the benchmark asks for, of the customers and of staff, with the hardest of their filters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from bench.history import ATTEMPT, DELIVERY, EVENT, NOW, RARE_CHANNEL, RARE_TYPE, TYPES, id_of
from webhooks_app.models.ids import public_id

#: What it is, and its path and query.
Address = tuple[str, str]
_STATUSES = ("pending", "succeeded", "exhausted", "cancelled")


def customers_pages(count: int, endpoints: list[Any]) -> Iterator[Address]:
    """Each page of the dashboard; of the log, each filter and the hardest of them together."""
    middle = count // 2
    delivery = public_id("dlv", id_of(DELIVERY, middle, count))
    event = public_id("evt", id_of(EVENT, middle, count))
    some, rare = endpoints[0].public_id, endpoints[-1].public_id
    plain = (
        "home",
        "event_types",
        "keys",
        "audit_log",
        "verify_signatures",
        "playground",
        "endpoint_new",
        "deliveries_retry",
    )
    yield from (_page(name, name) for name in plain)
    for name in (
        "endpoint",
        "endpoint_edit",
        "endpoint_test",
        "endpoint_recover",
        "endpoint_disable",
        "endpoint_delete",
    ):
        yield _page(name, name, some)
    yield _page("event type", "event_type", TYPES[0])
    yield from (_page(name, name, delivery) for name in ("delivery", "delivery_retry"))
    yield _page("attempt", "delivery_attempt", delivery, id_of(ATTEMPT, middle, count).hex)
    yield from (_page(name, name, event) for name in ("event", "event_replay"))
    yield _page("audit log: of an endpoint", "audit_log", target=some)
    searches = {"event id": event, "delivery id": delivery, "own id": f"message-{middle}", "channel": "number:7"}
    for what, text in {**searches, "nothing there": "no-such-thing"}.items():
        yield _page(f"search: {what}", "search", q=text)
    yield from _log(delivery, some, rare)
    yield _page("retry: of a type", "deliveries_retry", type=TYPES[3])
    yield _page("retry: of an endpoint", "deliveries_retry", endpoint=some)


def _log(delivery: str, some: str, rare: str) -> Iterator[Address]:
    times = {
        "since": (NOW - timedelta(days=20)).strftime("%Y-%m-%dT%H:%M"),
        "until": (NOW - timedelta(days=10)).strftime("%Y-%m-%dT%H:%M"),
    }
    asked: dict[str, dict[str, str]] = {
        "everything": {},
        "deep": {"before": delivery},
        "deep, newer": {"after": delivery},
        "endpoint": {"endpoint": some},
        "rare endpoint": {"endpoint": rare},
        "type": {"type": TYPES[3]},
        "rare type": {"type": RARE_TYPE},
        "channel": {"channel": "number:7"},
        "rare channel": {"channel": RARE_CHANNEL},
        "times": times,
    }
    for status in _STATUSES:
        of = {"status": status}
        asked[status] = of
        asked[f"{status} of an endpoint"] = {**of, "endpoint": some}
        asked[f"{status} of a rare endpoint"] = {**of, "endpoint": rare}
        asked[f"{status} of a rare type"] = {**of, "type": RARE_TYPE}
        asked[f"{status} of a rare channel"] = {**of, "channel": RARE_CHANNEL}
        every = {"endpoint": some, "type": RARE_TYPE, "channel": "number:7"}
        asked[f"{status}, every filter"] = {**of, **every, **times}
    for what, query in asked.items():
        yield _page(f"log: {what}", "deliveries", **query)


def staffs_pages(count: int, endpoints: list[Any]) -> Iterator[Address]:
    """The admin's lists with searches, filters and dates, its pages of one row, and the operations page."""
    middle = count // 2
    delivery, event, attempt = (id_of(kind, middle, count) for kind in (DELIVERY, EVENT, ATTEMPT))
    some, tenant = endpoints[0], endpoints[0].tenant_id
    yield "admin: front page", reverse("admin:index")
    yield "admin: operations", reverse("admin:webhooks_app_operations")
    for name in ("tenant", "endpoint", "endpointqueue", "hourlystat", "auditentry", "eventchannel"):
        yield _list(name)
    month = (NOW - timedelta(days=15)).strftime("%Y-%m")
    for name, key in (("event", event), ("delivery", delivery), ("attempt", attempt)):
        yield _list(name)
        yield _list(name, "last page", p="20")
        yield _list(name, "an id", q=str(key))
        yield _list(name, "a month", made=month)
        yield _list(name, "a day", made=f"{month}-10")
        yield f"admin: one {name}", reverse(f"admin:webhooks_app_{name}_change", args=(key,))
    for name in ("event", "delivery"):
        yield _list(name, "own id", q=f"message-{middle}")
        yield _list(name, "a tenant", tenant__exact=str(tenant))
        yield _list(name, "a part of a name", q="bench-")
    yield _list("event", "quarantined", state="quarantined")
    for status in _STATUSES:
        yield _list("delivery", status, status=status)
        yield _list("delivery", f"{status} of an endpoint", status=status, endpoint__exact=str(some.pk))
        yield _list("delivery", f"{status} in a month", status=status, made=month)
    yield _list("attempt", "timeouts", outcome="timeout")
    for name, key in (("tenant", tenant), ("endpoint", some.pk)):
        yield f"admin: one {name}", reverse(f"admin:webhooks_app_{name}_change", args=(key,))


def _page(what: str, name: str, *arguments: str, **query: str) -> Address:
    return what, _url(f"webhooks_app:{name}", *arguments, **query)


def _list(name: str, what: str = "", **query: str) -> Address:
    return f"admin: {name} list" + (f": {what}" if what else ""), _url(f"admin:webhooks_app_{name}_changelist", **query)


def _url(name: str, *arguments: str, **query: str) -> str:
    return reverse(name, args=arguments) + (f"?{urlencode(query)}" if query else "")
