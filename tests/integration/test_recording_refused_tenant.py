"""What the database refuses of one tenant costs only that tenant, also if the error looks like a missing migration."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import pytest

from tests.factories import DeliveryFactory
from tests.integration.test_recording_once import recorder_of
from tests.pipelines import due_delivery, endpoint_at, eventually, held_endpoint, running_engine
from tests.receiver import Receiver
from tests.refused_rows import before_its_migration, host_column, refused, row_level_security
from webhooks_app.core.retry import Decision, DeliveryVerdict, Outcome, OutcomeKind
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.record import Recorder
from webhooks_app.engine.types import Result
from webhooks_app.models import Attempt, Delivery, Endpoint, HourlyStat, Notification

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

#: Results of the refused tenant, and of others, in each batch.
REFUSED, OTHERS = 20, 4
#: The steps that may pass until the results of the others in a batch are recorded: it is halved to find the refused tenant.
FEW_STEPS = 12


def column_of_the_host(endpoint: Endpoint) -> AbstractContextManager[None]:
    Endpoint.objects.filter(pk=endpoint.pk).update(url="https://refused.example/hook")
    return host_column("host", "^https?://(?!refused)[^/]+")


def policy_on_attempts(endpoint: Endpoint) -> AbstractContextManager[None]:
    return row_level_security("webhooks_app_attempt", f"endpoint_id <> '{endpoint.pk}'")


def policy_on_deliveries(endpoint: Endpoint) -> AbstractContextManager[None]:
    return row_level_security("webhooks_app_delivery", f"endpoint_id <> '{endpoint.pk}' OR status = 'pending'")


def trigger_on_attempts(endpoint: Endpoint) -> AbstractContextManager[None]:
    return refused("webhooks_app_attempt", "endpoint_id", endpoint.pk)


on_postgresql = partial(pytest.param, marks=pytest.mark.postgres)

REFUSALS = [
    on_postgresql(column_of_the_host),
    on_postgresql(policy_on_attempts),
    on_postgresql(policy_on_deliveries),
    trigger_on_attempts,
]


def all_recorded(recorder: Recorder) -> bool:
    recorder.step(at_once=False)
    return not recorder.unrecorded


def pending(deliveries: list[Delivery]) -> int:
    return Delivery.objects.filter(id__in=[delivery.pk for delivery in deliveries]).pending().count()


def exhausted(result: Result) -> Result:
    return replace(result, outcome=Outcome(OutcomeKind.CLIENT_ERROR, 404), decision=Decision(DeliveryVerdict.GIVE_UP))


@pytest.mark.parametrize("refusal", REFUSALS)
def test_others_are_recorded_without_waiting(
    refusal: Callable[[Endpoint], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = held_endpoint()
    turns = 6
    with refusal(endpoint):
        bad = [DeliveryFactory(endpoint=endpoint) for _ in range(REFUSED * turns)]
        good = [DeliveryFactory(endpoint=held_endpoint()) for _ in range(OTHERS * turns)]
        recorder, results = recorder_of([*bad, *good], [])
        for turn in range(turns):
            now = good[turn * OTHERS :][:OTHERS]
            first_good = len(bad) + turn * OTHERS
            recorder.add([*results[turn * REFUSED :][:REFUSED], *results[first_good:][:OTHERS]])
            steps = 0
            while pending(now):
                recorder.step(at_once=False)
                steps += 1
                assert steps <= FEW_STEPS
        eventually(partial(all_recorded, recorder))
    assert Attempt.objects.count() == len(good)
    assert not pending(good)
    if refusal is policy_on_deliveries:
        assert recorder.dropped == pending(bad) == len(bad)
        assert "is lost" in caplog.text
    else:
        assert not pending(bad)
        assert not recorder.dropped
        assert sum(stat.succeeded for stat in HourlyStat.objects.all()) == len(results)
        assert "the database refuses the attempt;" in caplog.text


@pytest.mark.postgres
def test_a_policy_that_refuses_nothing_costs_no_attempt() -> None:
    """PostgreSQL does not copy into a table with row-level security."""
    rows = [DeliveryFactory(endpoint=held_endpoint()) for _ in range(5)]
    recorder, results = recorder_of(rows, [])
    with row_level_security("webhooks_app_attempt", "true"):
        recorder.add([replace(result, response_body=b"thanks") for result in results])
        eventually(partial(all_recorded, recorder))
    assert [bytes(attempt.response_body) for attempt in Attempt.objects.all()] == [b"thanks"] * 5


@pytest.mark.postgres
def test_an_engine_goes_on_with_the_others(receiver: Receiver) -> None:
    """Its queues are released after a while, and wait until their results are recorded."""
    bad = [endpoint_at(receiver, "/refused") for _ in range(3)]
    neighbour = endpoint_at(receiver, "/neighbour")
    sent = 0
    with host_column("host", "^.*/neighbour$"), running_engine(options=EngineOptions(longest_lease=0.5)):
        for _ in range(10):
            for endpoint in bad * 7:
                due_delivery(endpoint)
                sent += 1
            delivery = due_delivery(neighbour)
            eventually(lambda wanted=delivery: not pending([wanted]))
        eventually(lambda: not Delivery.objects.pending().exists())
    assert len(receiver.requests) == sent + 10
    assert Attempt.objects.count() == 10


@pytest.mark.postgres
def test_a_lone_tenant_waits_until_rows_of_others_show_the_cause() -> None:
    """Until then, a missing migration may be to blame."""
    endpoint = held_endpoint()
    with policy_on_attempts(endpoint):
        bad, good = DeliveryFactory(endpoint=endpoint), DeliveryFactory(endpoint=held_endpoint())
        recorder, results = recorder_of([bad, good], [])
        recorder.add(results[:1])
        for _ in range(5):
            recorder.step(at_once=False)
        assert pending([bad])
        recorder.add(results[1:])
        eventually(partial(all_recorded, recorder))
    assert Attempt.objects.get().delivery_id == good.pk
    assert not pending([bad])


class TestAMissingMigration:
    """Everybody's rows are refused. They wait, and all of them are recorded in the end."""

    def test_is_waited_for_by_many_tenants(self, caplog: pytest.LogCaptureFixture) -> None:
        rows = [DeliveryFactory(endpoint=held_endpoint()) for _ in range(30)]
        recorder, results = recorder_of(rows, [])
        with before_its_migration("webhooks_app_attempt", "response_truncated"):
            for part in range(0, 30, 10):
                recorder.add(results[part : part + 10])
                for _ in range(40):
                    recorder.step(at_once=False)
            assert pending(rows) == recorder.unrecorded == 30
        eventually(partial(all_recorded, recorder))
        assert Attempt.objects.count() == 30
        assert not pending(rows)
        assert "was `migrate` run?" in caplog.text

    def test_is_waited_for_although_rows_of_one_tenant_are_refused(self) -> None:
        endpoint = held_endpoint()
        with trigger_on_attempts(endpoint):
            bad = [DeliveryFactory(endpoint=endpoint) for _ in range(REFUSED)]
            good = [DeliveryFactory(endpoint=held_endpoint()) for _ in range(2 * OTHERS)]
            recorder, results = recorder_of([*bad, *good], [])
            recorder.add(results[:-OTHERS])
            eventually(partial(all_recorded, recorder))
            with before_its_migration("webhooks_app_attempt", "response_truncated"):
                recorder.add(results[-OTHERS:])
                for _ in range(20):
                    recorder.step(at_once=False)
                assert pending(good) == OTHERS
            eventually(partial(all_recorded, recorder))
        assert Attempt.objects.count() == len(good)

    def test_is_waited_for_if_only_other_kinds_of_rows_are_accepted(self) -> None:
        rows = [DeliveryFactory(endpoint=held_endpoint()) for _ in range(10)]
        recorder, results = recorder_of(rows, [])
        with before_its_migration("webhooks_app_notification", "reason"):
            recorder.add([exhausted(result) for result in results[:2]])
            for result in results[2:]:
                recorder.add([result])
                recorder.step(at_once=False)
            for _ in range(20):
                recorder.step(at_once=False)
            assert pending(rows[:2]) == 2
            assert not pending(rows[2:])
        eventually(partial(all_recorded, recorder))
        assert Notification.objects.count() == 2
