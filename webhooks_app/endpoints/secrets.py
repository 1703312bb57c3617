"""Signing secrets: create, rotate, end. A secret's text is returned once, to be shown once, and is stored only encrypted."""

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
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.wire_formats import get_wire_format

#: The number of replaced secrets that still sign; a further rotation ends the oldest, which limits the size of the headers.
MAX_OLD = 10
#: "Ended now" is stored this much earlier, since SQLite's clock has milliseconds and compares texts.
_INSTANT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class RotatedSecret:
    """The result of a rotation. Show `text` once; `previous_expires_at` is None if there was no secret before."""

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
    """Replace an endpoint's secret, or a tenant's account secret. Both secrets sign until the overlap ends.

    `secret`: a text that the customer supplies; None: generate one. `imported`: as for `create_endpoint`. `overlap`: None
    means ROTATION_OVERLAP_HOURS, zero ends the old secret at once. Raises InvalidSecret (also if the secret is already in
    use), and ConflictingState for a deleted endpoint.
    """
    hours = timedelta(hours=settings().ROTATION_OVERLAP_HOURS)
    if overlap is not None and overlap < timedelta(0):
        raise InvalidSecret("The overlap must not be negative.", field="overlap")
    row = _locked_owner(owner)
    wire_format = get_wire_format(row.wire_format_name if isinstance(row, Tenant) else row.wire_format)
    text = validate_or_generate(secret, wire_format.secret_format, imported=imported)
    _refuse_in_use(text, row)
    ends = replace_secret(row, text, hours if overlap is None else overlap)
    detail = {"previous_expires_at": ends.isoformat() if ends else None, "brought": secret is not None}
    record_audit_entry(_tenant_id(row), actor, "secret.rotated", _target(row), **detail)
    return RotatedSecret(text, ends)


@in_one_transaction
def end_old_secret(owner: Endpoint | Tenant, *, secret_id: uuid.UUID | None = None, actor: str = SYSTEM) -> int:
    """End the overlap early: replaced secrets (all, or one) no longer sign; the current one stays. Return how many ended."""
    row = _locked_owner(owner)
    old = _of(row).live().filter(expires_at__isnull=False)
    if secret_id is not None:
        old = old.filter(pk=secret_id)
    ended = old.update(expires_at=database_now() - _INSTANT)
    if ended:
        record_audit_entry(_tenant_id(row), actor, "secret.ended", _target(row), count=ended)
    return ended


# --- shared with other actions; each needs a transaction, and the owner's row locked --------------------------------


def validate_or_generate(secret: str | None, secret_format: SecretFormat, *, imported: bool = False) -> str:
    """Return the customer's text after checking it, or a new secret. Raises InvalidSecret.

    `imported`: the text is required.
    """
    if imported:
        if secret is None:  # a new secret would make the receiver refuse everything
            raise InvalidSecret(
                "There is no secret to import. Pass it, or leave `imported` out to make one.", field="secret"
            )
        return check_existing_secret(secret, secret_format)
    return new_secret(secret_format) if secret is None else check_secret(secret, secret_format)


def add_secret(owner: Endpoint | Tenant, text: str) -> Secret:
    """Encrypt the text into a row of its own. Raises SealingError if there is no encryption key."""
    endpoint = owner if isinstance(owner, Endpoint) else None
    row = Secret(id=new_id(), tenant_id=_tenant_id(owner), endpoint=endpoint)
    row.seal(text)
    row.save(force_insert=True)
    return row


def replace_secret(owner: Endpoint | Tenant, text: str, overlap: timedelta) -> datetime | None:
    """Make `text` the current secret; the previous one ends after `overlap`. Return when, or None if there was none.

    An overlap of zero also ends every older secret: it means that they are not trusted any more.
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
            continue  # its key is lost; a rotation is the remedy and must stay possible
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
    if row.is_callback:
        raise ConflictingState("What goes to callback URLs is signed with the account secret; rotate that one.")
    return row


def _tenant_id(owner: Endpoint | Tenant) -> uuid.UUID:
    return owner.tenant_id if isinstance(owner, Endpoint) else owner.pk


def _target(owner: Endpoint | Tenant) -> str:
    return owner.public_id if isinstance(owner, Endpoint) else "account"
