"""Notification e-mails to tenants and staff, in plain words. They contain no secrets, payloads or network details."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from webhooks_app.conf import settings
from webhooks_app.models import Endpoint, EndpointQueue, Notification, Tenant
from webhooks_app.models.ids import public_id
from webhooks_app.notifications.kinds import KINDS, Facts, NotificationDefinition, facts_of

_FOLDER = "webhooks_app/email"
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class NotificationEmail:
    """One e-mail, ready to be sent."""

    subject: str
    text: str
    html: str
    to: Sequence[str]

    def send(self, connection: BaseEmailBackend) -> None:
        """Send it through the mail server. Raises what the mail backend raises."""
        sender = settings().NOTIFICATIONS.FROM_EMAIL or django_settings.DEFAULT_FROM_EMAIL
        headers = {"Auto-Submitted": "auto-generated"}  # prevents automatic replies, such as absence notes
        mail = EmailMultiAlternatives(
            self.subject, self.text, sender, list(self.to), headers=headers, connection=connection
        )
        mail.attach_alternative(self.html, "text/html")
        mail.send()


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """One sentence of a summary; `example`: a delivery's public id, or empty."""

    text: str
    example: str


@dataclass(slots=True)
class EndpointSummary:
    """What happened to one endpoint, from all notifications of one e-mail."""

    public_id: str
    name: str
    first_at: datetime
    failing_since: datetime | None = None
    #: The facts of the notifications, by kind.
    facts: dict[str, Facts] = field(default_factory=dict)

    def add(self, notification: Notification) -> None:
        """Add a notification of a known kind. Call this in the order of the notifications."""
        kind, facts = KINDS[notification.kind], facts_of(notification)
        before = self.facts.get(kind.value)
        self.facts[kind.value] = before.and_later(facts, adds_up=kind.adds_up) if before else facts
        if kind.opposite:
            self.facts.pop(kind.opposite, None)

    @property
    def kinds(self) -> list[NotificationDefinition]:
        """Return the kinds in the order of the e-mail's sentences."""
        return [kind for kind in KINDS.values() if kind.value in self.facts]

    @property
    def subject(self) -> str:
        return str(max(self.kinds, key=lambda kind: kind.subject_rank).subject)

    @property
    def advice(self) -> str:
        return str(max(self.kinds, key=lambda kind: kind.advice_rank).advice)

    @property
    def lines(self) -> list[SummaryLine]:
        return [
            SummaryLine(_one_line(kind.sentence(facts)), facts.example if kind.names_delivery else "")
            for kind in self.kinds
            for facts in [self.facts[kind.value]]
        ]

    @property
    def still_failing_since(self) -> datetime | None:
        return None if any(kind.ends_failure for kind in self.kinds) else self.failing_since


def tenant_email(tenant: Tenant, notifications: Sequence[Notification]) -> NotificationEmail:
    """Return one e-mail about all of these notifications, to the tenant's address."""
    context = {"tenant": tenant, "summaries": endpoint_summaries(notifications), "dashboard_url": _dashboard()}
    return _render("tenant", context, [tenant.email])


def staff_email(groups: Iterable[tuple[Tenant, Sequence[Notification]]]) -> NotificationEmail | None:
    """Return one e-mail about several tenants to STAFF_EMAILS or ADMINS; None if neither is set."""
    addresses = staff_addresses()
    if not addresses:
        return None
    tenants = [
        {
            "tenant": tenant,
            "name": _one_line(f"{tenant} ({tenant.uid})"),
            "summaries": endpoint_summaries(notifications),
        }
        for tenant, notifications in groups
    ]
    return _render("staff", {"tenants": tenants, "dashboard_url": _dashboard()}, addresses)


def staff_addresses() -> list[str]:
    """Return the addresses of staff. ADMINS are pairs of name and address before Django 6.0, and addresses since."""
    if settings().NOTIFICATIONS.STAFF_EMAILS:
        return list(settings().NOTIFICATIONS.STAFF_EMAILS)
    return [entry if isinstance(entry, str) else entry[1] for entry in django_settings.ADMINS]


def endpoint_summaries(notifications: Sequence[Notification]) -> list[EndpointSummary]:
    """Return a summary for each endpoint, in the order of their first notifications. Leave out notifications of unknown kinds."""
    notifications = [notification for notification in notifications if notification.kind in KINDS]
    keys = {notification.endpoint_id for notification in notifications}
    endpoints = Endpoint.objects.in_bulk(keys)
    queues = EndpointQueue.objects.in_bulk(keys)
    summaries: dict[uuid.UUID, EndpointSummary] = {}
    for notification in notifications:
        key = notification.endpoint_id
        if key not in summaries:
            failing_since = queues[key].failing_since if key in queues else None
            name = _name(endpoints.get(key))
            summaries[key] = EndpointSummary(public_id("wh", key), name, notification.created_at, failing_since)
        summaries[key].add(notification)
    return list(summaries.values())


def _dashboard() -> str:
    """Return the URL of the customers' pages with a slash at its end; empty if DASHBOARD["URL"] is not set."""
    url = settings().DASHBOARD.URL
    return f"{url.rstrip('/')}/" if url else ""


def _name(endpoint: Endpoint | None) -> str:
    """Return the endpoint's name as customers know it, without the query, which often contains a token."""
    if endpoint is None:
        return _("an endpoint that was deleted since")
    parts = urlsplit(endpoint.url)
    url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    description = _one_line(endpoint.description)
    return f"{description} ({url})" if description else url


def _one_line(text: str) -> str:
    """Return text that others wrote without its line breaks: with them, it could add sections to an e-mail in plain text."""
    return " ".join(text.split())


def _render(template: str, context: dict[str, object], to: Sequence[str]) -> NotificationEmail:
    subject = render_to_string(f"{_FOLDER}/{template}_subject.txt", context)
    return NotificationEmail(
        # A subject with line breaks would make the mail library refuse the e-mail.
        subject=" ".join(subject.split()),
        text=_BLANK_LINES.sub("\n\n", render_to_string(f"{_FOLDER}/{template}.txt", context)),
        html=render_to_string(f"{_FOLDER}/{template}.html", context),
        to=to,
    )
