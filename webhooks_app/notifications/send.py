"""Send notifications by e-mail to the tenant and to staff, and as operational events.

Their rows are written by engine/recorded_batch.py (failed deliveries, disabled and recovered endpoints), endpoints/status.py,
deliveries/backlog.py and `certificates`. `emails.NotificationEmail` renders and sends one.

Urgent kinds are sent at once, and so is the first notification of a collected kind. Further ones are collected and sent
together every DIGEST_SECONDS. No database transaction is open while mail is sent.

Only one run works at a time, and its time is limited: it claims its notifications before it connects to the mail server, each
step of the connection has a timeout, and the next run sends what was not sent by the deadline.
"""

from __future__ import annotations

import contextlib
import logging
import random
import smtplib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.core.mail.backends.base import BaseEmailBackend
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import Q

from webhooks_app.conf import settings
from webhooks_app.database_errors import one_line
from webhooks_app.db import write
from webhooks_app.models import Notification, Tenant, database_now
from webhooks_app.models.database import database_alias
from webhooks_app.models.lookups import for_change
from webhooks_app.models.notification import NotificationQuerySet
from webhooks_app.notifications import emails, operational_events
from webhooks_app.notifications.certificates import notify_about_certificates
from webhooks_app.notifications.kinds import CLAIMED_WHILE_COUNTING, COLLECTED, KINDS
from webhooks_app.notifications.mailer import open_mailer

logger = logging.getLogger(__name__)

#: How long a claim lasts: longer than any run. If a run is killed, its notifications wait until then.
_CLAIM = timedelta(minutes=5)
#: The most tenants, notifications per tenant, and notifications in total that one run handles; the next run continues.
_TENANTS_AT_ONCE = 200
_NOTIFICATIONS_AT_ONCE = 1000
_NOTIFICATIONS_IN_ALL = 5000
#: Seconds after which a run starts no further e-mail to a tenant. The e-mail to staff follows, within a minute in total.
_RUN_SECONDS = 45.0
#: After this many failed e-mails in a row, the mail server counts as down.
_FAILURES_IN_A_ROW = 3

#: Kinds that this process has already reported as unknown.
_reported_kinds: set[str] = set()


@dataclass(frozen=True, slots=True)
class _Claim:
    """Notifications of one tenant that only this run sends."""

    tenant: Tenant
    notifications: Sequence[Notification]


def send_notifications(now: datetime | None = None, *, stopping: Callable[[], bool] = lambda: False) -> int:
    """Send the notifications that are due; return the number of e-mails that the mail server accepted.

    Returns at once while another run is active. If the mail server is down, everything is left to the next run. `now` is
    aware; None: the database's clock. `stopping`: called between two e-mails and while waiting for the mail server; True ends
    the run early.
    """
    moment = now or database_now()
    try:
        notify_about_certificates(moment)
    except DatabaseError as error:  # what follows does not depend on it
        logger.error("webhooks: the next run looks for certificates that expire: %s", one_line(error))
    if _another_run_works(moment):
        return 0
    claims = list(_claim_all(moment))
    if not claims:
        return 0
    connection = open_mailer(stopping)
    if connection is None:
        logger.error("webhooks: %d tenants are notified in the next run", len(claims))
        _give_back(claims)
        return 0
    try:
        return _Run(connection, moment, stopping).send(claims)
    finally:
        with contextlib.suppress(Exception):  # everything that could be sent has been sent
            connection.close()


def _another_run_works(now: datetime) -> bool:
    """Return whether another run is active. Ignores kinds that are also claimed while their writer counts: two runs may then
    overlap, but no notification is sent twice, since only one run can claim it."""
    claimed = Notification.objects.unsent().filter(claimed_until__gte=now).order_by()
    return claimed.exclude(kind__in=CLAIMED_WHILE_COUNTING).exists()


def _claim_all(now: datetime) -> Iterator[_Claim]:
    notifications = 0
    for tenant_id in _candidates(now):
        claim = _claim(tenant_id, now)
        if claim is None:
            continue
        yield claim
        notifications += len(claim.notifications)
        if notifications >= _NOTIFICATIONS_IN_ALL:
            return


def _unsent() -> NotificationQuerySet:
    """Return unsent notifications of the kinds that this version knows. The version that wrote the others sends them."""
    return Notification.objects.unsent().filter(kind__in=KINDS)


def _candidates(now: datetime) -> list[uuid.UUID]:
    """Return tenants that may have something to send now, as many as one run handles; in random order, so that none blocks
    others."""
    _report_unknown_kinds()
    unsent = _unsent().order_by()
    sent = Notification.objects.filter(kind__in=COLLECTED, sent_at__gt=_collected_since(now)).order_by()
    urgent = set(unsent.exclude(kind__in=COLLECTED).values_list("tenant_id", flat=True).distinct())
    waiting = set(unsent.values_list("tenant_id", flat=True).distinct())
    lately_notified = set(sent.values_list("tenant_id", flat=True).distinct())
    candidates = sorted(urgent | (waiting - lately_notified))
    return random.sample(candidates, min(len(candidates), _TENANTS_AT_ONCE))


def _report_unknown_kinds() -> None:
    unknown = Notification.objects.unsent().exclude(kind__in=KINDS).order_by()
    for kind in set(unknown.values_list("kind", flat=True).distinct()) - _reported_kinds:
        _reported_kinds.add(kind)
        logger.error("webhooks: notifications of the unknown kind %r are skipped; does another version run, too?", kind)


def _collected_since(now: datetime) -> datetime:
    return now - timedelta(seconds=settings().NOTIFICATIONS.DIGEST_SECONDS)


class _Run:
    """One run, with an open mail connection."""

    def __init__(self, connection: BaseEmailBackend, now: datetime, stopping: Callable[[], bool]) -> None:
        self._connection = connection
        self._now = now
        self._stopping = stopping
        self._deadline = time.monotonic() + _RUN_SECONDS
        self._failures_in_a_row = 0
        #: Claims whose notifications are neither marked as sent nor released.
        self._open: list[_Claim] = []

    def send(self, claims: Sequence[_Claim]) -> int:
        """Send to tenants, then to staff. On any error, release the claimed notifications that can be released."""
        self._open = list(claims)
        try:
            return self._send_all(claims)
        finally:
            _give_back(self._open)

    def _send_all(self, claims: Sequence[_Claim]) -> int:
        sent = 0
        for_staff: list[_Claim] = []
        for claim in claims:
            if not claim.tenant.email:
                for_staff.append(claim)
            elif self._ends():
                continue
            elif self._send_email(partial(emails.tenant_email, claim.tenant, claim.notifications)):
                sent += 1
                self._mark_sent(claim)
                for_staff.append(claim)
        return sent + (self._send_to_staff(for_staff) if for_staff else 0)

    def _send_to_staff(self, claims: Sequence[_Claim]) -> int:
        """Send one e-mail about all tenants. Only its result decides about the notifications of tenants without an address."""
        without_address = [claim for claim in claims if not claim.tenant.email]
        wanted = bool(emails.staff_addresses())
        sent = wanted and self._send_email(
            lambda: emails.staff_email([(claim.tenant, claim.notifications) for claim in claims])
        )
        if wanted and not sent:
            logger.error("webhooks: staff could not be notified about %d tenants", len(claims))
            return 0
        for claim in without_address:
            self._mark_sent(claim)  # also if there is no address at all: old news must not wait for one
        return int(sent)

    def _ends(self) -> bool:
        """Return whether to leave the rest to the next run."""
        down = self._failures_in_a_row >= _FAILURES_IN_A_ROW
        return down or time.monotonic() >= self._deadline or self._stopping()

    def _send_email(self, render: Callable[[], emails.NotificationEmail | None]) -> bool:
        """Return False if it should be tried again later. An address that the mail server refuses is not tried again."""
        subject = "an e-mail"
        try:
            email = render()
            if email is not None:
                subject = email.subject
                email.send(self._connection)
        except smtplib.SMTPRecipientsRefused as refused:
            logger.error("webhooks: the mail server refuses %d recipients of %r", len(refused.recipients), subject)
        except Exception:  # mail backends are plugins and raise anything; templates are the host's
            logger.exception("webhooks: %r could not be sent and is tried again", subject)
            self._failures_in_a_row += 1
            with contextlib.suppress(Exception):
                self._connection.close()  # a failed connection is not used again: the next e-mail opens a new one
            return False
        self._failures_in_a_row = 0
        return True

    def _mark_sent(self, claim: _Claim) -> None:
        with write():
            if _rows(claim).update(sent_at=self._now, claimed_until=None):
                _publish(claim)
        self._open.remove(claim)


def _publish(claim: _Claim) -> None:
    """Emit the operational events. If that fails, the notifications are marked anyway: their e-mail was sent."""
    try:
        with transaction.atomic(using=database_alias()):
            operational_events.publish(claim.tenant, claim.notifications)
    except Exception:
        logger.exception("webhooks: no operational events about tenant %s; its e-mail was sent", claim.tenant.uid)


def _claim(tenant_id: uuid.UUID, now: datetime) -> _Claim | None:
    """Claim the tenant's notifications for this run, if any are due."""
    free = _unsent().filter(Q(claimed_until__isnull=True) | Q(claimed_until__lt=now))
    with write():
        notifications = list(for_change(free.filter(tenant_id=tenant_id)).order_by("pk")[:_NOTIFICATIONS_AT_ONCE])
        tenant = Tenant.objects.filter(pk=tenant_id).first()
        if tenant is None or not _is_time(notifications, tenant_id, now):
            return None
        taken = Notification.objects.filter(pk__in=[notification.pk for notification in notifications])
        taken.update(claimed_until=now + _CLAIM)
    return _Claim(tenant, notifications)


def _is_time(notifications: Sequence[Notification], tenant_id: uuid.UUID, now: datetime) -> bool:
    if any(notification.kind not in COLLECTED for notification in notifications):
        return True
    lately = Q(sent_at__gt=_collected_since(now)) | Q(sent_at__isnull=True, claimed_until__gte=now)
    collected = Notification.objects.filter(tenant_id=tenant_id, kind__in=COLLECTED)
    return bool(notifications) and not collected.filter(lately).exists()


def _give_back(claims: Iterable[_Claim]) -> None:
    for claim in claims:
        _rows(claim).update(claimed_until=None)


def _rows(claim: _Claim) -> NotificationQuerySet:
    return Notification.objects.unsent().filter(pk__in=[notification.pk for notification in claim.notifications])
