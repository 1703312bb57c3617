"""Alert rules, dashboard and documents agree with the metrics that the app gives."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from prometheus_client.parser import text_string_to_metric_families

from webhooks_app import telemetry
from webhooks_app.core.installation_health import CHECKS
from webhooks_app.telemetry import RecordedRequest
from webhooks_app.telemetry.exposition import render

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "docs/monitoring"
PAGE = (ROOT / "docs/how-to/monitoring.md").read_text()
RULES = yaml.safe_load((FILES / "alert-rules.yml").read_text())["groups"][0]["rules"]
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool (apt-get install prometheus)")


@pytest.fixture
def exposed(configure: Any, db: None) -> str:
    """A scrape in which every metric occurs."""
    configure(WAKE_FUNCTION="webhooks_app.tasks.send_hint", MONITORING={"METRICS": ["prometheus"]})
    telemetry.reset()
    telemetry.requests_recorded([RecordedRequest("succeeded", 200, 0.1, "receiver.example", "standard")])
    telemetry.step_finished("record", 0.1, True)
    call_command("webhooks_schedule", stdout=StringIO())
    text = render().decode()
    telemetry.reset()
    return text


def names(expression: str) -> set[str]:
    return set(re.findall(r"\bwebhooks_\w+", expression))


def test_every_metric_of_rules_and_dashboard_exists(exposed):
    given = {sample.name for family in text_string_to_metric_families(exposed) for sample in family.samples}
    panels = json.loads((FILES / "grafana-dashboard.json").read_text())["panels"]
    dashboard = {name for panel in panels for target in panel["targets"] for name in names(target["expr"])}
    rules = {name for rule in RULES for name in names(rule["expr"])}
    assert rules - given == set()
    assert dashboard - given == set()
    assert len(rules) >= 12
    assert len(dashboard) >= 25


def test_rules_ask_for_checks_that_exist():
    asked = {check for rule in RULES for check in re.findall(r'check="(\w+)"', rule["expr"])}
    assert asked
    assert asked <= set(CHECKS)


def test_every_alert_is_explained_with_its_severity():
    explained = dict(re.findall(r"^### (Webhooks\w+)\n\n(\w+)\.", PAGE, re.MULTILINE))
    assert explained == {rule["alert"]: rule["labels"]["severity"].title() for rule in RULES}
    assert all(rule["annotations"]["summary"].endswith(".") for rule in RULES)


def test_every_check_is_explained():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert set(CHECKS) <= set(rows)


@needs_promtool
def test_the_rules_are_valid():
    _promtool("check", "rules", str(FILES / "alert-rules.yml"))


@needs_promtool
def test_each_alert_fires_in_its_case_and_none_while_all_is_well():
    _promtool("test", "rules", "alert_rules_test.yml")
    tried = (Path(__file__).parent / "alert_rules_test.yml").read_text()
    assert [rule["alert"] for rule in RULES if rule["alert"] not in tried] == []


@needs_promtool
def test_the_example_configuration_is_valid(tmp_path):
    for name in ("prometheus.yml", "alert-rules.yml"):
        shutil.copy(FILES / name, tmp_path)
    (tmp_path / "metrics-token").write_text("token")
    _promtool("check", "config", str(tmp_path / "prometheus.yml"))


@needs_promtool
def test_prometheus_finds_nothing_to_say_against_our_metrics(exposed):
    ours = "\n".join(line for line in exposed.splitlines() if re.match(r"(# \w+ )?webhooks_", line))
    _promtool("check", "metrics", stdin=f"{ours}\n")


def _promtool(*arguments: str, stdin: str = "") -> None:
    done = subprocess.run(
        [str(PROMTOOL), *arguments],
        cwd=Path(__file__).parent,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
