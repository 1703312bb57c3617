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
from webhooks_app.models import Endpoint, EndpointQueue, Notice, NoticeKind, Tenant
from webhooks_app.models.ids import public_id
from webhooks_app.reports.explanations import disabled_in_words

_FOLDER = "webhooks_app/email"
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Letter:
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
class Story:
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


def to_tenant(tenant: Tenant, notices: Sequence[Notice], using: str) -> Letter:
    """One letter about all of these notices to the tenant's address."""
    context = {"tenant": tenant, "stories": stories(notices, using), "dashboard_url": _dashboard()}
    return _letter("tenant", context, [tenant.email])


def to_staff(groups: Iterable[tuple[Tenant, Sequence[Notice]]], using: str) -> Letter | None:
    """One letter about several tenants to STAFF_EMAILS or ADMINS; None where there are neither."""
    addresses = staff_addresses()
    if not addresses:
        return None
    tenants = [{"tenant": tenant, "stories": stories(notices, using)} for tenant, notices in groups]
    return _letter("staff", {"tenants": tenants, "dashboard_url": _dashboard()}, addresses)


def staff_addresses() -> list[str]:
    """Django has had ADMINS as pairs of name and address, and has them as addresses from 6.0 on."""
    if settings().STAFF_EMAILS:
        return list(settings().STAFF_EMAILS)
    return [entry if isinstance(entry, str) else entry[1] for entry in django_settings.ADMINS]


def stories(notices: Sequence[Notice], using: str) -> list[Story]:
    """One story an endpoint, in the order of their first notices. Notices of unknown kinds are left out."""
    notices = [notice for notice in notices if notice.kind in NoticeKind.values]
    keys = {notice.endpoint_id for notice in notices}
    endpoints = Endpoint.objects.using(using).in_bulk(keys)
    queues = EndpointQueue.objects.using(using).in_bulk(keys)
    told: dict[uuid.UUID, Story] = {}
    for notice in notices:
        key = notice.endpoint_id
        story = told.get(key)
        if story is None:
            story = told[key] = Story(public_id("wh", key), _name(endpoints.get(key)), first_at=notice.created_at)
            story.failing_since = queues[key].failing_since if key in queues else None
        _add(story, notice)
    return list(told.values())


def _add(story: Story, notice: Notice) -> None:
    if notice.kind == NoticeKind.EXHAUSTED:
        story.given_up += notice.count
        if not story.example and notice.delivery_id is not None:
            story.example = public_id("dlv", notice.delivery_id)
    # Of off and on again, the later one is how it stands.
    elif notice.kind == NoticeKind.DISABLED:
        story.disabled, story.recovered = True, False
        story.disabled_because = disabled_in_words(notice.reason)
    elif notice.kind == NoticeKind.BACKLOG_EXPIRING:
        story.backlog, story.drop_at = notice.count, notice.drop_at
    elif notice.kind == NoticeKind.BACKLOG_DROPPED:
        story.dropped += notice.count
    elif notice.kind == NoticeKind.RECOVERED:
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


def _letter(kind: str, context: dict[str, object], to: Sequence[str]) -> Letter:
    subject = render_to_string(f"{_FOLDER}/{kind}_subject.txt", context)
    return Letter(
        # One line, or the mail library refuses the whole letter.
        subject=" ".join(subject.split()),
        text=_BLANK_LINES.sub("\n\n", render_to_string(f"{_FOLDER}/{kind}.txt", context)),
        html=render_to_string(f"{_FOLDER}/{kind}.html", context),
        to=to,
    )
