"""Numbered system checks: report unsafe or impossible configuration early. Each hint says what to do.

The database checks are in `checks_database.py`.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's own word
from django.utils.module_loading import import_string

from webhooks_app.conf import Settings, settings
from webhooks_app.core.addresses import check_ports
from webhooks_app.core.networks import GLOBAL_V6, NAT64_WELL_KNOWN, REFUSED_V4, REFUSED_V6, parse_networks
from webhooks_app.exceptions import ConfigurationError, SealingError
from webhooks_app.models.fields import key_ring
from webhooks_app.telemetry.beat import BEAT, TASKS, scheduled_in_settings
from webhooks_app.wire_formats import get_wire_format, wire_format_names

TAG = "webhooks_app"
#: Engines end 10 s before a Celery time limit. A limit shorter than this (seconds) leaves them no time to deliver.
_SHORTEST_TIME_LIMIT = 15
_RATE = re.compile(r"[1-9][0-9]*/(second|minute|hour|day)")
#: Value of METRICS → the module that its extra installs.
_METRICS_LIBRARIES = {"prometheus": "prometheus_client", "opentelemetry": "opentelemetry"}

Messages = Iterator[CheckMessage]
Check = Callable[[Settings], Messages]


def register_check(function: Check, *, deploy: bool = False) -> Callable[..., list[CheckMessage]]:
    """Register a check that takes the settings. It is skipped if they are invalid, because E001 reports that once. `deploy`: it
    runs only with `check --deploy`."""

    def run(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
        try:
            chosen = settings()
        except ConfigurationError:
            return []
        return list(function(chosen))

    # Not functools.wraps: Django would inspect the wrapped signature.
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return register(run, TAG, deploy=deploy)


register_deploy_check = partial(register_check, deploy=True)


@register(TAG)
def check_settings(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E001, E002"""
    found: list[CheckMessage] = []
    try:
        settings()
    except ConfigurationError as error:
        found.append(Error(str(error), hint="Correct the WEBHOOKS dict in your settings.", id="webhooks_app.E001"))
    if not django_settings.USE_TZ:
        found.append(
            Error("USE_TZ is off.", hint="Set USE_TZ = True: all times here are aware.", id="webhooks_app.E002")
        )
    return found


@register_check
def check_keys(chosen: Settings) -> Messages:
    """E003, E004, W001"""
    if not chosen.ENCRYPTION_KEYS:
        message = "WEBHOOKS['ENCRYPTION_KEYS'] is empty: no endpoint can be created and nothing is sent."
        hint = "Run `manage.py webhooks_key`, keep its output as a secret, and put it into WEBHOOKS['ENCRYPTION_KEYS']."
        if django_settings.DEBUG:
            yield Warning(message, hint=hint, id="webhooks_app.W001")
        else:
            yield Error(message, hint=hint, id="webhooks_app.E003")
        return
    try:
        key_ring()
    except SealingError as error:
        yield Error(
            str(error), hint="Each key is one line as `manage.py webhooks_key` prints it.", id="webhooks_app.E004"
        )


@register_check
def check_networks(chosen: Settings) -> Messages:
    """E005, W002, W003"""
    for port in chosen.ALLOWED_PORTS:
        try:
            check_ports((port,))
        except ValueError as error:
            hint = "Write ports as numbers, such as [443, 8443]."
            yield Error(f"WEBHOOKS['ALLOWED_PORTS']: {error}.", hint=hint, id="webhooks_app.E005")
    for name in ("ALLOWED_NETWORKS", "DENIED_NETWORKS"):
        for text in getattr(chosen, name):
            try:
                (network,) = parse_networks((text,))
            except ValueError as error:
                hint = "Write networks as '10.1.0.0/16' or 'fd00::/8'."
                yield Error(f"WEBHOOKS[{name!r}]: {error}.", hint=hint, id="webhooks_app.E005")
                continue
            if name == "ALLOWED_NETWORKS" and not django_settings.DEBUG and _is_inside(network):
                yield Warning(
                    f"WEBHOOKS['ALLOWED_NETWORKS'] opens {text}, which is inside your network, to URLs of strangers.",
                    hint="Take it out, or narrow it to the one address that you mean.",
                    id="webhooks_app.W002",
                )
    if chosen.ALLOW_HTTP and not django_settings.DEBUG:
        hint = "Set WEBHOOKS['ALLOW_HTTP'] to False: over http:// anyone on the way reads and changes the events."
        yield Warning("WEBHOOKS['ALLOW_HTTP'] is on outside DEBUG.", hint=hint, id="webhooks_app.W003")


@register_check
def check_egress(chosen: Settings) -> Messages:
    """W021"""
    if chosen.EGRESS.PROXY and chosen.EGRESS.PROXY_RESOLVES_NAMES:
        yield Warning(
            "WEBHOOKS['EGRESS']['PROXY_RESOLVES_NAMES'] is on: only the proxy keeps requests away from your own network.",
            hint="Let the proxy refuse private, loopback and link-local addresses after it has resolved a name, and silence "
            "this warning. Or set PROXY_RESOLVES_NAMES to False, if names can be resolved here.",
            id="webhooks_app.W021",
        )


def _is_inside(network: Any) -> bool:
    if network.version == 6:
        if network.subnet_of(NAT64_WELL_KNOWN):  # its addresses are judged by the IPv4 addresses inside them
            return False
        return not network.subnet_of(GLOBAL_V6) or any(network.overlaps(each) for each in REFUSED_V6)
    return any(network.overlaps(each) for each in REFUSED_V4)


@register_check
def check_wire_formats(chosen: Settings) -> Messages:
    """E006"""
    for name in sorted({chosen.DEFAULT_WIRE_FORMAT, *map(str, chosen.DASHBOARD.WIRE_FORMATS), *wire_format_names()}):
        try:
            get_wire_format(name)
        except ConfigurationError as error:
            hint = "Correct WEBHOOKS['DEFAULT_WIRE_FORMAT'], WEBHOOKS['DASHBOARD']['WIRE_FORMATS'] or WEBHOOKS['WIRE_FORMATS']."
            yield Error(str(error), hint=hint, id="webhooks_app.E006")


@register_check
def check_paths(chosen: Settings) -> Messages:
    """E008, E009, E010"""
    if chosen.TRANSPORT not in ("auto", "curl", "requests"):
        hint = 'Use "auto", "curl" or "requests".'
        yield Error(f"WEBHOOKS['TRANSPORT'] is {chosen.TRANSPORT!r}.", hint=hint, id="webhooks_app.E008")
    elif chosen.TRANSPORT == "curl" and importlib.util.find_spec("pycurl") is None:
        hint = 'Install the `curl` extra (pycurl), or use "auto".'
        yield Error("WEBHOOKS['TRANSPORT'] is 'curl', but pycurl is not installed.", hint=hint, id="webhooks_app.E008")
    for name in ("WAKE_FUNCTION", "TENANT_UID_FUNCTION", "PLAN", "TENANT_OF_REQUEST", "ROLE_OF_REQUEST"):
        path = getattr(chosen, name)
        try:
            good = not path or callable(import_string(path))
        except ImportError:
            good = False
        if not good:
            hint = "Give the dotted path of a function, or an empty text."
            yield Error(f"WEBHOOKS[{name!r}]: {path!r} cannot be imported.", hint=hint, id="webhooks_app.E009")
    if chosen.API.RATE_LIMIT and not _RATE.fullmatch(chosen.API.RATE_LIMIT):
        hint = 'Write it as "1200/minute"; the periods are second, minute, hour and day.'
        yield Error(f"WEBHOOKS['API']['RATE_LIMIT'] is {chosen.API.RATE_LIMIT!r}.", hint=hint, id="webhooks_app.E010")


@register_deploy_check
def check_cache(chosen: Settings) -> Messages:
    """W020"""
    backend = str(django_settings.CACHES.get("default", {}).get("BACKEND", ""))
    if chosen.API.RATE_LIMIT and backend.endswith((".LocMemCache", ".DummyCache")):
        yield Warning(
            f"The default cache is {backend.rpartition('.')[2]}: each process counts requests and refused keys for itself.",
            hint="Use a cache that all processes share, such as Redis, Memcached or the database, as CACHES['default'].",
            id="webhooks_app.W020",
        )


@register_deploy_check
def check_proxies(chosen: Settings) -> Messages:
    """W022"""
    if getattr(django_settings, "REST_FRAMEWORK", {}).get("NUM_PROXIES") is None:
        yield Warning(
            "REST_FRAMEWORK['NUM_PROXIES'] is not set: any client can choose the address that its refused requests are counted "
            "for, evade the limit, and have other clients refused.",
            hint="Set it to the number of proxies in front of Django that add to X-Forwarded-For, 0 if there are none.",
            id="webhooks_app.W022",
        )


@register_check
def check_timing(chosen: Settings) -> Messages:
    """W004, W005, W006"""
    if chosen.ENGINE.LINGER_SECONDS <= chosen.ENGINE.HINT_COALESCE_SECONDS:
        yield Warning(
            "WEBHOOKS['ENGINE']['LINGER_SECONDS'] is not longer than 'HINT_COALESCE_SECONDS': events wait for the next sweep.",
            hint="Make LINGER_SECONDS several times as long.",
            id="webhooks_app.W004",
        )
    for name in ("CELERY_TASK_TIME_LIMIT", "CELERY_TASK_SOFT_TIME_LIMIT"):
        limit = getattr(django_settings, name, None)
        if limit is not None and limit < _SHORTEST_TIME_LIMIT:
            yield Warning(
                f"{name} is {limit} s: it leaves delivery engines no time.",
                hint=f"Set it to {_SHORTEST_TIME_LIMIT} or more, or deliver with `manage.py webhooks_deliver`.",
                id="webhooks_app.W005",
            )
    if getattr(django_settings, "CELERY_TASK_ALWAYS_EAGER", False) and chosen.WAKE_FUNCTION:
        yield Warning(
            "CELERY_TASK_ALWAYS_EAGER is on: requests would deliver webhooks themselves, and wait for it.",
            hint="Set WEBHOOKS['WAKE_FUNCTION'] to '' and run `manage.py webhooks_deliver`, or run a worker.",
            id="webhooks_app.W006",
        )


@register_check
def check_metrics(chosen: Settings) -> Messages:
    """E015, E016, W015"""
    for name in chosen.MONITORING.METRICS:
        library = _METRICS_LIBRARIES.get(name)
        if library is None:
            hint = 'Use "prometheus", "opentelemetry" or both.'
            yield Error(f"WEBHOOKS['MONITORING']['METRICS'] contains {name!r}.", hint=hint, id="webhooks_app.E015")
        elif importlib.util.find_spec(library) is None:
            yield Error(
                f"WEBHOOKS['MONITORING']['METRICS'] contains {name!r}, but {library} is not installed.",
                hint=f"Install the `{name}` extra, or take {name!r} out.",
                id="webhooks_app.E016",
            )
    if chosen.TRACEPARENT and "opentelemetry" not in chosen.MONITORING.METRICS:
        yield Warning(
            "WEBHOOKS['TRACEPARENT'] is on, but WEBHOOKS['MONITORING']['METRICS'] does not contain \"opentelemetry\": no header "
            "is sent.",
            hint='Add "opentelemetry" to METRICS, or set TRACEPARENT to False.',
            id="webhooks_app.W015",
        )


@register_check
def check_beat(chosen: Settings) -> Messages:
    """W008"""
    # Without hints (WAKE_FUNCTION empty) the engine is `webhooks_deliver`, which does that work itself.
    if chosen.WAKE_FUNCTION and not apps.is_installed(BEAT) and not scheduled_in_settings().issuperset(TASKS):
        yield Warning(
            "Nothing runs webhooks_app.sweep: what a lost hint leaves behind is never sent.",
            hint=f"Add {BEAT!r} to INSTALLED_APPS and run `manage.py webhooks_schedule`, or name the tasks in "
            "CELERY_BEAT_SCHEDULE. Without Celery: set WEBHOOKS['WAKE_FUNCTION'] to '' and run `manage.py webhooks_deliver`.",
            id="webhooks_app.W008",
        )
