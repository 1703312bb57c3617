"""How one endpoint is doing: its failing streak, its breaker, what waits for it, and when it would be switched off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from webhooks_app.core.health import is_open
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.models import IDLE, Delivery, Endpoint, EndpointQueue
from webhooks_app.models.lookups import count_up_to
from webhooks_app.profiles import get_profile

#: What waits is counted no further than this.
MOST_COUNTED = 1000


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """`waiting`: pending deliveries, counted to MOST_COUNTED. `held_until`: nothing is sent before, None where nothing
    holds. `off_at`: switched off then unless a request succeeds, None where nothing threatens."""

    queue: EndpointQueue
    waiting: int
    breaker_open: bool
    held_until: datetime | None
    off_at: datetime | None

    @property
    def waiting_more(self) -> bool:
        return self.waiting >= MOST_COUNTED


def health_of(endpoint: Endpoint, now: datetime, *, using: str) -> EndpointHealth | None:
    """None for an endpoint without a queue, which is one that is being removed."""
    queue = EndpointQueue.objects.using(using).filter(pk=endpoint.pk).first()
    if queue is None:
        return None
    pending = Delivery.objects.using(using).pending().filter(endpoint_id=endpoint.pk).by_queue()
    policy = policy_of(endpoint)
    return EndpointHealth(
        queue=queue,
        waiting=count_up_to(pending, MOST_COUNTED),
        breaker_open=policy is not None and is_open(queue.health, policy),
        held_until=queue.not_before if now < queue.not_before < IDLE else None,
        off_at=off_at(queue, policy),
    )


def policy_of(endpoint: Endpoint) -> RetryPolicy | None:
    """None where its profile is no longer in the settings."""
    try:
        return get_profile(endpoint.profile).retry
    except ConfigurationError:
        return None


def off_at(queue: EndpointQueue, policy: RetryPolicy | None) -> datetime | None:
    """When a failing endpoint is switched off unless a request succeeds; None where its policy does not say a time."""
    if policy is None or policy.disable_after is None or queue.failing_since is None or queue.not_before == IDLE:
        return None
    return queue.failing_since + policy.disable_after
