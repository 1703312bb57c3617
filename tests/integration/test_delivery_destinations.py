"""What one tenant sends to one host: limits over all of its endpoints there, and what they do not hold up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from tests.authentication import TokenServer, issued
from tests.customer import Customer, statuses
from tests.pipelines import deliver_until, eventually, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Answer, Behaviour, Hang
from webhooks_app.engine.options import EngineOptions
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Busy(Behaviour):
    """Answers after a while; `most` is how many requests it was busy with at once."""

    seconds: float = 0.05
    answer: Answer = field(default_factory=Answer)
    busy: int = field(default=0, init=False)
    most: int = field(default=0, init=False)

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(self.seconds)
        self.busy -= 1
        return await self.answer.play(writer)


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


@pytest.fixture
def neighbour() -> Iterator[Customer]:
    """Another customer with a receiver of its own."""
    with Customer() as customer:
        yield customer


def started() -> list[float]:
    return [at.timestamp() for at in Attempt.objects.order_by("started_at").values_list("started_at", flat=True)]


@pytest.fixture
def hosts() -> Iterator[list[Receiver]]:
    """Eight more hosts: a host with another port is another one."""
    with ExitStack() as stack:
        yield [stack.enter_context(Receiver()) for _ in range(8)]


def with_token_server(customer: Customer, hosts: list[Receiver], server: Receiver, behaviour: Behaviour) -> None:
    """Two endpoints of the customer at each host, with tokens from one server."""
    for host in hosts:
        for number in range(2):
            server.on(f"/token-{number}", behaviour)
            authentication = client_credentials(server.url(f"/token-{number}"))
            endpoint = customer.endpoint(f"/hook-{number}", authentication=authentication)
            Endpoint.objects.filter(pk=endpoint.pk).update(url=host.url(f"/hook-{number}"))


def client_credentials(token_url: str) -> dict[str, str]:
    return {"kind": "client_credentials", "token_url": token_url, "client_id": "a", "client_secret": "b"}


def limited(**values: int) -> EngineOptions:
    return EngineOptions(**{"host_in_flight": 0, "host_rate": 0, **values})


def deliver_all(count: int, options: EngineOptions | None = None) -> None:
    deliver_until(lambda: Delivery.objects.filter(status="succeeded").count() == count, options=options)


def test_many_endpoints_at_one_host_share_its_requests_in_flight(customer):
    busy = Busy()
    for number in range(20):
        customer.endpoint(f"/hook-{number}")
        customer.receiver.on(f"/hook-{number}", busy)
    customer.emit_several(8)
    deliver_all(160, limited(host_in_flight=4))
    assert busy.most == 4
    assert (statuses(), len(customer.received)) == ({"succeeded"}, 160)
    assert not Attempt.objects.exclude(outcome="succeeded").exists()
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}, "waiting used no retry"


def test_many_endpoints_at_one_host_share_its_requests_a_second(customer):
    for number in range(20):
        customer.endpoint(f"/hook-{number}")
    customer.emit_several(8)
    deliver_all(160, limited(host_rate=50))
    times = started()
    assert len(times) == 160
    most = max(sum(start <= moment < start + 1 for moment in times) for start in times)
    assert most <= 110, "a second's worth at once, and the rate"
    assert 1.5 < times[-1] - times[0] < 12, "and the rate is used"


def test_callback_urls_at_one_host_share_its_limits(customer):
    busy = Busy()
    for number in range(40):
        customer.receiver.on(f"/{number}", busy)
        customer.emit(callback_url=customer.receiver.url(f"/{number}"))
    deliver_all(40, limited(host_in_flight=3))
    assert (busy.most, statuses(), len(customer.received)) == (3, {"succeeded"}, 40)


def test_the_same_host_of_another_tenant_and_another_host_of_the_tenant_do_not_wait(customer, neighbour):
    for number in range(30):
        customer.endpoint(f"/hangs-{number}")
        customer.receiver.on(f"/hangs-{number}", Hang())
    customer.emit()
    with running_engine(options=limited(host_in_flight=2)):
        eventually(lambda: len(customer.received) == 2)
        # The same tenant elsewhere, and another tenant at the host that hangs.
        Endpoint.objects.filter(pk=customer.endpoint("/elsewhere").pk).update(url=neighbour.receiver.url("/elsewhere"))
        Endpoint.objects.filter(pk=neighbour.endpoint("/shared").pk).update(url=customer.receiver.url("/shared"))
        customer.emit({"n": 2})
        neighbour.emit({"n": 3})
        eventually(lambda: {request.path for request in neighbour.received} == {"/elsewhere"})
        eventually(lambda: "/shared" in {request.path for request in customer.received})
        assert len([request for request in customer.received if request.path != "/shared"]) == 2


def test_token_requests_share_the_limits_of_their_host(customer, neighbour, hosts):
    """The endpoints are on eight hosts, with one token server."""
    tokens = Busy(answer=issued())
    with_token_server(customer, hosts, neighbour.receiver, tokens)
    customer.emit_several(3)
    deliver_all(48, limited(host_in_flight=2))
    assert (tokens.most, len(neighbour.received)) == (2, 16)
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}, "waiting used no retry"


def test_two_hosts_that_are_the_token_server_of_each_other_do_not_block_each_other(customer, hosts):
    busy = Busy(answer=issued())
    with_token_server(customer, [hosts[0]], hosts[1], busy)
    with_token_server(customer, [hosts[1]], hosts[0], busy)
    customer.emit_several(3)
    deliver_all(12, limited(host_in_flight=1))
    assert len(hosts[0].requests) == len(hosts[1].requests) == 8


def test_token_requests_to_the_endpoint_s_own_host_do_not_wait_for_themselves(customer):
    busy = Busy(answer=issued())
    for number in range(6):
        customer.receiver.on(f"/token-{number}", busy).on(f"/hook-{number}", busy)
        authentication = client_credentials(customer.receiver.url(f"/token-{number}"))
        customer.endpoint(f"/hook-{number}", authentication=authentication)
    customer.emit_several(3)
    deliver_all(18, limited(host_in_flight=1))
    assert (busy.most, len(customer.received)) == (1, 24)


@pytest.mark.processes
def test_token_requests_to_a_host_that_hangs_use_no_more_than_its_limit(customer, neighbour, hosts):
    with_token_server(customer, hosts, neighbour.receiver, Hang())
    customer.emit()
    with running_engine(options=limited(host_in_flight=2)):
        eventually(lambda: len(neighbour.received) == 2)
        held = EndpointQueue.objects.filter(holder_id__isnull=False)
        eventually(lambda: held.count() == 2)
        customer.endpoint("/without-a-token")
        customer.emit({"n": 2})
        eventually(lambda: [request.path for request in customer.received] == ["/without-a-token"])
        assert set(Delivery.objects.pending().values_list("attempts", flat=True)) == {0}


def test_token_requests_share_the_rate_of_their_host(customer, neighbour, hosts):
    with_token_server(customer, hosts, neighbour.receiver, issued())
    customer.emit()
    deliver_all(16, limited(host_rate=6))
    times = sorted(request.time for request in neighbour.received)
    assert len(times) == 16
    assert times[-1] - times[0] > 1.4, "a second's worth at once, the others at the rate"


def test_a_refused_token_is_replaced_within_the_limits_of_the_token_server(customer, neighbour):
    tokens = TokenServer(neighbour.receiver)
    customer.receiver.on("/hook", tokens.check)
    for _ in range(6):
        customer.endpoint("/hook", authentication=tokens.options())
    customer.emit()
    options = limited(host_in_flight=1)
    deliver_all(6, options)
    tokens.revoke_all()
    customer.emit({"n": 2})
    deliver_all(12, options)
    assert len(tokens.asked) == 12


@pytest.mark.processes
def test_queues_that_wait_for_their_host_give_their_leases_back(customer):
    for number in range(30):
        customer.endpoint(f"/hangs-{number}")
        customer.receiver.on(f"/hangs-{number}", Hang())
    customer.emit()
    with running_engine(options=limited(host_in_flight=2)):
        eventually(lambda: len(customer.received) == 2)
        held = EndpointQueue.objects.filter(holder_id__isnull=False)
        eventually(lambda: held.count() == 2)
        assert not EndpointQueue.objects.filter(failing_since__isnull=False).exists()
        assert set(Delivery.objects.pending().values_list("attempts", flat=True)) == {0}


def test_the_default_limits_are_those_of_the_settings(settings):
    settings.WEBHOOKS = {key: value for key, value in settings.WEBHOOKS.items() if key != "LIMITS"}
    options = EngineOptions()
    assert (options.host_in_flight, options.host_rate) == (32, 200)


def test_with_the_defaults_twenty_endpoints_are_no_cannon(customer, settings):
    """20 endpoints of one tenant at one host, and a batch: each endpoint alone may have 8 requests in flight."""
    settings.WEBHOOKS = {**settings.WEBHOOKS, "LIMITS": {}}
    busy = Busy(0.2)
    for number in range(20):
        customer.endpoint(f"/hook-{number}")
        customer.receiver.on(f"/hook-{number}", busy)
    customer.emit_several(15)
    deliver_all(300)
    assert (busy.most, len(customer.received)) == (32, 300)
