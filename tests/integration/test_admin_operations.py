"""The operations page: what waits, what fails, who works; and its sums for the charts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from tests.customer import Customer, deliver
from tests.factories import DeliveryFactory, EndpointFactory, EngineFactory, EventFactory, TenantFactory
from tests.staff import page, pages, staff, superuser, text_of, viewer
from webhooks_app.admin.operations import STUCK_AFTER
from webhooks_app.models import EndpointQueue, HourlyStat, database_now

pytestmark = pytest.mark.django_db

URL = "/admin/webhooks_app/engine/operations/"


def context(**asked: str) -> dict:
    return superuser().get(URL, asked).context


def test_it_has_a_permission_of_its_own_and_links_lead_to_it():
    assert reverse("admin:webhooks_app_operations") == URL
    assert viewer().get(URL).status_code == 403
    assert staff("view_operations").get(URL).status_code == 200
    client = viewer("view_operations")
    for url in (reverse("admin:app_list", args=("webhooks_app",)), pages("delivery"), pages("endpoint")):
        assert URL in text_of(client, url)
        assert URL not in text_of(viewer(), url)


def test_nothing_to_tell_is_no_error():
    shown = text_of(superuser(), URL)
    assert shown.count("None.") >= 4
    assert "Nothing in this time" in shown


def test_the_backlog_is_counted_and_as_old_as_its_oldest():
    now = database_now("default")
    old = now - timedelta(hours=2)
    DeliveryFactory.create_batch(2, endpoint=EndpointFactory(queue__due_at=old))
    EndpointFactory(queue__due_at=now - timedelta(minutes=1))
    EventFactory(fanned_out_at=None)
    EventFactory(fanned_out_at=None)
    seen = context()
    report = seen["report"]
    assert (report.pending, report.waiting.queues, report.waiting.events) == (2, 2, 2)
    assert abs(report.waiting.oldest_due - old) < timedelta(seconds=1)
    assert report.waiting.oldest_event is not None
    assert seen["stuck"] is True
    assert "Is a worker running?" in text_of(superuser(), URL)


def test_an_idle_system_without_engines_is_no_alarm():
    EndpointFactory()
    assert context()["stuck"] is False


def test_work_that_just_came_is_no_alarm_where_no_engine_runs():
    """Engines go when they are idle; a hint or a sweep brings one back."""
    now = database_now("default")
    EndpointFactory(queue__due_at=now - timedelta(seconds=7))
    EventFactory(fanned_out_at=None, created_at=now - timedelta(seconds=7))
    assert context()["stuck"] is False
    shown = text_of(superuser(), URL)
    assert "Is a worker running?" not in shown
    assert "None at the moment: they start when there is work." in shown


@pytest.mark.parametrize("what", ["queue", "event"])
def test_work_that_a_sweep_would_have_found_is_an_alarm(what):
    long_ago = database_now("default") - STUCK_AFTER - timedelta(seconds=5)
    if what == "queue":
        EndpointFactory(queue__due_at=long_ago)
    else:
        EventFactory(fanned_out_at=None, created_at=long_ago)
    assert context()["stuck"] is True
    shown = text_of(superuser(), URL)
    assert "Is a worker running?" in shown
    assert "None at the moment" not in shown


def test_the_spans_have_units_and_the_line_says_what_it_is():
    shown = text_of(superuser(), URL, hours="72")
    for words in ("6 hours", "24 hours", "<strong>3 days</strong>", "7 days", "Requests:"):
        assert words in shown, words


def test_a_failing_endpoint_is_named_by_its_tenant_and_url():
    now = database_now("default")
    tenant = TenantFactory(uid="acme:1", name="Acme Ltd")
    endpoint = EndpointFactory(
        tenant=tenant,
        url="https://acme.example/in",
        queue__consecutive_failures=9,
        queue__failing_since=now - timedelta(days=1),
    )
    shown = text_of(superuser(), URL)
    table = shown[shown.index('id="failing-heading"') :]
    table = table[: table.index("</table>")].replace("<wbr>", "")
    assert table.index("Acme Ltd") < table.index("https://acme.example/in")
    assert endpoint.public_id not in table
    assert page(endpoint) in table


def test_failing_endpoints_tell_how_long_they_have_and_the_longest_comes_first():
    now = database_now("default")
    for days in (1, 3):
        EndpointFactory(
            url=f"https://{days}.example/",
            queue__consecutive_failures=days + 4,
            queue__failing_since=now - timedelta(days=days),
        )
    EndpointFactory(url="https://well.example/")
    longest, shorter = context()["report"].failing
    assert (longest.endpoint.url, shorter.endpoint.url) == ("https://3.example/", "https://1.example/")
    assert longest.off_at - now > timedelta(days=1)
    assert longest.off_at - now < timedelta(days=3)
    assert (longest.breaker_open, shorter.breaker_open) == (True, True)
    shown = text_of(superuser(), page(longest.endpoint))
    assert "The last 7 requests failed." in shown
    assert "Without a success it is disabled on" in shown


def test_engines_and_what_they_hold():
    now = database_now("default")
    alive = EngineFactory(host="worker-1", alive_until=now + timedelta(seconds=20), kind="celery")
    EngineFactory(host="worker-2", alive_until=now - timedelta(minutes=5))
    mine = EndpointFactory(url="https://held.example/", queue__due_at=now, queue__holder_id=alive.pk)
    EndpointFactory(queue__due_at=now, queue__holder_id=EngineFactory._meta.model().pk)
    report = context()["report"]
    assert {state.engine.host: (state.alive, state.held) for state in report.engines} == {
        "worker-1": (True, 1),
        "worker-2": (False, 0),
    }
    assert {(one.queue.pk == mine.pk, one.engine) for one in report.held} == {(True, alive), (False, None)}
    shown = text_of(superuser(), URL)
    assert "worker-1" in shown
    assert "an engine that is gone" in shown


def test_reasons_are_shown_to_those_who_may_see_payloads():
    EventFactory(quarantine_reason="There is no event type 'x'.", type="x")
    assert "no event type" in text_of(viewer("view_operations", "view_payload"), URL)
    shown = text_of(viewer("view_operations"), URL)
    assert "no event type" not in shown
    assert "it may quote the payload" in shown


@pytest.mark.parametrize(
    ("asked", "hours"), [({}, 24), ({"hours": "72"}, 72), ({"hours": "nonsense"}, 24), ({"hours": "1e9"}, 24)]
)
def test_how_far_back_is_the_readers_choice(asked, hours):
    assert len(context(**asked)["report"].hours) == hours


@pytest.mark.django_db(transaction=True)
def test_what_was_sent_is_in_the_charts_and_their_tables():
    with Customer() as customer:
        customer.receiver.on("/hook", [200, 500])
        customer.endpoint()
        customer.emit_several(2)
        deliver()
    shown = text_of(superuser(), URL)
    assert "2 requests in 24 hours, 1 of them failed." in shown
    assert 'class="chart-server_error"' in shown
    assert "<summary>Show as a table</summary>" in shown


def test_all_of_it_takes_a_bounded_number_of_queries(django_assert_max_num_queries):
    now = database_now("default")
    for number in range(30):
        endpoint = EndpointFactory(
            queue__consecutive_failures=9, queue__failing_since=now, queue__due_at=now, queue__holder_id=None
        )
        HourlyStat.objects.create(
            endpoint=endpoint, hour=now.replace(minute=0, second=0, microsecond=0), succeeded=number
        )
    EndpointQueue.objects.update(holder_id=EngineFactory(alive_until=now).pk)
    client = superuser()
    with django_assert_max_num_queries(18):
        assert client.get(URL).status_code == 200
