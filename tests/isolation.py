"""A scene in which one delivery does its worst, and the endpoint beside it, which must get its events all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

from tests.pipelines import endpoint_at, eventually, pending_event, running_engine
from tests.receiver import Receiver
from webhooks_app.models import Attempt, EndpointQueue, Engine

EVENTS = 4
Scene = Callable[[Receiver, ExitStack], object]


def the_endpoint_beside_it_is_served(receiver: Receiver, scene: Scene) -> None:
    """The bad one first: it is due earlier. Then events come one after the other, as they do."""
    good = endpoint_at(receiver, "/good", wire_format="slow")
    with ExitStack() as stack:
        scene(receiver, stack)
        with running_engine():
            engine = eventually(lambda: Engine.objects.first())
            for number in range(1, EVENTS + 1):
                pending_event(good.tenant)
                receiver.wait_for(number, path="/good")
            eventually(lambda: Attempt.objects.filter(endpoint_id=good.pk, outcome="succeeded").count() == EVENTS)
            assert Engine.objects.get() == engine, "it is the same engine that began"
            stack.close()
    ids = Counter(request.headers["webhook-id"] for request in receiver.requests if request.path == "/good")
    assert len(ids) == EVENTS
    assert set(ids.values()) == {1}
    assert not EndpointQueue.objects.filter(holder_id__isnull=False).exists()
    assert not EndpointQueue.objects.filter(crash_takeovers__gt=0).exists()
