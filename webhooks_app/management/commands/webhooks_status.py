"""`manage.py webhooks_status`: report whether delivery is healthy, for operators and for monitoring that runs commands."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from webhooks_app.core.installation_health import (
    HealthFinding,
    InstallationState,
    LiveEngine,
    Severity,
    duration,
    health_findings,
    severity_of,
)
from webhooks_app.management.migrated import require_tables
from webhooks_app.models.database import database_alias
from webhooks_app.models.row_security import HINT, row_security_fault
from webhooks_app.telemetry.installation_state import bounded, limits, read_installation_state

_STATEMENT_SECONDS = 10.0


class Command(BaseCommand):
    help = (
        "Show whether webhooks are delivered. The exit code is 0 if all is well, 1 for a warning, 2 if it is critical."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Write JSON instead of a table.")

    def handle(self, *args: Any, **options: Any) -> None:
        found, findings = _read()
        severity = severity_of(findings)
        self.stdout.write(_as_json(found, findings) if options["json"] else "\n".join(_as_table(found, findings)))
        if severity:
            self.stdout.flush()
            sys.exit(int(severity))


def _read() -> tuple[InstallationState | None, list[HealthFinding]]:
    """Return the state, None if it cannot be read; and the findings."""
    using = database_alias()
    try:
        require_tables("webhooks_app")
        with bounded(using, _STATEMENT_SECONDS):
            fault = row_security_fault(using)
            found = read_installation_state()
    except CommandError as error:
        return None, [HealthFinding("migrations", Severity.CRITICAL, str(error))]
    except DatabaseError as error:
        text = f"The database {using!r} cannot be read: {error}. Start it, or correct DATABASES."
        return None, [HealthFinding("database", Severity.CRITICAL, text)]
    hidden = [HealthFinding("row_security", Severity.CRITICAL, f"{fault} {HINT}")] if fault else []
    return found, [*hidden, *health_findings(found, limits())]


def _as_json(found: InstallationState | None, findings: list[HealthFinding]) -> str:
    return json.dumps(
        {
            "status": severity_of(findings).name.lower(),
            "findings": [
                {"check": one.check, "severity": one.severity.name.lower(), "text": one.text} for one in findings
            ],
            "figures": None if found is None else asdict(found),
        },
        indent=2,
    )


def _as_table(found: InstallationState | None, findings: list[HealthFinding]) -> list[str]:
    lines = [f"Status: {severity_of(findings).name.lower()}"]
    lines += [f"  {finding.severity.name:<8}  {finding.check}: {finding.text}" for finding in findings]
    if found is not None:
        lines += ["", *_rows(found)]
        lines += ["", *map(_engine, found.engines)] if found.engines else []
    return lines


def _rows(found: InstallationState) -> list[str]:
    beat = found.beat
    rows = [
        ("Engines running", str(len(found.engines))),
        ("Overdue queues", f"{found.overdue_queues}{_oldest(found.oldest_due_age)}"),
        ("Events waiting for fan-out", f"{found.pending_events}{_oldest(found.oldest_event_age)}"),
        ("Unrecorded results", str(found.unrecorded)),
        ("Quarantined events (24 h)", str(found.quarantined_events)),
        ("Largest clock drift", f"{found.largest_drift:.3f} s"),
    ]
    if beat is not None and beat.last_run_age is not None:
        rows.append(("Last sweep by Celery beat", f"{duration(beat.last_run_age)} ago"))
    return [f"{name:<28}{value}" for name, value in rows]


def _oldest(age: float | None) -> str:
    return "" if age is None else f" (oldest: {duration(age)})"


def _engine(engine: LiveEngine) -> str:
    draining = ", draining" if engine.draining else ""
    return (
        f"{engine.name} ({engine.kind}{draining}): heartbeat {engine.heartbeat_age:.0f} s ago, {engine.in_flight} in flight, "
        f"{engine.unrecorded} unrecorded; last turns {engine.database_turn_age:.1f} s (database) and "
        f"{engine.sending_turn_age:.1f} s (sending) before the heartbeat"
    )
