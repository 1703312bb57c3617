"""Words for the tests of the admin: people with just these permissions, pages by name, one row of everything."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.factories import (
    AttemptFactory,
    DeliveryFactory,
    EndpointFactory,
    EngineFactory,
    EventFactory,
    EventTypeFactory,
    NotificationFactory,
)
from webhooks_app.endpoints.numeric_ids import number_endpoints
from webhooks_app.models import EndpointQueue, EventChannel, HourlyStat, IdempotencyRecord, Secret, Subscription
from webhooks_app.tenants.api_keys import create_api_key
from webhooks_app.tenants.audit import record_audit_entry
from webhooks_app.tenants.portal import create_portal_link

_NAMES = itertools.count(1)
#: The texts that must be on no page: what is sealed, what is digested, and what of a customer's is secret.
HEADER_VALUE = "Bearer very-secret-credential"
PASSWORD = "the-password-of-a-receiver"
PAYLOAD = "payload-of-the-event"
ANSWER = "answer-of-the-receiver"


def superuser() -> Client:
    return _logged_in(User.objects.create_superuser(f"root-{next(_NAMES)}", password="x"))


def staff(*permissions: str) -> Client:
    """A member of staff with these permissions of ours, by codename; `views`: may look at every page."""
    user = User.objects.create_user(f"staff-{next(_NAMES)}", password="x", is_staff=True)
    wanted = Permission.objects.filter(content_type__app_label="webhooks_app", codename__in=permissions)
    user.user_permissions.add(*wanted)
    assert len(permissions) == wanted.count()
    return _logged_in(user)


def viewer(*permissions: str) -> Client:
    """A member of staff who may look at every page, and has these permissions."""
    views = Permission.objects.filter(content_type__app_label="webhooks_app", codename__startswith="view_")
    looking = views.exclude(codename__in=("view_payload", "view_operations")).values_list("codename", flat=True)
    return staff(*looking, *permissions)


def _logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    client.user = user  # type: ignore[attr-defined]
    return client


def actor(client: Client) -> str:
    return f"staff:{client.user.get_username()}"  # type: ignore[attr-defined]


def page(row: Model, kind: str = "change") -> str:
    return reverse(f"admin:webhooks_app_{row._meta.model_name}_{kind}", args=(row.pk,))


def pages(name: str, kind: str = "changelist") -> str:
    return reverse(f"admin:webhooks_app_{name}_{kind}")


def action_page(row: Model, action: str) -> str:
    return reverse(f"admin:webhooks_app_{row._meta.model_name}_action", args=(row.pk, action))


def text_of(client: Client, url: str, **data: Any) -> str:
    response = client.get(url, data)
    assert response.status_code == 200, (url, response.status_code)
    return response.content.decode()


def on_list(client: Client, name: str, action: str, rows: Sequence[Model], **data: Any) -> Any:
    """Choose the rows of a list and an action, and press the button."""
    chosen = {"action": f"action_{action}", "_selected_action": [row.pk for row in rows], **data}
    return client.post(pages(name), chosen, follow=True)


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def one_of_everything() -> list[Model]:
    """A row of every model, all of one customer."""
    endpoint = EndpointFactory(
        headers={"X-Token": HEADER_VALUE},
        authentication={"kind": "basic", "username": "hooks", "password": PASSWORD},
        queue__consecutive_failures=3,
        queue__failing_since=timezone.now(),
    )
    event = EventFactory(tenant=endpoint.tenant, payload={"text": PAYLOAD}, subject="order-17")
    delivery = DeliveryFactory(endpoint=endpoint, event=event, exhausted=True)
    attempt = AttemptFactory(delivery=delivery, response_body=ANSWER.encode(), response_headers=f"X-Answer: {ANSWER}")
    key, _ = create_api_key(endpoint.tenant, name="their CI")
    portal_link, _ = create_portal_link(endpoint.tenant)
    record_audit_entry(endpoint.tenant_id, "user:anna", "endpoint.changed", endpoint.public_id, fields=["url"])
    number_endpoints([endpoint])
    now = timezone.now()
    return [
        endpoint.tenant,
        endpoint,
        event,
        delivery,
        attempt,
        key,
        portal_link,
        endpoint.tenant.audit.first(),
        endpoint.number,
        EventTypeFactory(name="staff.added"),
        EventChannel.objects.create(tenant=endpoint.tenant, event=event, channel="line:1"),
        EndpointQueue.objects.get(pk=endpoint.pk),
        EngineFactory(alive_until=now + timedelta(minutes=1)),
        HourlyStat.objects.create(endpoint=endpoint, hour=now.replace(minute=0, second=0, microsecond=0), succeeded=3),
        NotificationFactory(endpoint=endpoint, delivery_id=delivery.pk),
        Secret.objects.get(endpoint=endpoint),
        Subscription.objects.get(endpoint=endpoint),
        IdempotencyRecord.objects.create(
            tenant=endpoint.tenant, key="k-1", fingerprint="f" * 64, status=200, body=f'{{"data": "{PAYLOAD}"}}'
        ),
    ]
