"""The choice of events: everything, or a selection from the catalogue in its groups, with families (`message.*`) and patterns."""

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
    """One checkbox."""

    name: str
    description: str
    chosen: bool
    id: str


@dataclass(slots=True)
class Group:
    """Entries under one heading; the families that begin in this group come first."""

    title: str
    families: list[Entry] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


class Chosen(forms.MultipleChoiceField):
    """A field for any names; the action checks whether such events exist."""

    widget = forms.CheckboxSelectMultiple

    def valid_value(self, value: Any) -> bool:
        return True


def groups_of(types: Sequence[EventType], chosen: Iterable[str]) -> list[Group]:
    """Return the catalogue as choices.

    The types are in their groups, each family is in the group of its first type. Chosen names that are neither come last.
    """
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
    """Return `message.*` if there are several types below `message`."""
    counted = Counter(pattern for type_ in types for pattern in patterns_for(type_.name) if pattern.endswith(".*"))
    return sorted(pattern for pattern, count in counted.items() if count > 1)


def unknown_families(patterns: Iterable[str], types: Sequence[EventType]) -> list[str]:
    """Return the families that match no type of the catalogue. They may be meant for future types, or contain a typo."""
    families = (pattern for pattern in patterns if pattern.endswith(".*"))
    return [name for name in families if not any(matches(name, type_.name) for type_ in types)]


def _entry(name: str, description: str, ticked: Sequence[str]) -> Entry:
    return Entry(name, description, name in ticked, f"event-{name.replace('*', 'all')}")
