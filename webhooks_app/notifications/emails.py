"""Letters: what people read about their endpoints' troubles. Plain words; no secret, no payload, no network detail."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from webhooks_app.conf import settings
from webhooks_app.deliveries.explain import disabled_in_words
from webhooks_app.models import Endpoint, EndpointQueue, Notification, NotificationKind, Tenant
from webhooks_app.models.ids import public_id

_FOLDER = "webhooks_app/email"
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class NotificationEmail:
    """One e-mail, ready to be handed over."""

    subject: str
    text: str
    html: str
    to: Sequence[str]

    def send(self, post: BaseEmailBackend) -> None:
        """Hand over to the mail server. Raises what the mail backend raises."""
        sender = settings().FROM_EMAIL or django_settings.DEFAULT_FROM_EMAIL
        headers = {"Auto-Submitted": "auto-generated"}  # so that absence notes do not answer
        mail = EmailMultiAlternatives(self.subject, self.text, sender, list(self.to), headers=headers, connection=post)
        mail.attach_alternative(self.html, "text/html")
        mail.send()


@dataclass(slots=True)
class EndpointSummary:
    """What happened to one endpoint, of all that is to be told about it."""

    public_id: str
    name: str
    given_up: int = 0
    example: str = ""  # a delivery's public id
    first_at: datetime | None = None
    failing_since: datetime | None = None
    disabled: bool = False
    disabled_because: str = ""
    recovered: bool = False
    backlog: int = 0  # pending deliveries that will be dropped
    drop_at: datetime | None = None
    dropped: int = 0  # deliveries that were pending too long, or were too many

    @property
    def most_pending(self) -> int:
        return settings().BACKLOG_DELIVERIES


def to_tenant(tenant: Tenant, notifications: Sequence[Notification], using: str) -> NotificationEmail:
    """One letter about all of these notifications to the tenant's address."""
    context = {"tenant": tenant, "stories": endpoint_summaries(notifications, using), "dashboard_url": _dashboard()}
    return _letter("tenant", context, [tenant.email])


def to_staff(groups: Iterable[tuple[Tenant, Sequence[Notification]]], using: str) -> NotificationEmail | None:
    """One letter about several tenants to STAFF_EMAILS or ADMINS; None where there are neither."""
    addresses = staff_addresses()
    if not addresses:
        return None
    tenants = [
        {"tenant": tenant, "stories": endpoint_summaries(notifications, using)} for tenant, notifications in groups
    ]
    return _letter("staff", {"tenants": tenants, "dashboard_url": _dashboard()}, addresses)


def staff_addresses() -> list[str]:
    """Django has had ADMINS as pairs of name and address, and has them as addresses from 6.0 on."""
    if settings().STAFF_EMAILS:
        return list(settings().STAFF_EMAILS)
    return [entry if isinstance(entry, str) else entry[1] for entry in django_settings.ADMINS]


def endpoint_summaries(notifications: Sequence[Notification], using: str) -> list[EndpointSummary]:
    """One story an endpoint, in the order of their first notifications. Notifications of unknown kinds are left out."""
    notifications = [notification for notification in notifications if notification.kind in NotificationKind.values]
    keys = {notification.endpoint_id for notification in notifications}
    endpoints = Endpoint.objects.using(using).in_bulk(keys)
    queues = EndpointQueue.objects.using(using).in_bulk(keys)
    told: dict[uuid.UUID, EndpointSummary] = {}
    for notification in notifications:
        key = notification.endpoint_id
        story = told.get(key)
        if story is None:
            story = told[key] = EndpointSummary(
                public_id("wh", key), _name(endpoints.get(key)), first_at=notification.created_at
            )
            story.failing_since = queues[key].failing_since if key in queues else None
        _add(story, notification)
    return list(told.values())


def _add(story: EndpointSummary, notification: Notification) -> None:
    if notification.kind == NotificationKind.EXHAUSTED:
        story.given_up += notification.count
        if not story.example and notification.delivery_id is not None:
            story.example = public_id("dlv", notification.delivery_id)
    # Of off and on again, the later one is how it stands.
    elif notification.kind == NotificationKind.DISABLED:
        story.disabled, story.recovered = True, False
        story.disabled_because = disabled_in_words(notification.reason)
    elif notification.kind == NotificationKind.BACKLOG_EXPIRING:
        story.backlog, story.drop_at = notification.count, notification.drop_at
    elif notification.kind == NotificationKind.BACKLOG_DROPPED:
        story.dropped += notification.count
    elif notification.kind == NotificationKind.RECOVERED:
        story.disabled, story.recovered = False, True


def _dashboard() -> str:
    """Where the customers' pages are, with a slash at its end; empty where nobody has said it."""
    url = settings().DASHBOARD_URL
    return f"{url.rstrip('/')}/" if url else ""


def _name(endpoint: Endpoint | None) -> str:
    """What the customer knows it by. Without the query, which often carries a token."""
    if endpoint is None:
        return _("an endpoint that was deleted since")
    parts = urlsplit(endpoint.url)
    url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"{endpoint.description} ({url})" if endpoint.description else url


def _letter(kind: str, context: dict[str, object], to: Sequence[str]) -> NotificationEmail:
    subject = render_to_string(f"{_FOLDER}/{kind}_subject.txt", context)
    return NotificationEmail(
        # One line, or the mail library refuses the whole letter.
        subject=" ".join(subject.split()),
        text=_BLANK_LINES.sub("\n\n", render_to_string(f"{_FOLDER}/{kind}.txt", context)),
        html=render_to_string(f"{_FOLDER}/{kind}.html", context),
        to=to,
    )
