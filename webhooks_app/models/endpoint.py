"""Endpoint, Subscription and Secret: where events are sent, which events, and how they are signed."""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from webhooks_app.core.authentication import Authentication, parse_authentication
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.models.database import AppQuerySet
from webhooks_app.models.fields import EncryptedTextField
from webhooks_app.models.ids import new_id, public_id
from webhooks_app.models.tenant import Tenant
from webhooks_app.models.times import Now


class EndpointStatus(models.TextChoices):
    ACTIVE = "active", "active"
    PAUSED = "paused", "paused"  # deliveries are created and stay pending
    DISABLED = "disabled", "disabled"  # pending deliveries are kept, new events create none
    DELETED = "deleted", "deleted"  # history stays readable until it is pruned


_KINDS = (
    (EndpointKind.URL.value, _("URL")),
    (EndpointKind.CALLBACK.value, _("Callback URL")),
    (EndpointKind.PLAYGROUND.value, _("Playground")),
)


class EndpointQuerySet(AppQuerySet["Endpoint"]):
    def visible(self) -> EndpointQuerySet:
        """Return the endpoints that a customer sees: not deleted, and not behind callback URLs."""
        return self.without_callbacks().exclude(status=EndpointStatus.DELETED)

    def without_callbacks(self) -> EndpointQuerySet:
        """Return the endpoints that are not behind callback URLs, also the deleted ones."""
        return self.exclude(kind=EndpointKind.CALLBACK)

    def playgrounds(self) -> EndpointQuerySet:
        """Return the playgrounds, also the deleted ones."""
        return self.filter(kind=EndpointKind.PLAYGROUND)

    def counted(self) -> EndpointQuerySet:
        """Return the endpoints that count towards the plan's limit: all but playgrounds."""
        return self.visible().exclude(kind=EndpointKind.PLAYGROUND)

    def accepting_events(self) -> EndpointQuerySet:
        """Return the endpoints for which new events create deliveries."""
        return self.filter(status__in=(EndpointStatus.ACTIVE, EndpointStatus.PAUSED))


class Endpoint(models.Model):
    """A tenant's URL that receives events. Rows are soft-deleted; only `prune` removes them."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="endpoints", verbose_name=_("Tenant"))
    kind = models.CharField(_("Kind"), max_length=16, choices=_KINDS, default=EndpointKind.URL, editable=False)
    url = models.TextField(_("URL"))
    description = models.CharField(
        _("Description"), max_length=255, blank=True, help_text=_("For your own use, to tell your endpoints apart.")
    )
    wire_format = models.CharField(
        _("Wire format"),
        max_length=64,
        default="standard",
        help_text=_("The wire format. It is fixed when the endpoint is created."),
    )
    status = models.CharField(_("Status"), max_length=16, choices=EndpointStatus.choices, default=EndpointStatus.ACTIVE)
    status_reason = models.CharField(max_length=255, blank=True)
    status_changed_at = models.DateTimeField(null=True, blank=True, editable=False)
    #: Empty: events of all channels, and events without a channel.
    channels = models.JSONField(
        _("Channels"),
        default=list,
        blank=True,
        help_text=_("Receive only events of these channels. Empty: events of every channel."),
    )
    fifo = models.BooleanField(
        _("Strict order"),
        default=False,
        help_text=_(
            "Send one request at a time. The next event is sent only after this one has succeeded or failed permanently. "
            "This is slower, and one failing event delays all others."
        ),
    )
    rate_limit = models.PositiveIntegerField(
        _("Rate limit"),
        null=True,
        blank=True,
        help_text=_("The maximum number of requests per second. Empty: no limit."),
    )
    max_in_flight = models.PositiveIntegerField(
        _("Requests at once"),
        null=True,
        blank=True,
        help_text=_("The maximum number of requests in flight at the same time. Empty: the default."),
    )
    metadata = models.JSONField(
        _("Metadata"),
        default=dict,
        blank=True,
        help_text=_("Your own data as a JSON object. It is stored and not used otherwise."),
    )
    #: See `core.filters`.
    filters = models.JSONField(
        _("Filters"),
        default=dict,
        blank=True,
        help_text=_("Receive only events whose data matches these conditions. Empty: all events."),
    )
    #: The tenant's custom request headers, a JSON object, encrypted because they often contain credentials.
    headers = EncryptedTextField(blank=True, default="")
    #: How requests authenticate to the receiver; see `core.authentication`. Encrypted as a whole.
    authentication = EncryptedTextField(blank=True, default="")
    #: The client certificate with its private key, and the certificate authorities, as a JSON object of PEM texts.
    client_tls = EncryptedTextField(blank=True, default="")
    #: When the first of these certificates ends that is needed to send; NULL without any.
    certificate_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    #: When to notify of that next; NULL for never.
    certificate_warning_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("Made"), db_default=Now(), editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = EndpointQuerySet.as_manager()

    class Meta:
        verbose_name = _("endpoint")
        verbose_name_plural = _("Endpoints")
        base_manager_name = "objects"
        ordering = ["id"]
        indexes = [
            models.Index(fields=["tenant", "id"], name="webhooks_endpoint_tenant"),
            # For the fan-out: the endpoints that may get an event, and the tenants with FIFO endpoints.
            models.Index(
                fields=["tenant", "id"],
                condition=Q(status__in=["active", "paused"]) & ~Q(kind="callback"),
                name="webhooks_endpoint_receiving",
            ),
            models.Index(fields=["tenant"], condition=Q(fifo=True), name="webhooks_endpoint_fifo"),
            # For `notifications.certificates`, every minute.
            models.Index(
                fields=["certificate_warning_at"],
                condition=Q(certificate_warning_at__isnull=False),
                name="webhooks_endpoint_certificate",
            ),
        ]
        permissions = [
            ("pause_endpoint", "Can pause and resume endpoints"),
            ("disable_endpoint", "Can disable and enable endpoints"),
            ("rotate_secret", "Can replace endpoints' secrets and see the new one"),
            ("test_endpoint", "Can send test events"),
            ("recover_endpoint", "Can send endpoints what they missed"),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {gettext('Playground') if self.is_playground else self.url}"

    @property
    def public_id(self) -> str:
        return public_id("wh", self.id)

    @property
    def patterns(self) -> list[str]:
        """Return the subscribed patterns, in the given order. Prefetch `subscriptions` for lists."""
        return [one.pattern for one in sorted(self.subscriptions.all(), key=lambda one: one.pk)]

    @property
    def is_deleted(self) -> bool:
        return self.status == EndpointStatus.DELETED

    @property
    def is_callback(self) -> bool:
        return self.kind == EndpointKind.CALLBACK

    @property
    def is_playground(self) -> bool:
        return self.kind == EndpointKind.PLAYGROUND

    def custom_headers(self) -> dict[str, str]:
        """Return the tenant's custom headers, decrypted. Raises SealingError if the key is missing."""
        return parse_texts(encrypted_field("headers").reveal(self))

    def set_custom_headers(self, headers: dict[str, str]) -> None:
        """Encrypt the headers into the instance; the caller saves it."""
        encrypted_field("headers").seal(self, json.dumps(headers) if headers else "")

    def opened_authentication(self) -> Authentication | None:
        """Return the authentication, decrypted. Raises SealingError if the key is missing."""
        return parse_authentication(encrypted_field("authentication").reveal(self))

    def set_authentication(self, authentication: Authentication | None) -> None:
        """Encrypt the authentication into the instance; the caller saves it."""
        encrypted_field("authentication").seal(self, authentication.to_text() if authentication else "")

    def stored_tls(self) -> dict[str, str]:
        """Return the parts of a `ClientTLS` that are not empty, decrypted. Raises SealingError if the key is missing."""
        return parse_texts(encrypted_field("client_tls").reveal(self))

    def set_client_tls(self, parts: dict[str, str]) -> None:
        """Encrypt the parts into the instance; the caller saves it."""
        encrypted_field("client_tls").seal(self, json.dumps(parts) if parts else "")


#: What a customer has entrusted to an endpoint beside its signing secret, by field: it is erased with the endpoint.
NO_CREDENTIALS: dict[str, Any] = {
    "headers": "",
    "authentication": "",
    "client_tls": "",
    "certificate_expires_at": None,
    "certificate_warning_at": None,
}


def encrypted_field(name: str) -> EncryptedTextField:
    """Return the field object that encrypts and decrypts the endpoint's `headers`, `authentication` or `client_tls`."""
    field = Endpoint._meta.get_field(name)
    assert isinstance(field, EncryptedTextField)
    return field


def parse_texts(text: str) -> dict[str, str]:
    """Return what a JSON object of texts contains; nothing if the text is empty."""
    return dict(json.loads(text)) if text else {}


class Subscription(models.Model):
    """One endpoint's subscription to an event type (`message.sent`), a family (`message.*`) or everything (`*`)."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="subscriptions")
    pattern = models.CharField(_("Pattern"), max_length=130)

    objects = AppQuerySet["Subscription"].as_manager()

    class Meta:
        verbose_name = _("subscription")
        verbose_name_plural = _("Subscriptions")
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["endpoint", "pattern"], name="webhooks_subscription_once")]

    def __str__(self) -> str:
        return self.pattern


class SecretQuerySet(AppQuerySet["Secret"]):
    def live(self) -> SecretQuerySet:
        """Return the secrets that sign requests: those not expired, by the database's clock."""
        return self.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=Now()))


class Secret(models.Model):
    """A signing secret of an endpoint or, without an endpoint, the tenant's account secret, which signs requests to callback
    URLs. The text is shown only once, when the secret is created."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="secrets", verbose_name=_("Tenant"))
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, null=True, blank=True, related_name="secrets")
    value = EncryptedTextField()
    created_at = models.DateTimeField(_("Made"), db_default=Now(), editable=False)
    #: NULL for the current secret. Set when the secret is replaced: it keeps signing until this time.
    expires_at = models.DateTimeField(_("Valid until"), null=True, blank=True)
    #: When a receiver last accepted a request signed with this secret only (wire formats that send one signature).
    accepted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = SecretQuerySet.as_manager()

    class Meta:
        verbose_name = _("secret")
        verbose_name_plural = _("Secrets")
        base_manager_name = "objects"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"secret {self.id}"

    def seal(self, text: str) -> None:
        """Encrypt the secret's text into the instance; the caller saves it."""
        value_field().seal(self, text)

    def reveal(self) -> str:
        """Return the secret's text as it was shown. Raises SealingError if the key is missing."""
        return value_field().reveal(self)


def value_field() -> EncryptedTextField:
    """Return the field object that encrypts and decrypts the secret."""
    field = Secret._meta.get_field("value")
    assert isinstance(field, EncryptedTextField)
    return field
