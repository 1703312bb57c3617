"""Whatever bytes a receiver sends, its attempt is recorded, and the endpoint beside it gets its events, once.

FUZZ in the environment is the number of broken responses, if it is more than every day.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from tests import transports
from tests.broken_responses import broken_response
from tests.conftest import Configure
from tests.factories import TenantFactory
from tests.pipelines import due_delivery, endpoint_at, eventually, pending_event, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Raw
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.models import Attempt, Delivery, Engine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]
transport_name = transports.transport_name

NUMBER = max(120, int(os.environ.get("FUZZ", "0")))
#: What a broken response may be: a success or a refusal if it is valid up to the end of its headers, else the receiver's failure.
THEIRS = {kind.value for kind in OutcomeKind} - {OutcomeKind.NOT_SENT.value}


def test_every_response_is_recorded(
    receiver: Receiver, configure: Configure, transport_name: str, tried: Callable[[int], None]
) -> None:
    """A failing one names its seed: it is the last part of the URL."""
    configure(TRANSPORT=transport_name)
    hostile, neighbour = TenantFactory(), endpoint_at(receiver, "/beside")
    for seed in range(NUMBER):
        receiver.on(f"/{seed}", Raw(broken_response(random.Random(seed))))
        due_delivery(endpoint_at(receiver, f"/{seed}", tenant=hostile, wire_format="once"))
    events = [pending_event(neighbour.tenant) for _ in range(20)]
    theirs = Delivery.objects.filter(tenant=hostile)
    with running_engine():
        eventually(lambda: not theirs.filter(status="pending").exists(), patience=60.0)
        eventually(lambda: neighbour.deliveries.filter(status="succeeded").count() == len(events))
        assert Engine.objects.count() == 1
    attempts = Attempt.objects.filter(tenant=hostile)
    assert {url.rpartition("/")[2] for url in attempts.values_list("url", flat=True)} == set(map(str, range(NUMBER)))
    assert set(attempts.values_list("outcome", flat=True)) <= THEIRS
    assert not attempts.filter(detail__contains="stored").exists(), "each was stored with its response"
    beside = [request.headers["webhook-id"] for request in receiver.requests if request.path == "/beside"]
    assert sorted(beside) == sorted(event.public_id for event in events)
    tried(NUMBER)
