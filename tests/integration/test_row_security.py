"""Row level security that hides rows from the engines' role is told: nothing else would say why nothing is delivered."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from io import StringIO

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connection, connections

from tests.customer import Customer
from webhooks_app.engine import silent_faults
from webhooks_app.engine.faults import FaultLog
from webhooks_app.models.row_security import row_security_fault

ROLE = f"webhooks_shop_{os.getpid()}"
TABLE = "webhooks_app_event"
BY_SESSION = f"CREATE POLICY by_session ON {TABLE} USING (tenant_uid = current_setting('shop.tenant', true))"
ALL_ROWS = f"CREATE POLICY all_rows ON {TABLE} TO {ROLE} USING (true)"

Become = Callable[..., None]


@pytest.fixture
def become(db: None) -> Iterator[Become]:
    """Run these statements, and go on as a role of a host, until the test's transaction is rolled back."""

    def become(*statements: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {ROLE}")
            cursor.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}")
            for statement in statements:
                cursor.execute(statement)
            cursor.execute(f"SET LOCAL ROLE {ROLE}")

    yield become
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")


@pytest.fixture(autouse=True)
def _first_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silent_faults, "_known", set())


ENABLE = f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY"


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("statements", "hidden"),
    [
        ((), False),
        ((BY_SESSION,), False),
        ((ENABLE,), True),
        ((ENABLE, BY_SESSION), True),
        ((ENABLE, BY_SESSION, ALL_ROWS), False),
        ((ENABLE, BY_SESSION, ALL_ROWS.replace(ROLE, "PUBLIC")), False),
        ((ENABLE, BY_SESSION, ALL_ROWS.replace(ROLE, "pg_monitor")), True),
        ((ENABLE, BY_SESSION, f"{ALL_ROWS} WITH CHECK (false)"), True),
        ((ENABLE, BY_SESSION, ALL_ROWS.replace("TO", "FOR SELECT TO")), True),
        ((ENABLE, ALL_ROWS, BY_SESSION.replace("USING", "AS RESTRICTIVE USING")), True),
        ((ENABLE, BY_SESSION, f"ALTER ROLE {ROLE} BYPASSRLS"), False),
        ((ENABLE, BY_SESSION, f"ALTER TABLE {TABLE} OWNER TO {ROLE}"), False),
        (
            (
                ENABLE,
                BY_SESSION,
                f"ALTER TABLE {TABLE} OWNER TO {ROLE}",
                f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY",
            ),
            True,
        ),
    ],
)
def test_which_policies_hide_rows(become: Become, statements: tuple[str, ...], hidden: bool) -> None:
    become(*statements)
    fault = row_security_fault("default")
    assert bool(fault) is hidden
    assert not hidden or f"hide rows of {TABLE} from the role '{ROLE}'" in fault


@pytest.mark.postgres
def test_the_check_the_status_and_the_log_say_so(become: Become, caplog: pytest.LogCaptureFixture) -> None:
    become(ENABLE, BY_SESSION)
    (found,) = (each for each in run_checks(tags=["database"], databases=["default"]) if each.id == "webhooks_app.E020")
    assert TABLE in found.msg
    assert "BYPASSRLS" in str(found.hint)

    out = StringIO()
    with pytest.raises(SystemExit) as exit_:
        call_command("webhooks_status", stdout=out)
    assert exit_.value.code == 2
    assert f"CRITICAL  row_security: {found.msg} {found.hint}" in out.getvalue()

    for _ in range(2):
        assert silent_faults.report_silent_faults("default", FaultLog()) == 0
    assert [record.getMessage() for record in caplog.records] == [f"webhooks: {found.msg} {found.hint}"]


@pytest.mark.django_db
def test_where_there_is_none_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert "webhooks_app.E020" not in {each.id for each in run_checks(tags=["database"], databases=["default"])}
    out = StringIO()
    call_command("webhooks_status", stdout=out)
    assert "row_security" not in out.getvalue()
    assert silent_faults.report_silent_faults("default", FaultLog()) == 0
    assert not caplog.records


@pytest.mark.django_db(transaction=True)
def test_each_process_looks_once_when_its_first_engine_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked: list[str] = []

    def fault(using: str) -> str:
        looked.append(using)
        return "Rows are hidden."

    monkeypatch.setattr(silent_faults, "row_security_fault", fault)
    with Customer() as customer:
        customer.endpoint()
        for _ in range(2):
            customer.emit_several(1)
            call_command("webhooks_deliver", "--until-idle=0", stdout=StringIO())
    assert looked == ["default"]
    said = [record for record in caplog.records if "Rows are hidden." in record.getMessage()]
    assert [record.levelno for record in said] == [logging.ERROR]


@pytest.mark.django_db(transaction=True)
def test_a_connection_without_autocommit_is_reported(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections["default"], "get_autocommit", lambda: False)
    faults = FaultLog()
    for _ in range(2):
        silent_faults.report_silent_faults("default", faults)
    assert caplog.text.count("has switched off autocommit") == 1
