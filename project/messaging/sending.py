"""The sample product's business logic. It emits webhooks inside the transactions they belong to."""

from django.db import transaction
from django.utils import timezone

from project.messaging.models import Message, MessageStatus, Organisation
from webhooks_app import emit


class CarrierDown(Exception):
    """A simulated error, raised inside the transaction, so that neither the message nor its events remain."""


def send_message(organisation: Organisation, recipient: str, text: str, *, crash: bool = False) -> Message:
    """Store a message and notify the organisation. With `crash` everything is rolled back, including the event."""
    with transaction.atomic():
        message = Message.objects.create(organisation=organisation, recipient=recipient, text=text)
        _tell(message)
        if crash:
            raise CarrierDown
    return message


def finish_message(message: Message, error: str = "") -> None:
    """Store the carrier's result: delivered, or failed with an error."""
    with transaction.atomic():
        message.status = MessageStatus.FAILED if error else MessageStatus.DELIVERED
        message.finished_at = timezone.now()
        message.save(update_fields=["status", "finished_at"])
        _tell(message, **({"error": error} if error else {}))


def _tell(message: Message, **more: str) -> None:
    """Emit the webhook, with one call. Events can be found by the subject, and the key makes a repeated call harmless."""
    emit(
        f"message.{message.status}",
        message.as_data() | more,
        tenant=message.organisation,
        subject=f"message-{message.pk}",
        idempotency_key=f"message-{message.pk}-{message.status}",
    )
