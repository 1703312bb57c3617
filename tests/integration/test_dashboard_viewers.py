"""What those read who may only look: that they may only look, and no advice that they cannot follow."""

from __future__ import annotations

import pytest

from tests.factories import EndpointFactory, SecretFactory, TenantFactory
from tests.visitors import seen, visiting
from webhooks_app.models import Endpoint, Tenant
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors", "event_types")]


def both(tenant: Tenant, address: str) -> tuple[str, str]:
    """The page as somebody sees it who manages, and as a viewer does."""
    manager, viewer = (seen(visiting(tenant, role).get(address)) for role in (Role.MANAGER, Role.VIEWER))
    return manager, viewer


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("", "It takes three steps."),
        ("deliveries", "Send a test event from an endpoint's page"),
        ("keys", "Make one for each program"),
        ("playground", "How it goes"),
    ],
)
def test_an_empty_page_does_not_tell_viewers_to_do_what_they_may_not(address: str, advice: str) -> None:
    manager, viewer = both(TenantFactory(), f"/webhooks/{address}")
    assert advice in manager
    assert advice not in viewer


def test_nor_does_an_endpoints_page() -> None:
    endpoint: Endpoint = EndpointFactory(status="disabled")
    SecretFactory(tenant=endpoint.tenant, endpoint=endpoint)
    manager, viewer = both(endpoint.tenant, f"/webhooks/endpoints/{endpoint.public_id}")
    for advice in ("If it is lost or known to others, rotate it.", "Fix your server, enable the endpoint"):
        assert advice in manager
        assert advice not in viewer
    for fact in ("Nobody can see it again, neither you nor we.", "New events are not kept for it."):
        assert fact in viewer


def test_every_page_says_to_viewers_that_they_may_only_look() -> None:
    manager, viewer = both(TenantFactory(), "/webhooks/event-types")
    assert "view only" not in manager
    assert ">view only<" in viewer
