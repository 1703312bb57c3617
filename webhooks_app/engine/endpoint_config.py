"""Endpoint configuration: everything needed to send to an endpoint, read at each lease so that a change takes effect soon."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import DatabaseError
from django.db.models import QuerySet

from webhooks_app.conf import settings
from webhooks_app.core.authentication import Authentication, parse_authentication
from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.core.signing import Key, SecretFormat, key_of
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.types import EndpointConfig, SigningKey
from webhooks_app.exceptions import WebhooksError
from webhooks_app.models import Endpoint, Secret
from webhooks_app.models.endpoint import (
    encrypted_field,
    parse_texts,
    value_field,
)
from webhooks_app.models.fields import key_ring
from webhooks_app.models.lookups import any_of
from webhooks_app.wire_formats import get_wire_format
from webhooks_app.wire_formats.base import WireFormat
from webhooks_app.wire_formats.standard import WIRE_FORMAT as STANDARD

_NEVER = datetime.min.replace(tzinfo=UTC)


class _Row(NamedTuple):
    """The columns of an endpoint that sending needs. The others are left out: filters and metadata may be long, and no host's
    `post_init` receiver runs."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    url: str
    wire_format: str
    headers: str
    authentication: str
    client_tls: str
    max_in_flight: int | None
    rate_limit: int | None
    fifo: bool
    kind: str


class _SecretRow(NamedTuple):
    id: uuid.UUID
    tenant_id: uuid.UUID
    endpoint_id: uuid.UUID | None
    value: str
    created_at: datetime
    accepted_at: datetime | None


def load_endpoint_configs(endpoint_ids: Collection[uuid.UUID], using: str) -> dict[uuid.UUID, EndpointConfig]:
    """Return the configurations of these endpoints. If one cannot be used now, its `fault` says why."""
    rows = Endpoint.objects.using(using).filter(any_of("id", endpoint_ids)).values_list(*_Row._fields)
    found, secrets = store_for(using).rows(rows, _live_secrets(using, any_of("endpoint_id", endpoint_ids)))
    endpoints = [_Row(*values) for values in found]
    if accounts := {endpoint.tenant_id for endpoint in endpoints if endpoint.kind == EndpointKind.CALLBACK}:
        of_accounts = _live_secrets(using, any_of("tenant_id", accounts), endpoint_id__isnull=True)
        secrets += store_for(using).rows(of_accounts)[0]
    by_owner: dict[uuid.UUID, list[_SecretRow]] = defaultdict(list)
    for secret in (_SecretRow(*values) for values in secrets):
        by_owner[secret.endpoint_id or secret.tenant_id].append(secret)
    return {endpoint.id: _config(endpoint, by_owner[_owner(endpoint)]) for endpoint in endpoints}


def _owner(endpoint: _Row) -> uuid.UUID:
    """Return the id of the secrets' owner: the endpoint, or the tenant (account secret) behind a callback URL."""
    return endpoint.tenant_id if endpoint.kind == EndpointKind.CALLBACK else endpoint.id


def _live_secrets(using: str, *conditions: Any, **more: Any) -> QuerySet[Secret, Any]:
    return Secret.objects.using(using).live().filter(*conditions, **more).order_by().values_list(*_SecretRow._fields)


def _config(endpoint: _Row, secrets: list[_SecretRow]) -> EndpointConfig:
    fault, is_local = "", False
    keys: tuple[SigningKey, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    authentication: Authentication | None = None
    tls: ClientTLS | None = None
    wire_format, kind = STANDARD, EndpointKind.URL
    try:
        kind = EndpointKind(endpoint.kind)
        wire_format = get_wire_format(endpoint.wire_format)
        keys = tuple(opened(secret, wire_format) for secret in _in_order(secrets, wire_format))
        headers = tuple(parse_texts(encrypted_field("headers").open(endpoint.id, endpoint.headers)).items())
        authentication = parse_authentication(
            encrypted_field("authentication").open(endpoint.id, endpoint.authentication)
        )
        tls = _client_tls(endpoint.id, endpoint.client_tls, key_ring()) if endpoint.client_tls else None
        if not keys:
            fault = "it has no live secret"
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 - keys, headers and wire formats of the host may fail in any way: this endpoint waits
        fault, is_local = str(error) if isinstance(error, WebhooksError) else f"{type(error).__name__}: {error}", True
    return EndpointConfig(
        endpoint_id=endpoint.id,
        tenant_id=endpoint.tenant_id,
        url=endpoint.url,
        wire_format=wire_format,
        headers=headers,
        keys=keys,
        max_in_flight=max(min(endpoint.max_in_flight or settings().MAX_IN_FLIGHT, settings().MAX_IN_FLIGHT * 16), 1),
        rate_limit=endpoint.rate_limit,
        fifo=endpoint.fifo,
        kind=kind,
        authentication=authentication,
        tls=tls,
        fault=fault,
        fault_is_local=is_local,
    )


def _in_order(secrets: list[_SecretRow], wire_format: WireFormat) -> list[_SecretRow]:
    """Return the secrets in signing order: newest first. If only one signature is sent, the secret that the receiver accepted
    last comes first, else the oldest: until the receiver has the new secret, only the old one can work."""
    if wire_format.single_signature:
        by_age = sorted(secrets, key=_age)
        return sorted(by_age, key=lambda secret: secret.accepted_at or _NEVER, reverse=True)
    return sorted(secrets, key=_age, reverse=True)


def _age(secret: _SecretRow) -> tuple[datetime, uuid.UUID]:
    return secret.created_at, secret.id


def opened(secret: Secret | _SecretRow, wire_format: WireFormat) -> SigningKey:
    """Return the signing key of the secret. Raises SealingError if its encryption key is missing, InvalidSecret if the secret
    has the wrong format."""
    # The ring is part of the cache key: removing a key from the settings makes its secrets unusable at once.
    return SigningKey(secret.id, _opened(secret.id, secret.value, wire_format.secret_format, key_ring()))


@lru_cache(maxsize=8192)
def _opened(secret_id: uuid.UUID, sealed: str, secret_format: SecretFormat, ring: object) -> Key:
    return key_of(value_field().open(secret_id, sealed), secret_format)


@lru_cache(maxsize=2048)
def _client_tls(endpoint_id: uuid.UUID, sealed: str, ring: object) -> ClientTLS:
    parts = parse_texts(encrypted_field("client_tls").open(endpoint_id, sealed))
    return ClientTLS(**{name: text.encode() for name, text in parts.items()})
