"""Settings of the tests: the project's, without anything slow, persistent or shared with a running demo."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Set this before the project's settings are loaded, which would otherwise create a key and folders in `var/`. Processes that a
# test starts share the folder; the first one removes it.
if "WEBHOOKS_TEST_DIR" not in os.environ:
    os.environ["WEBHOOKS_TEST_DIR"] = tempfile.mkdtemp(prefix="webhooks-test-")
    atexit.register(shutil.rmtree, os.environ["WEBHOOKS_TEST_DIR"], ignore_errors=True)
_tmp = Path(os.environ["WEBHOOKS_TEST_DIR"]) / os.environ.get("PYTEST_XDIST_WORKER", "")
os.environ["VAR_DIR"] = str(_tmp)
os.environ["DEBUG"] = "0"
os.environ["HTTPS"] = "off"
os.environ["EMAIL_BACKEND"] = "django.core.mail.backends.locmem.EmailBackend"
os.environ.setdefault("SECRET_KEY", "tests-only")
os.environ["WEBHOOKS_ENCRYPTION_KEYS"] = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

from project.settings import *  # noqa: E402, F403
from project.settings import DATABASES, INSTALLED_APPS, WEBHOOKS  # noqa: E402

INSTALLED_APPS = [*INSTALLED_APPS, "tests"]  # for its `flush`

# Do not keep connections open after use: an open one would block dropping the test database.
DATABASES["default"]["CONN_MAX_AGE"] = 0
# Durability is not needed, so nothing has to be written to the disk.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file instead of memory: threads share it through their own connections; shared-cache memory reports "table is locked".
    DATABASES["default"]["TEST"] = {"NAME": str(_tmp / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
elif DATABASES["default"]["ENGINE"].endswith("postgresql"):
    DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c synchronous_commit=off"

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_AUTOREFRESH = True  # looks files up on request, instead of scanning (and missing) STATIC_ROOT
LOGGING = {"version": 1, "disable_existing_loggers": False}

WEBHOOKS = {
    **WEBHOOKS,
    "STRICT": True,
    "WAKE_FUNCTION": "",  # tests decide when the engine runs
    "ALLOW_HTTP": True,
    "ALLOWED_NETWORKS": ["127.0.0.0/8"],
    "ALLOWED_PORTS": list(range(1, 65536)),  # test receivers listen on any free port
    # Their receivers share one host; the tests of this limit set it.
    "LIMITS": {"REQUESTS_PER_SECOND_PER_HOST": 0, "IN_FLIGHT_PER_HOST": 0},
    "ENGINE": {"LINGER_SECONDS": 0.2, "HINT_COALESCE_SECONDS": 0.02, "DELIVER_SECONDS": 5.0},
}
