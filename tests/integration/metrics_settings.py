"""Settings of the processes that `test_metrics` starts."""

from project.settings_test import *  # noqa: F403
from project.settings_test import WEBHOOKS

WEBHOOKS = {**WEBHOOKS, "MONITORING": {"METRICS": ["prometheus"]}}
