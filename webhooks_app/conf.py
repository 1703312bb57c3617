"""Typed settings, read live from the dict `WEBHOOKS`, so that `override_settings` works. Unknown keys are errors.

To add a setting: a field here, and a row in docs/reference/settings.md. Internals of the engine go through `engine.options`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings

from webhooks_app.conf_parser import (
    AT_LEAST_ONE,
    BOOLEAN_OR_NONE,
    POSITIVE_OR_NONE,
    PROXY_URL,
    SOURCES,
    ZERO_OR_MORE,
    checked,
    one_of,
    parse,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """WEBHOOKS["ENGINE"]: internals with measured defaults. Change them only if you measure, too."""

    #: The maximum number of concurrent requests of one engine.
    WINDOW: int = 384
    #: How many endpoints one engine holds at once, not counting those without a success yet.
    MAX_LEASED_QUEUES: int = 512
    #: Bytes of event bodies that one engine keeps in memory ahead of sending.
    PREFETCH_BYTES: int = 32 * 1024 * 1024
    RESPONSE_HEADER_BYTES: int = 8 * 1024
    POLL_SECONDS: float = 0.01
    #: Use PostgreSQL-specific statements (COPY, set-based SQL) if the database is PostgreSQL.
    POSTGRESQL_SQL: bool = True
    #: How long an engine's heartbeat is valid. Other engines release the queues of an engine whose heartbeat has expired.
    HEARTBEAT_SECONDS: float = checked(6.0, AT_LEAST_ONE)
    #: How long requests in flight may take to end after an engine was asked to stop; then another engine sends them again.
    DRAIN_SECONDS: float = 4.0
    #: How long an idle engine looks for work before it returns to Celery. Longer than the coalescing window.
    LINGER_SECONDS: float = 2.0
    #: How long one `deliver` task runs before it hands over to a new one.
    DELIVER_SECONDS: float = 60.0
    #: A process sends at most one hint in this time.
    HINT_COALESCE_SECONDS: float = 0.25
    #: A request waits no longer than this for the broker …
    HINT_TIMEOUT_SECONDS: float = 1.0
    #: … and after such a timeout, hints are skipped for this long.
    HINT_PAUSE_SECONDS: float = 30.0
    PRUNE_BATCH: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogSettings:
    """WEBHOOKS["BACKLOG"]: limits on what is pending."""

    #: The maximum number of pending events of all tenants, that is, stored but not fanned out yet; 0: no limit.
    MAX_PENDING_EVENTS: int = checked(0, ZERO_OR_MORE)
    #: The same for one tenant.
    MAX_PENDING_EVENTS_PER_TENANT: int = checked(0, ZERO_OR_MORE)
    #: What `emit` does beyond these limits: "warn" (log a warning) or "refuse" (raise BacklogFull, whatever STRICT says).
    POLICY: str = checked("warn", one_of("warn", "refuse"))
    #: The maximum age of an event that is pending for a paused or disabled endpoint. None, or more than
    #: RETENTION_DAYS: RETENTION_DAYS.
    MAX_DAYS: float | None = checked(None, POSITIVE_OR_NONE)
    #: The maximum number of pending deliveries of one paused or disabled endpoint; the oldest are dropped. 0: no limit.
    MAX_DELIVERIES: int = checked(100_000, ZERO_OR_MORE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """WEBHOOKS["LIMITS"]: what one tenant may have, and send to one host. 0: no limit."""

    #: The maximum number of endpoints, unless the tenant's plan says another.
    ENDPOINTS: int = checked(500, ZERO_OR_MORE)
    #: The maximum number of API keys that are neither revoked nor expired, unless the plan says another.
    API_KEYS: int = checked(100, ZERO_OR_MORE)
    #: How many hosts callback URLs may name within an hour for the first time, unless the plan says another.
    CALLBACK_HOSTS_PER_HOUR: int = checked(100, ZERO_OR_MORE)
    #: The maximum number of requests of one engine in flight from one tenant to one host, over all endpoints …
    IN_FLIGHT_PER_HOST: int = checked(32, ZERO_OR_MORE)
    #: … and the number that it may start in a second.
    REQUESTS_PER_SECOND_PER_HOST: int = checked(200, ZERO_OR_MORE)


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressSettings:
    """WEBHOOKS["EGRESS"]: how requests leave your network."""

    #: URL of an egress proxy: `http://host:port`, `https://…` or `socks5h://…`. Proxies in the environment are ignored.
    PROXY: str = checked("", PROXY_URL, secret=True)
    #: The proxy gets the names of receivers, and must check their addresses. False: names are resolved here, and the proxy gets a
    #: checked address.
    PROXY_RESOLVES_NAMES: bool = False
    #: Local addresses that connections are bound to: at most one IPv4 and one IPv6 address. With one, only receivers of its
    #: version are connected to. Empty: the system chooses.
    SOURCE_ADDRESSES: Sequence[str] = checked((), SOURCES)
    #: The addresses that requests come from, for customers to allow-list. Nothing is sent to them, unless ALLOWED_NETWORKS has
    #: them.
    ADDRESSES: Sequence[str] = ()
    #: PEM file of certificate authorities; empty: certifi's.
    CA_BUNDLE: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSettings:
    """WEBHOOKS["NOTIFICATIONS"]: e-mails and operational events."""

    #: Sender of the app's e-mails; empty: DEFAULT_FROM_EMAIL.
    FROM_EMAIL: str = ""
    #: Staff to notify; empty: the addresses in ADMINS.
    STAFF_EMAILS: Sequence[str] = ()
    #: How long further failures are collected before they are sent in one e-mail.
    DIGEST_SECONDS: float = 3600.0
    #: The uid of your own tenant that gets operational events (`webhooks.endpoint_disabled` …); empty: no such events.
    OPERATIONS_TENANT: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class APISettings:
    """WEBHOOKS["API"]: the REST API."""

    #: The prefix of API keys, so that users and secret scanners recognise them.
    KEY_PREFIX: str = "wk"
    #: The rate limit of one key, as "number/second", "/minute", "/hour" or "/day"; empty: no limit.
    RATE_LIMIT: str = "1200/minute"


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSettings:
    """WEBHOOKS["DASHBOARD"]: the customers' pages."""

    #: Absolute URL of the dashboard, for links in e-mails.
    URL: str = ""
    #: Names of the wire formats that customers can choose when they create an endpoint; empty: no choice, the tenant's wire
    #: format is used.
    WIRE_FORMATS: Sequence[str] = ()
    #: How long a portal link is valid.
    PORTAL_LINK_MINUTES: float = 10.0
    #: Content-Security-Policy of the pages. Empty: the app sets none, your own middleware does.
    CSP: str = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringSettings:
    """WEBHOOKS["MONITORING"]: metrics, and when work is overdue."""

    #: The metrics backends: "prometheus", "opentelemetry" or both. Empty: no metrics.
    METRICS: Sequence[str] = ()
    #: The bearer token that `/metrics` requires. Empty: `/metrics` is available only with DEBUG.
    METRICS_TOKEN: str = field(default="", repr=False)
    #: How many hosts get a label of their own in the metrics of one process; the rest are counted as "other".
    METRICS_HOSTS: int = 100
    #: Work that is due for longer than this is overdue: `webhooks_status`, `/readyz` and the metrics report it. It must be
    #: longer than two sweeps plus the start of a worker.
    OVERDUE_SECONDS: float = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its default. Names end in their unit. A setting whose default is a dataclass is a dict of its own."""

    # --- events and requests -------------------------------------------------------------------------------------
    #: The wire format of a new tenant.
    DEFAULT_WIRE_FORMAT: str = "standard"
    #: Custom wire formats: name → dotted path of a `WireFormat`.
    WIRE_FORMATS: dict[str, str] = field(default_factory=dict)
    #: Raise on an invalid event (True), or quarantine the event and continue (False). None: the value of DEBUG.
    STRICT: bool | None = checked(None, BOOLEAN_OR_NONE)
    MAX_PAYLOAD_BYTES: int = 256 * 1024
    USER_AGENT: str = "webhooks-app/1"
    #: Send a `traceparent` header with every request, if MONITORING["METRICS"] contains "opentelemetry".
    TRACEPARENT: bool = False
    RETENTION_DAYS: float = 30.0
    BACKLOG: BacklogSettings = BacklogSettings()

    # --- allowed addresses ---------------------------------------------------------------------------------------
    #: Accept http:// URLs, too. False: https only.
    ALLOW_HTTP: bool = False
    ALLOWED_PORTS: Sequence[int] = (443, 80)
    #: Networks (CIDR) that may be reached although they are refused by default, e.g. ["127.0.0.0/8"] for a demo.
    ALLOWED_NETWORKS: Sequence[str] = ()
    #: Networks (CIDR) that may not be reached although they are public.
    DENIED_NETWORKS: Sequence[str] = ()
    EGRESS: EgressSettings = EgressSettings()

    # --- secrets -------------------------------------------------------------------------------------------------
    #: Keys that encrypt secrets at rest, newest first: base64 of 32 random bytes each (`manage.py webhooks_key` creates one).
    ENCRYPTION_KEYS: Sequence[str] = field(default=(), repr=False)
    #: Encrypt payloads and responses at rest, too.
    ENCRYPT_PAYLOADS: bool = False
    #: How long the old secret stays valid after a rotation.
    ROTATION_OVERLAP_HOURS: float = 24.0

    # --- tenants -------------------------------------------------------------------------------------------------
    #: Dotted path of a function (host object) → uid string; by default a model instance becomes "app_label.model:pk".
    TENANT_UID_FUNCTION: str = ""
    #: Dotted path of a function (request → your tenant object, or None) for logged-in users.
    TENANT_OF_REQUEST: str = ""
    #: Dotted path of a function (request → "manager", who may make changes, or "viewer"); empty: all users are managers.
    ROLE_OF_REQUEST: str = ""
    #: Dotted path of a function (tenant → `webhooks_app.Plan`); empty: the plan comes from the tenant's row.
    PLAN: str = ""
    LIMITS: LimitSettings = LimitSettings()

    # --- delivery ------------------------------------------------------------------------------------------------
    #: "auto" (curl where pycurl is installed), "curl" or "requests".
    TRANSPORT: str = "auto"
    #: The maximum number of requests in flight for one endpoint, unless the endpoint has a lower limit.
    MAX_IN_FLIGHT: int = 8
    RESPONSE_BODY_BYTES: int = 16 * 1024
    #: Dotted path of the function that asks the workers to look for work. Empty: no hints (polling engines only).
    WAKE_FUNCTION: str = "webhooks_app.tasks.send_hint"
    #: Name of the Celery queue for hints.
    CELERY_QUEUE: str = "webhooks"
    #: How many engines Celery tasks may run at once; a `deliver` task that finds all of them running returns.
    MAX_CELERY_ENGINES: int = 2
    ENGINE: EngineSettings = EngineSettings()

    # --- users and staff -----------------------------------------------------------------------------------------
    API: APISettings = APISettings()
    DASHBOARD: DashboardSettings = DashboardSettings()
    NOTIFICATIONS: NotificationSettings = NotificationSettings()
    MONITORING: MonitoringSettings = MonitoringSettings()


#: Always the same object, otherwise a host without WEBHOOKS would have its settings parsed on every call.
_NO_SETTINGS: dict[str, Any] = {}
_raw: object = None
_typed: Settings = Settings()


def settings() -> Settings:
    """Return the current settings. Cheap: parsed again only if the dict was replaced (as `override_settings` does)."""
    global _raw, _typed
    raw = getattr(django_settings, "WEBHOOKS", None) or _NO_SETTINGS
    if raw is not _raw:
        _typed = parse(Settings, raw)
        _raw = raw
    return _typed


def strict() -> bool:
    """Return whether invalid events raise (development, tests) instead of being quarantined (production)."""
    chosen = settings().STRICT
    return bool(django_settings.DEBUG) if chosen is None else chosen


def backlog_age() -> timedelta:
    """Return the maximum age of an event pending for a paused or disabled endpoint; never more than the retention."""
    chosen = settings()
    days = chosen.BACKLOG.MAX_DAYS
    return timedelta(days=chosen.RETENTION_DAYS if days is None else min(days, chosen.RETENTION_DAYS))
