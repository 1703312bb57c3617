"""Checks of endpoint input. Each returns the value to store, or raises an error that names the field."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from webhooks_app.address_settings import address_policy
from webhooks_app.core.addresses import CheckedURL, check_url
from webhooks_app.core.catalogue import registry
from webhooks_app.core.filters import check_filters, check_pattern
from webhooks_app.events.payload import MAX_CHANNEL
from webhooks_app.exceptions import ConfigurationError, InvalidEndpoint, URLNotAllowed
from webhooks_app.exceptions import gettext_noop as _
from webhooks_app.models import EventType, Tenant
from webhooks_app.tenants.identify import storable
from webhooks_app.wire_formats import get_wire_format
from webhooks_app.wire_formats.base import WireFormat

MAX_EVENTS = 50
MAX_CHANNELS = 50
MAX_DESCRIPTION = 255
MAX_METADATA_BYTES = 8192
MAX_METADATA_LEVELS = 20
MAX_RATE_LIMIT = 100_000
#: An unpaired surrogate, and NUL as JSON escapes it: not every database can store them.
_UNSTORABLE = re.compile(r"[\ud800-\udfff]|(?<!\\)(?:\\\\)*\\u0000")
_UNSTORABLE_METADATA = _("The metadata have a character that cannot be stored: NUL, or one half of a surrogate pair.")
_UNSTORABLE_FILTERS = _("The filters have a character that cannot be stored: NUL, or one half of a surrogate pair.")


def checked_wire_format(name: str | None, tenant: Tenant) -> WireFormat:
    """Return the requested wire format, or the tenant's, or the default. Raises InvalidEndpoint for an unknown one."""
    try:
        return get_wire_format(name or tenant.wire_format_name)
    except ConfigurationError as error:
        if name is None:
            raise
        raise InvalidEndpoint(str(error), field="wire_format") from error


def checked_url(url: str, wire_format: WireFormat) -> CheckedURL:
    """Return the checked URL. Raises URLNotAllowed; its `reason` is for staff only."""
    if not isinstance(url, str):
        raise URLNotAllowed(_("Enter a full URL, such as https://example.com/webhooks."))
    return check_url(url, address_policy(), https_only=wire_format.https_only)


def checked_events(events: Sequence[str], wire_format: WireFormat, *, kept: Collection[str] = ()) -> list[str]:
    """Return 1 to 50 patterns without duplicates.

    A plain name must be in the catalogue and not retired, or documented by the wire format's product, unless it is in `kept`.
    """
    if isinstance(events, str) or not isinstance(events, (list, tuple, set, frozenset)):
        raise InvalidEndpoint("`events` is a list of event types, such as ['message.sent'].", field="events")
    unique = list(dict.fromkeys(check_pattern(pattern) for pattern in events))
    if not 1 <= len(unique) <= MAX_EVENTS:
        raise InvalidEndpoint(
            _("Choose 1 to %(most)s events; there are %(count)s."), field="events", most=MAX_EVENTS, count=len(unique)
        )
    names = {pattern for pattern in unique if not pattern.endswith("*")}.difference(kept)
    documented = {type_.name for type_ in wire_format.event_types}
    unknown = sorted(names.difference(documented, _offered(names)))
    if unknown:
        raise InvalidEndpoint(
            _("There is no event type %(name)s. Look at the list of event types."),
            field="events",
            name=repr(unknown[0]),
        )
    return unique


def _offered(names: Collection[str]) -> set[str]:
    declared = {name for name in names if name in registry}
    offered = {name for name in declared if not getattr(registry.get(name), "retired", True)}
    rows = EventType.objects.filter(name__in=set(names) - declared, retired=False)
    return offered.union(rows.values_list("name", flat=True))


def checked_channels(channels: Sequence[str]) -> list[str]:
    if isinstance(channels, str) or not isinstance(channels, (list, tuple, set, frozenset)):
        raise InvalidEndpoint("`channels` is a list of names.", field="channels")
    unique = list(dict.fromkeys(channels))
    if len(unique) > MAX_CHANNELS:
        raise InvalidEndpoint(
            _("At most %(most)s channels are allowed; there are %(count)s."),
            field="channels",
            most=MAX_CHANNELS,
            count=len(unique),
        )
    for channel in unique:
        if not isinstance(channel, str) or not 0 < len(channel) <= MAX_CHANNEL or not channel.isprintable():
            raise InvalidEndpoint(
                _("%(name)s is no channel: 1 to %(most)s printable characters."),
                field="channels",
                name=f"{channel!r:.200}",
                most=MAX_CHANNEL,
            )
    return unique


def checked_description(text: str) -> str:
    if not storable(text, MAX_DESCRIPTION):
        raise InvalidEndpoint(
            _("The description is a text of at most %(most)s characters."), field="description", most=MAX_DESCRIPTION
        )
    return text


def checked_fifo(value: bool) -> bool:
    if not isinstance(value, bool):
        raise InvalidEndpoint("`fifo` is true or false.", field="fifo")
    return value


def checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the customer's own notes: a JSON object that is only stored."""
    if _is_nested_deeper(metadata, MAX_METADATA_LEVELS):
        raise InvalidEndpoint(
            _("The metadata has at most %(most)s levels of nesting."), field="metadata", most=MAX_METADATA_LEVELS
        )
    try:
        text = json.dumps(metadata or {}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEndpoint(
            _("The metadata cannot be written as JSON: %(error)s"), field="metadata", error=error
        ) from error
    value = json.loads(text)
    if not isinstance(value, dict) or len(text) > MAX_METADATA_BYTES:
        raise InvalidEndpoint(
            _("The metadata is a JSON object of at most %(most)s bytes."), field="metadata", most=MAX_METADATA_BYTES
        )
    return storable_json(value, "metadata", _UNSTORABLE_METADATA)


def _is_nested_deeper(value: object, levels: int) -> bool:
    """Return whether arrays and objects are nested over more levels. JSON close to Python's recursion limit could be stored, but
    not shown."""
    containers = [value] if isinstance(value, dict | list | tuple) else []
    for _level in range(levels):
        inner = [each for one in containers for each in (one.values() if isinstance(one, dict) else one)]
        containers = [one for one in inner if isinstance(one, dict | list | tuple)]
    return bool(containers)


def checked_filters(filters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the conditions to store. `check_filters` also refuses values that are not mappings."""
    if isinstance(filters, Mapping):
        filters = dict(filters)
    return storable_json(check_filters({} if filters is None else filters), "filters", _UNSTORABLE_FILTERS)


def storable_json(value: dict[str, Any], field: str, refusal: str) -> dict[str, Any]:
    """Return the value unchanged. Raises InvalidEndpoint if it contains a character that a database cannot store."""
    if _UNSTORABLE.search(json.dumps(value, ensure_ascii=False)):
        raise InvalidEndpoint(refusal, field=field)
    return value


def checked_whole_number(field: str, value: int | None, most: int) -> int | None:
    """Return the number unchanged; None means no number. Raises InvalidEndpoint for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidEndpoint(
            _("`%(name)s` is a whole number from 1 to %(most)s, or empty."), field=field, name=field, most=most
        )
    return value
