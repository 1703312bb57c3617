"""Settings of the unit tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No time limits for an example: they would fail on a busy machine, and say nothing of the code.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")
