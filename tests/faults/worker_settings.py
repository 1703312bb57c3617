"""Settings of the processes that these tests start: the tests' own, on the database that the test is using."""

import os

from project.settings_test import *  # noqa: F403
from project.settings_test import DATABASES, WEBHOOKS
from tests.faults.workers import quick_settings

DATABASES["default"]["NAME"] = os.environ["WEBHOOKS_TEST_DATABASE"]
WEBHOOKS = {**WEBHOOKS, **quick_settings(os.environ["WEBHOOKS_TEST_QUEUE"])}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
