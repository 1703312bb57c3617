"""A delivery whose request timed out while this process stood still."""

from __future__ import annotations

import pytest

from tests import transports
from tests.conftest import Configure
from tests.pipelines import deliver_until, endpoint_at, pending_event
from tests.receiver import Receiver
from tests.receiver_behaviours import Hang
from tests.stalls import stall
from webhooks_app.models import Attempt, Delivery, EndpointQueue

transport_name = transports.transport_name
shared_receiver = transports.shared_receiver
receiver = transports.receiver


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("pipeline")
def test_a_stall_uses_up_no_retry_and_no_health(receiver: Receiver, transport_name: str, configure: Configure) -> None:
    configure(TRANSPORT=transport_name)
    receiver.on("/hang", Hang())
    endpoint = endpoint_at(receiver, "/hang")  # its total timeout is one second
    pending_event(endpoint.tenant)
    stalled = []

    def recorded() -> bool:
        if not stalled and receiver.requests:
            stalled.append(True)
            with stall(0.0, 1.8):
                pass
        return Attempt.objects.exists()

    deliver_until(recorded)
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.retry_step, delivery.last_outcome) == ("pending", 0, "not_sent")
    assert EndpointQueue.objects.get(pk=endpoint.pk).consecutive_failures == 0
