"""Settings of the runnable project. All machine-specific values come from the environment.

Without any it is a demo on one machine: SQLite, a broker in folders, webhooks to loopback allowed. Without DEBUG it refuses
to start with the demo's keys, and serves pages over HTTPS only.
"""

import os
from pathlib import Path
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured

from project import environment
from project.local import encryption_keys, folder
from webhooks_app import contrib

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = folder(Path(os.environ.get("VAR_DIR", BASE_DIR / "var")))

DEBUG = environment.switch("DEBUG", "1")
SECRET_KEY = os.environ.get("SECRET_KEY") or ("development-only" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("DEBUG is off: set SECRET_KEY in the environment.")
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]").split(",")

# "proxy": TLS ends at a proxy, which sets X-Forwarded-Proto. Without such a proxy, clients could set it themselves.
HTTPS = environment.choice("HTTPS", ("off", "on", "proxy"), "off" if DEBUG else "on")
if HTTPS != "off":
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$", "^metrics$"]  # asked from inside, by address
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    # Whether other names below this domain can do without http, and whether browsers should know by heart, is for its owner.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if HTTPS == "proxy":
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",  # `runserver` serves static files like the production server
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "webhooks_app",
    "project.messaging",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "project.security.content_security_policy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- database --------------------------------------------------------------------------------------------------------
DATABASES = {"default": environment.database(f"sqlite:///{VAR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        # A transaction takes the write lock when it begins: taking it later would fail at once instead of waiting.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,  # seconds to wait for another writer
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }

CACHES = {"default": environment.cache()}

# --- users -----------------------------------------------------------------------------------------------------------
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
_email_backend = (
    os.environ.get("EMAIL_BACKEND") or f"django.core.mail.backends.{'console' if DEBUG else 'smtp'}.EmailBackend"
)
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _email_backend}}
else:
    EMAIL_BACKEND = _email_backend
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL", "webhooks@localhost")

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
# The languages that the app is translated into; the browser chooses.
LANGUAGES = [("en", "English"), ("fr", "Français"), ("pt-br", "Português (Brasil)")]
USE_I18N = True

# --- static files ----------------------------------------------------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "project" / "static"]
WHITENOISE_USE_FINDERS = DEBUG  # no `collectstatic` needed in development; production collects

# --- Celery ----------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "folders://localhost")  # see project/broker.py
if CELERY_BROKER_URL.startswith(("folders:", "filesystem:")):
    # Messages are files that every process of this machine can read; no server is needed.
    _broker = folder(VAR / "broker")
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        # One folder for in and out: one process reads what another one sends.
        "data_folder_in": str(folder(_broker / "messages")),
        "data_folder_out": str(folder(_broker / "messages")),
        "control_folder": str(folder(_broker / "control")),
        "processed_folder": str(folder(_broker / "processed")),
        "store_processed": False,
        "polling_interval": 0.05,  # seconds; kombu's default of one second would be noticeable
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# --- webhooks --------------------------------------------------------------------------------------------------------
DEMO_RECEIVER_PORT = environment.port("DEMO_RECEIVER_PORT", 8010)
_encryption_keys = os.environ.get("WEBHOOKS_ENCRYPTION_KEYS", "")
if not _encryption_keys and not DEBUG:
    # A key made here would be another one on the next machine, which could then not read any secret.
    raise ImproperlyConfigured("DEBUG is off: set WEBHOOKS_ENCRYPTION_KEYS in the environment.")
WEBHOOKS: dict[str, Any] = {
    "ENCRYPTION_KEYS": encryption_keys(_encryption_keys, VAR / "encryption.key"),
    "WIRE_FORMATS": {
        **contrib.WIRE_FORMATS,
        "demo": "project.demo.wire_formats.DEMO",
        "demo_doomed": "project.demo.wire_formats.DOOMED",
    },
    "TENANT_OF_REQUEST": "project.messaging.people.organisation_of",
    "ROLE_OF_REQUEST": "project.messaging.people.role_of",
    # Allow webhooks to this machine, for the demo. In production these lines would expose your internal network.
    "ALLOW_HTTP": DEBUG,
    "ALLOWED_NETWORKS": ["127.0.0.0/8", "::1/128"] if DEBUG else [],
    "ALLOWED_PORTS": list(range(1, 65536)) if DEBUG else [443, 80],
    # All receivers of the demo are on this machine.
    "LIMITS": {"IN_FLIGHT_PER_HOST": 0, "REQUESTS_PER_SECOND_PER_HOST": 0} if DEBUG else {},
}

# --- logging ---------------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname:<7} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": environment.log_level("LOG_LEVEL", "INFO")},
    "loggers": {
        # A second handler beside the root's would print everything twice under DEBUG.
        "django": {"handlers": []},
        # A sweep every few seconds logs three lines, which would hide important ones.
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}

# --- the REST API's description --------------------------------------------------------------------------------------
SPECTACULAR_SETTINGS = {
    "TITLE": "Webhooks",
    "VERSION": "1",
    "DESCRIPTION": "Manage webhooks, publish events, and see what was delivered.",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",  # served from our own static files
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "WebhookStatus": "webhooks_app.api.serializers.WEBHOOK_STATUSES",
        "DeliveryStatus": "webhooks_app.api.serializers.DELIVERY_STATUSES",
        "Outcome": "webhooks_app.api.serializers.OUTCOMES",
        "AuthenticationKind": "webhooks_app.api.serializers.authentication.AUTHENTICATION_KINDS",
    },
}
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "NUM_PROXIES": 1 if HTTPS == "proxy" else 0,
}
