"""The catalogue of event types that are declared in code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from webhooks_app.core.redaction import is_path
from webhooks_app.exceptions import ConfigurationError

#: Dotted names of letters, digits and underscores, as in Standard Webhooks.
NAME = re.compile(r"[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*\Z")
MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class EventType:
    """An event type.

    `example`: an example of an event's data. `schema`: a JSON Schema (2020-12) that every event's data must match.
    `retention_days`: how many days events of this type are kept; None, or more than RETENTION_DAYS, means RETENTION_DAYS.
    `drop_body_when_delivered`: erase the payload once the event is delivered to all of its endpoints. `redact`: fields such as
    `data.card.number`, whose values receivers get, and which pages, the API and exports show as `[redacted]`.
    """

    name: str
    description: str = ""
    example: Any = None
    schema: dict[str, Any] | None = None
    group: str = ""
    retired: bool = False
    retention_days: float | None = None
    drop_body_when_delivered: bool = False
    redact: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not NAME.match(self.name) or len(self.name) > MAX_NAME:
            raise ConfigurationError(
                f"{self.name!r} is no event type name: use letters, digits and underscores with dots between, "
                f"at most {MAX_NAME} characters, e.g. 'message.delivered'."
            )
        if self.retention_days is not None and not self.retention_days > 0:
            raise ConfigurationError(
                f"The event type {self.name!r} has `retention_days` {self.retention_days!r}: use a number above 0, or None."
            )
        if isinstance(self.redact, str) or not all(map(is_path, self.redact)):
            raise ConfigurationError(
                f"The event type {self.name!r} has `redact` {self.redact!r}: list fields that begin with 'data.', "
                "e.g. ('data.card.number',)."
            )


class Registry:
    """Event types by name. One instance, `registry`, is filled from every app's `webhooks.py` when Django starts."""

    def __init__(self) -> None:
        self._types: dict[str, EventType] = {}

    def register(self, *types: EventType) -> None:
        """Add types. Repeating a declaration is allowed. Raises ConfigurationError for a different one of the same name."""
        for type_ in types:
            known = self._types.get(type_.name)
            if known is not None and known != type_:
                raise ConfigurationError(f"The event type {type_.name!r} is declared twice, in different ways.")
            self._types[type_.name] = type_

    def get(self, name: str) -> EventType | None:
        return self._types.get(name)

    def redacted_fields(self, name: str) -> Sequence[str]:
        """Return the fields of events of this type whose values are not shown."""
        type_ = self._types.get(name)
        return type_.redact if type_ is not None else ()

    def unregister(self, names: Iterable[str]) -> None:
        """Forget types; for tests."""
        for name in names:
            self._types.pop(name, None)

    def __iter__(self) -> Iterator[EventType]:
        return iter(sorted(self._types.values(), key=lambda type_: type_.name))

    def __contains__(self, name: object) -> bool:
        return name in self._types

    def __len__(self) -> int:
        return len(self._types)


registry = Registry()
