"""How long the pages of customers and staff take where a tenant has very many deliveries: the server's time, page by page."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bench.history import TENANT, fill, make_endpoints
from bench.scene import database

if TYPE_CHECKING:
    from bench.addresses import Address

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
        measured = _measured(attempts, endpoints, rounds)
    print(_table(measured), file=sys.stderr)
    slowest = max((one["median_ms"] for one in measured if one["status"] in _TIMED), default=None)
    return {
        "attempts": attempts,
        "goal_ms": GOAL_MS,
        "slowest_ms": slowest,
        "within_goal": all(one["within_goal"] for one in measured),
        "fill_seconds": round(filled, 1),
        "pages": measured,
    }


def tenant_of_request(request: Any) -> str:
    """Everybody who is logged in belongs to the one tenant; WEBHOOKS["TENANT_OF_REQUEST"] names this."""
    return TENANT


def _measured(attempts: int, endpoints: list[Any], rounds: int) -> list[dict[str, Any]]:
    from django.conf import settings
    from django.contrib.auth import get_user_model

    from bench.addresses import customers_pages, staffs_pages

    settings.WEBHOOKS = {
        **settings.WEBHOOKS,
        "TENANT_OF_REQUEST": "bench.pages.tenant_of_request",
        "ROLE_OF_REQUEST": "",
    }
    settings.ALLOWED_HOSTS = ["*"]
    people: Any = get_user_model().objects
    customer, staff = people.create_user("customer"), people.create_superuser("staff")
    return [
        *_asked_by(customer, customers_pages(attempts, endpoints), rounds),
        *_asked_by(staff, staffs_pages(attempts, endpoints), rounds),
    ]


def _asked_by(person: Any, addresses: Iterable[Address], rounds: int) -> list[dict[str, Any]]:
    from django.test import Client

    client = Client()
    client.force_login(person)
    return [{"page": what, **_timed(lambda a=address: client.get(a), rounds)} for what, address in addresses]  # type: ignore[misc]


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
    lines = [f"{'page':48} {'median ms':>10} {'slowest':>9} {'cpu ms':>8}"]
    for one in measured:
        if one["status"] not in _TIMED:
            lines.append(f"{one['page']:48} {'answers ' + str(one['status']):>20}")
            continue
        over = "" if one["within_goal"] else f"  over {GOAL_MS:g} ms"
        lines.append(f"{one['page']:48} {one['median_ms']:>10} {one['slowest_ms']:>9} {one['cpu_ms']:>8}{over}")
    return "\n".join(lines)
