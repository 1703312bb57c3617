"""The one-shot demo: set up, emit, deliver with the real engine, count the received events, clean up."""

import base64
import secrets
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.db import connection, connections, transaction
from django.db.models import Count, Q, Sum

from project.demo.behaviour import Played
from project.demo.plan import PlannedEndpoint, plan, tenants
from project.demo.receiving import ReceiverProcess
from project.demo.result import Result, compare
from project.demo.rows import remove_tenants
from webhooks_app import EventInput, create_endpoint, emit, emit_many, run_engine
from webhooks_app.models import Delivery, DeliveryStatus, Event, Tenant

#: Events per transaction.
CHUNK = 200
TYPES = ("message.sent", "message.delivered", "message.failed")
#: (finished deliveries, all deliveries)
Progress = Callable[[int, int], None]


class _RollBack(Exception):
    """Rolls back a transaction that must have no effect."""


@dataclass
class OneShot:
    """One run. It uses its own tenants, so it can run beside anything else on the same database."""

    events: int
    endpoints: int
    timeout: float
    progress: Progress
    uids: list[str] = field(default_factory=list)
    #: Tenant → webhook-ids of its committed events.
    expected: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    rolled_back: int = 0
    #: Primary key of an endpoint → its key on the receiver.
    keys: dict[Any, str] = field(default_factory=dict)

    def run(self) -> Result:
        """Run all of it. The rows are removed afterwards, also after an error."""
        name = secrets.token_hex(4)
        self.uids = [f"webhooks-demo-{name}-{number}" for number in range(tenants(self.endpoints))]
        planned = plan(self.endpoints)
        try:
            with ReceiverProcess() as receiver, _demo_settings():
                self._create(receiver, planned)
                begin = time.monotonic()
                self._emit()
                self._deliver()
                seconds = time.monotonic() - begin
                return self._result(receiver, planned, seconds)
        finally:
            remove_tenants(self.uids)

    def _create(self, receiver: ReceiverProcess, planned: list[PlannedEndpoint]) -> None:
        played = [Played(endpoint.key, _new_secret(), endpoint.behaviour) for endpoint in planned]
        base = receiver.play(played)
        for endpoint, player in zip(planned, played, strict=True):
            row, _ = create_endpoint(
                self.uids[endpoint.tenant],
                url=f"{base}/{endpoint.key}",
                events=["message.*"],
                wire_format=endpoint.wire_format,
                secret=player.secret,
            )
            self.keys[row.pk] = endpoint.key

    def _emit(self) -> None:
        """Emit the events, in transactions of a few hundred.

        The first event of each transaction is emitted alone, the rest together. One more transaction is rolled back, and none
        of its events may arrive.
        """
        for first in range(0, self.events, CHUNK):
            numbers = range(first, min(first + CHUNK, self.events))
            with transaction.atomic():
                inputs = [self._input(number) for number in numbers]
                stored = [emit(**_arguments(inputs[0])), *emit_many(inputs[1:])]
            for number, event in zip(numbers, stored, strict=True):
                self.expected[number % len(self.uids)].add(event.public_id)
        self.rolled_back = min(self.events, CHUNK)
        try:
            with transaction.atomic():
                emit_many([self._input(number) for number in range(self.rolled_back)])
                raise _RollBack
        except _RollBack:
            pass

    def _input(self, number: int) -> EventInput:
        kind = TYPES[number % len(TYPES)]
        data = {
            "message_id": number,
            "to": "+4915112345678",
            "text": f"Message № {number} – “quoted”, \\, 漢字, 🎉",
            "status": kind.partition(".")[2],
            "created_at": "2026-01-31T09:30:00Z",
        }
        if kind == "message.failed":
            data["error"] = "number_not_in_service"
        return EventInput(type=kind, data=data, tenant=self.uids[number % len(self.uids)], subject=f"message-{number}")

    def _deliver(self) -> None:
        """Run the engine in this thread, beside a thread that checks whether all deliveries are finished."""
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,), daemon=True)
        with _interruptible(done) as interrupted:
            watcher.start()
            try:
                run_engine(stop=done)
            finally:
                done.set()
                watcher.join()
        if interrupted.is_set():
            raise KeyboardInterrupt

    def _watch(self, done: threading.Event) -> None:
        deadline = time.monotonic() + self.timeout
        try:
            while not done.wait(0.2) and time.monotonic() < deadline:
                counts = self._deliveries().aggregate(
                    total=Count("id"), pending=Count("id", filter=Q(status=DeliveryStatus.PENDING))
                )
                waiting = self._events().pending().exists()
                self.progress(counts["total"] - counts["pending"], counts["total"])
                if not waiting and not counts["pending"]:
                    break
        finally:
            done.set()
            connections.close_all()

    def _events(self) -> Any:
        return Event.objects.filter(tenant__in=self._tenant_ids())

    def _deliveries(self) -> Any:
        return Delivery.objects.filter(tenant__in=self._tenant_ids())

    def _tenant_ids(self) -> list[Any]:
        return [Tenant.id_for(uid) for uid in self.uids]

    def _pending(self, planned: list[PlannedEndpoint]) -> dict[str, set[str]]:
        """Return endpoint key → webhook-ids still pending for it, in a delivery or in an event that was not fanned out yet."""
        waiting: dict[str, set[str]] = defaultdict(set)
        for delivery in self._deliveries().filter(status=DeliveryStatus.PENDING).select_related("event"):
            waiting[self.keys[delivery.endpoint_id]].add(delivery.event.public_id)
        for event in self._events().pending():
            for endpoint in planned:
                if Tenant.id_for(self.uids[endpoint.tenant]) == event.tenant_id:
                    waiting[endpoint.key].add(event.public_id)
        return waiting

    def _result(self, receiver: ReceiverProcess, planned: list[PlannedEndpoint], seconds: float) -> Result:
        counts = self._deliveries().aggregate(
            deliveries=Count("id"),
            succeeded=Count("id", filter=Q(status=DeliveryStatus.SUCCEEDED)),
            exhausted=Count("id", filter=Q(status=DeliveryStatus.EXHAUSTED)),
            pending=Count("id", filter=Q(status=DeliveryStatus.PENDING)),
            retried=Count("id", filter=Q(attempts__gt=1)),
            requests=Sum("attempts", default=0),
        )
        counts["pending"] += self._events().pending().count()
        arrived = compare(self.expected, planned, receiver.report(), self._pending(planned))
        return Result(
            **counts,
            **vars(arrived),
            events=sum(len(ids) for ids in self.expected.values()),
            rolled_back=self.rolled_back,
            endpoints=self.endpoints,
            seconds=round(seconds, 3),
            deliveries_per_second=round((counts["succeeded"] + counts["exhausted"]) / seconds, 1),
            database=connection.vendor,
            transport=_transport_name(),
        )


def _arguments(item: EventInput) -> dict[str, Any]:
    """Return the same event as arguments of `emit`."""
    return {"type": item.type, "data": item.data, "tenant": item.tenant, "subject": item.subject}


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def _transport_name() -> str:
    chosen = settings.WEBHOOKS.get("TRANSPORT", "auto")
    return chosen if chosen != "auto" else "curl" if find_spec("pycurl") else "requests"


@contextmanager
def _interruptible(done: threading.Event) -> Iterator[threading.Event]:
    """Let Ctrl-C or SIGTERM stop the engine cleanly, as `manage.py webhooks_deliver` does."""
    interrupted = threading.Event()

    def stop(number: int, frame: object) -> None:
        interrupted.set()
        done.set()

    if threading.current_thread() is not threading.main_thread():  # a test: signals are not handled
        yield interrupted
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _demo_settings() -> Iterator[None]:
    """Allow loopback on any port, add the demo's wire formats, and send no hints, since the engine runs here."""
    before, debug = settings.WEBHOOKS, settings.DEBUG
    settings.WEBHOOKS = {
        **before,
        "WIRE_FORMATS": {
            **before.get("WIRE_FORMATS", {}),
            "demo": "project.demo.wire_formats.DEMO",
            "demo_doomed": "project.demo.wire_formats.DOOMED",
        },
        "ALLOW_HTTP": True,
        "ALLOWED_NETWORKS": ["127.0.0.0/8"],
        "ALLOWED_PORTS": list(range(1, 65536)),
        "STRICT": True,
        "WAKE_FUNCTION": "",
    }
    settings.DEBUG = False  # otherwise Django would keep the text of every query
    try:
        yield
    finally:
        settings.WEBHOOKS, settings.DEBUG = before, debug
