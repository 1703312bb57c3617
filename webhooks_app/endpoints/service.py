"""Create and change endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Unpack
from urllib.parse import urlsplit

from webhooks_app.db import in_one_transaction
from webhooks_app.deliveries import bulk_updates
from webhooks_app.endpoints.authentication import check_authentication, check_exclusive
from webhooks_app.endpoints.client_tls import ClientTLSInput, change_client_tls
from webhooks_app.endpoints.headers import KeepValue, check_headers, with_kept_values
from webhooks_app.endpoints.numeric_ids import number_endpoints
from webhooks_app.endpoints.secrets import add_secret, replace_secret, validate_or_generate
from webhooks_app.endpoints.settings import EndpointSettings, apply_settings
from webhooks_app.endpoints.validation import checked_events, checked_url, checked_wire_format
from webhooks_app.engine.queue_due import make_queues_due
from webhooks_app.exceptions import (
    ConflictingState,
    InvalidSecret,
    NotAvailableOnPlan,
    TooManyEndpoints,
    URLNotAllowed,
    gettext_noop,
)
from webhooks_app.locking import EndpointRef, locked_endpoint
from webhooks_app.models import Endpoint, EndpointQueue, Subscription, Tenant, database_now
from webhooks_app.models.lookups import for_change
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.tenants.identify import TenantLike, tenant_for
from webhooks_app.tenants.plan import plan_of
from webhooks_app.wire_formats import get_wire_format
from webhooks_app.wire_formats.base import WireFormat


class EndpointChanges(EndpointSettings, total=False):
    """The arguments of `change_endpoint`; omitted ones stay unchanged."""

    url: str
    events: Sequence[str]
    headers: Mapping[str, str | KeepValue] | None
    authentication: Mapping[str, Any] | None
    client_tls: ClientTLSInput | None


@in_one_transaction
def create_endpoint(
    tenant: TenantLike,
    *,
    url: str,
    events: Sequence[str],
    wire_format: str | None = None,
    secret: str | None = None,
    imported: bool = False,
    headers: Mapping[str, str] | None = None,
    authentication: Mapping[str, Any] | None = None,
    client_tls: ClientTLSInput | None = None,
    actor: str = SYSTEM,
    **settings: Unpack[EndpointSettings],
) -> tuple[Endpoint, str]:
    """Create an endpoint; return it and its secret's text, which is shown only this once.

    `events`: 1 to 50 event types or patterns. `settings`: see `endpoints.settings`. `secret`: supplied by the customer, with
    the length that the wire format requires. `imported`: for products that migrate to this app: the receiver already verifies
    with this secret, and its length is not checked; customers are never offered this. `authentication`: how requests
    authenticate to the receiver, such as {"kind": "bearer", "token": "…"}; see `core.authentication`. `client_tls`: a client
    certificate, and certificate authorities to trust for this endpoint; see `ClientTLSInput`. Raises URLNotAllowed,
    InvalidEndpoint, InvalidSecret, NotAvailableOnPlan, TooManyEndpoints.
    """
    owner = tenant_for(tenant)
    wire = checked_wire_format(wire_format, owner)
    patterns = checked_events(events, wire)
    text = validate_or_generate(secret, wire.secret_format, imported=imported)
    endpoint = Endpoint(tenant=owner, wire_format=wire.name, url=checked_url(url, wire).url)
    apply_settings(endpoint, settings)
    own = check_headers(headers, wire)
    checked = check_authentication(authentication, lambda: None, wire)
    check_exclusive(checked, own, field="authentication")
    endpoint.set_custom_headers(own)
    endpoint.set_authentication(checked)
    if client_tls is not None:
        change_client_tls(endpoint, client_tls, database_now(), keep=False)
    check_plan_limit(owner)
    insert_endpoint(endpoint, patterns, text)
    detail = {"events": patterns, "server": _server(endpoint.url)}
    record_audit_entry(owner.pk, actor, "endpoint.created", endpoint.public_id, **detail)
    return endpoint, text


@in_one_transaction
def change_endpoint(
    endpoint: EndpointRef, *, secret: str | None = None, actor: str = SYSTEM, **changes: Unpack[EndpointChanges]
) -> tuple[Endpoint, str | None]:
    """Change the given settings; return the endpoint and the text of its new secret, if it needed one.

    Another scheme, host or port is another receiver, which must not get the old credentials: the secret is replaced at once (by
    `secret`, or a new one), and the custom headers, the authentication and `client_tls` are cleared unless this call sets new
    ones. A header whose value is `headers.KEEP_VALUE` stays unchanged, if the receiver does; so does a secret of the
    authentication that is left out. Raises the errors of `create_endpoint`, and ConflictingState for a deleted endpoint.
    """
    row, queue = locked_endpoint(endpoint)
    if row.is_callback:
        raise ConflictingState("This endpoint belongs to a callback URL and cannot be changed.")
    if row.is_playground:
        _expect_no_move(row, changes)
    wire = get_wire_format(row.wire_format)
    was_fifo, was_at = row.fifo, _server(row.url)
    text = _change_url(row, wire, changes, secret)
    apply_settings(row, changes)
    _change_credentials(row, wire, changes, moved=text is not None)
    row.save()
    _resubscribe(row, wire, changes)
    if row.fifo is not was_fifo:
        _reorder(row, queue)
    moved = {} if _server(row.url) == was_at else {"previous_server": was_at, "server": _server(row.url)}
    detail = {"fields": sorted(changes), "new_secret": text is not None, **moved}
    record_audit_entry(row.tenant_id, actor, "endpoint.changed", row.public_id, **detail)
    return row, text


# --- shared with other actions; each needs a transaction ------------------------------------------------------------


def insert_endpoint(endpoint: Endpoint, patterns: Sequence[str], text: str) -> None:
    """Insert a new endpoint with its queue, subscriptions, secret and number. All values must have been checked."""
    endpoint.save(force_insert=True)
    EndpointQueue.objects.create_for([endpoint])
    if get_wire_format(endpoint.wire_format).numbers_endpoints:
        number_endpoints([endpoint])
    _subscribe(endpoint, patterns)
    add_secret(endpoint, text)
    endpoint.refresh_from_db()  # for values set by the database


def check_plan_limit(tenant: Tenant, *, counted: bool = True) -> None:
    """Check that the plan allows one more endpoint, under the tenant's lock, so that two requests cannot both take the last.

    `counted`: False for endpoints that the plan's limit does not count. Raises NotAvailableOnPlan, TooManyEndpoints.
    """
    row = for_change(Tenant.objects.all()).get(pk=tenant.pk)
    plan = plan_of(row)
    if not plan.available:
        raise NotAvailableOnPlan()
    limit = plan.endpoint_limit
    if limit is None or not counted:
        return
    if Endpoint.objects.counted().filter(tenant_id=row.pk).count() >= limit:
        raise TooManyEndpoints(
            gettext_noop("There are %(most)s endpoints already, as many as are allowed. Delete one first."),
            most=limit,
        )


def _change_url(row: Endpoint, wire: WireFormat, changes: EndpointChanges, secret: str | None) -> str | None:
    """Set the new URL. Return the new secret's text if the receiver changed, else None."""
    target = checked_url(changes["url"], wire) if "url" in changes else None
    if target is None or target.origin == _origin(row, wire):
        if secret is not None:
            raise InvalidSecret(
                gettext_noop("A new secret comes with a new host only; to replace it otherwise, rotate it."),
                field="secret",
            )
        row.url = target.url if target else row.url
        return None
    row.url = target.url
    text = validate_or_generate(secret, wire.secret_format)
    replace_secret(row, text, timedelta(0))
    return text


def _change_credentials(row: Endpoint, wire: WireFormat, changes: EndpointChanges, *, moved: bool) -> None:
    """Set headers, authentication and certificates. `moved`: they were meant for another server, and are dropped unless the
    changes contain new ones."""
    if moved or "headers" in changes:
        stored = dict if moved else row.custom_headers
        row.set_custom_headers(check_headers(with_kept_values(changes.get("headers"), stored), wire))
    if moved or "authentication" in changes:
        before = (lambda: None) if moved else row.opened_authentication
        row.set_authentication(check_authentication(changes.get("authentication"), before, wire))
    if row.headers and row.authentication and (moved or not {"headers", "authentication"}.isdisjoint(changes)):
        field = "authentication" if changes.get("authentication") else "headers"
        check_exclusive(row.opened_authentication(), row.custom_headers(), field=field)
    if moved or "client_tls" in changes:
        change_client_tls(row, changes.get("client_tls"), database_now(), keep=not moved)


def _server(url: str) -> str:
    """Return the part of a URL that goes into the audit log: path and query may contain credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _expect_no_move(row: Endpoint, changes: EndpointChanges) -> None:
    """Refuse to turn a playground into a normal endpoint, which would count in the plan's limit.

    Refuse custom headers too: each request would be shown and stored with them.
    """
    if changes.get("url", row.url) != row.url:
        raise ConflictingState(
            gettext_noop("This is the playground; it has no URL to change. Create an endpoint."), field="url"
        )
    changes.pop("url", None)
    if changes.get("headers"):
        raise ConflictingState(
            gettext_noop("The playground takes no headers of your own: it would show them."), field="headers"
        )
    if changes.get("authentication"):
        raise ConflictingState(
            gettext_noop("The playground takes no authentication: it would show it."), field="authentication"
        )
    if changes.get("client_tls"):
        raise ConflictingState(
            gettext_noop("The playground uses no TLS, so it takes no certificates."), field="client_tls"
        )


def _origin(row: Endpoint, wire: WireFormat) -> tuple[str, str, int] | None:
    """Return the origin of the endpoint's present URL; None if today's rules refuse it: then any new URL counts as different."""
    try:
        return checked_url(row.url, wire).origin
    except URLNotAllowed:
        return None


def _subscribe(row: Endpoint, patterns: Sequence[str]) -> None:
    Subscription.objects.bulk_create(Subscription(endpoint=row, pattern=pattern) for pattern in patterns)


def _resubscribe(row: Endpoint, wire: WireFormat, changes: EndpointChanges) -> None:
    if "events" not in changes:
        return
    subscriptions = Subscription.objects.filter(endpoint_id=row.pk)
    old = set(subscriptions.values_list("pattern", flat=True))
    wanted = checked_events(changes["events"], wire, kept=old)
    subscriptions.exclude(pattern__in=wanted).delete()
    _subscribe(row, [pattern for pattern in wanted if pattern not in old])


def _reorder(row: Endpoint, queue: EndpointQueue) -> None:
    """Apply a changed order: number the pending deliveries, or clear their numbers, and wake an engine."""
    queue.fifo = row.fifo
    queue.save(update_fields=["fifo"])
    if row.fifo:
        bulk_updates.put_in_order(queue)
    else:
        bulk_updates.drop_order(queue)
    make_queues_due([row.pk])
