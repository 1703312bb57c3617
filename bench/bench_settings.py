"""The project's settings, as a production of moderate size would have them. Shares nothing with a demo or a test run.

What a benchmark chooses reaches its child processes through the environment: BENCH_DATABASE (the fresh database),
BENCH_TRANSPORT, BENCH_PORTABLE, BENCH_WAKE (empty: no hints), BENCH_DIR (a folder that is removed afterwards).
BENCH_NAME names the fresh database; two benchmarks at a time on one server need two names.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Before the project's settings are read, which would otherwise make a key and folders in `var/`.
if "BENCH_DIR" not in os.environ:
    os.environ["BENCH_DIR"] = tempfile.mkdtemp(prefix="webhooks-bench-")
    atexit.register(shutil.rmtree, os.environ["BENCH_DIR"], ignore_errors=True)
os.environ["VAR_DIR"] = os.environ["BENCH_DIR"]
os.environ["DEBUG"] = "0"
os.environ["HTTPS"] = "off"
os.environ.setdefault("SECRET_KEY", "benchmarks-only")
os.environ["WEBHOOKS_ENCRYPTION_KEYS"] = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
os.environ.setdefault("CELERY_BROKER_URL", "redis://127.0.0.1:6379/5")

from project.settings import *  # noqa: F403
from project.settings import DATABASES, WEBHOOKS

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: workers are processes of their own.
    _fresh = str(Path(os.environ["BENCH_DIR"]) / "bench.sqlite3")
else:
    # Not `test_…`: a test run on the same server has that one.
    _fresh = os.environ.get("BENCH_NAME") or f"bench_{DATABASES['default']['NAME']}"
DATABASES["default"]["TEST"] = {"NAME": _fresh}
DATABASES["default"]["NAME"] = os.environ.get("BENCH_DATABASE", DATABASES["default"]["NAME"])

WEBHOOKS = {
    **WEBHOOKS,
    "STRICT": True,  # a benchmark that emits nonsense should say so
    "ALLOW_HTTP": True,
    "ALLOWED_NETWORKS": ["127.0.0.0/8"],
    "ALLOWED_PORTS": list(range(1, 65536)),
    "LIMITS": {"REQUESTS_PER_SECOND_PER_HOST": 0, "IN_FLIGHT_PER_HOST": 0},  # all receivers are on this host
    "WAKE_FUNCTION": os.environ.get("BENCH_WAKE", ""),
    "CELERY_QUEUE": "webhooks-bench",  # a worker that happens to run on the same broker leaves these hints alone
}
if "BENCH_TRANSPORT" in os.environ:
    WEBHOOKS["TRANSPORT"] = os.environ["BENCH_TRANSPORT"]
if "BENCH_PORTABLE" in os.environ:
    WEBHOOKS["ENGINE"] = {"POSTGRESQL_SQL": False}
LOGGING = {}
