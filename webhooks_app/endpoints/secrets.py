"""Signing secrets: make, replace, end. A secret's text is returned once, to be shown once; it is in no other place."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from webhooks_app.conf import settings
from webhooks_app.core.secrets import check_existing_secret, check_secret, new_secret
from webhooks_app.core.signing import SecretFormat
from webhooks_app.db import in_one_transaction
from webhooks_app.exceptions import ConflictingState, InvalidSecret, SealingError, gettext_noop
from webhooks_app.models import Endpoint, Secret, Tenant, database_now
from webhooks_app.models.endpoint import SecretQuerySet
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import for_change
from webhooks_app.tenants.audit import SYSTEM, note
from webhooks_app.wire_formats import get_wire_format

#: Replaced secrets that still sign; a further rotation ends the oldest. Headers must not grow without bound.
MAX_OLD = 10
#: "Ended now" is put this far back, since SQLite's clock has milliseconds and compares texts.
_INSTANT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class RotatedSecret:
    """What a rotation gives. Show `text` once; `previous_expires_at` is None where there was no secret before."""

    text: str = field(repr=False)
    previous_expires_at: datetime | None


@in_one_transaction
def rotate_secret(
    owner: Endpoint | Tenant,
    *,
    secret: str | None = None,
    imported: bool = False,
    overlap: timedelta | None = None,
    actor: str = SYSTEM,
) -> RotatedSecret:
    """Replace an endpoint's secret, or a tenant's account secret. Until the overlap ends, both sign.

    `secret`: a text that the customer brings; None: make one. `imported`: as for `create_endpoint`. `overlap`: None means
    ROTATION_OVERLAP_HOURS, zero ends the old one at once. Raises InvalidSecret (also for one in use), ConflictingState for a
    deleted endpoint.
    """
    hours = timedelta(hours=settings().ROTATION_OVERLAP_HOURS)
    if overlap is not None and overlap < timedelta(0):
        raise InvalidSecret("The overlap must not be negative.", field="overlap")
    row = _locked_owner(owner)
    text = validate_or_generate(secret, _format_of(row), imported=imported)
    _refuse_in_use(text, row)
    ends = replace_secret(row, text, hours if overlap is None else overlap)
    detail = {"previous_expires_at": ends.isoformat() if ends else None, "brought": secret is not None}
    note(_tenant_id(row), actor, "secret.rotated", _target(row), **detail)
    return RotatedSecret(text, ends)


@in_one_transaction
def end_old_secret(owner: Endpoint | Tenant, *, secret_id: uuid.UUID | None = None, actor: str = SYSTEM) -> int:
    """End the overlap early: replaced secrets (all, or one) sign no more; the current one stays. Returns how many."""
    row = _locked_owner(owner)
    old = _of(row).live().filter(expires_at__isnull=False)
    if secret_id is not None:
        old = old.filter(pk=secret_id)
    ended = old.update(expires_at=database_now() - _INSTANT)
    if ended:
        note(_tenant_id(row), actor, "secret.ended", _target(row), count=ended)
    return ended


# --- steps that other acts take too; each needs a transaction, and the owner's row locked ---------------------------


def validate_or_generate(secret: str | None, secret_format: SecretFormat, *, imported: bool = False) -> str:
    """The text that the customer brought, checked, or a new one. `imported`: one there must be. Raises InvalidSecret."""
    if imported:
        if secret is None:  # a new one would leave the receiver refusing everything
            raise InvalidSecret(
                "There is no secret to import. Pass it, or leave `imported` out to make one.", field="secret"
            )
        return check_existing_secret(secret, secret_format)
    return new_secret(secret_format) if secret is None else check_secret(secret, secret_format)


def add_secret(owner: Endpoint | Tenant, text: str) -> Secret:
    """Seal the text into a row of its own. Raises SealingError where there is no encryption key."""
    endpoint = owner if isinstance(owner, Endpoint) else None
    row = Secret(id=new_id(), tenant_id=_tenant_id(owner), endpoint=endpoint)
    row.seal(text)
    row.save(force_insert=True)
    return row


def replace_secret(owner: Endpoint | Tenant, text: str, overlap: timedelta) -> datetime | None:
    """Make `text` the current secret; the previous one ends after `overlap`. Returns when, None where there was none.

    Zero ends every older one too, for there it is a matter of trust.
    """
    now = database_now()
    ends = now + overlap if overlap else now - _INSTANT
    replaced = _of(owner).filter(expires_at__isnull=True).update(expires_at=ends)
    old = _of(owner).live().filter(expires_at__isnull=False).order_by("-created_at", "-id")
    surplus = old if not overlap else old[MAX_OLD:]
    keys = [row.pk for row in surplus]
    Secret.objects.filter(pk__in=keys).update(expires_at=now - _INSTANT)
    add_secret(owner, text)
    return ends if replaced else None


def _refuse_in_use(text: str, owner: Endpoint | Tenant) -> None:
    for row in _of(owner).live():
        try:
            same = row.reveal() == text
        except SealingError:
            continue  # its key is lost; a rotation is the way out of that and must not be stopped by it
        if same:
            raise InvalidSecret(
                gettext_noop(
                    "This secret is in use already. Bring another one, or leave it empty, and one is made for you."
                ),
                field="secret",
            )


def _of(owner: Endpoint | Tenant) -> SecretQuerySet:
    secrets = Secret.objects.all()
    if isinstance(owner, Endpoint):
        return secrets.filter(endpoint_id=owner.pk)
    return secrets.filter(tenant_id=owner.pk, endpoint__isnull=True)


def _locked_owner(owner: Endpoint | Tenant) -> Endpoint | Tenant:
    if isinstance(owner, Tenant):
        return for_change(Tenant.objects.all()).get(pk=owner.pk)
    row = for_change(Endpoint.objects.all()).get(pk=owner.pk)
    if row.is_deleted:
        raise ConflictingState(gettext_noop("This endpoint was deleted; there is nothing left to sign for."))
    if row.hidden:
        raise ConflictingState("What goes to callback URLs is signed with the account secret; rotate that one.")
    return row


def _format_of(owner: Endpoint | Tenant) -> SecretFormat:
    return get_wire_format(owner.wire_format or settings().DEFAULT_WIRE_FORMAT).secret_format


def _tenant_id(owner: Endpoint | Tenant) -> uuid.UUID:
    return owner.tenant_id if isinstance(owner, Endpoint) else owner.pk


def _target(owner: Endpoint | Tenant) -> str:
    return owner.public_id if isinstance(owner, Endpoint) else "account"
