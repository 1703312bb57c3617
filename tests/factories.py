"""Rows for tests. A factory makes what the app would have made: an endpoint has a queue and a secret."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from webhooks_app.core.authentication import parse_authentication
from webhooks_app.core.playground import is_playground_url
from webhooks_app.models import (
    BLOCKED,
    Attempt,
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Engine,
    Event,
    EventType,
    Notification,
    NotificationKind,
    Secret,
    Subscription,
    Tenant,
)
from webhooks_app.models.ids import new_id

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class TenantFactory(DjangoModelFactory[Tenant]):
    class Meta:
        model = Tenant

    uid = factory.Sequence(lambda n: f"customer-{n}")
    name = factory.LazyAttribute(lambda row: row.uid.title())
    email = factory.LazyAttribute(lambda row: f"{row.uid}@customer.example")


class EventTypeFactory(DjangoModelFactory[EventType]):
    class Meta:
        model = EventType
        django_get_or_create = ("name",)

    name = "message.sent"


class EndpointFactory(DjangoModelFactory[Endpoint]):
    """`events` are its subscriptions, `secret_text` its secret; `queue__…` goes to its queue row."""

    class Meta:
        model = Endpoint
        skip_postgeneration_save = True

    tenant = factory.SubFactory(TenantFactory)
    url = factory.Sequence(lambda n: f"https://receiver-{n}.example.com/hook")
    kind = factory.LazyAttribute(lambda values: "playground" if is_playground_url(values.url) else "url")

    @classmethod
    def _create(cls, model_class: type[Endpoint], *args: Any, **kwargs: Any) -> Endpoint:
        headers, authentication = kwargs.pop("headers", None), kwargs.pop("authentication", None)
        endpoint = model_class(*args, **kwargs)
        if headers:
            endpoint.set_custom_headers(headers)
        if authentication:
            endpoint.set_authentication(parse_authentication(json.dumps(authentication)))
        endpoint.save()
        endpoint.refresh_from_db()
        return endpoint

    @factory.post_generation
    def queue(obj: Endpoint, create: bool, extracted: object, **kwargs: Any) -> None:  # noqa: N805
        held = obj.status != EndpointStatus.ACTIVE
        values = {
            "tenant_id": obj.tenant_id,
            "not_before": BLOCKED if held else timezone.now(),
            "fifo": obj.fifo,
            **kwargs,
        }
        EndpointQueue.objects.create(endpoint=obj, **values)

    @factory.post_generation
    def events(obj: Endpoint, create: bool, extracted: list[str] | None, **kwargs: Any) -> None:  # noqa: N805
        for pattern in ["*"] if extracted is None else extracted:
            Subscription.objects.create(endpoint=obj, pattern=pattern, **kwargs)

    @factory.post_generation
    def secret_text(obj: Endpoint, create: bool, extracted: str | None, **kwargs: Any) -> None:  # noqa: N805
        if not obj.is_callback:
            SecretFactory(tenant=obj.tenant, endpoint=obj, text=extracted or SECRET)


class SecretFactory(DjangoModelFactory[Secret]):
    """`text` is what is sealed. Without an endpoint it is the tenant's account secret."""

    class Meta:
        model = Secret

    tenant = factory.SubFactory(TenantFactory)
    endpoint = None

    @classmethod
    def _create(cls, model_class: type[Secret], *args: Any, **kwargs: Any) -> Secret:
        text = kwargs.pop("text", SECRET)
        secret = model_class(*args, **{"id": new_id(), **kwargs})
        secret.seal(text)
        secret.save(force_insert=True)
        return secret


class EventFactory(DjangoModelFactory[Event]):
    """Fanned out already; `payload` is its data as a Python object."""

    class Meta:
        model = Event

    class Params:
        payload = factory.LazyFunction(lambda: {"message_id": "m-1"})

    tenant = factory.SubFactory(TenantFactory)
    tenant_uid = factory.LazyAttribute(lambda row: row.tenant.uid)
    type = "message.sent"
    data = factory.LazyAttribute(lambda row: json.dumps(row.payload, separators=(",", ":")))
    size = factory.LazyAttribute(lambda row: len(row.data.encode()))
    occurred_at = factory.LazyFunction(timezone.now)
    fanned_out_at = factory.LazyFunction(timezone.now)

    @classmethod
    def _create(cls, model_class: type[Event], *args: Any, **kwargs: Any) -> Event:
        event = super()._create(model_class, *args, **kwargs)
        event.refresh_from_db()
        return event


class DeliveryFactory(DjangoModelFactory[Delivery]):
    """Pending and due. The event is of the endpoint's tenant."""

    class Meta:
        model = Delivery

    endpoint = factory.SubFactory(EndpointFactory)
    tenant = factory.SelfAttribute("endpoint.tenant")
    event = factory.SubFactory(EventFactory, tenant=factory.SelfAttribute("..tenant"))
    next_attempt_at = factory.LazyFunction(timezone.now)
    expires_at = factory.LazyAttribute(lambda row: row.next_attempt_at + timedelta(days=5))

    class Params:
        exhausted = factory.Trait(
            status=DeliveryStatus.EXHAUSTED,
            attempts=10,
            retry_step=9,
            completed_at=factory.LazyFunction(timezone.now),
            last_outcome="server_error",
            last_status=500,
        )
        succeeded = factory.Trait(
            status=DeliveryStatus.SUCCEEDED,
            attempts=1,
            completed_at=factory.LazyFunction(timezone.now),
            last_outcome="succeeded",
            last_status=200,
        )


class AttemptFactory(DjangoModelFactory[Attempt]):
    class Meta:
        model = Attempt

    delivery = factory.SubFactory(DeliveryFactory)
    tenant = factory.SelfAttribute("delivery.tenant")
    endpoint = factory.SelfAttribute("delivery.endpoint")
    number = 1
    started_at = factory.LazyFunction(timezone.now)
    duration_ms = 12.5
    outcome = "server_error"
    status = 500
    url = factory.SelfAttribute("endpoint.url")


class EngineFactory(DjangoModelFactory[Engine]):
    class Meta:
        model = Engine

    host = "host"
    pid = 1
    alive_until = factory.LazyFunction(timezone.now)


class NotificationFactory(DjangoModelFactory[Notification]):
    class Meta:
        model = Notification

    class Params:
        endpoint = factory.SubFactory(EndpointFactory)

    tenant = factory.SelfAttribute("endpoint.tenant")
    endpoint_id = factory.SelfAttribute("endpoint.pk")
    kind = NotificationKind.EXHAUSTED
