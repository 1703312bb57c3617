"""How long the customers' pages take for a tenant with very many deliveries: the server's time, page by page."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from bench.history import (
    DELIVERY,
    EVENT,
    NOW,
    RARE_CHANNEL,
    RARE_TYPE,
    TENANT,
    TYPES,
    fill,
    id_of,
    make_endpoints,
)
from bench.scene import database

#: What is timed: pages, and the search's way to its only hit.
_TIMED = (200, 302)
#: A page should be there within this time (milliseconds).
GOAL_MS = 100.0


def pages(attempts: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each page: the median of `rounds`, after one that does not count."""
    with database():
        begun = time.perf_counter()
        endpoints = make_endpoints()
        fill(attempts, endpoints)
        filled = time.perf_counter() - begun
        asked = list(_addresses(attempts, endpoints))
        measured = _measured(asked, rounds)
    print(_table(measured), file=sys.stderr)
    slowest = max((one["median_ms"] for one in measured if one["status"] in _TIMED), default=None)
    return {
        "attempts": attempts,
        "goal_ms": GOAL_MS,
        "slowest_ms": slowest,
        "within_goal": all(one["within_goal"] for one in measured if one["status"] in _TIMED),
        "fill_seconds": round(filled, 1),
        "pages": measured,
    }


def tenant_of_request(request: Any) -> str:
    """Everybody who is logged in belongs to the one tenant; WEBHOOKS["TENANT_OF_REQUEST"] names this."""
    return TENANT


def _addresses(count: int, endpoints: list[Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(what, URL name and its argument, query) of each page; of the log, each filter and the hardest of them together."""
    from webhooks_app.models.ids import public_id

    middle = count // 2
    delivery = public_id("dlv", id_of(DELIVERY, middle, count))
    event = public_id("evt", id_of(EVENT, middle, count))
    some, rare = endpoints[0].public_id, endpoints[-1].public_id
    plain = ("home", "event_types", "keys", "activity", "verifying", "playground", "endpoint_new", "deliveries_retry")
    yield from ((name, name, {}) for name in plain)
    for name in ("endpoint", "endpoint_edit", "endpoint_test", "endpoint_recover", "endpoint_delete"):
        yield name, f"{name} {some}", {}
    yield "event type", f"event_type {TYPES[0]}", {}
    for name in ("delivery", "delivery_retry"):
        yield name, f"{name} {delivery}", {}
    for name in ("event", "event_replay"):
        yield name, f"{name} {event}", {}
    for what, query in (
        ("event id", event),
        ("delivery id", delivery),
        ("own id", f"message-{middle}"),
        ("channel", "number:7"),
        ("nothing there", "no-such-thing"),
    ):
        yield f"search: {what}", "search", {"q": query}
    since = (NOW - timedelta(days=20)).strftime("%Y-%m-%dT%H:%M")
    until = (NOW - timedelta(days=10)).strftime("%Y-%m-%dT%H:%M")
    singles: dict[str, dict[str, str]] = {
        "everything": {},
        "deep": {"before": delivery},
        "deep, newer": {"after": delivery},
        "endpoint": {"endpoint": some},
        "rare endpoint": {"endpoint": rare},
        "type": {"type": TYPES[3]},
        "rare type": {"type": RARE_TYPE},
        "channel": {"channel": "number:7"},
        "rare channel": {"channel": RARE_CHANNEL},
        "times": {"since": since, "until": until},
    }
    for status in ("pending", "succeeded", "exhausted", "cancelled"):
        singles[status] = {"status": status}
    for what, query in singles.items():
        yield f"log: {what}", "deliveries", query
    for status in ("pending", "succeeded", "exhausted", "cancelled"):
        yield f"log: {status} of an endpoint", "deliveries", {"status": status, "endpoint": some}
        yield f"log: {status} of a rare endpoint", "deliveries", {"status": status, "endpoint": rare}
        yield f"log: {status} of a rare type", "deliveries", {"status": status, "type": RARE_TYPE}
        yield f"log: {status} of a rare channel", "deliveries", {"status": status, "channel": RARE_CHANNEL}
        every = {"status": status, "endpoint": some, "type": RARE_TYPE, "channel": "number:7"}
        yield f"log: {status}, every filter", "deliveries", {**every, "since": since, "until": until}
    yield "retry: of a type", "deliveries_retry", {"type": TYPES[3]}
    yield "retry: of an endpoint", "deliveries_retry", {"endpoint": some}


def _measured(asked: list[tuple[str, str, dict[str, str]]], rounds: int) -> list[dict[str, Any]]:
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.urls import reverse

    settings.WEBHOOKS = {
        **settings.WEBHOOKS,
        "TENANT_OF_REQUEST": "bench.pages.tenant_of_request",
        "ROLE_OF_REQUEST": "",
    }
    settings.ALLOWED_HOSTS = ["*"]
    client = Client()
    client.force_login(get_user_model().objects.create_user("bench"))
    measured = []
    for what, place, query in asked:
        name, *arguments = place.split(" ")
        address = reverse(f"webhooks_app:{name}", args=arguments)
        measured.append({"page": what, **_timed(lambda a=address, q=query: client.get(a, q), rounds)})  # type: ignore[misc]
    return measured


def _timed(ask: Callable[[], Any], rounds: int) -> dict[str, Any]:
    status = ask().status_code
    times, busy = [], []
    for _ in range(rounds if status in _TIMED else 0):
        begun, used = time.perf_counter(), time.process_time()
        ask()
        busy.append((time.process_time() - used) * 1000)
        times.append((time.perf_counter() - begun) * 1000)
    median = round(statistics.median(times), 1) if times else None
    return {
        "status": status,
        "median_ms": median,
        "slowest_ms": round(max(times), 1) if times else None,
        "cpu_ms": round(statistics.median(busy), 1) if busy else None,
        "within_goal": median is not None and median <= GOAL_MS,
    }


def _table(measured: list[dict[str, Any]]) -> str:
    lines = [f"{'page':42} {'median ms':>10} {'slowest':>9} {'cpu ms':>8}"]
    for one in measured:
        if one["status"] not in _TIMED:
            lines.append(f"{one['page']:42} {'answers ' + str(one['status']):>20}")
            continue
        over = "" if one["within_goal"] else f"  over {GOAL_MS:g} ms"
        lines.append(f"{one['page']:42} {one['median_ms']:>10} {one['slowest_ms']:>9} {one['cpu_ms']:>8}{over}")
    return "\n".join(lines)
