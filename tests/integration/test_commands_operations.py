"""The commands webhooks_key, webhooks_schedule and webhooks_reencrypt."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from tests.factories import SECRET, EndpointFactory, SecretFactory
from tests.outages import watched_statements
from webhooks_app.core.encryption import KeyRing, new_key
from webhooks_app.models import Endpoint, Secret

NAMES = {"webhooks_app.sweep", "webhooks_app.repair", "webhooks_app.send_notifications", "webhooks_app.prune"}


def run(*args: str) -> str:
    out = StringIO()
    call_command(*args, stdout=out)
    return out.getvalue()


def test_a_new_key_is_printed_alone_and_works():
    first, second = run("webhooks_key"), run("webhooks_key")
    assert first != second
    assert first.count("\n") == 1
    ring = KeyRing((first.strip(),))
    assert ring.open(ring.seal("text", "here"), "here") == "text"


def test_a_key_can_be_made_where_none_is_set(settings):
    settings.WEBHOOKS = {"ENCRYPTION_KEYS": []}
    assert run("webhooks_key")


@pytest.mark.django_db
def test_the_schedule_is_put_once_and_repeating_changes_nothing():
    said = run("webhooks_schedule")
    assert said.count("\n") == 1
    assert "created webhooks_app.sweep" in said
    rows = {row.name: row for row in PeriodicTask.objects.filter(name__startswith="webhooks_app.")}
    assert rows.keys() == NAMES
    sweep = rows["webhooks_app.sweep"]
    assert (sweep.task, sweep.queue, sweep.expire_seconds, sweep.enabled) == (
        "webhooks_app.sweep",
        "webhooks",
        None,
        True,
    )
    assert (sweep.interval.every, sweep.interval.period) == (3, IntervalSchedule.SECONDS)
    assert "kept" in run("webhooks_schedule")
    assert PeriodicTask.objects.filter(name__startswith="webhooks_app.").count() == len(NAMES)


@pytest.mark.django_db
def test_what_an_operator_changed_stays(settings):
    run("webhooks_schedule")
    slow = IntervalSchedule.objects.create(every=5, period=IntervalSchedule.MINUTES)
    PeriodicTask.objects.filter(name="webhooks_app.prune").update(interval=slow, enabled=False)
    settings.WEBHOOKS = {**settings.WEBHOOKS, "CELERY_QUEUE": "other"}
    assert "changed" in run("webhooks_schedule")
    row = PeriodicTask.objects.get(name="webhooks_app.prune")
    assert (row.interval, row.enabled, row.queue, row.expire_seconds) == (slow, False, "other", None)


@pytest.mark.django_db
def test_rows_of_an_earlier_version_are_brought_up_to_date():
    run("webhooks_schedule")
    former = IntervalSchedule.objects.create(every=10, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.filter(name="webhooks_app.sweep").update(interval=former, expire_seconds=10)
    assert "changed webhooks_app.sweep" in run("webhooks_schedule")
    row = PeriodicTask.objects.get(name="webhooks_app.sweep")
    assert (row.interval.every, row.expire_seconds) == (3, None)
    assert "kept" in run("webhooks_schedule")


@pytest.mark.django_db
def test_an_interval_that_is_there_twice_is_no_obstacle():
    IntervalSchedule.objects.create(every=3, period=IntervalSchedule.SECONDS)
    IntervalSchedule.objects.create(every=3, period=IntervalSchedule.SECONDS)
    run("webhooks_schedule")


@pytest.mark.django_db
def test_the_schedule_can_be_taken_out():
    run("webhooks_schedule")
    assert "removed" in run("webhooks_schedule", "--remove")
    assert not PeriodicTask.objects.filter(name__in=NAMES).exists()
    assert run("webhooks_schedule", "--remove") == "Schedule: nothing to do.\n"


def test_without_django_celery_beat_the_command_says_what_to_do(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_celery_beat"]
    with pytest.raises(CommandError, match="INSTALLED_APPS"):
        run("webhooks_schedule")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("command", "model"),
    [
        (("webhooks_schedule",), PeriodicTask),
        (("webhooks_schedule", "--remove"), PeriodicTask),
        (("webhooks_reencrypt",), Secret),
    ],
)
def test_before_migrate_a_command_says_what_to_do(command, model, monkeypatch):
    monkeypatch.setattr(model._meta, "db_table", "not_there_yet")
    with pytest.raises(CommandError, match=r"manage\.py migrate"):
        run(*command)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "command", [("webhooks_schedule",), ("webhooks_reencrypt",), ("webhooks_api_key", "list", "--tenant=acme")]
)
def test_a_command_says_in_one_line_that_the_database_is_away(command):
    def fail(sql: str) -> None:
        raise OperationalError("connection failed:\nFATAL: no login for you")

    with (
        watched_statements(fail, thread=None),
        pytest.raises(CommandError, match=r"\(connection failed: FATAL") as caught,
    ):
        run(*command)
    assert caught.value.returncode == 1


@pytest.mark.django_db
def test_everything_sealed_is_sealed_anew_with_the_newest_key(settings):
    old = settings.WEBHOOKS["ENCRYPTION_KEYS"]
    endpoint = EndpointFactory(headers={"X-Token": "t"})
    EndpointFactory()
    newest = new_key()
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": [newest, *old]}
    assert run("webhooks_reencrypt") == "3 reencrypted, 0 had the newest key, 0 unreadable.\n"
    assert run("webhooks_reencrypt") == "0 reencrypted, 3 had the newest key, 0 unreadable.\n"
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": [newest]}
    assert Endpoint.objects.get(pk=endpoint.pk).custom_headers() == {"X-Token": "t"}
    assert {secret.reveal() for secret in Secret.objects.all()} == {SECRET}


@pytest.mark.django_db
def test_resealing_goes_on_past_what_cannot_be_read_and_says_so(settings):
    lost = SecretFactory()
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": [new_key()]}
    SecretFactory(tenant=lost.tenant)
    before = Secret.objects.get(pk=lost.pk).value
    with pytest.raises(CommandError, match=r"0 reencrypted, 1 had the newest key, 1 unreadable\. Put the keys"):
        run("webhooks_reencrypt")
    assert Secret.objects.get(pk=lost.pk).value == before


@pytest.mark.django_db
def test_resealing_without_a_key_says_what_to_do(settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": []}
    with pytest.raises(CommandError, match="webhooks_key"):
        call_command("webhooks_reencrypt", skip_checks=True)
