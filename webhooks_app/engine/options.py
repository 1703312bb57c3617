"""EngineOptions: the options of one engine, passed to its parts so that none of them reads settings or constants."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from webhooks_app.conf import settings
from webhooks_app.db import LOCK_TIMEOUT

#: `EngineOptions.frozen_after` of workers and of `webhooks_deliver`: other engines have taken the queues long before.
FROZEN_AFTER = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The options of one engine. Times are seconds unless they are timedeltas.

    The first group has settings (see `conf.Settings`); the rest are internals whose defaults were measured.
    """

    window: int = field(default_factory=lambda: settings().ENGINE.WINDOW)
    max_leased_queues: int = field(default_factory=lambda: settings().ENGINE.MAX_LEASED_QUEUES)
    prefetch_bytes: int = field(default_factory=lambda: settings().ENGINE.PREFETCH_BYTES)
    heartbeat_seconds: float = field(default_factory=lambda: settings().ENGINE.HEARTBEAT_SECONDS)
    poll_seconds: float = field(default_factory=lambda: settings().ENGINE.POLL_SECONDS)
    #: How long requests in flight may take to end after the engine was asked to stop.
    drain_seconds: float = field(default_factory=lambda: settings().ENGINE.DRAIN_SECONDS)

    #: Exceptions that end the engine like a stop if a signal handler raises them in the thread that called `run` (Celery's soft
    #: time limit). It then returns as after a stop.
    interrupts: tuple[type[BaseException], ...] = ()

    # --- sharing the window --------------------------------------------------------------------------------------
    #: A request without a response after this time leaves the window for the slow pool …
    slow_after: float = 1.0
    #: … and earlier if the window is more than three quarters full.
    slow_after_if_crowded: float = 0.25
    #: The size of the slow pool, in windows.
    slow_pool_windows: int = 4
    #: The share of the window, and of the slow pool, that the queues of one tenant without a success may fill.
    tenant_share: float = 0.25
    #: How far a rate-limited queue may run ahead of an even pace.
    burst: float = 0.1
    #: How long a queue that is suspected of crashing engines has the window to itself.
    crash_isolation_seconds: float = 0.5
    #: Unrecorded results, in windows: above this no new request starts until the database has caught up.
    unrecorded_windows: int = 8

    # --- limits of one tenant at one host; 0: no limit ---------------------------------------------------------------
    host_in_flight: int = field(default_factory=lambda: settings().LIMITS.IN_FLIGHT_PER_HOST)
    host_rate: int = field(default_factory=lambda: settings().LIMITS.REQUESTS_PER_SECOND_PER_HOST)

    # --- wire formats with host code -------------------------------------------------------------------------------
    #: A request that takes longer to build is not sent: it counts as a fault on our side.
    build_seconds: float = 2.0
    #: The maximum number of threads that build such requests in time: in total, for one wire format, and for one tenant. A
    #: tenant has no others for its late ones.
    build_threads: int = 8
    build_threads_of_format: int = 4
    build_threads_of_tenant: int = 2
    #: The maximum number of these threads, late ones included: in total, and for one wire format. Each may keep a connection to
    #: the database. If the code has kept all for `stalled_after`, a process that does nothing but deliver ends.
    stuck_builds: int = 16
    stuck_builds_of_format: int = 8
    #: How many of all these threads only wire formats may use that have no other, so that code that hangs in some wire formats
    #: leaves one to each of the others.
    stuck_builds_reserve: int = 4

    # --- fan-out -------------------------------------------------------------------------------------------------
    #: An event whose deliveries the database refuses is quarantined after it has failed for this time. Until then something
    #: else may be the cause, for example the host's trigger that refuses every event for a moment.
    quarantine_after: float = 60.0
    #: How long one step may look for failing events one by one: this delays all tenants. Tenants and events that were not
    #: tried have their turn in the next step, least recently tried first.
    one_by_one_seconds: float = 0.1
    #: The same for what others have left, while single events arrive.
    one_by_one_seconds_beside_single: float = 0.02
    #: For how long one step may collect the shares of tenants; it always looks at one page of them.
    collect_seconds: float = 0.03
    #: A share of up to this many deliveries is small.
    small_share: int = 100
    #: How many deliveries of large shares are created at once beside small ones …
    large_portion: int = 500
    #: … and while single events arrive, that is, for this time (seconds) after the last one.
    large_portion_beside_single: int = 150
    single_events_seconds: float = 1.0
    #: How many events whose fan-out failed one engine holds: each statement of its fan-out names them all.
    max_held_events: int = 2000

    # --- sending -------------------------------------------------------------------------------------------------
    #: For how long to build requests at a time: meanwhile responses wait, and so do queues that have just got work.
    start_seconds: float = 0.02
    #: The time is checked after this many requests (and before each large one).
    started_at_once: int = 32
    #: How often a waiting thread checks whether it is asked to stop.
    look_again_seconds: float = 0.25

    # --- leasing and reading ahead -------------------------------------------------------------------------------
    #: Deliveries read ahead for one queue.
    read_ahead: int = 48
    #: While single deliveries wait: how many queues of one class to lease at once, and how many of those for one tenant.
    leased_gently: int = 96
    leased_gently_of_tenant: int = 32
    #: After a lease found no due queue that fits, how long not to look again while the capacity is the same. Looking costs as
    #: much as leasing, and a tenant whose endpoints hang always has some due.
    no_fit_pause: float = 0.05
    #: A queue is released after this time even if it has more: its configuration is read again, others get a turn.
    longest_lease: float = 5.0
    #: Leased queues are read again this often: a paused endpoint gets no new request later than this.
    recheck_seconds: float = 0.5
    #: How long a queue is held if nothing can be sent to its endpoint because of a fault on this side.
    fault_hold: timedelta = timedelta(seconds=60)
    #: How long a queue is held if its receiver made the sending thread stuck.
    stuck_hold: timedelta = timedelta(minutes=10)
    #: How long a queue is held if it was lost and leased again before the last of its requests had ended.
    lost_hold: timedelta = timedelta(seconds=1)

    # --- database ------------------------------------------------------------------------------------------------
    #: The maximum time that a statement of the engine waits for a lock.
    lock_timeout: float = LOCK_TIMEOUT
    #: The pause before work that needed such a lock is tried again.
    busy_pause: float = 0.25
    #: From this many results on they are written at once; fewer wait this long for more.
    record_batch: int = 400
    record_after: float = 0.05
    #: For how long a turn with new work may record, release and so on: the next new event waits meanwhile.
    late_seconds: float = 0.005
    #: How long results wait if the database has a column that this version does not know and that has no default, counted
    #: from the first of them. Then the engine records them without the rows that the database refuses.
    unknown_column_seconds: float = 120.0
    #: The longest pause between two tries while the database is away or a step fails.
    longest_pause: float = 5.0
    #: The pause before a failed engine is started again: the first one; it is doubled each time.
    first_restart_pause: float = 0.5
    #: The time between two repairs of queues in one process.
    repair_pause: float = 5.0
    #: An engine whose remaining work cannot be done now counts as idle after this time.
    idle_despite_work: float = 3.0
    #: The process is ended if its threads have not got the interpreter for this time. None: never. For processes that do
    #: nothing but deliver.
    frozen_after: float | None = None
    #: A thread that has not completed a turn for this time has stalled; the engine then stops renewing its heartbeat.
    stalled_after: float = 30.0
