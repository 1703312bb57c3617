"""Typed settings. One dict, `WEBHOOKS`, read live, so that `override_settings` works; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings

from webhooks_app.conf_parser import parse
from webhooks_app.core.addresses import AddressPolicy, check_ports, parse_networks
from webhooks_app.exceptions import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """WEBHOOKS["ENGINE"]: internals with defaults that were measured. Leave them alone unless you measure, too."""

    #: Requests on the network at once, for one engine.
    WINDOW: int = 384
    #: Endpoints that one engine holds at once, those without a success yet not counted.
    MAX_LEASED_QUEUES: int = 512
    #: Bytes of event bodies that one engine keeps in memory ahead of sending.
    PREFETCH_BYTES: int = 32 * 1024 * 1024
    RESPONSE_HEADER_BYTES: int = 8 * 1024
    POLL_SECONDS: float = 0.01
    #: Use PostgreSQL's own statements (COPY, set-based SQL) where the database is PostgreSQL.
    POSTGRESQL_SQL: bool = True
    #: How long an engine's heartbeat is good for. Others release the queues of an engine that has missed its heartbeat.
    HEARTBEAT_SECONDS: float = 6.0
    #: How long requests in flight may take to end once an engine was asked to stop; then they are sent again by another.
    DRAIN_SECONDS: float = 4.0
    #: How long an idle engine looks for more before it returns to Celery. Longer than the coalescing window.
    LINGER_SECONDS: float = 2.0
    #: How long one `deliver` task runs before it hands over to a fresh one.
    DELIVER_SECONDS: float = 60.0
    #: One hint a process in this time is enough.
    HINT_COALESCE_SECONDS: float = 0.25
    #: A request waits no longer than this for the broker …
    HINT_TIMEOUT_SECONDS: float = 1.0
    #: … and then the broker is left alone for this long.
    HINT_PAUSE_SECONDS: float = 30.0
    PRUNE_BATCH: int = 1000
    #: Hosts that get a label of their own in the metrics of one process; the rest are counted as "other".
    METRICS_HOSTS: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its default. Names end in their unit."""

    # --- what is sent, and to whom -------------------------------------------------------------------------------
    #: The wire format of a new tenant.
    DEFAULT_WIRE_FORMAT: str = "standard"
    #: Wire formats of the host's own: name → dotted path of a `WireFormat`.
    WIRE_FORMATS: dict[str, str] = field(default_factory=dict)
    #: Raise on a mistake in an event (True), or store it quarantined and let the host go on (False). None: as DEBUG says.
    STRICT: bool | None = None
    #: Dotted path of a function (host object) → uid text; by default a model instance becomes "app_label.model:pk".
    TENANT_UID_FUNCTION: str = ""
    MAX_PAYLOAD_BYTES: int = 256 * 1024
    #: Events of one tenant that may be pending, that is stored but not fanned out yet; 0: no limit.
    MAX_PENDING_EVENTS_PER_TENANT: int = 0
    #: The same for all tenants together.
    MAX_PENDING_EVENTS: int = 0
    #: What `emit` does beyond these limits: "warn" (log a warning) or "refuse" (raise BacklogFull, whatever STRICT says).
    BACKLOG_POLICY: str = "warn"
    USER_AGENT: str = "webhooks-app/1"

    # --- where we may send to ------------------------------------------------------------------------------------
    #: Accept http:// URLs too. Off: https only.
    ALLOW_HTTP: bool = False
    ALLOWED_PORTS: Sequence[int] = (443, 80)
    #: Networks (CIDR) that may be reached although they are refused by default, e.g. ["127.0.0.0/8"] for a demo.
    ALLOWED_NETWORKS: Sequence[str] = ()
    #: Networks (CIDR) that may not be reached although they are public.
    DENIED_NETWORKS: Sequence[str] = ()
    #: `http://host:port` of an egress proxy. Proxies in the environment are ignored.
    EGRESS_PROXY: str = ""
    #: Addresses that customers should allow-list.
    EGRESS_ADDRESSES: Sequence[str] = ()
    #: PEM file of certificate authorities; empty: certifi's.
    CA_BUNDLE: str = ""

    # --- the engine ----------------------------------------------------------------------------------------------
    #: "auto" (curl where pycurl is installed), "curl" or "requests".
    TRANSPORT: str = "auto"
    #: Requests in flight for one endpoint, unless the endpoint says less.
    MAX_IN_FLIGHT: int = 8
    #: Engines that Celery tasks may run at once; a `deliver` task that finds them all running returns.
    MAX_CELERY_ENGINES: int = 2
    RESPONSE_BODY_BYTES: int = 16 * 1024

    # --- hints ---------------------------------------------------------------------------------------------------
    #: Dotted path of the function that tells the workers to look. Empty: no hints (polling engines only).
    WAKE_FUNCTION: str = "webhooks_app.tasks.send_hint"
    #: Name of the Celery queue for hints.
    CELERY_QUEUE: str = "webhooks"

    #: Internals of the engine; see `EngineSettings`.
    ENGINE: EngineSettings = EngineSettings()

    # --- secrets -------------------------------------------------------------------------------------------------
    #: Keys for secrets at rest, newest first: base64 of 32 random bytes each (`manage.py webhooks_key` makes one).
    ENCRYPTION_KEYS: Sequence[str] = ()
    #: How long the old secret stays valid after a rotation.
    ROTATION_OVERLAP_HOURS: float = 24.0

    # --- notifications -------------------------------------------------------------------------------------------
    #: Sender of the app's e-mail; empty: DEFAULT_FROM_EMAIL.
    FROM_EMAIL: str = ""
    #: Staff to notify; empty: the addresses in ADMINS.
    STAFF_EMAILS: Sequence[str] = ()
    #: How long further failures are collected before they are sent in one e-mail.
    NOTIFICATION_DIGEST_SECONDS: float = 3600.0
    #: The uid of a tenant of your own that gets operational events (`webhooks.endpoint_disabled` …); empty: there are none.
    OPERATIONS_TENANT: str = ""
    #: Absolute URL of the dashboard, for links in e-mail.
    DASHBOARD_URL: str = ""

    # --- the REST API and the dashboard ----------------------------------------------------------------------------
    #: What API keys begin with, so that people and secret scanners know them.
    API_KEY_PREFIX: str = "wk"
    #: Requests that one key may make, as "number/second", "/minute", "/hour" or "/day"; empty: no limit.
    API_RATE: str = "1200/minute"
    #: Dotted path of a function (tenant → `webhooks_app.Plan`); empty: the tenant's row says.
    PLAN: str = ""
    #: Dotted path of a function (request → your tenant object, or None) for people who are logged in.
    TENANT_OF_REQUEST: str = ""
    #: Dotted path of a function (request → "manager", who may change things, or "viewer"); empty: everybody manages.
    ROLE_OF_REQUEST: str = ""
    #: Names of the wire formats that customers choose from when they add a webhook on their pages; empty: they are not asked, and
    #: get the tenant's wire format.
    DASHBOARD_WIRE_FORMATS: Sequence[str] = ()
    #: How long a portal link is good for.
    PORTAL_LINK_MINUTES: float = 10.0
    #: Content-Security-Policy of the customers' pages. Empty: none from us, your own middleware sets one.
    DASHBOARD_CSP: str = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )

    # --- keeping and cleaning ------------------------------------------------------------------------------------
    RETENTION_DAYS: float = 30.0
    #: How old an event may become while it is pending for a paused or disabled endpoint. None, or more than
    #: RETENTION_DAYS: RETENTION_DAYS.
    BACKLOG_DAYS: float | None = None
    #: Deliveries that may be pending for one paused or disabled endpoint; the oldest are dropped. 0: no limit.
    BACKLOG_DELIVERIES: int = 100_000

    # --- monitoring ----------------------------------------------------------------------------------------------
    #: Where metrics go: "prometheus", "opentelemetry" or both. Empty: nowhere.
    METRICS: Sequence[str] = ()
    #: The bearer token that `/metrics` asks for. Empty: `/metrics` answers only under DEBUG.
    METRICS_TOKEN: str = ""
    #: Send a `traceparent` header with every request, where METRICS has "opentelemetry".
    TRACEPARENT: bool = False
    #: Work that is due for longer than this is overdue: `webhooks_status`, `/readyz` and the metrics report it. Longer
    #: than two sweeps and the start of a worker take.
    OVERDUE_SECONDS: float = 40.0


#: One and the same each time, or a host without WEBHOOKS would have its settings parsed on every call.
_NO_SETTINGS: dict[str, Any] = {}
_raw: object = None
_typed: Settings = Settings()


def settings() -> Settings:
    """The settings as they are now. Cheap: parsed again only after the dict was replaced (as `override_settings` does)."""
    global _raw, _typed
    raw = getattr(django_settings, "WEBHOOKS", None) or _NO_SETTINGS
    if raw is not _raw:
        _typed = parse(Settings, raw)
        _raw = raw
    return _typed


def strict() -> bool:
    """Do mistakes in events raise (development, tests), or are they quarantined (production)?"""
    chosen = settings().STRICT
    return bool(django_settings.DEBUG) if chosen is None else chosen


#: The policy of these settings. One tuple, replaced as a whole, since threads read it without a lock.
_addresses: tuple[Settings, AddressPolicy] | None = None


def backlog_age() -> timedelta:
    """How old an event may become while it is pending for a paused or disabled endpoint. Never more than the retention."""
    chosen = settings()
    days = chosen.RETENTION_DAYS if chosen.BACKLOG_DAYS is None else min(chosen.BACKLOG_DAYS, chosen.RETENTION_DAYS)
    return timedelta(days=days)


def address_policy() -> AddressPolicy:
    """Return the operator's rules about addresses, as the settings are now. Built again only after the settings changed.

    Raises ConfigurationError that names the setting and the entry which is wrong.
    """
    global _addresses
    chosen, known = settings(), _addresses
    if known is None or known[0] is not chosen:
        known = _addresses = chosen, _address_policy(chosen)
    return known[1]


def _address_policy(chosen: Settings) -> AddressPolicy:
    checks: tuple[tuple[str, Callable[[Sequence[object]], object]], ...] = (
        ("ALLOWED_PORTS", check_ports),
        ("ALLOWED_NETWORKS", parse_networks),
        ("DENIED_NETWORKS", parse_networks),
    )
    for name, check in checks:
        try:
            check(getattr(chosen, name))
        except ValueError as error:
            raise ConfigurationError(f"WEBHOOKS[{name!r}]: {error}.", field=name) from error
    return AddressPolicy(
        allow_http=chosen.ALLOW_HTTP,
        ports=frozenset(chosen.ALLOWED_PORTS),
        allowed_networks=tuple(chosen.ALLOWED_NETWORKS),
        denied_networks=tuple(chosen.DENIED_NETWORKS),
    )
