"""Check an event's content, and serialise it once into the text that every receiver gets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from webhooks_app.address_settings import address_policy
from webhooks_app.conf import settings
from webhooks_app.core.addresses import check_url
from webhooks_app.core.catalogue import MAX_NAME, EventType, registry
from webhooks_app.core.schema_check import InvalidSchema, schema_of
from webhooks_app.core.schema_keywords import CheckTooCostly
from webhooks_app.exceptions import InvalidEvent, PayloadTooLarge, UnknownEventType, URLNotAllowed, gettext_noop
from webhooks_app.models import Event, Tenant
from webhooks_app.models import EventType as EventTypeRow
from webhooks_app.models.ids import new_id
from webhooks_app.models.times import FIRST_YEAR, LAST_YEAR
from webhooks_app.tenants.identify import storable, tenant_uid

if TYPE_CHECKING:
    from webhooks_app.events.emit import EventInput

MAX_CHANNELS = 10
MAX_CHANNEL = 128
MAX_TEXT = 255
#: Nesting depth of lists and objects. Serialising as JavaScript does is recursive, and the stack allows some hundreds.
MAX_DEPTH = 256
#: How much of a refused payload is kept, so that staff can see what it was.
_KEPT_OF_REFUSED = 4096


_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKETS = re.compile(r"[\[{}\]]")

#: Owns the events whose tenant cannot be determined; all of them are quarantined.
UNKNOWN_TENANT = "(unknown)"


def blank_event(item: EventInput) -> Event:
    """Return the row with the values that cannot be invalid."""
    event = Event(id=new_id(), type=_shown(item.type)[:MAX_NAME], size=0, data="null")
    _set_tenant(event, UNKNOWN_TENANT)
    return event


def _set_tenant(event: Event, uid: str) -> None:
    event.tenant_uid, event.tenant_id = uid, Tenant.id_for(uid)


def fill(event: Event, item: EventInput, added: Mapping[str, EventType]) -> None:
    """Check the input and copy it into the row. `added`: see `added_types`. Raises a WebhooksError that says what to do."""
    _set_tenant(event, tenant_uid(item.tenant))
    type_ = event_type(item.type, added)
    _set_retention(event, type_)
    event.data = serialise(item.data)
    event.size = len(event.data.encode())
    limit = settings().MAX_PAYLOAD_BYTES
    if event.size > limit:
        raise PayloadTooLarge(
            gettext_noop(
                "The data of this %(name)s has %(size)s bytes as JSON; the limit is %(most)s. "
                "Send an id and let the receiver fetch the rest, or raise WEBHOOKS['MAX_PAYLOAD_BYTES']."
            ),
            field="data",
            name=item.type,
            size=event.size,
            most=limit,
        )
    _check_schema(type_, event.data)
    event.channels = _channels(item.channels)
    event.subject = _text("subject", item.subject)
    event.idempotency_key = None if item.idempotency_key is None else _text("idempotency_key", item.idempotency_key)
    if item.callback_url:
        if not isinstance(item.callback_url, str):
            raise InvalidEvent("`callback_url` is a text.", field="callback_url")
        try:
            event.callback_url = check_url(item.callback_url, address_policy()).url
        except URLNotAllowed as error:
            raise URLNotAllowed(str(error), reason=error.reason, field="callback_url") from error
    event.occurred_at = _aware(item.occurred_at)


def _set_retention(event: Event, type_: EventType) -> None:
    """Apply the retention of the event's type, before any check can fail: a quarantined event is not kept for longer."""
    if type_.retention_days is not None and type_.retention_days < settings().RETENTION_DAYS:
        event.keep_until = timezone.now() + timedelta(days=type_.retention_days)
    event.drop_body = type_.drop_body_when_delivered


def quarantine(event: Event, item: EventInput, reason: str, now: datetime) -> None:
    """Make the row one that is kept for staff and never delivered. Keep as much of the input as can be stored."""
    try:
        data = serialise(item.data)
    except InvalidEvent:
        data = json.dumps(_shown(item.data)[:_KEPT_OF_REFUSED])
    if len(data.encode()) > settings().MAX_PAYLOAD_BYTES:
        data = json.dumps(data[:_KEPT_OF_REFUSED])
    event.data, event.size = data, len(data.encode())
    event.channels = []
    # Keep the key, so that repetitions of the invalid call do not fill the table.
    key = item.idempotency_key
    event.idempotency_key = key if key and storable(key, MAX_TEXT) else None
    event.callback_url = ""
    event.subject = _shown(item.subject)[:MAX_TEXT]
    event.occurred_at = now
    event.quarantine_reason = _shown(reason)[:2000]
    event.fanned_out_at = now


def _shown(value: Any) -> str:
    """Return the value as text for staff, which every database can store."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception as error:  # noqa: BLE001 - the value's own `__repr__` may raise anything
        text = f"a {type(value).__name__} without a repr ({type(error).__name__})"
    return text.replace("\x00", "").encode(errors="replace").decode()


def serialise(data: Any) -> str:
    """Return compact JSON in raw UTF-8; supports Django's types (datetime, Decimal, UUID, Promise). Raises InvalidEvent."""
    try:
        text = json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(
            gettext_noop("The data cannot be written as JSON: %(error)s"), field="data", error=error
        ) from error
    if _depth(text) > MAX_DEPTH:
        raise InvalidEvent(
            gettext_noop("The data is nested more than %(most)s levels deep; send it flatter."),
            field="data",
            most=MAX_DEPTH,
        )
    if text.isascii():
        return text
    # A lone surrogate has no UTF-8 form, but a JSON escape.
    return "".join(f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char for char in text)


def _depth(text: str) -> int:
    """Return the nesting depth of JSON text. A depth up to MAX_DEPTH may be returned as 0."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > deepest:  # `max` would take twice as long
            deepest = depth
    return deepest


def added_types(names: Iterable[Any], using: str | None = None) -> dict[str, EventType]:
    """Return those of the types that staff added and code does not declare. One query if there are any, else none."""
    asked = {name for name in names if storable(name, MAX_NAME) and name not in registry}
    rows = EventTypeRow.objects.using(using).filter(name__in=asked) if asked else ()
    return {row.name: row.as_declared() for row in rows}


def event_type(name: Any, added: Mapping[str, EventType]) -> EventType:
    """Return the type with this name; `added`: see `added_types`. Raises UnknownEventType."""
    known = (registry.get(name) or added.get(name)) if isinstance(name, str) else None
    if known is None:
        raise UnknownEventType(
            f"There is no event type {name!r}. Declare it in your app's webhooks.py: "
            f"registry.register(EventType({name!r}, 'what it means')), or add it in the admin.",
            field="type",
        )
    return known


def check_example(type_: EventType) -> None:
    """Check that the type's example matches its schema, as every event's data must. Raises InvalidEvent."""
    _check_schema(type_, serialise(type_.example))


def _check_schema(type_: EventType, data: str) -> None:
    if type_.schema is None:
        return
    try:
        fault = schema_of(json.dumps(type_.schema, sort_keys=True)).first_fault(data)
    except CheckTooCostly as error:
        raise InvalidEvent(
            gettext_noop(
                "Checking the data against the schema of %(name)s takes too many steps. "
                "Send shorter lists and texts, nest them less, or simplify the schema."
            ),
            field="data",
            name=repr(type_.name),
        ) from error
    except InvalidSchema as error:
        raise InvalidEvent(f"The schema of {type_.name!r} cannot be used. {error}", field="type") from error
    except Exception as error:  # an invalid schema fails in many ways: unknown types, references, expressions
        raise InvalidEvent(f"The schema of {type_.name!r} cannot be used: {error!r}", field="type") from error
    if fault is not None:
        raise InvalidEvent(
            gettext_noop("The data does not fit the schema of %(name)s at %(path)s: %(fault)s"),
            field="data",
            name=repr(type_.name),
            path=fault.json_path,
            # The message quotes the value.
            fault="its value is not shown" if type_.redact else fault.message[:300],
        )


def _channels(channels: Any) -> list[str]:
    if isinstance(channels, (str, bytes, Mapping)) or not isinstance(channels, Iterable):
        raise InvalidEvent(f"`channels` is a list of names, not {channels!r:.80}.", field="channels")
    given = list(channels)
    for channel in given:
        if not isinstance(channel, str) or not 0 < len(channel) <= MAX_CHANNEL or not channel.isprintable():
            raise InvalidEvent(f"{channel!r} is no channel: 1 to {MAX_CHANNEL} printable characters.", field="channels")
    unique = list(dict.fromkeys(given))
    if len(unique) > MAX_CHANNELS:
        raise InvalidEvent(
            f"An event has at most {MAX_CHANNELS} channels; this one has {len(unique)}.", field="channels"
        )
    return unique


def _text(field: str, value: Any) -> str:
    if not storable(value, MAX_TEXT):
        raise InvalidEvent(f"`{field}` is a text of at most {MAX_TEXT} characters, not {value!r:.80}.", field=field)
    if field == "idempotency_key" and not value:
        raise InvalidEvent("`idempotency_key` must not be empty; leave it out instead.", field=field)
    return value


def _aware(moment: datetime | None) -> datetime:
    if moment is None:
        return timezone.now()
    if not isinstance(moment, datetime) or timezone.is_naive(moment):
        raise InvalidEvent("`occurred_at` must be an aware datetime (with a time zone).", field="occurred_at")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise InvalidEvent(
            gettext_noop("The year of `occurred_at` must be between %(first)s and %(last)s."),
            field="occurred_at",
            first=FIRST_YEAR,
            last=LAST_YEAR,
        )
    return moment
