"""Models of the sample product: organisations, and the messages they send."""

from typing import Any

from django.conf import settings
from django.db import models


class Organisation(models.Model):
    """A customer of the sample product. Webhooks need no fields on it: the object itself is passed as the tenant."""

    name = models.CharField(max_length=100, unique=True)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="organisations", blank=True)
    viewers = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        related_name="viewed_organisations",
        blank=True,
        help_text="People who may look at its webhooks, but not change them.",
    )

    def __str__(self) -> str:
        return self.name


class MessageStatus(models.TextChoices):
    SENT = "sent", "sent"
    DELIVERED = "delivered", "delivered"
    FAILED = "failed", "failed"


class Message(models.Model):
    """One text message, in transit or delivered."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="messages")
    recipient = models.CharField(max_length=32)
    text = models.CharField(max_length=480)
    status = models.CharField(max_length=16, choices=MessageStatus.choices, default=MessageStatus.SENT)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"message {self.pk} to {self.recipient}"

    def as_data(self) -> dict[str, Any]:
        """Return the message as the data of a webhook. Django's types (times, decimals) need no conversion."""
        return {
            "message_id": self.pk,
            "to": self.recipient,
            "text": self.text,
            "status": self.status,
            "created_at": self.created_at,
        }
