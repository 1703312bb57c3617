"""The project's settings, as a production of moderate size would have them."""

import os
import tempfile

from project.settings import *  # noqa: F403
from project.settings import DATABASES, WEBHOOKS

DEBUG = False
DATABASES["default"]["NAME"] = os.environ.get("BENCH_DATABASE", DATABASES["default"]["NAME"])
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: workers are processes of their own.
    DATABASES["default"]["TEST"] = {"NAME": os.path.join(tempfile.gettempdir(), f"webhooks-bench-{os.getpid()}.sqlite3")}
WEBHOOKS = {**WEBHOOKS, "ALLOW_HTTP": True, "ALLOWED_NETWORKS": ["127.0.0.0/8"]}
if "BENCH_TRANSPORT" in os.environ:
    WEBHOOKS["TRANSPORT"] = os.environ["BENCH_TRANSPORT"]
if "BENCH_PORTABLE" in os.environ:
    WEBHOOKS["FAST_PATHS"] = False
LOGGING = {}
