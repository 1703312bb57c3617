"""Send again all that failed and fits the log's filters: how many, part by part, with an end."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial

import pytest
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from tests.factories import DeliveryFactory, EndpointFactory
from tests.visitors import visiting
from webhooks_app.dashboard.pages import bulk_retry as bulk_page
from webhooks_app.deliveries import bulk_retry
from webhooks_app.deliveries import log as report
from webhooks_app.models import AuditEntry, Delivery, DeliveryStatus, Endpoint
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]

RETRY = "/webhooks/deliveries/retry"


@pytest.fixture
def endpoint() -> Endpoint:
    return EndpointFactory()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two deliveries a part."""
    monkeypatch.setattr(bulk_page, "retry_part", partial(bulk_retry.retry_part, size=2))


def fields(page: str) -> dict[str, str]:
    """What the form's next sending carries."""
    names = ("asked_at", "position", "so_far", "total", "off", "held")
    given = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    return {name: given[name] for name in names if name in given}


def asked(client: Client, **query: str) -> str:
    answer = client.get(RETRY, query)
    assert answer.status_code == 200
    return answer.content.decode()


def sent(client: Client, page: str, address: str = RETRY, **more: str) -> str:
    answer = client.post(address, {**fields(page), **more})
    assert answer.status_code == 200
    return answer.content.decode()


def failed() -> QuerySet[Delivery]:
    return Delivery.objects.filter(status=DeliveryStatus.EXHAUSTED)


def several(endpoint: Endpoint, number: int, **values: object) -> list[Delivery]:
    return [DeliveryFactory(endpoint=endpoint, exhausted=True, **values) for _ in range(number)]


def test_it_asks_first_and_says_how_many(endpoint: Endpoint) -> None:
    several(endpoint, 3)
    several(EndpointFactory(tenant=endpoint.tenant, status="deleted"), 2)
    several(EndpointFactory(), 2)
    page = asked(visiting(endpoint.tenant))
    assert "<h2>3 deliveries</h2>" in page
    assert "Send them again" in page
    assert failed().count() == 7


def test_the_number_is_bounded(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "LOOKED_AT", 3)
    several(endpoint, 5)
    assert "<h2>More than 3 deliveries</h2>" in asked(visiting(endpoint.tenant))


def test_nothing_to_do_offers_nothing_to_do(endpoint: Endpoint) -> None:
    DeliveryFactory(endpoint=endpoint, succeeded=True)
    page = asked(visiting(endpoint.tenant))
    assert "Nothing to retry" in page
    assert "Send them again" not in page


@pytest.mark.usefixtures("small")
def test_it_goes_part_by_part_and_says_at_the_end_how_many(endpoint: Endpoint) -> None:
    several(endpoint, 5)
    client = visiting(endpoint.tenant)
    page = sent(client, asked(client))
    assert '<progress id="bar" value="2" max="5">' in page
    assert 'hx-trigger="load' in page
    assert "Continue" in page
    page = sent(client, page)
    assert failed().count() == 1
    assert "5 deliveries are sent again." in sent(client, page)
    assert not failed().exists()
    entries = AuditEntry.objects.filter(verb="deliveries.retried")
    assert sum(entry.detail["count"] for entry in entries) == 5


@pytest.mark.usefixtures("small")
def test_it_says_how_many_wait_for_endpoints_that_are_off_or_failing(endpoint: Endpoint) -> None:
    several(endpoint, 2)
    several(EndpointFactory(tenant=endpoint.tenant, status="disabled"), 2)
    several(EndpointFactory(tenant=endpoint.tenant, status="paused"), 1)
    several(
        EndpointFactory(tenant=endpoint.tenant, queue__failing_since=timezone.now(), queue__consecutive_failures=6), 1
    )
    client = visiting(endpoint.tenant)
    page = asked(client)
    while "to be sent again." not in page:
        page = sent(client, page)
    assert "6 deliveries are to be sent again. 3 wait until their endpoints, which are paused or switched off" in page
    assert "1 waits for its turn at an endpoint that is failing or held back." in page


def test_test_events_are_left_out(endpoint: Endpoint) -> None:
    several(endpoint, 2, event__is_test=True)
    client = visiting(endpoint.tenant)
    assert "Nothing to retry" in asked(client)
    several(endpoint, 1)
    page = asked(client)
    assert "<h2>1 delivery</h2>" in page
    assert "1 delivery is sent again." in sent(client, page)
    assert failed().count() == 2


@pytest.mark.usefixtures("small")
def test_it_can_be_stopped(endpoint: Endpoint) -> None:
    several(endpoint, 5)
    client = visiting(endpoint.tenant)
    page = sent(client, sent(client, asked(client)), stop="on")
    assert "Stopped" in page
    assert "2 deliveries are sent again." in page
    assert failed().count() == 3


@pytest.mark.usefixtures("small")
def test_what_fails_again_meanwhile_does_not_keep_it_going(endpoint: Endpoint) -> None:
    several(endpoint, 4)
    client = visiting(endpoint.tenant)
    page = asked(client)
    rounds = 0
    while "sent again." not in page:
        page = sent(client, page)
        pending = Delivery.objects.pending()
        pending.update(status=DeliveryStatus.EXHAUSTED, completed_at=timezone.now() + timedelta(seconds=1))
        rounds += 1
        assert rounds < 6
    assert "4 deliveries are sent again." in page


@pytest.mark.usefixtures("small")
def test_sending_the_same_part_twice_sends_nothing_twice(endpoint: Endpoint) -> None:
    several(endpoint, 3)
    client = visiting(endpoint.tenant)
    page = asked(client)
    sent(client, page)
    Delivery.objects.pending().update(status=DeliveryStatus.EXHAUSTED, completed_at=timezone.now())
    sent(client, page)
    assert Delivery.objects.pending().count() == 1  # the third, which had not been come to


def test_the_filters_hold(endpoint: Endpoint) -> None:
    wanted = several(endpoint, 1, event__type="a.wanted")
    several(endpoint, 2, event__type="a.other")
    client = visiting(endpoint.tenant)
    assert "<h2>1 delivery</h2>" in asked(client, type="a.wanted")
    page = sent(client, asked(client, type="a.wanted"), f"{RETRY}?type=a.wanted")
    assert "1 delivery is sent again." in page
    assert list(Delivery.objects.pending()) == wanted


def test_what_is_rare_is_looked_for_to_the_end(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "LOOKED_AT", 2)
    several(endpoint, 5, event__type="a.other")
    [rare] = several(endpoint, 1, event__type="a.rare")
    several(endpoint, 3, event__type="a.other")
    client = visiting(endpoint.tenant)
    page = asked(client, type="a.rare")
    assert "None among the newest" in page
    for _ in range(8):
        page = sent(client, page, f"{RETRY}?type=a.rare")
        if "sent again." in page:
            break
    assert "1 delivery is sent again." in page
    assert list(Delivery.objects.pending()) == [rare]


def test_viewers_may_not(endpoint: Endpoint) -> None:
    several(endpoint, 1)
    client = visiting(endpoint.tenant, Role.VIEWER)
    assert client.get(RETRY).status_code == 403
    assert client.post(RETRY).status_code == 403


@pytest.mark.parametrize(
    "nonsense",
    [{}, {"asked_at": "soon"}, {"so_far": "-1"}, {"position": "x"}, {"total": "9" * 40}, {"asked_at": "0001-01-01"}],
)
def test_a_made_up_form_asks_again(endpoint: Endpoint, nonsense: dict[str, str]) -> None:
    several(endpoint, 1)
    client = visiting(endpoint.tenant)
    given = {**fields(asked(client)), **nonsense} if nonsense else {}
    answer = client.post(RETRY, given)
    assert answer.status_code == 200
    assert "Send them again" in answer.content.decode()
    assert failed().count() == 1
