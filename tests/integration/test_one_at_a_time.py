"""One expensive request of a tenant at a time."""

from __future__ import annotations

import uuid

import pytest
from django.core.cache import cache

from webhooks_app.exceptions import ConflictingState
from webhooks_app.tenants.one_at_a_time import one_at_a_time

ONE, OTHER = uuid.uuid4(), uuid.uuid4()


def test_a_second_request_is_refused_but_not_another_tenants_or_another_kind() -> None:
    with one_at_a_time("work", ONE, 60, "busy"):
        with pytest.raises(ConflictingState, match="busy"), one_at_a_time("work", ONE, 60, "busy"):
            pass
        with one_at_a_time("work", OTHER, 60, ""), one_at_a_time("other_work", ONE, 60, ""):
            pass
    with one_at_a_time("work", ONE, 60, ""):
        pass


def test_a_request_whose_place_has_expired_does_not_free_that_of_the_next_one() -> None:
    with one_at_a_time("work", ONE, 60, ""):
        cache.clear()  # it has expired
        next_one = one_at_a_time("work", ONE, 60, "")
        next_one.__enter__()
    with pytest.raises(ConflictingState), one_at_a_time("work", ONE, 60, ""):
        pass
    next_one.__exit__(None, None, None)
    with one_at_a_time("work", ONE, 60, ""):
        pass
