"""Refused access: API keys and portal links that are not accepted, and keys without the scope that a request needs.

Unknown keys and links are counted by sender, so that many guesses cost the database nothing. Refusals that concern a known
tenant are noted in its audit log. The counters are in Django's default cache.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, cast

from django.core.cache import cache
from django.http import HttpRequest
from rest_framework.throttling import BaseThrottle

from webhooks_app.core.secrets import token_digest
from webhooks_app.models import ApiKey, PortalLink
from webhooks_app.process_log import log_once_a_minute
from webhooks_app.tenants.audit import record_audit_entry

#: How many different keys and links that are not accepted one sender may try in each period of so many seconds.
MOST = 60
PERIOD = 60
#: For how long a key is known to have been accepted (seconds): it is looked up whatever else its sender tries.
_KNOWN_FOR = 3600
#: An equal refusal is noted in the audit log once in this time (seconds).
_RECORDED_EVERY = 3600


def sender_of(request: HttpRequest) -> str:
    """Return the client's address, as DRF finds it: set its NUM_PROXIES behind proxies. Of an IPv6 address only the network,
    because its owner can use any address in it."""
    text = str(BaseThrottle().get_ident(cast(Any, request)))
    try:
        address = ip_address(text)
    except ValueError:
        return text
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Network((int(address), 64), strict=False))
    return text


def must_wait(token: str, sender: str) -> bool:
    """Return whether not to look up this key or link now, because its sender has tried too many others. `sender`: an address."""
    return (cache.get(_refused_from(sender)) or 0) >= MOST and cache.get(_key("accepted", token)) is None


def was_refused(token: str) -> bool:
    """Return whether this key or link was refused in the last minute. Keys and links are random, so it is still not valid."""
    return cache.get(_key("refused", token)) is not None


def remember_accepted(token: str) -> None:
    cache.set(_key("accepted", token), True, _KNOWN_FOR)


def refuse_api_key(token: str, sender: str) -> None:
    """Count and log a key that is not accepted. If it was one, record it in its tenant's audit log."""
    if _count(token, sender, "an API key"):
        key = ApiKey.objects.filter(digest=token_digest(token)).first()
        if key is not None:
            reason = "revoked" if key.revoked_at is not None else "expired"
            record_refusal(key.tenant_id, f"key:{key.public_id}", "api_key.refused", key.public_id, reason)


def refuse_portal_link(token: str, sender: str) -> None:
    """Count and log a portal link that is not accepted. If it was one, record it in its tenant's audit log."""
    if _count(token, sender, "a link to the dashboard"):
        link = PortalLink.objects.filter(digest=token_digest(token)).first()
        if link is not None:
            reason = "revoked" if link.revoked_at is not None else "used" if link.used_at is not None else "expired"
            record_refusal(link.tenant_id, link.actor, "portal_link.refused", link.pk.hex, reason)


def record_refusal(tenant_id: uuid.UUID, actor: str, verb: str, target: str, reason: str) -> None:
    """Record a refusal in the tenant's audit log, unless the same one was recorded within the last hour."""
    if cache.add(_key("noted", f"{verb} {target} {reason}"), True, _RECORDED_EVERY):
        record_audit_entry(tenant_id, actor, verb, target, reason=reason)


def _count(token: str, sender: str, what: str) -> bool:
    """Count the refused key or link. Return False if that was done within the last minute."""
    if not cache.add(_key("refused", token), True, PERIOD):
        return False
    counter = _refused_from(sender)
    cache.add(counter, 0, PERIOD)
    with contextlib.suppress(ValueError):  # the counter has just expired
        cache.incr(counter)
        cache.touch(counter, PERIOD)
    log_once_a_minute(logging.WARNING, f"refused {what}", f"{what} from {sender} is not accepted")
    return True


def _refused_from(sender: str) -> str:
    """Return the key of the sender's counter. It names the minute, since `incr` of Django's caches in the database and in files
    gives the counter a new time to live."""
    return _key("refused_from", f"{sender} {int(time.time() // PERIOD)}")


def _key(kind: str, text: str) -> str:
    """Return a key of the cache. It has a digest, since not every cache takes every text, and none needs to hold the text."""
    return f"webhooks_{kind}:{token_digest(text)}"
