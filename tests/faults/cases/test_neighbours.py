"""One customer's endpoints hang, or one customer has very many: the others notice nothing."""

from __future__ import annotations

import time

import pytest

from tests.faults.harness.account import Count, percentile
from tests.faults.harness.stage import Stage

HANGING = 600
#: Seconds of traffic before, and longer than a request may hang at the defaults (15 s) while it lasts.
BEFORE, DURING = 6.0, 18.0
#: Differences below this (seconds) are the machine's.
NOISE = 0.05
#: Events a second for hanging endpoints. The host emits them on the same cores: faster, it would be measured, and not the engine.
RATE = 100


def compare(stage: Stage, count: Count, began: float) -> None:
    """The others' p99 while it lasts is at most twice what it was before."""
    before = percentile(count.latencies, began - BEFORE, began)
    during = percentile(count.latencies, began, began + DURING)
    stage.row.note = f"(p99 {before * 1000:.0f} → {during * 1000:.0f} ms)"
    stage.demand(during <= max(2 * before, before + NOISE), f"p99 {before * 1000:.0f} → {during * 1000:.0f} ms")


@pytest.mark.quiet
@pytest.mark.parametrize(
    ("tenants", "proven"),
    [(1, False), (1, True), (HANGING, True)],
    ids=["of one tenant", "of one tenant, had all succeeded before", "of 600 tenants, had all succeeded before"],
)
def test_600_endpoints_hang(stage: Stage, tenants: int, proven: bool) -> None:
    stage.healthy()
    uids = [f"hanging-{number}" for number in range(tenants)]
    for uid in uids:
        stage.customer(uid, HANGING // tenants, "hanging", owed=False, wire_format="standard")
    stage.command()
    if proven:
        emit_once(stage, uids)
        stage.wait_for_arrivals("hanging", HANGING)
    with stage.traffic(rate=40):
        time.sleep(BEFORE + 1.0)
        stage.set("hanging", "hang")
        began = time.monotonic()
        emit_once(stage, uids)
        while time.monotonic() < began + DURING:
            emit_once(stage, uids[:5])
            time.sleep(1.0)
    compare(stage, stage.judge(), began)


def emit_once(stage: Stage, uids: list[str]) -> None:
    for uid in uids:
        stage.host.call("emit", uid, 1)
        if len(uids) > RATE:
            time.sleep(1 / RATE)


@pytest.mark.quiet
def test_a_noisy_tenant_emits_300_events_for_1001_endpoints(stage: Stage) -> None:
    """Their endpoints are paused, so that this is about fan-out alone."""
    stage.healthy()
    noisy = stage.customer("noisy", 1001, "noisy", owed=False)
    stage.host.call("act", "pause", [target.public_id for target in noisy])
    stage.command()
    with stage.traffic(rate=40):
        time.sleep(BEFORE + 1.0)
        began = time.monotonic()
        stage.host.call("emit", "noisy", 300)
        time.sleep(DURING)
    compare(stage, stage.judge(), began)


def test_an_endpoint_with_many_waiting_comes_back(stage: Stage) -> None:
    """Nobody tramples on it, and the others do not wait behind it."""
    stage.healthy()
    [endpoint] = stage.customer("back", 1, "back", wire_format="standard")
    stage.host.call("act", "pause", [endpoint.public_id])
    stage.command()
    backlog = 5000
    stage.host.call("emit", "back", backlog)
    with stage.traffic(rate=20):
        time.sleep(2.0)
        stage.host.call("act", "resume", [endpoint.public_id])
        time.sleep(10.0)
    stage.judge(patience=120.0)
