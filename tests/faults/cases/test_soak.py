"""One minute of the soak (see tests/faults/soak.py for more)."""

from __future__ import annotations

from tests.faults.harness.servers import Postgres, Redis
from tests.faults.harness.stage import Stage
from tests.faults.soak import Soak

SEED = 20


def test_a_minute_of_random_faults(stage: Stage, postgres: Postgres, broker: Redis) -> None:
    soak = Soak(stage, postgres, broker, SEED)
    soak.run(minutes=1.0, every=8.0)
    stage.judge(stall=None)  # each fault has its own limit
    growth = max(soak.growth(1.0).values(), default=0.0)
    stage.row.note = f"(grew by {growth:.1f} MiB a minute)"
