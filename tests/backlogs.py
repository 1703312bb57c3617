"""Pending deliveries of endpoints that are paused or disabled."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.factories import DeliveryFactory, EndpointFactory
from webhooks_app.models import Delivery, Endpoint

NOW = timezone.now()
OFF = pytest.mark.parametrize("status", ["paused", "disabled"])


def days(number: float) -> Any:
    return NOW + timedelta(days=number)


def off_endpoint(status: str = "paused", **values: Any) -> Endpoint:
    return EndpointFactory(status=status, status_changed_at=NOW - timedelta(seconds=5), **values)


def waiting(endpoint: Endpoint, number: int) -> list[Delivery]:
    """Pending deliveries, oldest event first; in a FIFO endpoint's order."""
    return [DeliveryFactory(endpoint=endpoint, sequence=place * endpoint.fifo) for place in range(1, number + 1)]
