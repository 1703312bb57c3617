"""Which events: everything, or a choice out of the catalogue, in its groups, with families (`message.*`) and free patterns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.filters import EVERYTHING, matches, patterns_for


@dataclass(frozen=True, slots=True)
class Entry:
    """One box to tick."""

    name: str
    description: str
    chosen: bool
    id: str


@dataclass(slots=True)
class Group:
    """Entries under one heading; before them the families that begin there."""

    title: str
    families: list[Entry] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


class Chosen(forms.MultipleChoiceField):
    """Any names; whether there are such events is for the act to say."""

    widget = forms.CheckboxSelectMultiple

    def valid_value(self, value: Any) -> bool:
        return True


def groups_of(types: Sequence[EventType], chosen: Iterable[str]) -> list[Group]:
    """The catalogue to choose from: the types in their groups, each family in that of its first type, then what is chosen and
    in neither."""
    ticked = [name for name in chosen if name != EVERYTHING]
    families = families_of(types)
    groups: dict[str, Group] = {}
    placed: set[str] = set()
    for type_ in types:
        title = type_.group or type_.name.partition(".")[0]
        group = groups.setdefault(title, Group(title))
        begun = [name for name in families if name not in placed and matches(name, type_.name)]
        group.families += [
            _entry(name, _("every type that begins so, including future ones"), ticked) for name in begun
        ]
        placed.update(begun)
        group.entries.append(_entry(type_.name, type_.description, ticked))
    known = {*families, *(type_.name for type_ in types)}
    others = [_entry(name, "", ticked) for name in dict.fromkeys(ticked) if name not in known]
    return [*groups.values(), *([Group(_("Chosen before"), entries=others)] if others else [])]


def families_of(types: Iterable[EventType]) -> list[str]:
    """`message.*` where there are several types below `message`."""
    counted = Counter(pattern for type_ in types for pattern in patterns_for(type_.name) if pattern.endswith(".*"))
    return sorted(pattern for pattern, count in counted.items() if count > 1)


def unmet(patterns: Iterable[str], types: Sequence[EventType]) -> list[str]:
    """The families that no type of the catalogue is in. They may be meant for what is to come, or be misspelt."""
    families = (pattern for pattern in patterns if pattern.endswith(".*"))
    return [name for name in families if not any(matches(name, type_.name) for type_ in types)]


def _entry(name: str, description: str, ticked: Sequence[str]) -> Entry:
    return Entry(name, description, name in ticked, f"event-{name.replace('*', 'all')}")
