"""⑤ record: finished requests are written in bulk: attempts, deliveries, the queues' health, statistics, notices."""

from __future__ import annotations

import logging
import uuid
from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import DataError, IntegrityError

from webhooks_app.core.retry import Decision, Outcome, OutcomeKind, Verdict
from webhooks_app.models import (
    IDLE,
    Attempt,
    DeliveryStatus,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Notice,
    NoticeKind,
    Secret,
)
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import any_of
from webhooks_app.pipeline.announce import Recorded, announce
from webhooks_app.pipeline.heartbeat import Heartbeat
from webhooks_app.pipeline.held import HeldQueue
from webhooks_app.pipeline.statistics import hourly
from webhooks_app.pipeline.store import store_for
from webhooks_app.pipeline.store.rows import AttemptRow, HealthRow, Settlement
from webhooks_app.pipeline.transactions import in_fresh_transaction
from webhooks_app.pipeline.wake import wake
from webhooks_app.pipeline.work import Job, Result

logger = logging.getLogger(__name__)

#: An endpoint that failed for at least this long and answers again is worth a message.
RECOVERY_WORTH_TELLING = timedelta(hours=1)

_STATUS = {
    Verdict.SUCCEEDED: DeliveryStatus.SUCCEEDED,
    Verdict.RETRY: DeliveryStatus.PENDING,
    Verdict.GIVE_UP: DeliveryStatus.EXHAUSTED,
}


class Recorder:
    """Writes results. Used from the database thread only."""

    def __init__(self, using: str, heartbeat: Heartbeat) -> None:
        self._using = using
        self._store = store_for(using)
        self._heartbeat = heartbeat
        self._unacknowledged: tuple[Sequence[Result], uuid.UUID] | None = None
        #: The batch that is being written result by result, and what is left of it.
        self._refused: Sequence[Result] | None = None
        self._left: deque[list[Result]] = deque()

    def record(self, results: Sequence[Result], held: Collection[uuid.UUID]) -> None:
        """Write one batch and tell the signals. `held` are the queues of this engine: others are woken for their retries.

        Raises the database's error where it is the database that fails; calling again with the same batch is then right: it
        is written again only if its first attempt is not there, since a COMMIT may have happened whose answer was lost. A
        result that the database refuses for what is in it is written without its response, and stops no other.
        """
        if results is self._refused:
            self._record_left(held)
            return
        try:
            self._record(results, held)
        except (DataError, IntegrityError, ValueError) as error:
            self._unacknowledged = None
            if len(results) == 1:
                logger.exception("webhooks: the answer to delivery %s cannot be stored", results[0].job.delivery_id)
                self._record([_without_response(results[0], error)], held)
            else:
                self._refused, self._left = results, deque([result] for result in results)
                self._record_left(held)

    def _record_left(self, held: Collection[uuid.UUID]) -> None:
        """One by one; where the database goes away in between, the next call goes on from there."""
        while self._left:
            self.record(self._left[0], held)
            self._left.popleft()
        self._refused = None

    def _record(self, results: Sequence[Result], held: Collection[uuid.UUID]) -> None:
        attempts = [attempt_row(result) for result in results if result.was_sent]
        if self._was_committed_unseen(results):
            return
        if attempts:
            self._unacknowledged = (results, attempts[0].id)
        recorded = in_fresh_transaction(lambda: self._write(results, attempts, held), self._using, durable=True)
        self._unacknowledged = None
        announce(recorded)

    def _was_committed_unseen(self, results: Sequence[Result]) -> bool:
        if self._unacknowledged is None or self._unacknowledged[0] is not results:
            return False
        first = self._unacknowledged[1]
        return Attempt.objects.using(self._using).filter(id=first).exists()

    def _write(
        self, results: Sequence[Result], attempts: Sequence[AttemptRow], held: Collection[uuid.UUID]
    ) -> Recorded:
        now = self._heartbeat.now()
        self._lock_queues(results, held)
        if attempts:
            self._store.insert_attempts(attempts)
        settled = self._store.settle([_settlement(result, now) for result in results if result.decision])
        recorded = _sort(results, settled)
        self._write_health(results)
        if stats := hourly(results, recorded.exhausted):
            self._store.add_stats(stats)
        self._remember_keys(results, now)
        self._disable(recorded, now)
        told = recorded.worth_telling()
        Notice.objects.using(self._using).bulk_create(_notices(told))
        for result in results:
            if _is_retry_of_other(result, held) and result.job.delivery_id in settled:
                wake([result.job.endpoint_id], result.decision.at if result.decision else None, using=self._using)
        return told

    def _lock_queues(self, results: Sequence[Result], held: Collection[uuid.UUID]) -> None:
        """All the queue rows that this transaction may write, in the one order, before anything is written: people's acts
        lock queue, then endpoint, then delivery, too."""
        touched = {
            result.job.endpoint_id
            for result in results
            if _health_changed(result) or result.disable or _is_retry_of_other(result, held)
        }
        if touched:
            rows = EndpointQueue.objects.using(self._using).filter(any_of("endpoint_id", touched))
            list(rows.locked().values_list("endpoint_id"))

    def _write_health(self, results: Sequence[Result]) -> None:
        """The last health of each endpoint where it differs from what the database has. Healthy ones cost nothing."""
        last: dict[uuid.UUID, HealthRow] = {}
        for result in results:
            trusted = result.outcome.succeeded or result.outcome.kind is OutcomeKind.QUARANTINED
            before = last.get(result.job.endpoint_id)
            if _health_changed(result) or before is not None:
                trusted = trusted or (before is not None and before.trusted)
                last[result.job.endpoint_id] = HealthRow(result.job.endpoint_id, result.health, trusted)
        if last:
            self._store.write_health(self._heartbeat.engine_id, list(last.values()))

    def _remember_keys(self, results: Sequence[Result], now: datetime) -> None:
        for secret_id in sorted({result.secret_id for result in results if result.key_changed and result.secret_id}):
            Secret.objects.using(self._using).filter(id=secret_id).update(accepted_at=now)

    def _disable(self, recorded: Recorded, now: datetime) -> None:
        """Switch endpoints off that are gone or have failed for too long; each once. Pending deliveries are kept."""
        switched = []
        for result in recorded.disabled:
            active = Endpoint.objects.using(self._using).filter(id=result.job.endpoint_id, status=EndpointStatus.ACTIVE)
            if active.update(status=EndpointStatus.DISABLED, status_reason=result.disable, status_changed_at=now):
                switched.append(result)
        recorded.disabled = switched
        ids = [result.job.endpoint_id for result in switched]
        if ids:
            EndpointQueue.objects.using(self._using).filter(endpoint_id__in=ids).update(not_before=IDLE, due_at=IDLE)


def _is_retry_of_other(result: Result, held: Collection[uuid.UUID]) -> bool:
    """A retry in a queue that this engine no longer holds: its holder may have looked for the next due time before now."""
    is_retry = result.decision is not None and result.decision.verdict is Verdict.RETRY
    return is_retry and result.job.endpoint_id not in held


def give_up(queue: HeldQueue, job: Job, kind: OutcomeKind, now: datetime) -> Result:
    """The result of a delivery that is given up without a request."""
    decision = Decision(Verdict.GIVE_UP)
    return Result(job, queue.route, Outcome(kind), now, -1.0, decision, queue.health, queue.health)


def _without_response(result: Result, error: Exception) -> Result:
    """The same result, with a note in place of what could not be stored."""
    outcome = replace(result.outcome, detail=f"the answer could not be stored: {type(error).__name__}")
    return replace(result, outcome=outcome, response_headers=b"", response_body=b"", truncated=True)


# --- rows ----------------------------------------------------------------------------------------------------------------


def _health_changed(result: Result) -> bool:
    if result.outcome.kind is OutcomeKind.QUARANTINED or (result.outcome.succeeded and result.takeovers):
        return True
    return result.health.streak != result.was.streak


def attempt_row(result: Result) -> AttemptRow:
    """The row of one request, as it is stored."""
    job = result.job
    return AttemptRow(
        id=new_id(),
        tenant_id=result.route.tenant_id,
        delivery_id=job.delivery_id,
        endpoint_id=job.endpoint_id,
        number=job.number,
        started_at=result.started_at,
        duration_ms=round(result.duration * 1000, 3),
        outcome=result.outcome.kind.value,
        status=result.outcome.status,
        detail=_storable(result.outcome.detail),
        address=result.address,
        http_version=result.http_version,
        secret_id=result.secret_id,
        url=result.route.url,
        response_headers=_storable(result.response_headers.decode("latin-1")),
        response_body=result.response_body,
        response_truncated=result.truncated,
    )


def _storable(text: str) -> str:
    """PostgreSQL has no NUL in text."""
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def _settlement(result: Result, now: datetime) -> Settlement:
    job, decision = result.job, result.decision
    assert decision is not None
    done = decision.verdict is not Verdict.RETRY
    return Settlement(
        id=job.delivery_id,
        attempts=job.attempts,
        status=_STATUS[decision.verdict].value,
        new_attempts=job.attempts + result.was_sent,
        step=job.step + (not done),
        next_attempt_at=decision.at or job.next_attempt_at,
        completed_at=now if done else None,
        outcome=result.outcome.kind.value,
        http_status=result.outcome.status,
    )


def _sort(results: Sequence[Result], settled: set[uuid.UUID]) -> Recorded:
    recorded = Recorded()
    for result in results:
        if result.decision and result.job.delivery_id in settled:
            if result.decision.verdict is Verdict.SUCCEEDED:
                recorded.succeeded.append(result)
            elif result.decision.verdict is Verdict.GIVE_UP:
                recorded.exhausted.append(result)
        if result.disable:
            recorded.disabled.append(result)
        if _has_recovered(result):
            recorded.recovered.append(result)
    return recorded


def _has_recovered(result: Result) -> bool:
    since = result.was.failing_since
    return result.outcome.succeeded and since is not None and result.finished_at - since >= RECOVERY_WORTH_TELLING


def _notices(recorded: Recorded) -> list[Notice]:
    """One an endpoint and kind, however many deliveries it is about."""
    given_up = Counter(result.job.endpoint_id for result in recorded.exhausted)
    example = {result.job.endpoint_id: result for result in recorded.exhausted}
    notices = [
        _notice(example[endpoint_id], NoticeKind.EXHAUSTED, example[endpoint_id].outcome.kind.value, count)
        for endpoint_id, count in given_up.items()
    ]
    notices += [_notice(result, NoticeKind.DISABLED, result.disable) for result in recorded.disabled]
    notices += [_notice(result, NoticeKind.RECOVERED) for result in recorded.recovered]
    return notices


def _notice(result: Result, kind: NoticeKind, reason: str = "", count: int = 1) -> Notice:
    return Notice(
        tenant_id=result.route.tenant_id,
        endpoint_id=result.job.endpoint_id,
        kind=kind,
        count=count,
        delivery_id=result.job.delivery_id,
        reason=reason,
    )
