"""Tell: turn the notices that the engines and people left into e-mail, to the tenant concerned and to staff, and into
operational events.

A disabled or recovered endpoint is told at once. So is the first delivery that was given up; further ones are gathered
and told together every TELL_EVERY_SECONDS. No database transaction is open while mail is handed over.
"""

from __future__ import annotations

import logging
import random
import smtplib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db.models import Q

from webhooks_app.actions import letters, operations
from webhooks_app.conf import settings
from webhooks_app.models import Notice, NoticeKind, Tenant, database_now
from webhooks_app.models.audit import NoticeQuerySet
from webhooks_app.models.lookups import for_change
from webhooks_app.pipeline.transactions import pipeline_alias, write

logger = logging.getLogger(__name__)

#: For so long nobody else tells what was claimed. A teller that dies leaves its notices until then.
_CLAIM = timedelta(minutes=15)
#: One run tells so many tenants, and of each so many notices; the next run goes on.
_TENANTS_AT_ONCE = 200
_NOTICES_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class _Claim:
    """Notices of one tenant that this run, and no other, is telling."""

    tenant: Tenant
    notices: Sequence[Notice]


def tell(now: datetime | None = None, *, using: str | None = None) -> int:
    """Tell what is to be told; returns the number of e-mails that are out of our hands.

    Safe to run twice at once. A mail server that is down leaves everything to the next run. `now` is aware; None: the
    database's clock.
    """
    alias = using or pipeline_alias()
    moment = now or database_now(alias)
    tenant_ids = _candidates(moment, alias)
    if not tenant_ids:
        return 0
    try:
        post = _mailer()
        post.open()
    except Exception:  # mail backends are plugins and raise what they like
        logger.exception("webhooks: the mail server cannot be reached; %d tenants are told later", len(tenant_ids))
        return 0
    try:
        return _tell_all(tenant_ids, post, moment, alias)
    finally:
        post.close()


def _candidates(now: datetime, using: str) -> list[uuid.UUID]:
    """Tenants that it may be time to tell something, as many as one run takes; at random: none blocks others."""
    untold = Notice.objects.using(using).untold().order_by()
    exhausted = (
        Notice.objects.using(using).filter(kind=NoticeKind.EXHAUSTED, told_at__gt=_gathered_since(now)).order_by()
    )
    urgent = set(untold.exclude(kind=NoticeKind.EXHAUSTED).values_list("tenant_id", flat=True).distinct())
    waiting = set(untold.values_list("tenant_id", flat=True).distinct())
    lately_told = set(exhausted.values_list("tenant_id", flat=True).distinct())
    candidates = sorted(urgent | (waiting - lately_told))
    return random.sample(candidates, min(len(candidates), _TENANTS_AT_ONCE))


def _gathered_since(now: datetime) -> datetime:
    return now - timedelta(seconds=settings().TELL_EVERY_SECONDS)


def _tell_all(tenant_ids: Sequence[uuid.UUID], post: BaseEmailBackend, now: datetime, using: str) -> int:
    sent = 0
    for_staff: list[_Claim] = []
    for tenant_id in tenant_ids:
        claim = _claim(tenant_id, now, using)
        if claim is None:
            continue
        if not claim.tenant.email:
            for_staff.append(claim)
        elif _hand_over(letters.to_tenant(claim.tenant, claim.notices, using), post):
            sent += 1
            _mark_told(claim, now, using)
            for_staff.append(claim)
        else:
            _give_back(claim, using)
    return sent + _tell_staff(for_staff, post, now, using)


def _tell_staff(claims: Sequence[_Claim], post: BaseEmailBackend, now: datetime, using: str) -> int:
    """One e-mail about all tenants. It alone decides over the notices of tenants that have no address."""
    letter = letters.to_staff([(claim.tenant, claim.notices) for claim in claims], using) if claims else None
    sent = letter is not None and _hand_over(letter, post)
    if letter is not None and not sent:
        logger.error("webhooks: staff could not be told of %d tenants' notices", len(claims))
    for claim in claims:
        if claim.tenant.email:
            continue  # told already
        if letter is None or sent:
            _mark_told(claim, now, using)  # where there is nobody to tell, too: old news must not wait for an address
        else:
            _give_back(claim, using)
    return int(sent)


def _mailer() -> BaseEmailBackend:
    """The host's default way of sending e-mail: one of its mailers (Django 6.1 and later), else its only connection."""
    mailers: Any = getattr(mail, "mailers", None)
    return mail.get_connection() if mailers is None else mailers.default


def _hand_over(letter: letters.Letter, post: BaseEmailBackend) -> bool:
    """False where it should be tried again later. An address that the mail server refuses is not tried again."""
    try:
        letter.send(post)
    except smtplib.SMTPRecipientsRefused as refused:
        logger.error("webhooks: the mail server refuses %d recipients of %r", len(refused.recipients), letter.subject)
    except Exception:  # mail backends are plugins and raise what they like
        logger.exception("webhooks: %r could not be sent and is tried again", letter.subject)
        return False
    return True


def _claim(tenant_id: uuid.UUID, now: datetime, using: str) -> _Claim | None:
    """Take the tenant's notices for this run, if it is time to tell any."""
    free = Notice.objects.using(using).untold().filter(Q(claimed_until__isnull=True) | Q(claimed_until__lt=now))
    with write(using):
        notices = list(for_change(free.filter(tenant_id=tenant_id)).order_by("pk")[:_NOTICES_AT_ONCE])
        tenant = Tenant.objects.using(using).filter(pk=tenant_id).first()
        if tenant is None or not _is_time(notices, tenant_id, now, using):
            return None
        taken = Notice.objects.using(using).filter(pk__in=[notice.pk for notice in notices])
        taken.update(claimed_until=now + _CLAIM)
    return _Claim(tenant, notices)


def _is_time(notices: Sequence[Notice], tenant_id: uuid.UUID, now: datetime, using: str) -> bool:
    if any(notice.kind != NoticeKind.EXHAUSTED for notice in notices):
        return True
    lately = Q(told_at__gt=_gathered_since(now)) | Q(told_at__isnull=True, claimed_until__gte=now)
    exhausted = Notice.objects.using(using).filter(tenant_id=tenant_id, kind=NoticeKind.EXHAUSTED)
    return bool(notices) and not exhausted.filter(lately).exists()


def _mark_told(claim: _Claim, now: datetime, using: str) -> None:
    with write(using):
        if _rows(claim, using).update(told_at=now, claimed_until=None):
            operations.publish(claim.tenant, claim.notices, using=using)


def _give_back(claim: _Claim, using: str) -> None:
    _rows(claim, using).update(claimed_until=None)


def _rows(claim: _Claim, using: str) -> NoticeQuerySet:
    return Notice.objects.using(using).untold().filter(pk__in=[notice.pk for notice in claim.notices])
