"""Read the environment variables of the runnable project. An invalid value stops it with one clear line."""

import logging
import os
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def switch(name: str, default: str) -> bool:
    """Return a variable that is 0 or 1."""
    text = os.environ.get(name, default)
    if text not in ("0", "1"):
        raise ImproperlyConfigured(f"{name} is 0 or 1, not {text!r}.")
    return text == "1"


def choice(name: str, options: tuple[str, ...], default: str) -> str:
    """Return a variable that is one of these words."""
    text = os.environ.get(name) or default
    if text not in options:
        raise ImproperlyConfigured(f"{name} is one of {', '.join(options)}, not {text!r}.")
    return text


def port(name: str, default: int) -> int:
    """Return a variable that is a port number."""
    text = os.environ.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 65535:
        raise ImproperlyConfigured(f"{name} is the number of a port, 1 to 65535, not {text!r}.")
    return int(text)


def log_level(name: str, default: str) -> str:
    text = os.environ.get(name) or default
    if text.upper() not in _LEVELS or not isinstance(logging.getLevelName(text.upper()), int):
        raise ImproperlyConfigured(f"{name} is one of {', '.join(_LEVELS)}, not {text!r}.")
    return text.upper()


def database(default: str) -> Any:
    """Return DATABASE_URL as Django's settings of one database. An error does not show the URL: it may contain a password."""
    options: dict[str, Any] = {"conn_max_age": 60, "conn_health_checks": True}
    try:
        found: Any = dj_database_url.config(default=default, **options)
    except ValueError:
        found = {}
    if not found.get("ENGINE"):
        wanted = "postgres://user@host:5432/name or sqlite:////path/to/file"
        raise ImproperlyConfigured(f"DATABASE_URL is no URL of a database. Write it as {wanted}.")
    return found


def cache() -> dict[str, Any]:
    """Return CACHE_URL as Django's settings of one cache; without it, each process has a cache of its own."""
    url = os.environ.get("CACHE_URL") or ""
    if not url:
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured("CACHE_URL is no URL of a Redis server. Write it as redis://host:6379/1.")
    return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}
