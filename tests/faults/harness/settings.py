"""Settings of the processes that the fault cases start. Delivery runs at its defaults unless a case says otherwise.

The environment variable FAULTS_SETTINGS is a JSON object of settings; its WEBHOOKS and DATABASE are merged, not replaced.
"""

import json
import os

from project import environment
from project.settings import WEBHOOKS as PROJECT_WEBHOOKS
from project.settings_test import *  # noqa: F403
from project.settings_test import DATABASES, INSTALLED_APPS

_more = json.loads(os.environ.get("FAULTS_SETTINGS", "{}"))

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.harness"]  # for its Celery tasks
if DATABASES["default"]["ENGINE"].endswith("postgresql"):
    # The tests' own settings give up durability and kept connections, which are the point here.
    DATABASES["default"] = environment.database("")
DATABASES["default"] |= _more.pop("DATABASE", {})

WEBHOOKS = {
    **{name: PROJECT_WEBHOOKS[name] for name in ("ENCRYPTION_KEYS",)},
    "STRICT": True,
    "ALLOW_HTTP": True,
    "ALLOWED_NETWORKS": ["127.0.0.0/8"],
    "ALLOWED_PORTS": list(range(1, 65536)),
    "WIRE_FORMATS": {name.lower(): f"tests.faults.harness.wire_formats.{name}" for name in ("QUICK", "BOMB")},
    **_more.pop("WEBHOOKS", {}),
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {"celery.worker.strategy": {"level": "WARNING"}, "celery.app.trace": {"level": "WARNING"}},
}
globals().update(_more)
