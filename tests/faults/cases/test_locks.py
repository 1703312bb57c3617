"""Somebody's open transaction holds a row or a table: everyone else's webhooks go on."""

from __future__ import annotations

import time

import pytest

from tests.faults.harness.fixtures import Play
from tests.faults.harness.stage import Stage

LOCK_QUEUE = "SELECT 1 FROM webhooks_app_endpointqueue WHERE endpoint_id = %s FOR UPDATE"


def emit_one_by_one(stage: Stage, group: str, count: int, pause: float) -> None:
    """So many events to this group, with a pause of so many seconds after each."""
    for _ in range(count):
        stage.host.call("emit", group, 1)
        time.sleep(pause)


def hold_a_queue_row(stage: Stage, seconds: float) -> None:
    """One customer's queue row is locked while events of theirs come."""
    [locked] = stage.customer("locked", 1, "locked")
    with stage.traffic(), stage.database.admin() as admin, admin.transaction():
        admin.execute(LOCK_QUEUE, (locked.public_id.removeprefix("wh_"),))
        emit_one_by_one(stage, "locked", 10, seconds / 10)


@pytest.mark.parametrize("worker", ["command", "celery"])
def test_a_queue_row_is_locked_for_20_seconds(stage: Stage, worker: str) -> None:
    stage.healthy()
    stage.command() if worker == "command" else (stage.celery(), stage.beat())
    hold_a_queue_row(stage, 20.0)
    stage.judge()


def test_a_queue_row_is_locked_and_the_database_has_a_lock_timeout(stage: Stage) -> None:
    stage.database.rows(f"ALTER DATABASE {stage.database.name} SET lock_timeout = '300ms'")
    stage.healthy()
    stage.command()
    hold_a_queue_row(stage, 8.0)
    stage.judge()


def test_pause_within_a_request_whose_transaction_stays_open(stage: Stage) -> None:
    stage.healthy()
    [paused] = stage.customer("careless", 1, "careless", owed=False)
    stage.command()
    stage.command()
    with stage.traffic():
        stage.host.call("act_and_hold", "pause", paused.public_id, 6.0)
        emit_one_by_one(stage, "careless", 12, 0.5)
    stage.judge()


def test_a_tenant_row_is_inserted_in_a_transaction_that_stays_open(stage: Stage) -> None:
    stage.healthy()
    stage.command()
    with stage.traffic():
        stage.host.call("sign_up_and_hold", "new", 6.0)
        time.sleep(0.3)
        emit_one_by_one(stage, "new", 12, 0.5)
    stage.judge()


def test_the_endpoint_table_is_locked_whole(stage: Stage) -> None:
    """What a migration does. Nobody can send meanwhile; everyone goes on at once afterwards."""
    stage.healthy()
    stage.command()
    with stage.traffic(), stage.database.admin() as admin, admin.transaction():
        admin.execute("LOCK TABLE webhooks_app_endpoint IN ACCESS EXCLUSIVE MODE")
        time.sleep(5.0)
    stage.judge(stall=5.0 + 2.0, by_nature=True)


def test_a_trigger_refuses_one_tenants_deliveries(play: Play) -> None:
    stage = play()
    stage.healthy()
    stage.customer("refused", 1, "refused", owed=False)
    stage.database.rows(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF EXISTS (SELECT 1 FROM webhooks_app_tenant WHERE id = NEW.tenant_id AND uid = 'refused') THEN "
        "RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$; "
        "CREATE TRIGGER refuse BEFORE INSERT ON webhooks_app_delivery FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    stage.command()
    with stage.traffic():
        emit_one_by_one(stage, "refused", 5, 1.0)
    stage.judge()
