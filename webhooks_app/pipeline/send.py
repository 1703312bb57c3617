"""④ send: sign, POST, many at once. One thread, one event loop, no database: what is to be sent was read ahead, and what
became of it is put down for `record`."""

from __future__ import annotations

import email.utils
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from webhooks_app.conf import settings
from webhooks_app.core.health import after, disable_reason, hold_until
from webhooks_app.core.profile import Message, Profile
from webhooks_app.core.retry import SLOWING_KINDS, Decision, Outcome, OutcomeKind, Verdict, decide, outcome_of_status
from webhooks_app.core.signing import Headers, Key
from webhooks_app.pipeline.held import HeldQueue
from webhooks_app.pipeline.window import Window
from webhooks_app.pipeline.work import Job, Result, Route, SigningKey
from webhooks_app.transport import Request, Response, Transport

logger = logging.getLogger(__name__)

#: Unrecorded results, in windows: above this no new request starts until the database has caught up.
_UNRECORDED_WINDOWS = 8
#: Seconds that a request may take beyond its deadline before the heartbeat it must fit into.
_MARGIN = 1.0


class Sender:
    """The network side of one engine. `now` gives the database's time; `covers(seconds)` tells whether a request that takes
    so long would still end within the engine's heartbeat."""

    def __init__(
        self,
        transport: Transport,
        window: Window,
        now: Callable[[], datetime],
        covers: Callable[[float], bool],
    ) -> None:
        self._transport = transport
        self._window = window
        self._now = now
        self._covers = covers
        self._results: deque[Result] = deque()
        self._most_unrecorded = settings().WINDOW * _UNRECORDED_WINDOWS
        self._agent = settings().USER_AGENT
        #: When the oldest result that nobody has taken yet came in (monotonic), for `record`'s pace.
        self.oldest_result_at: float | None = None

    @property
    def unrecorded(self) -> int:
        return len(self._results)

    def take_results(self, most: int) -> list[Result]:
        """Hand over finished requests, oldest first. Called from the database thread."""
        taken = [self._results.popleft() for _ in range(min(most, len(self._results)))]
        self.oldest_result_at = time.monotonic() if self._results else None
        return taken

    def start_what_is_due(self) -> int:
        """Start as many requests as the window, the heartbeat and the unrecorded results allow. Returns their number."""
        room = self._most_unrecorded - len(self._results)
        if room <= 0:
            return 0
        jobs = self._window.start(time.monotonic(), room)
        for job in jobs:
            queue = self._window.queue_of(job)
            assert queue is not None  # a queue with a request in flight is not given back
            if self._covers(queue.route.profile.total_timeout + _MARGIN):
                self._start(job, queue)
            else:
                self._window.abandon(job)
        return len(jobs)

    def wait(self, seconds: float) -> int:
        """Block until something happens on the network; digest what has finished. Returns the number of answers."""
        answered = 0
        for response in self._transport.wait(seconds):
            answered += 1
            self._digest(response)
        return answered

    # --- out -----------------------------------------------------------------------------------------------------------

    def _start(self, job: Job, queue: HeldQueue) -> None:
        job.started_at = self._now()
        if queue.route.profile.single_signature:
            job.tried = (*job.tried, *untried_keys(job, queue.route)[:1])
        try:
            request = build_request(job, queue.route, self._agent)
        except Exception as error:
            logger.exception("webhooks: delivery %s could not be built", job.delivery_id)
            self._settle(job, queue, Outcome(OutcomeKind.NOT_SENT, detail=f"{type(error).__name__}: {error}"), None)
            return
        self._transport.start(request)

    # --- back ----------------------------------------------------------------------------------------------------------

    def _digest(self, response: Response) -> None:
        job = response.token
        assert isinstance(job, Job)
        queue = self._window.queue_of(job)
        assert queue is not None  # as above
        outcome = outcome_of(response, self._now())
        if self._other_key_is_worth_a_try(job, queue.route, outcome):
            self._put_down(job, queue, outcome, response, decision=None)
            self._start(job, queue)
        else:
            self._settle(job, queue, outcome, response)

    def _other_key_is_worth_a_try(self, job: Job, route: Route, outcome: Outcome) -> bool:
        """During a rotation, where only one signature is sent: after a 4xx the next live secret gets one request at once.
        429 is left out: it says "slower", not "who are you"."""
        if outcome.kind is not OutcomeKind.CLIENT_ERROR or outcome.status == 429:
            return False
        if not route.profile.single_signature or len(job.tried) > 1 or not untried_keys(job, route):
            return False
        return self._covers(route.profile.total_timeout + _MARGIN)

    def _settle(self, job: Job, queue: HeldQueue, outcome: Outcome, response: Response | None) -> None:
        """Decide what the outcome means, tell the window, and put it down."""
        policy, now = queue.route.profile.retry, self._now()
        decision = decide(outcome, job.step, now, policy, random.random())
        was = queue.health
        queue.health = after(was, outcome, job.started_at or now, now)
        hold = hold_until(queue.health, outcome, now, policy)
        disable = "" if queue.route.hidden else decision.disable or disable_reason(queue.health, now, policy)
        if outcome.succeeded:
            queue.succeeded_at = now
        self._put_down(job, queue, outcome, response, decision, was=was, disable=disable)
        job.event = None  # many results may wait for a slow database, and bodies are large
        self._window.finish(
            job,
            succeeded=outcome.succeeded,
            slowed=outcome.kind in SLOWING_KINDS,
            hold_until=hold,
            # A FIFO queue must not go on past a head that has to wait; a disabled one must not go on at all.
            stop=bool(disable) or (queue.route.fifo and decision.verdict is Verdict.RETRY),
        )

    def _put_down(
        self,
        job: Job,
        queue: HeldQueue,
        outcome: Outcome,
        response: Response | None,
        decision: Decision | None,
        *,
        was: object = None,
        disable: str = "",
    ) -> None:
        route = queue.route
        signed_with = job.tried[-1] if job.tried else None
        key_changed = outcome.succeeded and signed_with is not None and signed_with != route.keys[0]
        if key_changed and signed_with is not None:
            # What was accepted last goes first from now on.
            route.keys = (signed_with, *(key for key in route.keys if key != signed_with))
        if self.oldest_result_at is None:
            self.oldest_result_at = time.monotonic()
        self._results.append(
            Result(
                job=job,
                route=route,
                outcome=outcome,
                started_at=job.started_at or self._now(),
                duration=response.duration if response else 0.0,
                decision=decision,
                health=queue.health,
                was=queue.health if was is None else was,  # type: ignore[arg-type]
                takeovers=queue.takeovers,
                disable=disable,
                secret_id=signed_with.secret_id if signed_with else None,
                key_changed=key_changed,
                address=response.address if response else "",
                http_version=response.http_version if response else "",
                response_headers=response.headers if response else b"",
                response_body=response.body if response else b"",
                truncated=response.truncated if response else False,
            )
        )


def untried_keys(job: Job, route: Route) -> list[SigningKey]:
    """By key and not by place: while several requests are in flight, another one's answer may change the order."""
    return [key for key in route.keys if key not in job.tried]


def build_request(job: Job, route: Route, agent: str) -> Request:
    """The signed request of one attempt. The body is the event's; timestamp and signature are this attempt's. Raises what
    the profile's envelope raises, and LookupError where the event's row is gone."""
    if job.event is None:
        raise LookupError(f"the row of event {job.event_id} is gone")
    profile, message = route.profile, job.event.message
    body = job.event.body(profile)
    if profile.warn_body_bytes is not None and len(body) > profile.warn_body_bytes:
        logger.warning(
            "webhooks: %s has a body of %d bytes; many receivers of %s stop at %d",
            message.id,
            len(body),
            profile.title,
            profile.warn_body_bytes,
        )
    started = job.started_at or datetime.now(UTC)
    signing_keys = job.tried[-1:] if profile.single_signature else route.keys
    keys = tuple(signing.key for signing in signing_keys)
    signature = signature_headers(profile, message, body, started, keys)
    headers = headers_in_order(profile, message, agent, route.headers, signature)
    return Request(job, route.url, headers, body, profile.connect_timeout, profile.total_timeout)


def signature_headers(
    profile: Profile, message: Message, body: bytes, started: datetime, keys: tuple[Key, ...]
) -> Headers:
    """What shows that it comes from us, of the attempt that began at `started`."""
    timestamp = int(started.timestamp())
    return profile.scheme.headers(message_id=message.id, timestamp=timestamp, body=body, keys=keys)


def headers_in_order(profile: Profile, message: Message, agent: str, own: Headers, signature: Headers) -> Headers:
    """All headers of a request, but for those that the transport makes. `own` are the tenant's."""
    return (
        ("Content-Type", "application/json"),
        ("User-Agent", agent),
        *own,
        *profile.extra_headers(message),
        *signature,
    )


def outcome_of(response: Response, now: datetime) -> Outcome:
    """Sort what came back."""
    if response.status is None:
        return Outcome(response.failure or OutcomeKind.PROTOCOL_ERROR, detail=response.detail)
    outcome = outcome_of_status(response.status, retry_after(response.header("retry-after"), now))
    return Outcome(outcome.kind, outcome.status, outcome.retry_after, response.detail)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, whether it names seconds or a date; None where it makes no sense."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)
