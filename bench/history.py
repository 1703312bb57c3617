"""A tenant with a long history: rows of a month, written straight into the tables, as the benchmark of the pages needs them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from bench.scene import DATA

TENANT = "bench-pages"
ENDPOINTS = 20
TYPES = [f"bench.type{number}" for number in range(10)]
#: The oldest rows are the only ones of this type, this channel and the last endpoint: the hardest to find.
RARE = 30
RARE_TYPE = "bench.rare"
RARE_CHANNEL = "rare"
#: All rows are of the last so many days.
_DAYS = 30
#: The newest of them is of about this time.
NOW = datetime.now(UTC)
#: The tables, to keep their ids apart.
EVENT, CHANNEL, DELIVERY, ATTEMPT, ACT = range(1, 6)


def make_endpoints() -> list[Any]:
    from webhooks_app.endpoints.service import create_endpoint

    return [create_endpoint(TENANT, url=f"http://127.0.0.1:9/{number}", events=["*"])[0] for number in range(ENDPOINTS)]


def fill(count: int, endpoints: list[Any]) -> None:
    """`count` events with a delivery, an attempt and a channel each, oldest first; their hours, the catalogue, and an act of
    somebody's for every hundredth."""
    from django.db import connection

    from webhooks_app.models import Attempt, AuditEntry, Delivery, Event, EventChannel, EventType, HourlyStat

    tenant = endpoints[0].tenant_id
    for model, rows in (
        (Event, _events(count, tenant)),
        (EventChannel, _channels(count, tenant)),
        (Delivery, _deliveries(count, tenant, [one.pk for one in endpoints])),
        (Attempt, _attempts(count, tenant, [one.pk for one in endpoints])),
    ):
        _insert(model._meta.db_table, rows)
    EventType.objects.bulk_create(
        EventType(name=name, description="For the benchmark.") for name in (*TYPES, RARE_TYPE)
    )
    HourlyStat.objects.bulk_create((HourlyStat(**row) for row in _hours(count, endpoints)), batch_size=5000)
    AuditEntry.objects.bulk_create((AuditEntry(**row) for row in _acts(count // 100, endpoints)), batch_size=5000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor != "postgresql" else "VACUUM ANALYZE")


def _insert(table: str, rows: Iterator[dict[str, Any]]) -> None:
    """By COPY on PostgreSQL, elsewhere by plain INSERT."""
    from django.db import connection

    first = next(rows)
    columns = ", ".join(first)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in chain([first], rows):
                    copy.write_row(list(row.values()))
            return
        marks = ", ".join(["%s"] * len(first))
        values = ([_plain(value) for value in row.values()] for row in chain([first], rows))
        cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(values))


def _plain(value: Any) -> Any:
    """As databases without types of their own for these keep them."""
    if isinstance(value, uuid.UUID):
        return value.hex
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ") if isinstance(value, datetime) else value


def moment_of(number: int, count: int) -> datetime:
    return NOW - timedelta(days=_DAYS) * ((count - number) / count)


def id_of(kind: int, number: int, count: int) -> uuid.UUID:
    """A UUIDv7 of that time; `kind` keeps the tables' ids apart."""
    milliseconds = int(moment_of(number, count).timestamp() * 1000)
    return uuid.UUID(int=(milliseconds << 80) | (0x7 << 76) | (0x2 << 62) | (kind << 48) | number)


def _events(count: int, tenant: uuid.UUID) -> Iterator[dict[str, Any]]:
    data = json.dumps(DATA, separators=(",", ":"))
    for number in range(count):
        at = moment_of(number, count)
        yield {
            "id": id_of(EVENT, number, count),
            "tenant_id": tenant,
            "tenant_uid": TENANT,
            "type": RARE_TYPE if number < RARE else TYPES[number % len(TYPES)],
            "data": data,
            "size": len(data),
            "channels": "[]",
            "subject": f"message-{number}",
            "fingerprint": "",
            "callback_url": "",
            "occurred_at": at,
            "created_at": at,
            "fanned_out_at": at,
            "quarantine_reason": "",
        }


def _channels(count: int, tenant: uuid.UUID) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "id": id_of(CHANNEL, number, count),
            "tenant_id": tenant,
            "event_id": id_of(EVENT, number, count),
            "channel": RARE_CHANNEL if number < RARE else f"number:{number % 50}",
        }


def status_of(number: int) -> str:
    """Two of a hundred were given up, one cancelled, and one in two hundred is pending."""
    if number % 100 in (3, 57):
        return "exhausted"
    if number % 100 == 31:
        return "cancelled"
    return "pending" if number % 200 == 99 else "succeeded"


def _endpoint(number: int, endpoints: list[uuid.UUID]) -> uuid.UUID:
    return endpoints[-1] if number < RARE else endpoints[number % (len(endpoints) - 1)]


def _deliveries(count: int, tenant: uuid.UUID, endpoints: list[uuid.UUID]) -> Iterator[dict[str, Any]]:
    for number in range(count):
        at, status = moment_of(number, count), status_of(number)
        good = status == "succeeded"
        yield {
            "id": id_of(DELIVERY, number, count),
            "tenant_id": tenant,
            "event_id": id_of(EVENT, number, count),
            "endpoint_id": _endpoint(number, endpoints),
            "status": status,
            "attempts": 1,
            "retry_step": 0,
            "next_attempt_at": at,
            "expires_at": at + timedelta(days=5),
            "sequence": 0,
            "created_at": at,
            "completed_at": None if status == "pending" else at,
            "last_outcome": "succeeded" if good else "server_error",
            "last_status": 200 if good else 500,
        }


def _attempts(count: int, tenant: uuid.UUID, endpoints: list[uuid.UUID]) -> Iterator[dict[str, Any]]:
    for number in range(count):
        good = status_of(number) == "succeeded"
        yield {
            "id": id_of(ATTEMPT, number, count),
            "tenant_id": tenant,
            "delivery_id": id_of(DELIVERY, number, count),
            "endpoint_id": _endpoint(number, endpoints),
            "number": 1,
            "started_at": moment_of(number, count),
            "duration_ms": 12.5,
            "outcome": "succeeded" if good else "server_error",
            "status": 200 if good else 500,
            "detail": "",
            "address": "127.0.0.1",
            "http_version": "1.1",
            "url": "http://127.0.0.1:9/hook",
            "response_headers": "Content-Type: text/plain",
            "response_body": b"OK",
            "response_truncated": False,
        }


def _hours(count: int, endpoints: list[Any]) -> Iterator[dict[str, Any]]:
    each = max(count // (_DAYS * 24 * len(endpoints)), 1)
    for endpoint in endpoints:
        for back in range(_DAYS * 24):
            hour = (NOW - timedelta(hours=back)).replace(minute=0, second=0, microsecond=0)
            sums = {"latency_sum_ms": 12.5 * each, "latency_max_ms": 12.5, "latency_1": each}
            yield {"endpoint": endpoint, "hour": hour, "succeeded": each, "server_error": each // 50, **sums}


def _acts(count: int, endpoints: list[Any]) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "id": id_of(ACT, number, count),
            "tenant_id": endpoints[0].tenant_id,
            "at": moment_of(number, count),
            "actor": f"user:{number % 7}",
            "verb": "endpoint.paused" if number % 2 else "endpoint.resumed",
            "target": endpoints[number % len(endpoints)].public_id,
            "detail": {},
        }
