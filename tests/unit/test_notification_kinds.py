"""The table of notification kinds is complete and consistent."""

from __future__ import annotations

from webhooks_app.models import Notification, NotificationKind
from webhooks_app.notifications.kinds import KINDS, label_of


def test_every_kind_of_the_database_has_its_entry() -> None:
    assert set(KINDS) == set(NotificationKind.values)


def test_every_kind_fits_its_column() -> None:
    longest = Notification._meta.get_field("kind").max_length
    assert longest is not None
    assert max(map(len, NotificationKind.values)) <= longest


def test_opposites_are_mutual() -> None:
    for kind in KINDS.values():
        if kind.opposite:
            assert KINDS[kind.opposite].opposite == kind.value


def test_operational_events_have_names_of_their_own() -> None:
    assert len({kind.event.name for kind in KINDS.values()}) == len(KINDS)


def test_a_kind_of_another_version_is_labelled_by_its_value() -> None:
    assert label_of("strange") == "strange"
    assert label_of(NotificationKind.DISABLED) == "endpoint disabled"
