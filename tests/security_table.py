"""The security tests, by what they are about, and the table that `make security` prints at its end.

A test belongs to the suite if its file is named here, or is in `tests/security`. A test that tries many cases says how many with
`tried(number)`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: What is tested → the files that test it, relative to `tests`.
GROUPS = {
    "which addresses are dialled": (
        "unit/test_addresses.py", "unit/test_nat64.py", "unit/test_address_policy.py",
        "integration/test_transport_addresses.py",
        "integration/test_transport_resolver.py",
    ),
    "what a receiver responds": (
        "integration/test_transport_http_rules.py", "integration/test_transport_conformance.py",
        "integration/test_transport_bodies.py", "integration/test_transport_bounds.py",
        "integration/test_transport_floods.py", "unit/test_response_head.py", "unit/test_retry_after.py",
    ),
    "TLS": (
        "integration/test_transport_tls.py",
        "integration/test_transport_tls_floods.py",
        "integration/test_transport_renegotiation.py",
    ),
    "faults on our side, and the egress proxy": (
        "integration/test_transport_our_faults.py", "integration/test_transport_proxy_faults.py",
    ),
    "fuzzed responses, recorded": ("security/test_fuzz_responses.py",),
    "secrets at rest, in logs and pages": (
        "integration/test_canaries.py", "integration/test_admin_secrets.py", "unit/test_encryption.py",
        "unit/test_secrets.py", "unit/test_signing.py",
    ),
    "one tenant and another's rows": ("security/test_tenants.py", "integration/test_dialect_tenants.py"),
    "keys, links, roles": (
        "integration/test_api_access.py", "integration/test_portal_limits.py", "integration/test_portal_revoking.py",
        "integration/test_refusals.py", "integration/test_dashboard_viewers.py",
    ),
    "bad input": ("security/test_fuzz_requests.py", "integration/test_nul_characters.py", "unit/test_validation.py",
        "unit/test_hostile_key_files.py"),
    "pages and the project's settings": (
        "integration/test_content_security_policy.py", "integration/test_dashboard_frame.py",
        "integration/test_project_environment.py",
    ),
}  # fmt: skip
_HERE = Path(__file__).parent
_GROUP_OF = {_HERE / file: group for group, files in GROUPS.items() for file in files}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = _GROUP_OF.get(item.path)
        if group is not None:
            item.add_marker(pytest.mark.security)
            item.user_properties.append(("security", group))


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> Callable[[int], None]:
    """Call it with the number of cases that the test has tried."""
    return lambda number: record_property("tried", number)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if "security" not in config.option.markexpr.split():
        return
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            properties = dict(getattr(report, "user_properties", ()))
            if "security" in properties:
                row = counts[properties["security"]]
                row[outcome] += 1
                row["cases"] += properties.get("tried", 1)
    terminalreporter.section("security")
    terminalreporter.write_line(f"{'what':<44}{'cases':>9}{'tests':>8}{'skipped':>9}{'failed':>8}")
    for group in GROUPS:
        row = counts[group]
        tests = row["passed"] + row["failed"] + row["error"]
        line = f"{group:<44}{row['cases']:>9,}{tests:>8,}{row['skipped']:>9,}{row['failed'] + row['error']:>8,}"
        terminalreporter.write_line(line)
