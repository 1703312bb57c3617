"""Settings of the tests: the project's, but with nothing that is slow, lasting or shared with a running demo."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Before the project's settings are read, which would otherwise make a key and folders in `var/`.
# Processes that a test starts share the folder, and leave removing it to the first.
if "WEBHOOKS_TEST_DIR" not in os.environ:
    os.environ["WEBHOOKS_TEST_DIR"] = tempfile.mkdtemp(prefix="webhooks-test-")
    atexit.register(shutil.rmtree, os.environ["WEBHOOKS_TEST_DIR"], ignore_errors=True)
_tmp = Path(os.environ["WEBHOOKS_TEST_DIR"]) / os.environ.get("PYTEST_XDIST_WORKER", "")
os.environ["VAR_DIR"] = str(_tmp)
os.environ["DEBUG"] = "0"
os.environ["EMAIL_BACKEND"] = "django.core.mail.backends.locmem.EmailBackend"
os.environ.setdefault("SECRET_KEY", "tests-only")
os.environ["WEBHOOKS_ENCRYPTION_KEYS"] = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

from project.settings import *  # noqa: E402, F403
from project.settings import DATABASES, INSTALLED_APPS, WEBHOOKS  # noqa: E402

INSTALLED_APPS = [*INSTALLED_APPS, "tests"]  # for its `flush`

# Connections stay open only while a test wants them; a kept one would hold the test database when it is to be dropped.
DATABASES["default"]["CONN_MAX_AGE"] = 0
# Nothing is kept, so nothing needs to reach the disk.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: threads with connections of their own share it; shared-cache memory says "table is locked".
    DATABASES["default"]["TEST"] = {"NAME": str(_tmp / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
elif DATABASES["default"]["ENGINE"].endswith("postgresql"):
    DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c synchronous_commit=off"

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_AUTOREFRESH = True  # looks files up when asked, instead of scanning (and missing) STATIC_ROOT
LOGGING = {"version": 1, "disable_existing_loggers": False}

WEBHOOKS = {
    **WEBHOOKS,
    "STRICT": True,
    "WAKE_FUNCTION": "",  # tests decide when the engine runs
    "ALLOW_HTTP": True,
    "ALLOWED_NETWORKS": ["127.0.0.0/8"],
    "ALLOWED_PORTS": list(range(1, 65536)),  # test receivers listen wherever there is room
    "ENGINE": {"LINGER_SECONDS": 0.2, "HINT_COALESCE_SECONDS": 0.02, "DELIVER_SECONDS": 5.0},
}
