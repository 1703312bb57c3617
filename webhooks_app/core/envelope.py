"""Envelopes: the formats of request bodies. Each is a frozen value; called with a `Message`, it returns the bytes to send.

Bodies are compact and raw UTF-8; the same message gives the same bytes every time. The standard envelope never parses
the stored data; `Nested` and `Flat` with `javascript` (or with fields to leave out) parse it and write it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring
from typing import Any

from webhooks_app.core import js_json
from webhooks_app.core.message import Message

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

#: Formats an event's time for the body.
TimeFormat = Callable[[datetime], str | int]


def iso_ms(moment: datetime) -> str:
    """Return `2026-04-01T10:00:05.000Z`, truncated to milliseconds. Takes aware times of any zone."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def iso_seconds(moment: datetime) -> str:
    """Return `2024-01-15T10:30:15Z`, truncated to seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")[:-6] + "Z"


def epoch_ms(moment: datetime) -> int:
    """Return milliseconds since 1970, rounded down, such as `1710000000123`."""
    return (moment - _EPOCH) // _MILLISECOND


def encode(text: str) -> bytes:
    """Return JSON text as UTF-8. Lone surrogates, which UTF-8 cannot represent, are escaped, so this never fails."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return js_json.escape_surrogates(text).encode()


def standard_envelope(message: Message) -> bytes:
    """Standard Webhooks: `{"type": …, "timestamp": …, "data": …}`, the data exactly as it was stored."""
    return encode(
        f'{{"type":{encode_basestring(message.type)},"timestamp":"{iso_ms(message.occurred_at)}","data":{message.data}}}'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """The host's data under a separate key, beside the event's name and time.

    `order` names the body's keys; each must be one of `type_key`, `time_key`, `data_key`.
    """

    order: tuple[str, str, str]
    type_key: str = "event"
    time_key: str = "timestamp"
    data_key: str = "data"
    time: TimeFormat = iso_ms
    #: Build a body that JSON.stringify(JSON.parse(body)) does not change; see `core.js_json`.
    javascript: bool = True
    #: Omit null values at the top level of the data: unknown fields are not sent.
    omit_null: bool = True

    def __call__(self, message: Message) -> bytes:
        data = _parse(message.data, for_javascript=self.javascript)
        if self.omit_null and isinstance(data, dict):
            data = _without_null(data)
        values = {self.type_key: message.type, self.time_key: self.time(message.occurred_at), self.data_key: data}
        return encode(_text({key: values[key] for key in self.order}, for_javascript=self.javascript))


#: Returns the fields that a flat envelope adds, computed from the message and its data.
Fields = Callable[[Message, Mapping[str, Any]], Mapping[str, Any]]


def no_fields(message: Message, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add no fields."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """The host's data at the top level of the body, among the event's name and time.

    The data cannot override the event's name and time or the fields of `always`, but it can override those of
    `unless_given`. Keys come in `order`, then the data's other keys in their own order. Null values are omitted. Data that
    is not an object is put under `data`.
    """

    order: tuple[str, ...] = ()
    type_key: str = "event"
    time_key: str = "timestamp"
    time: TimeFormat = iso_ms
    always: Fields = no_fields
    unless_given: Fields = no_fields
    javascript: bool = True
    #: Computed once from `order`, to look keys up in.
    _ordered: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ordered", frozenset(self.order))

    def __call__(self, message: Message) -> bytes:
        data = _parse(message.data, for_javascript=self.javascript)
        given = _without_null(data if isinstance(data, dict) else {"data": data})
        values = {
            **self.unless_given(message, given),
            **given,
            **self.always(message, given),
            self.type_key: message.type,
            self.time_key: self.time(message.occurred_at),
        }
        body = {key: values[key] for key in self.order if key in values}
        body.update((key, value) for key, value in values.items() if key not in self._ordered)
        return encode(_text(body, for_javascript=self.javascript))


def _parse(text: str, *, for_javascript: bool) -> Any:
    return js_json.loads(text) if for_javascript else json.loads(text)


def _text(body: dict[str, Any], *, for_javascript: bool) -> str:
    if for_javascript:
        return js_json.dumps(body)
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _without_null(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
