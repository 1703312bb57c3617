"""Typed settings. One dict, `WEBHOOKS`, read live, so that `override_settings` works; unknown keys are refused."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from django.conf import settings as django_settings

from webhooks_app.core.addresses import AddressPolicy
from webhooks_app.exceptions import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its default. Names end in their unit."""

    # --- what is sent, and to whom -------------------------------------------------------------------------------
    #: The profile of a new tenant.
    DEFAULT_PROFILE: str = "standard"
    #: Profiles of the host's own: name → dotted path of a `Profile`.
    PROFILES: dict[str, str] = field(default_factory=dict)
    #: Raise on a mistake in an event (True), or store it quarantined and let the host go on (False). None: as DEBUG says.
    STRICT: bool | None = None
    #: Dotted path of a function (host object) → uid text; by default a model instance becomes "app_label.model:pk".
    TENANT_UID: str = ""
    MAX_PAYLOAD_BYTES: int = 256 * 1024
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
    #: Requests on the network at once, for one engine.
    WINDOW: int = 384
    #: Endpoints that one engine holds at once, those without a success yet not counted.
    MAX_HELD_QUEUES: int = 512
    #: Requests in flight for one endpoint, unless the endpoint says less.
    MAX_IN_FLIGHT: int = 8
    #: Bytes of event bodies that one engine keeps in memory ahead of sending.
    PREFETCH_BYTES: int = 32 * 1024 * 1024
    #: How long an engine's heartbeat is good for. Must be longer than any profile's total timeout.
    HEARTBEAT_SECONDS: float = 30.0
    #: How long an idle engine looks for more before it returns to Celery. Longer than the coalescing window.
    LINGER_SECONDS: float = 2.0
    POLL_SECONDS: float = 0.01
    #: Engines that Celery tasks may run at once; a `deliver` task that finds them all running returns.
    ENGINES: int = 2
    #: How long one `deliver` task runs before it hands over to a fresh one.
    DELIVER_SECONDS: float = 60.0
    #: Use PostgreSQL's own statements (COPY, set-based SQL) where the database is PostgreSQL.
    FAST_PATHS: bool = True
    RESPONSE_BODY_BYTES: int = 16 * 1024
    RESPONSE_HEADER_BYTES: int = 8 * 1024

    # --- hints ---------------------------------------------------------------------------------------------------
    #: Dotted path of the function that tells the workers to look. Empty: no hints (polling engines only).
    WAKE: str = "webhooks_app.tasks.send_hint"
    #: One hint a process in this time is enough.
    HINT_COALESCE_SECONDS: float = 0.25
    #: A request waits no longer than this for the broker …
    HINT_TIMEOUT_SECONDS: float = 1.0
    #: … and then the broker is left alone for this long.
    HINT_PAUSE_SECONDS: float = 30.0
    #: Name of the Celery queue for hints.
    CELERY_QUEUE: str = "webhooks"

    # --- secrets -------------------------------------------------------------------------------------------------
    #: Keys for secrets at rest, newest first: base64 of 32 random bytes each (`manage.py webhooks_key` makes one).
    ENCRYPTION_KEYS: Sequence[str] = ()
    #: How long the old secret stays valid after a rotation.
    ROTATION_OVERLAP_HOURS: float = 24.0

    # --- telling people ------------------------------------------------------------------------------------------
    #: Sender of the app's e-mail; empty: DEFAULT_FROM_EMAIL.
    FROM_EMAIL: str = ""
    #: Staff to tell; empty: the addresses in ADMINS.
    STAFF_EMAILS: Sequence[str] = ()
    #: How long further failures are gathered before they are told in one message.
    TELL_EVERY_SECONDS: float = 3600.0
    #: The uid of a tenant of your own that gets operational events (`webhooks.endpoint_disabled` …); empty: there are none.
    OPERATIONS_TENANT: str = ""
    #: Absolute URL of the dashboard, for links in e-mail.
    DASHBOARD_URL: str = ""

    # --- the REST API and the dashboard ----------------------------------------------------------------------------
    #: What API keys begin with, so that people and secret scanners know them.
    API_KEY_PREFIX: str = "wk"
    #: Requests that one key may make, as "number/second", "/minute", "/hour" or "/day"; empty: no limit.
    API_RATE: str = "1200/minute"
    #: Dotted path of a function (tenant → `webhooks_app.actions.plan.Plan`); empty: the tenant's row says.
    PLAN: str = ""
    #: Dotted path of a function (request → your tenant object, or None) for people who are logged in.
    TENANT_OF_REQUEST: str = ""
    #: Dotted path of a function (request → "manager", who may change things, or "viewer"); empty: everybody manages.
    ROLE_OF_REQUEST: str = ""
    #: Names of the profiles that customers choose from when they add a webhook on their pages; empty: they are not asked, and
    #: get the tenant's profile.
    DASHBOARD_PROFILES: Sequence[str] = ()
    #: How long a portal link is good for.
    PORTAL_LINK_MINUTES: float = 10.0
    #: Content-Security-Policy of the customers' pages. Empty: none from us, your own middleware sets one.
    DASHBOARD_CSP: str = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )

    # --- keeping and cleaning ------------------------------------------------------------------------------------
    RETENTION_DAYS: float = 30.0
    PRUNE_BATCH: int = 1000


_raw: object = None
_typed: Settings = Settings()


def settings() -> Settings:
    """The settings as they are now. Cheap: parsed again only after the dict was replaced (as `override_settings` does)."""
    global _raw, _typed
    raw = getattr(django_settings, "WEBHOOKS", None) or {}
    if raw is not _raw:
        _typed = parse(raw)
        _raw = raw
    return _typed


def parse(raw: dict[str, Any]) -> Settings:
    """Turn the dict into `Settings`. Raises ConfigurationError for an unknown key or a value of the wrong type."""
    if not isinstance(raw, dict):
        raise ConfigurationError(f"WEBHOOKS must be a dict, not {type(raw).__name__}.")
    known = {item.name: item for item in fields(Settings)}
    for key, value in raw.items():
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known settings: {', '.join(sorted(known))}."
            raise ConfigurationError(f"WEBHOOKS[{key!r}] is not a setting of webhooks_app.{hint}", field=str(key))
        _check_type(key, value, getattr(Settings(), key))
    return Settings(**raw)


def _check_type(key: str, value: object, default: object) -> None:
    if key == "STRICT":
        good, wanted = value is None or isinstance(value, bool), "True, False or None"
    elif isinstance(default, bool):
        good, wanted = isinstance(value, bool), "True or False"
    elif isinstance(default, int):
        good, wanted = isinstance(value, int) and not isinstance(value, bool) and value > 0, "a positive whole number"
    elif isinstance(default, float):
        good, wanted = (
            isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf,
            "a number, 0 or more",
        )
    elif isinstance(default, str):
        good, wanted = isinstance(value, str), "a text"
    elif isinstance(default, dict):
        good, wanted = isinstance(value, dict), "a dict"
    else:
        good, wanted = isinstance(value, (list, tuple)), "a list"
    if not good:
        raise ConfigurationError(f"WEBHOOKS[{key!r}] must be {wanted}, not {_told(value, default)}.", field=key)


def _told(value: object, default: object) -> str:
    """A number where a number is wanted. Of all else only the type: it may be a key, or a proxy's URL with its password,
    and messages go to logs."""
    if isinstance(value, (int, float)) and isinstance(default, (int, float)):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def strict() -> bool:
    """Do mistakes in events raise (development, tests), or are they quarantined (production)?"""
    chosen = settings().STRICT
    return bool(django_settings.DEBUG) if chosen is None else chosen


def address_policy() -> AddressPolicy:
    """The operator's rules about addresses, as the settings are now."""
    chosen = settings()
    return AddressPolicy(
        allow_http=chosen.ALLOW_HTTP,
        ports=frozenset(chosen.ALLOWED_PORTS),
        allowed_networks=tuple(chosen.ALLOWED_NETWORKS),
        denied_networks=tuple(chosen.DENIED_NETWORKS),
    )
