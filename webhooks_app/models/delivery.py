"""Delivery and Attempt: one event for one endpoint, and every request that was sent for it."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.exceptions import SealingError
from webhooks_app.models.database import AppQuerySet
from webhooks_app.models.endpoint import Endpoint
from webhooks_app.models.event import Event
from webhooks_app.models.fields import unconstrained_key
from webhooks_app.models.ids import new_id, public_id
from webhooks_app.models.payload_fields import UNREADABLE, PayloadBytesField, PayloadTextField
from webhooks_app.models.tenant import Tenant
from webhooks_app.models.times import Now


class DeliveryStatus(models.TextChoices):
    PENDING = "pending", "pending"
    SUCCEEDED = "succeeded", "succeeded"
    EXHAUSTED = "exhausted", "exhausted"  # failed permanently
    CANCELLED = "cancelled", "cancelled"


def of_real_events() -> Any:
    """Return the condition that a delivery's event is not a test event."""
    return ~Exists(Event.objects.filter(pk=OuterRef("event_id"), is_test=True))


def of_sendable_events() -> Any:
    """Return the condition that a delivery may be included in a bulk resend: its event is not a test event, and not erased."""
    return ~Exists(Event.objects.filter(Q(is_test=True) | Q(erased_at__isnull=False), pk=OuterRef("event_id")))


class DeliveryQuerySet(AppQuerySet["Delivery"]):
    def pending(self) -> DeliveryQuerySet:
        return self.filter(status=DeliveryStatus.PENDING)

    def in_order(self) -> DeliveryQuerySet:
        """Sort pending deliveries of a FIFO endpoint, the head first, and leave out those that have no sequence number yet: they
        are not sent, because earlier ones may have none either."""
        return self.filter(sequence__gt=0).order_by("sequence")

    def is_head(self, delivery: Delivery) -> bool:
        """Return whether this is the next pending delivery of its FIFO endpoint."""
        of_endpoint = self.pending().filter(endpoint_id=delivery.endpoint_id)
        return of_endpoint.in_order().values_list("pk", flat=True).first() == delivery.pk

    def by_queue(self) -> DeliveryQuerySet:
        """Sort in the order of the index of pending deliveries."""
        return self.order_by("endpoint_id", "next_attempt_at", "id")


class Delivery(models.Model):
    """One event for one endpoint."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = unconstrained_key(Tenant, "deliveries", _("Tenant"))
    event = unconstrained_key(Event, "deliveries")
    endpoint = unconstrained_key(Endpoint, "deliveries")
    status = models.CharField(
        _("Status"), max_length=16, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING
    )
    #: The number of requests so far; the next attempt has this number plus one. Not reset by replays.
    attempts = models.PositiveIntegerField(default=0)
    #: Position in the retry policy; a replay sets it back to 0.
    retry_step = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    #: A delivery that is still pending behind an open breaker at this time fails without a request.
    expires_at = models.DateTimeField(_("Expires"))
    #: The sequence number in a FIFO endpoint's order; 0 for other endpoints.
    sequence = models.PositiveBigIntegerField(_("Place in the order"), default=0)
    #: Set just before a request that is suspected of crashing engines; see `engine.crash_guard`.
    crash_marked_at = models.DateTimeField(null=True, editable=False)
    #: How many engines crashed just after they had started a request of this delivery.
    crashes = models.PositiveSmallIntegerField(db_default=0, editable=False)
    created_at = models.DateTimeField(_("Made"), db_default=Now(), editable=False)
    completed_at = models.DateTimeField(null=True)
    #: The outcome of the last attempt (an OutcomeKind), and its HTTP status.
    last_outcome = models.CharField(max_length=32, blank=True)
    last_status = models.PositiveIntegerField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("Deliveries")
        base_manager_name = "objects"
        constraints = [
            # Makes fan-out idempotent.
            models.UniqueConstraint(fields=["event", "endpoint"], name="webhooks_delivery_once"),
        ]
        indexes = [
            # For lease.refill: the due work of one queue, by keyset. No condition, for databases without partial indexes.
            models.Index(
                fields=["endpoint", "next_attempt_at", "id"],
                condition=Q(status="pending"),
                name="webhooks_delivery_due",
            ),
            # For lease.refill of FIFO endpoints: the head.
            models.Index(
                fields=["endpoint", "sequence"],
                condition=Q(status="pending", sequence__gt=0),
                name="webhooks_delivery_fifo",
            ),
            # For the delivery log of one endpoint, and of one tenant.
            models.Index(fields=["endpoint", "id"], name="webhooks_delivery_endpoint"),
            models.Index(fields=["tenant", "id"], name="webhooks_delivery_tenant"),
            # For the same logs, filtered by failed or cancelled deliveries. Pending and succeeded rows, nearly all rows, are in
            # neither index, so new deliveries cost nothing more. Not created on databases without partial indexes.
            models.Index(
                fields=["tenant", "status", "id"],
                condition=Q(status__in=("exhausted", "cancelled")),
                name="webhooks_delivery_failed",
            ),
            models.Index(
                fields=["endpoint", "status", "id"],
                condition=Q(status__in=("exhausted", "cancelled")),
                name="webhooks_delivery_failed_at",
            ),
        ]
        permissions = [
            ("retry_delivery", "Can send waiting deliveries now"),
            ("replay_delivery", "Can send deliveries again"),
            ("cancel_delivery", "Can cancel deliveries"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return public_id("dlv", self.id)


class Attempt(models.Model):
    """One HTTP request of a delivery and its response. Append-only. `(delivery, number)` is not unique: two engines may both
    have made attempt n, and a secret rotation may send one attempt twice; every request is kept."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = unconstrained_key(Tenant, "+", _("Tenant"))
    delivery = unconstrained_key(Delivery, "attempt_rows", indexed=True)
    endpoint = unconstrained_key(Endpoint, "+")
    number = models.PositiveIntegerField(_("Number"))
    started_at = models.DateTimeField(_("Started"))
    duration_ms = models.FloatField()
    outcome = models.CharField(max_length=32, choices=[(kind.value, kind.value) for kind in OutcomeKind])
    status = models.PositiveIntegerField(_("HTTP status"), null=True)
    #: For staff only: it may name addresses inside the network.
    detail = models.TextField(_("Detail"), blank=True)
    address = models.CharField(_("IP address"), max_length=64, blank=True)
    http_version = models.CharField(_("HTTP version"), max_length=8, blank=True)
    #: The secret that signed it, if the wire format sends one signature.
    secret_id = models.UUIDField(null=True)
    #: The URL at the time of the request.
    url = models.TextField(_("URL"))
    response_headers = PayloadTextField(blank=True)
    response_body = PayloadBytesField(default=b"")
    response_truncated = models.BooleanField(default=False)

    objects = AppQuerySet["Attempt"].as_manager()

    class Meta:
        verbose_name = pgettext_lazy("model", "request")
        verbose_name_plural = _("Requests")
        base_manager_name = "objects"
        ordering = ["id"]

    def __str__(self) -> str:
        return _("Request %(number)s") % {"number": self.number}

    @property
    def shown_headers(self) -> str:
        """Return the headers of the response, or UNREADABLE if they cannot be decrypted."""
        try:
            return self.response_headers
        except SealingError:
            return UNREADABLE

    @property
    def shown_body(self) -> bytes:
        """Return the beginning of the response body, or UNREADABLE if it cannot be decrypted."""
        try:
            return self.response_body
        except SealingError:
            return UNREADABLE.encode()


def stored_response(attempt_id: uuid.UUID, headers: str, body: bytes) -> tuple[str, bytes]:
    """Return what the columns `response_headers` and `response_body` of this attempt hold, for a statement without the ORM.
    Raises SealingError if they have to be encrypted and there is no key."""
    return _HEADERS.store(attempt_id, headers), _BODY.store(attempt_id, body)


_HEADERS: PayloadTextField = Attempt._meta.get_field("response_headers")
_BODY: PayloadBytesField = Attempt._meta.get_field("response_body")
