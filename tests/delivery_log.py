"""The page of the delivery log, as its tests read it."""

from __future__ import annotations

import re

from django.test import Client

from tests.visitors import seen
from webhooks_app.models import Delivery, EventChannel

LOG = "/webhooks/deliveries"


def page_of(client: Client, address: str = LOG, **query: str) -> str:
    answer = client.get(address, query)
    assert answer.status_code == 200
    return seen(answer)


def shown(page: str) -> list[str]:
    """The public ids of the log's rows, as they stand."""
    return re.findall(r'id="to-(dlv_[0-9a-f]{32})"', page)


def link(page: str, title: str) -> str:
    """Where the link with this text leads."""
    found = re.search(rf'href="([^"]*)"[^>]*>{re.escape(title)}<', page)
    assert found, f"no link {title!r}"
    return LOG + found[1]


def with_channel(delivery: Delivery, channel: str) -> Delivery:
    EventChannel.objects.create(tenant_id=delivery.tenant_id, event_id=delivery.event_id, channel=channel)
    return delivery
