"""The transaction that records one batch of results."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import Greatest

from webhooks_app.core.retry import DeliveryVerdict
from webhooks_app.database_errors import is_outage, is_transient
from webhooks_app.engine.erased_events import forget_responses
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.queue_due import make_queues_due
from webhooks_app.engine.record_rows import (
    attempt_row,
    health_changed,
    health_rows,
    settlement,
    without,
    without_response,
)
from webhooks_app.engine.recorded_batch import RecordedBatch, notifications_of, sort_results
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import AttemptRow
from webhooks_app.engine.statistics import hour_of, hourly
from webhooks_app.engine.types import Result
from webhooks_app.models import (
    BLOCKED,
    Delivery,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    HourlyStat,
    Notification,
    Secret,
)
from webhooks_app.models.lookups import any_of, for_change

#: Notify the tenant about a recovery only if the endpoint failed for at least this long.
RECOVERY_WORTH_A_NOTIFICATION = timedelta(hours=1)
#: Names of rows in log messages.
_ATTEMPT = "attempt"
_DISABLING = "disabling of the endpoint"


class DeliveryUnchanged(Exception):
    """A delivery did not change when it was settled."""


class BatchWriter:
    """Writes batches inside the caller's transaction."""

    def __init__(self, using: str, heartbeat: Heartbeat) -> None:
        self._using = using
        self._store = store_for(using)
        self._heartbeat = heartbeat

    def write(
        self,
        results: Sequence[Result],
        attempts: Sequence[AttemptRow | None],
        own: Collection[uuid.UUID],
        *,
        careful: bool,
    ) -> tuple[RecordedBatch, set[int]]:
        """Write the batch. `attempts`: the row of each result, None if no request was sent. `own`: the queues of this
        engine; others are woken for their retries.

        `careful`: leave out the results whose rows another transaction has locked, and return their positions; otherwise such
        a row ends the transaction with a lock timeout.
        """
        now = self._heartbeat.now()
        left_out = self._locked_elsewhere(results, own) if careful else set()
        if left_out:
            # By position: a batch may hold both requests of a rotation pair, which are of one delivery.
            attempts, results = without(attempts, left_out), without(results, left_out)
            if not results:
                return RecordedBatch(), left_out
        self._lock_queues(results, own)
        if rows := [row for row in attempts if row is not None]:
            self._store.insert_attempts(rows)
        batch, settled = self._settle(results, now)
        forget_responses(results, attempts, settled, self._using)
        for write_rows in self._side_rows(results, batch, settled, own, now).values():
            write_rows()
        return batch.without_playgrounds(), left_out

    def write_alone(
        self,
        result: Result,
        attempt: AttemptRow | None,
        own: Collection[uuid.UUID],
        *,
        side_rows: bool,
        concerns_all: Callable[[Exception], bool],
    ) -> tuple[RecordedBatch, dict[str, Exception]]:
        """Settle one delivery and write each side row in a savepoint of its own (`side_rows` False: write none). `attempt`: its
        row, if there is one. Returns what to announce, and which rows the database refused. Raises errors that are not the
        fault of one row: an outage, a lock, and those for which `concerns_all` returns True.
        """
        now = self._heartbeat.now()
        if side_rows:
            self._lock_queues([result], own)
        batch, settled = self._settle([result], now)
        if not side_rows:
            batch.disabled = []
            return batch.without_playgrounds(), {}
        refused: dict[str, Exception] = {}
        rows = self._attempt_rows(result, attempt, refused)
        rows["erasure"] = lambda: forget_responses([result], [attempt], settled, self._using)
        rows |= self._side_rows([result], batch, settled, own, now)
        for name, write_rows in rows.items():
            try:
                with transaction.atomic(using=self._using):
                    write_rows()
            except Exception as error:
                if is_outage(error) or is_transient(error) or concerns_all(error):
                    raise
                refused[name] = error
        if _DISABLING in refused:
            batch.disabled = []
        return batch.without_playgrounds(), refused

    def _settle(self, results: Sequence[Result], now: datetime) -> tuple[RecordedBatch, set[uuid.UUID]]:
        settled = self._store.settle([settlement(result, now) for result in results if result.decision])
        self._refuse_unchanged([r for r in results if r.decision and r.delivery.delivery_id not in settled])
        return sort_results(results, settled, [result for result in results if _has_recovered(result)]), settled

    def _refuse_unchanged(self, results: Sequence[Result]) -> None:
        """Raise DeliveryUnchanged if the host's trigger or policy left one of these deliveries unchanged: it would be due
        and be sent again in an endless loop. Usually their rows did not change because another writer was faster."""
        attempts = {result.delivery.delivery_id: result.delivery.attempts for result in results}
        if not attempts:
            return
        pending = Delivery.objects.using(self._using).pending().filter(any_of("id", attempts))
        if any(attempts[key] == number for key, number in pending.values_list("id", "attempts")):
            raise DeliveryUnchanged("the database accepts the change of a delivery, and does not make it")

    def _attempt_rows(
        self, result: Result, row: AttemptRow | None, refused: dict[str, Exception]
    ) -> dict[str, Callable[[], object]]:
        """Return the attempt's write; if it is in `refused`, also one without the receiver's values, under the same id."""
        if row is None:
            return {}

        def without() -> None:
            if error := refused.get(_ATTEMPT):
                self._store.insert_attempts([attempt_row(without_response(result, error))._replace(id=row.id)])

        return {
            _ATTEMPT: lambda: self._store.insert_attempts([row]),
            "attempt without its response": without,
        }

    def _side_rows(
        self,
        results: Sequence[Result],
        batch: RecordedBatch,
        settled: Collection[uuid.UUID],
        own: Collection[uuid.UUID],
        now: datetime,
    ) -> dict[str, Callable[[], object]]:
        """Return the writes besides attempts and deliveries, by name and in order. Results that disable no endpoint are removed
        from `batch`."""
        return {
            "health": lambda: self._write_health(results),
            "statistics": lambda: self._add_statistics(results, batch),
            "signing secret": lambda: self._remember_keys(results, now),
            _DISABLING: lambda: self._disable(batch, now),
            "notification": lambda: self._write_notifications(batch),
            "time of the next retry": lambda: self._wake_others(results, settled, own),
        }

    # --- locks -------------------------------------------------------------------------------------------------------

    def _locked_elsewhere(self, results: Sequence[Result], own: Collection[uuid.UUID]) -> set[int]:
        """Return the positions of results that need a row locked by another transaction. Lock the rows of the others."""
        queues = self._free(EndpointQueue, "endpoint_id", _queues_to_lock(results, own))
        endpoints = self._free(Endpoint, "id", {r.delivery.endpoint_id for r in results if r.disable})
        secrets = self._free(Secret, "id", {r.secret_id for r in results if r.key_changed and r.secret_id})
        deliveries = self._free(Delivery, "id", {r.delivery.delivery_id for r in results if r.decision})
        busy_endpoints = (_queues_to_lock(results, own) - queues) | self._with_locked_statistics(results)
        return {
            position
            for position, result in enumerate(results)
            if result.delivery.endpoint_id in busy_endpoints
            or (result.disable and result.delivery.endpoint_id not in endpoints)
            or (result.key_changed and result.secret_id and result.secret_id not in secrets)
            or (result.decision and result.delivery.delivery_id not in deliveries)
        }

    def _with_locked_statistics(self, results: Sequence[Result]) -> set[uuid.UUID]:
        """Return the endpoints whose statistics of these hours are locked elsewhere."""
        stats = HourlyStat.objects.using(self._using).filter(
            any_of("endpoint_id", {result.delivery.endpoint_id for result in results}),
            hour__in={hour_of(result) for result in results},
        )
        free = set(for_change(stats.order_by("endpoint_id", "hour"), skip_locked=True).values_list("id", flat=True))
        return {endpoint_id for key, endpoint_id in stats.values_list("id", "endpoint_id") if key not in free}

    def _free(self, model: Any, field: str, keys: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Return the keys whose rows are not locked elsewhere: they are locked here now, or gone."""
        if not keys:
            return set()
        rows: QuerySet[Any] = model.objects.using(self._using).filter(any_of(field, keys))
        free = set(for_change(rows.order_by(field), skip_locked=True).values_list(field, flat=True))
        if len(free) < len(keys):
            free |= set(keys) - set(rows.values_list(field, flat=True))
        return free

    def _lock_queues(self, results: Sequence[Result], own: Collection[uuid.UUID]) -> None:
        """Lock all queue rows that this transaction may write, before anything is written, in the same order as user actions:
        queue, then endpoint, then delivery."""
        touched = _queues_to_lock(results, own)
        if touched:
            rows = EndpointQueue.objects.using(self._using).filter(any_of("endpoint_id", touched))
            list(rows.locked().values_list("endpoint_id"))

    # --- writes ------------------------------------------------------------------------------------------------------

    def _write_health(self, results: Sequence[Result]) -> None:
        if rows := health_rows(results):
            self._store.write_health(self._heartbeat.engine_id, rows)

    def _add_statistics(self, results: Sequence[Result], batch: RecordedBatch) -> None:
        if stats := hourly(results, batch.exhausted):
            self._store.add_stats(stats)

    def _write_notifications(self, batch: RecordedBatch) -> None:
        Notification.objects.using(self._using).bulk_create(notifications_of(batch.without_playgrounds()))

    def _wake_others(
        self, results: Sequence[Result], settled: Collection[uuid.UUID], own: Collection[uuid.UUID]
    ) -> None:
        for result in results:
            if _is_retry_of_other(result, own) and result.delivery.delivery_id in settled:
                make_queues_due(
                    [result.delivery.endpoint_id], result.decision.at if result.decision else None, using=self._using
                )

    def _remember_keys(self, results: Sequence[Result], now: datetime) -> None:
        for secret_id in sorted({result.secret_id for result in results if result.key_changed and result.secret_id}):
            Secret.objects.using(self._using).filter(id=secret_id).update(accepted_at=now)

    def _disable(self, batch: RecordedBatch, now: datetime) -> None:
        """Disable endpoints that are gone or have failed for too long; each once. Pending deliveries are kept."""
        disabled = []
        for result in batch.disabled:
            active = Endpoint.objects.using(self._using)
            active = active.filter(id=result.delivery.endpoint_id, status=EndpointStatus.ACTIVE)
            if active.update(status=EndpointStatus.DISABLED, status_reason=result.disable, status_changed_at=now):
                disabled.append(result)
        batch.disabled = disabled
        ids = [result.delivery.endpoint_id for result in disabled]
        if ids:
            queues = EndpointQueue.objects.using(self._using).filter(endpoint_id__in=ids)
            queues.update(not_before=BLOCKED, due_at=Greatest("due_at", Value(BLOCKED)))


def _queues_to_lock(results: Sequence[Result], own: Collection[uuid.UUID]) -> set[uuid.UUID]:
    return {
        result.delivery.endpoint_id
        for result in results
        if health_changed(result) or result.disable or _is_retry_of_other(result, own)
    }


def _is_retry_of_other(result: Result, own: Collection[uuid.UUID]) -> bool:
    """Return whether this is a retry in a queue that this engine no longer holds: its holder may have computed the next due
    time before now."""
    is_retry = result.decision is not None and result.decision.verdict is DeliveryVerdict.RETRY
    return is_retry and result.delivery.endpoint_id not in own


def _has_recovered(result: Result) -> bool:
    since = result.was.failing_since
    return (
        result.outcome.succeeded and since is not None and result.finished_at - since >= RECOVERY_WORTH_A_NOTIFICATION
    )
