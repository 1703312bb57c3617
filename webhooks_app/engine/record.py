"""Write finished requests in bulk: attempts, deliveries, the queues' health, statistics, notifications."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeVar

from webhooks_app import telemetry
from webhooks_app.database_errors import is_outage, is_schema_fault, is_transient
from webhooks_app.db import in_fresh_transaction, read
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.put_off import PutOff
from webhooks_app.engine.record_rows import attempt_row, measured, without
from webhooks_app.engine.record_writes import BatchWriter
from webhooks_app.engine.recorded_batch import RecordedBatch
from webhooks_app.engine.result_buffer import ResultBuffer
from webhooks_app.engine.schema_wait import SchemaWait
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import AttemptRow
from webhooks_app.engine.types import Result
from webhooks_app.engine.window import Window
from webhooks_app.models import Attempt

#: The second result of a transaction: the positions that it left out, or the rows that the database refused.
Left = TypeVar("Left")

#: How often one step may wait for locks; and how long (seconds) it may write the parts of batches that did: both delay all
#: tenants. What was not tried is tried in the next step.
_MOST_WAITS = 2
_LONGEST_PARTS = 0.1


class _Unacknowledged(NamedTuple):
    """A batch that was written but whose COMMIT is unconfirmed: the id of its first attempt, and the result of `_write`."""

    batch: list[Result]
    attempt_id: uuid.UUID
    recorded: RecordedBatch
    left_out: set[int]


class Recorder:
    """Writes the results from the buffer. Used by the database thread only.

    A batch stays here until the database has acknowledged it. If the database refuses its content, the batch is halved
    until the failing part is of one tenant, whose results are then written apart and halved until the failing one is alone. For
    that result, the delivery is settled, so that it is not sent again, and every other row that the database accepts is written.
    The result is lost only if the delivery itself cannot be settled. Results whose rows another transaction has locked, or
    whose tables or columns do not fit this version, wait; the others continue.
    """

    def __init__(
        self,
        using: str,
        window: Window,
        results: ResultBuffer,
        heartbeat: Heartbeat,
        options: EngineOptions,
        faults: FaultLog,
        announce: Callable[[RecordedBatch], None],
    ) -> None:
        self._using = using
        self._window = window
        self._heartbeat = heartbeat
        self._results = results
        self._options = options
        self._faults = faults
        self._announce = announce
        self._limits = store_for(using).limits
        self._batch_size = min(options.record_batch, self._limits.results)
        self._writer = BatchWriter(using, heartbeat)
        #: Batches to write, in order.
        self._batches: deque[list[Result]] = deque()
        #: The batch that may be committed, though without acknowledgement.
        self._unacknowledged: _Unacknowledged | None = None
        self._put_off = PutOff(window, heartbeat, options, faults, self._limits.results)
        #: Lock timeouts that this step may still run into, and until when (monotonic) it may write parts.
        self._waits_left, self._parts_until = _MOST_WAITS, 0.0
        self._schema = SchemaWait(options, faults)
        self._engine_stops = False
        self.recorded = 0
        self.dropped = 0

    @property
    def unrecorded(self) -> int:
        return len(self._results) + sum(map(len, self._batches)) + len(self._put_off)

    @property
    def has_full_batch(self) -> bool:
        return len(self._results) >= self._batch_size

    def unrecorded_deliveries(self) -> set[uuid.UUID]:
        """Return the deliveries whose results are not in the database yet."""
        results = chain(self._put_off, *self._batches)
        return {result.delivery.delivery_id for result in results} | self._results.deliveries()

    def add(self, results: Sequence[Result]) -> None:
        """Add results of deliveries that failed without a request."""
        if others := self._put_off.keep_apart(results):
            self._batches.append(others)

    def step(self, *, at_once: bool) -> int:
        """Write one batch, if there is one or if results have waited long enough. Return how many were recorded.

        Results are written at once only if the engine stops: a queue that is kept for a moment gets its next event without a
        new lease.
        """
        self._engine_stops = at_once
        self._waits_left, self._parts_until = _MOST_WAITS, time.monotonic() + _LONGEST_PARTS
        self.add(self._put_off.take_due())
        if not (self._batches or self._put_off.is_full) and (
            at_once or self.has_full_batch or self._results.oldest_age() >= self._options.record_after
        ):
            self.add(self._results.take(self._limits.results))
        done = self._write_next() if self._batches else 0
        return done if self._batches else done + self._write_parts()  # batches of all tenants come first

    def _write_next(self) -> int:
        batch = self._batches[0]
        try:
            recorded, left_out = self._write(batch, careful=False)
        except Exception as error:
            if is_outage(error):
                raise  # the batch stays where it is
            self._batches.popleft()
            return self._write_what_is_free(batch) if is_transient(error) else self._divide(batch, error)
        self._batches.popleft()
        return self._done_but(left_out, batch, recorded)

    def _write(self, batch: list[Result], *, careful: bool) -> tuple[RecordedBatch, set[int]]:
        """Write a batch in one transaction. Return what to announce of it, and the positions of the results left out because
        of another transaction's locks."""
        if seen := self._committed_unseen(batch):
            return seen.recorded, seen.left_out
        attempts = [attempt_row(result) if result.was_sent else None for result in batch]

        def work() -> tuple[RecordedBatch, set[int]]:
            recorded, left_out = self._writer.write(batch, attempts, self._window.own(), careful=careful)
            self._remember(batch, without(attempts, left_out), recorded, left_out)
            return recorded, left_out

        return self._in_transaction(work)

    def _in_transaction(self, work: Callable[[], tuple[RecordedBatch, Left]]) -> tuple[RecordedBatch, Left]:
        """Forget the unacknowledged batch after this error, unless it is an outage: only then it may have been committed."""
        try:
            written = in_fresh_transaction(work, self._using, lock_timeout=self._options.lock_timeout)
        except Exception as error:
            if not is_outage(error):
                self._unacknowledged = None
            if is_transient(error):
                self._waits_left -= 1
            raise
        self._unacknowledged = None
        return written

    def _remember(
        self, batch: list[Result], written: Sequence[AttemptRow | None], recorded: RecordedBatch, left_out: set[int]
    ) -> None:
        """Remember the batch, before the COMMIT of its transaction. Results without an attempt can safely be written twice."""
        first = next((row for row in written if row is not None), None)
        self._unacknowledged = _Unacknowledged(batch, first.id, recorded, left_out) if first else None

    def _committed_unseen(self, batch: list[Result]) -> _Unacknowledged | None:
        """Return what was remembered of this batch if an earlier try was committed, but the acknowledgement was
        lost."""
        seen = self._unacknowledged
        if seen is None or seen.batch is not batch:
            return None
        if read(Attempt.objects.using(self._using).filter(id=seen.attempt_id).exists, self._using):
            self._unacknowledged = None
            return seen
        return None

    def _write_what_is_free(self, batch: list[Result]) -> int:
        """Write the results whose rows are not locked by another transaction; the others wait."""
        try:
            recorded, left_out = self._write(batch, careful=True)
        except Exception as error:
            if is_outage(error):
                self._batches.appendleft(batch)  # the same list, to check later whether it was committed
                raise
            if not is_transient(error):
                return self._divide(batch, error)
            self._put_off.put_apart(batch, error)
            return 0
        return self._done_but(left_out, batch, recorded)

    def _write_parts(self) -> int:
        """Write results that may wait for an unseen lock or be refused, part by part, until one limit is reached."""
        done = 0
        while self._waits_left > 0 and time.monotonic() < self._parts_until:
            if not (part := self._put_off.take_part()):
                break
            done += self._write_what_is_free(part)
        return done

    def _done_but(self, left_out: set[int], batch: Sequence[Result], recorded: RecordedBatch) -> int:
        self._put_off.put([result for position, result in enumerate(batch) if position in left_out])
        written = without(batch, left_out)
        self._batches.extend(self._put_off.rejoin(self._schema.note_accepted(written)))
        return self._done(written, recorded)

    def _divide(self, batch: list[Result], error: Exception) -> int:
        middle = len(batch) // 2
        halves = [batch[:middle], batch[middle:]] if middle else []
        if len(tenants := {result.config.tenant_id for result in batch}) > 1:
            self._batches.extendleft(reversed(halves))
            return 0
        # The others do not wait until each result of this tenant was tried.
        self._batches = deque(self._put_off.separate(tenants.pop(), halves, self._batches))
        return 0 if halves else self._write_alone(batch, error)

    def _write_alone(self, batch: list[Result], error: Exception) -> int:
        """Write the parts of a refused result that the database accepts: its delivery, and each other row by itself; or,
        if that fails, too (a constraint that is checked at the COMMIT), its delivery alone."""
        delivery_id = batch[0].delivery.delivery_id
        attempt = attempt_row(batch[0]) if batch[0].was_sent else None
        for side_rows in (True, False):
            if self._waits_for_schema(batch[0], error):
                return self._wait_for_migration(batch, error)
            try:
                recorded, refused = self._in_transaction(partial(self._write_single, batch, attempt, side_rows))
            except Exception as again:
                if is_outage(again):
                    self._batches.appendleft(batch)
                    raise
                if is_transient(again):
                    self._put_off.put_apart(batch, again)
                    return 0
                error = again
                continue
            if not side_rows:
                refused = {"side rows": error}
            for name, cause in refused.items():
                self._faults.report(
                    f"record {name} {type(cause).__name__}",
                    "of the result of delivery %s, the database refuses the %s; the delivery is settled without",
                    delivery_id,
                    name,
                    error=cause,
                )
            return self._done(batch, recorded)
        if is_schema_fault(error) and self._schema.waits(error, batch[0]):
            return self._wait_for_migration(batch, error)
        return self._lose(batch, error)

    def _write_single(
        self, batch: list[Result], attempt: AttemptRow | None, side_rows: bool
    ) -> tuple[RecordedBatch, dict[str, Exception]]:
        own = self._window.own()
        written = self._writer.write_alone(
            batch[0], attempt, own, side_rows=side_rows, concerns_all=partial(self._waits_for_schema, batch[0])
        )
        self._remember(batch, [attempt] if side_rows else [], written[0], set())
        return written

    def _waits_for_schema(self, result: Result, error: Exception) -> bool:
        """Return whether to wait for a deployment. A stopping engine does not wait: its results would be lost with it, and
        their deliveries sent again."""
        return not self._engine_stops and self._schema.waits(error, result)

    def _wait_for_migration(self, batch: list[Result], error: Exception) -> int:
        """Put off the results of this tenant that wait apart: the deployment in progress may fix the error."""
        self._put_off.pause(batch)
        self._schema.report(error, self.unrecorded)
        return 0

    def _lose(self, batch: list[Result], error: Exception) -> int:
        result = batch[0]
        cause = f"record {type(error).__name__} at all"
        self._faults.report(cause, "the result of delivery %s is lost", result.delivery.delivery_id, error=error)
        self.dropped += 1
        telemetry.count("results_dropped")
        # The delivery is sent again, since the database has no record of it; but with a pause, to avoid a busy loop.
        self._window.hold(result.delivery.endpoint_id, self._heartbeat.now() + self._options.fault_hold)
        return self._forget(batch)

    def _done(self, batch: Sequence[Result], recorded: RecordedBatch) -> int:
        """Announce results that are committed. Even if something fails here, they are not written again."""
        number = self._forget(batch)
        try:
            self._announce(recorded)
            if telemetry.enabled():
                telemetry.requests_recorded([measured(result) for result in batch if result.was_sent])
        except Exception as error:  # noqa: BLE001 - costs signals and measurements, not the recording
            self._faults.report(f"announce {type(error).__name__}", "results were recorded, not announced", error=error)
        return number

    def _forget(self, batch: Sequence[Result]) -> int:
        self._window.recorded(result.delivery for result in batch if result.decision is not None)
        self.recorded += len(batch)
        return len(batch)
