"""Rows that another transaction has locked, as a host's request may, and rows in no order of their ids; for PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.models import Model

from tests.pipelines import held_endpoint
from webhooks_app.models import Endpoint, EndpointQueue


@contextmanager
def locked(row: Model) -> Iterator[None]:
    """A transaction on a connection of its own locks the row for as long as the block lasts."""
    meta = row._meta
    other = connection.get_new_connection(connection.get_connection_params())
    try:
        other.execute(f"SELECT 1 FROM {meta.db_table} WHERE {meta.pk.column} = %s FOR UPDATE", [row.pk])
        yield
    finally:
        other.close()


def two_queues(**values: Any) -> tuple[Endpoint, Endpoint]:
    """Two of one tenant, held by ENGINE. The rows' order in the table is not that of their ids: a writer that does not sort
    would lock the second first."""
    first, second = held_endpoint(**values), held_endpoint(**values)
    second.tenant = first.tenant
    second.save()
    EndpointQueue.objects.filter(pk=second.pk).update(tenant_id=first.tenant_id)
    rows = list(EndpointQueue.objects.order_by("-pk"))
    EndpointQueue.objects.all().delete()
    EndpointQueue.objects.bulk_create(rows)
    return first, second
