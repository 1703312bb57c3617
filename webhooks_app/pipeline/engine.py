"""The engine: the way of an event, end to end. READ FIRST.

`emit` (emit.py) has put an Event row into the host's transaction. From there on everything happens here, in two threads:

    database thread (Clerk)                                   sending thread (Engine)
    record    what has finished                     ◀──────   digest   what came back: done, retry at t, give up
    fan_out   committed events → deliveries                      ▲
    take      queues that are due                             send     signed, many at once, one event loop
    refill    the window with what they have to send  ──────▶    ▲
    release   queues that have nothing left                   start    what the window allows

The sending thread never waits for the database, and no transaction is open while anything is on the network. The window
between the two decides what is sent next; `core.retry.decide` decides what an outcome means.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from webhooks_app.conf import settings
from webhooks_app.pipeline.clerk import Clerk
from webhooks_app.pipeline.send import Sender
from webhooks_app.pipeline.transactions import pipeline_alias
from webhooks_app.pipeline.window import Window
from webhooks_app.transport import Transport, open_transport

logger = logging.getLogger(__name__)

#: The sending thread looks up from the network at least this often (seconds).
_LOOK_UP = 0.25
#: Seconds that an engine at its end waits for the database to say so.
_LONGEST_RETIRING = 1.0


@dataclass(slots=True)
class Progress:
    """What an engine has done so far; `until` conditions are asked with it."""

    seconds: float = 0.0
    #: Seconds since there was last anything to do; 0.0 while there is.
    idle_seconds: float = 0.0
    #: True when the database was looked at after the last work and had nothing due.
    idle: bool = False
    events: int = 0
    deliveries: int = 0
    requests: int = 0
    recorded: int = 0


Until = Callable[[Progress], bool]


def for_ever(progress: Progress) -> bool:
    """Run until the process is told to stop."""
    return False


def idle_for(seconds: float) -> Until:
    """Run until nothing has been due for so long (0: until nothing is due)."""
    return lambda progress: progress.idle and progress.idle_seconds >= seconds


def budget(seconds: float, *, linger: float) -> Until:
    """Run for at most so long, or until idle for `linger` seconds."""
    return lambda progress: progress.seconds >= seconds or idle_for(linger)(progress)


def run(
    *,
    until: Until = for_ever,
    stop: threading.Event | None = None,
    using: str | None = None,
    transport: Transport | None = None,
    kind: str = "command",
    on_retired: Callable[[Progress], None] | None = None,
) -> Progress:
    """Deliver what is due until `until` says so, or `stop` is set. Then nothing new is started, what is in flight ends and
    is recorded, and all queues are given back.

    An ordinary function: a Celery task calls it with a budget, `manage.py webhooks_deliver` for ever, tests directly.
    `on_retired` is called when the engine has stopped taking work and before it waits for what is in flight, so that a
    successor can start meanwhile.
    Raises what went wrong in the database thread, if that could not go on.
    """
    engine = Engine(using or pipeline_alias(), transport or open_transport(), kind)
    with engine:
        while not (until(engine.progress()) or (stop is not None and stop.is_set()) or engine.failed):
            engine.turn()
        progress = engine.progress()  # before: an engine that takes nothing more looks idle
        engine.retire()
        if on_retired is not None:
            on_retired(progress)
        engine.drain()
    done = engine.progress()
    if done.events or done.requests:
        logger.info("webhooks: %d events, %d requests in %.1f s", done.events, done.requests, done.seconds)
    return done


class Engine:
    """One running delivery loop, seen from its sending thread."""

    def __init__(self, using: str, transport: Transport, kind: str) -> None:
        self._transport = transport
        # What the transport can do beyond the window is for requests that hang.
        stalled_room = min(settings().WINDOW, transport.capacity // 3)
        size = min(settings().WINDOW, transport.capacity - stalled_room)
        self._window = Window(size, settings().MAX_HELD_QUEUES, stalled_room)
        self._clerk = Clerk(using, self._window, kind, on_work=transport.wake)
        self._sender = Sender(transport, self._window, self._clerk.heartbeat.now, self._clerk.heartbeat.covers)
        self._clerk.results = self._sender
        self._started_at = time.monotonic()
        self._requests = 0

    def __enter__(self) -> Engine:
        self._clerk.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._clerk.finish(abort=exception[0] is not None)
        self._transport.close()
        if exception[0] is None and self._clerk.failure is not None:
            raise self._clerk.failure

    def turn(self) -> None:
        """Start what may start, then block until an answer comes, the clerk has work, or a moment has passed."""
        self._requests += self._sender.start_what_is_due()
        if self._sender.wait(self._patience()):
            self._clerk.nudge_if_much()

    def retire(self) -> None:
        """Take and start nothing more; from here on this engine does not count among those that are running."""
        self._clerk.retire()
        # Only when its row says so: a successor that counted this engine as running would go away again.
        until = time.monotonic() + _LONGEST_RETIRING
        while not (self._clerk.heartbeat.retired or self.failed or time.monotonic() > until):
            self._sender.wait(_LOOK_UP)

    def drain(self) -> None:
        """Let what is in flight end, and hand it over."""
        while self._window.in_flight and not self.failed:
            self._sender.wait(_LOOK_UP)

    @property
    def failed(self) -> bool:
        return self._clerk.failure is not None

    def progress(self) -> Progress:
        now = time.monotonic()
        idle_since = self._clerk.idle_since
        return Progress(
            seconds=now - self._started_at,
            idle=idle_since is not None,
            idle_seconds=now - idle_since if idle_since is not None else 0.0,
            events=self._clerk.events,
            deliveries=self._clerk.deliveries,
            requests=self._requests,
            recorded=self._clerk.recorded,
        )

    def _patience(self) -> float:
        slot = self._window.earliest_slot()
        return _LOOK_UP if slot is None else min(max(slot - time.monotonic(), 0.001), _LOOK_UP)
