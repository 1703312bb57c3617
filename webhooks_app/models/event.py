"""EventType, Event and EventChannel: events, their types and their channels."""

from __future__ import annotations

import json

from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from webhooks_app.core import catalogue
from webhooks_app.core.redaction import redacted
from webhooks_app.exceptions import SealingError
from webhooks_app.models.database import AppQuerySet
from webhooks_app.models.fields import unconstrained_key
from webhooks_app.models.ids import new_id, public_id
from webhooks_app.models.payload_fields import UNREADABLE, PayloadTextField
from webhooks_app.models.tenant import Tenant
from webhooks_app.models.times import Now

#: The displayed subject of test events.
TEST_SUBJECT = "test"


class EventType(models.Model):
    """An event type added by staff in the admin. Types declared in code (`<app>/webhooks.py`) are in the registry instead."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(
        _("Name"), max_length=128, unique=True, help_text=_("The name, with dots, for example message.delivered.")
    )
    group = models.CharField(_("Group"), max_length=128, blank=True)
    description = models.TextField(_("Description"), blank=True)
    example = models.JSONField(_("Example"), null=True, blank=True, encoder=DjangoJSONEncoder)
    schema = models.JSONField(
        _("JSON Schema"),
        null=True,
        blank=True,
        help_text=_("A JSON Schema that the data of every event of this type must match. Empty: no schema."),
    )
    retired = models.BooleanField(
        _("Retired"),
        default=False,
        help_text=_("The type is no longer offered to new endpoints. Existing subscriptions still get its events."),
    )
    retention_days = models.PositiveIntegerField(
        _("Retention in days"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "How many days events of this type are kept, if fewer than RETENTION_DAYS. Applies to events emitted from now on."
        ),
    )
    drop_body_when_delivered = models.BooleanField(
        _("Erase payloads after delivery"),
        default=False,
        help_text=_(
            "Erase the payload of an event of this type once it is delivered. "
            "While one of its deliveries has failed, it is kept for a resend."
        ),
    )

    objects = AppQuerySet["EventType"].as_manager()

    class Meta:
        verbose_name = _("event type")
        verbose_name_plural = _("Event types")
        base_manager_name = "objects"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def as_declared(self) -> catalogue.EventType:
        """Return the type as if it had been declared in code."""
        return catalogue.EventType(
            self.name,
            self.description,
            self.example,
            self.schema,
            self.group,
            self.retired,
            self.retention_days,
            self.drop_body_when_delivered,
        )


#: The prefix of the reason if the engine quarantined the event, which `emit` had accepted and stored completely.
FAN_OUT_FAILED = "fan-out failed: "
#: Replaces the reason of a quarantined event that is erased: the reason may quote the payload.
REASON_ERASED = "erased"


class EventQuerySet(AppQuerySet["Event"]):
    def pending(self) -> EventQuerySet:
        """Return the events that are not (completely) fanned out yet. There is no watermark: this flag is authoritative."""
        return self.filter(fanned_out_at__isnull=True)

    def without_tests(self) -> EventQuerySet:
        return self.filter(is_test=False)

    def erased(self) -> EventQuerySet:
        """Return the events whose payload was erased. They are never sent (again)."""
        return self.filter(erased_at__isnull=False)

    def not_erased(self) -> EventQuerySet:
        return self.filter(erased_at__isnull=True)

    def quarantined(self) -> EventQuerySet:
        return self.exclude(quarantine_reason="")

    def releasable(self) -> EventQuerySet:
        """Return the events quarantined by the engine. Events that `emit` rejected are incomplete and cannot be delivered."""
        return self.quarantined().filter(quarantine_reason__startswith=FAN_OUT_FAILED)

    def refused(self) -> EventQuerySet:
        """Return the events quarantined because `emit` rejected them."""
        return self.quarantined().exclude(quarantine_reason__startswith=FAN_OUT_FAILED)


class Event(models.Model):
    """One event. Immutable, except for the two fields in which the fan-out stores its position, and for its erasure."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # No constraint: a foreign-key check would slow down every insert, and one missing row would make a whole batch fail.
    tenant = unconstrained_key(Tenant, "events", _("Tenant"))
    #: The tenant's uid, so that the fan-out can create the tenant's row and `emit` need not.
    tenant_uid = models.CharField(_("Tenant"), max_length=255)
    type = models.CharField(_("Event type"), max_length=128)
    #: The data as JSON text, serialised once. Not jsonb, which reorders keys and refuses \u0000.
    data = PayloadTextField()
    #: Bytes of `data` in UTF-8, so that engines can limit how much they read ahead.
    size = models.PositiveIntegerField(_("Bytes"))
    channels = models.JSONField(_("Channels"), default=list)
    subject = models.CharField(
        _("Your id"), max_length=255, blank=True, help_text=_("The host's own id, to find the event again.")
    )
    idempotency_key = models.CharField(_("Idempotency key"), max_length=255, null=True, blank=True)  # noqa: DJ001 - NULLs do not collide
    #: SHA-256 over all arguments of the caller, to distinguish a repetition from another event with the same key. It is
    #: encrypted like the payload, because a short payload could be guessed from it.
    fingerprint = PayloadTextField(blank=True)
    #: A test event, sent to try an endpoint.
    is_test = models.BooleanField(db_default=False, default=False, editable=False)
    #: If not empty, this event is sent to this URL instead of the tenant's endpoints.
    callback_url = models.TextField(_("Callback URL"), blank=True)
    occurred_at = models.DateTimeField()
    created_at = models.DateTimeField(_("Made"), db_default=Now(), editable=False)
    #: Set when every delivery of the event exists (or when it was quarantined and gets none).
    fanned_out_at = models.DateTimeField(null=True, editable=False)
    #: The last endpoint that a large event was fanned out to, while more endpoints follow.
    fan_out_position = models.UUIDField(null=True, editable=False)
    #: Why the event was quarantined; such an event is kept for staff and not delivered.
    quarantine_reason = models.TextField(blank=True)
    #: When the payload was erased. Such an event is never sent again; `data` is "null" from then on.
    erased_at = models.DateTimeField(_("Erased"), null=True, editable=False)
    #: When `prune` may delete the event, if its type has a retention of its own.
    keep_until = models.DateTimeField(null=True, editable=False)
    #: Whether `prune` erases the payload once every delivery has ended.
    drop_body = models.BooleanField(db_default=False, default=False, editable=False)

    objects = EventQuerySet.as_manager()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("Events")
        base_manager_name = "objects"
        constraints = [
            # Only for events with a key: most have none, and need no index entry.
            models.UniqueConstraint(
                fields=["tenant", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="webhooks_event_idempotency",
            ),
        ]
        indexes = [
            # For every poll, and to find the oldest event without deliveries.
            models.Index(fields=["id"], condition=Q(fanned_out_at__isnull=True), name="webhooks_event_pending"),
            # For the fan-out, which takes events tenant by tenant.
            models.Index(
                fields=["tenant", "id"], condition=Q(fanned_out_at__isnull=True), name="webhooks_event_pending_of"
            ),
            # For the event log of one tenant.
            models.Index(fields=["tenant", "id"], name="webhooks_event_tenant"),
            # For searches by the host's own id, within one tenant or, for staff, within all.
            models.Index(fields=["subject", "tenant"], condition=~Q(subject=""), name="webhooks_event_subject"),
            # For the operations page.
            models.Index(fields=["id"], condition=~Q(quarantine_reason=""), name="webhooks_event_quarantine"),
            # For `prune`. Only events with a retention of their own have entries, so that others cost nothing more.
            models.Index(fields=["keep_until"], condition=Q(keep_until__isnull=False), name="webhooks_event_keep"),
            models.Index(fields=["id"], condition=Q(drop_body=True), name="webhooks_event_drop"),
        ]
        permissions = [
            ("view_payload", "Can see the data of events, and what receivers answered"),
            ("replay_event", "Can send events again"),
            ("erase_event", "Can erase the payload and the personal data of events"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.public_id}"

    @property
    def public_id(self) -> str:
        return public_id("evt", self.id)

    @property
    def is_releasable(self) -> bool:
        """Return whether the engine quarantined it, so that it can be delivered once the cause is fixed."""
        return self.quarantine_reason.startswith(FAN_OUT_FAILED)

    @property
    def is_erasable(self) -> bool:
        """Return whether it has personal data: its payload or, if only that was erased, something it is searched by."""
        return self.erased_at is None or any((self.subject, self.channels, self.idempotency_key, self.callback_url))

    @property
    def shown_data(self) -> str:
        """Return the data as pages, the API and exports show it: with the values of redacted fields replaced. If it cannot
        be decrypted, it is the text UNREADABLE."""
        try:
            return redacted(self.data, catalogue.registry.redacted_fields(self.type))
        except SealingError:
            return json.dumps(UNREADABLE)

    @property
    def own_id(self) -> str:
        """Return the subject set by the host; a test event has none."""
        return "" if self.is_test else self.subject


def payload_field() -> PayloadTextField:
    """Return the field object that opens and stores the event's data."""
    field = Event._meta.get_field("data")
    assert isinstance(field, PayloadTextField)
    return field


class EventChannel(models.Model):
    """One channel of one event, written by the fan-out so that events can be found by channel."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = unconstrained_key(Tenant, "+", _("Tenant"))
    event = unconstrained_key(Event, "channel_rows", indexed=True)
    channel = models.CharField(_("Channel"), max_length=128)

    objects = AppQuerySet["EventChannel"].as_manager()

    class Meta:
        verbose_name = _("channel of an event")
        verbose_name_plural = _("Channels of events")
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["event", "channel"], name="webhooks_channel_once")]
        indexes = [models.Index(fields=["tenant", "channel", "event"], name="webhooks_channel_find")]

    def __str__(self) -> str:
        return self.channel
