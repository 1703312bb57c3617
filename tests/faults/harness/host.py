"""The host application of the fault cases: `python -m tests.faults.harness.host LEDGER`.

It reads calls from its standard input, one JSON array a line (a method's name, its arguments), and answers each with a line of
JSON. Every event is a line of the ledger, written after its transaction has ended: what became of it ("committed",
"rolled-back", or "unknown" where the database failed), time, tenant, public id.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import django

django.setup()

from django.db import connections, transaction  # noqa: E402

from tests.faults.harness import tasks  # noqa: E402
from webhooks_app import EventType, emit, registry  # noqa: E402
from webhooks_app.endpoints import secrets, status  # noqa: E402
from webhooks_app.endpoints.service import create_endpoint  # noqa: E402
from webhooks_app.models import Endpoint, Tenant  # noqa: E402
from webhooks_app.models.ids import parse_public_id  # noqa: E402

TYPE = "test.happened"
ACTIONS: dict[str, Callable[..., Any]] = {
    "pause": status.pause_endpoint,
    "resume": status.resume_endpoint,
    "disable": status.disable_endpoint,
    "enable": status.enable_endpoint,
    "delete": status.delete_endpoint,
    "rotate": secrets.rotate_secret,
}


class Host:
    def __init__(self, ledger: TextIO) -> None:
        self._ledger = ledger
        self._number = 0
        self._emitters: list[threading.Thread] = []
        self._stop = threading.Event()
        self._tasks: list[float] = []

    # --- configuration ------------------------------------------------------------------------------------------------

    def endpoints(self, uid: str, urls: Sequence[str], options: dict[str, Any], email: str = "") -> list[str]:
        """Create endpoints that want everything; return their public ids."""
        with transaction.atomic():
            tenant = Tenant.objects.filter(uid=uid).first() or Tenant.objects.create(uid=uid, email=email)
            created = [create_endpoint(tenant, url=url, events=["*"], **options)[0] for url in urls]
        return [endpoint.public_id for endpoint in created]

    def act(self, action: str, public_ids: Sequence[str]) -> float:
        """Do something to each endpoint, each in a transaction of its own. Return when the last one had been done."""
        for endpoint in self._endpoints(public_ids):
            ACTIONS[action](endpoint)
        return time.monotonic()

    def act_and_hold(self, action: str, public_id: str, seconds: float) -> None:
        """What ATOMIC_REQUESTS and a slow view do: the transaction stays open after the action."""

        def request() -> None:
            with transaction.atomic():
                ACTIONS[action](self._endpoints([public_id])[0])
                time.sleep(seconds)

        self._beside(request)

    def sign_up_and_hold(self, uid: str, seconds: float) -> None:
        """Insert the tenant's row in a transaction that stays open."""

        def request() -> None:
            with transaction.atomic():
                Tenant.objects.create(uid=uid)
                time.sleep(seconds)

        self._beside(request)

    @staticmethod
    def _endpoints(public_ids: Sequence[str]) -> list[Endpoint]:
        return [Endpoint.objects.get(pk=parse_public_id(public_id, "wh")) for public_id in public_ids]

    # --- events -------------------------------------------------------------------------------------------------------

    def emit(self, uid: str, count: int, data: dict[str, Any] | None = None) -> None:
        """Emit events, each in a transaction of its own."""
        for _ in range(count):
            self._emit_one(uid, roll_back=False, data=data)

    def emit_quietly(self, uid: str, count: int) -> None:
        """The same beside everything else: the answer does not wait for a database that is away."""
        self._beside(lambda: self.emit(uid, count))

    def emit_by_hand(self, uid: str, count: int) -> None:
        """Emit in transactions that this thread begins and ends by itself, every other one with a rollback."""
        transaction.set_autocommit(False)
        try:
            for number in range(count):
                event = emit(TYPE, {"n": number}, tenant=uid)
                transaction.rollback() if number % 2 else transaction.commit()
                self._note("rolled-back" if number % 2 else "committed", uid, event.public_id)
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

    def emit_steadily(self, uids: Sequence[str], rate: float) -> None:
        """Emit for these tenants in turn, so many events a second, every tenth of which is rolled back."""
        self._stop.clear()
        self._beside(lambda: self._emit_until_stopped(uids, rate))

    def stop_emitting(self) -> None:
        self._stop.set()
        for thread in self._emitters:
            thread.join(60)
        self._emitters.clear()

    def _emit_until_stopped(self, uids: Sequence[str], rate: float) -> None:
        due = time.monotonic()
        number = 0
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            self._emit_one(uids[number % len(uids)], roll_back=number % 10 == 7)
            number += 1
            due = max(due + 1 / rate, time.monotonic() - 0.5)

    def _emit_one(self, uid: str, *, roll_back: bool, data: dict[str, Any] | None = None) -> None:
        event = None
        self._number += 1
        try:
            with transaction.atomic():
                event = emit(TYPE, data or {"n": self._number}, tenant=uid)
                transaction.set_rollback(roll_back)
        except Exception:  # noqa: BLE001 - whatever it is, only the count afterwards can say what became of it
            traceback.print_exc(limit=1)
            connections.close_all()
            time.sleep(0.05)
            if event is not None:
                self._note("unknown", uid, event.public_id)
        else:
            self._note("rolled-back" if roll_back else "committed", uid, event.public_id)

    def _note(self, fate: str, uid: str, public_id: str) -> None:
        self._ledger.write(f"{fate} {time.monotonic():.4f} {uid} {public_id}\n")

    # --- the host's own tasks -----------------------------------------------------------------------------------------

    def send_tasks(self, count: int) -> float:
        """Ask Celery for some of the host's own work, in its default queue. Return when."""
        for number in range(count):
            tasks.host_task.apply_async((number,), queue="celery")
        return time.monotonic()

    def run_on_celery(self, name: str) -> None:
        """Send a task to the queue of webhooks_app, as beat does."""
        from project.celery import app

        app.send_task(name, queue="webhooks")

    def _beside(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except Exception:  # noqa: BLE001 - a host's request that fails is the host's business
                traceback.print_exc()
            finally:
                connections.close_all()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._emitters.append(thread)


def main() -> None:
    registry.register(EventType(TYPE))
    with open(sys.argv[1], "w", buffering=1) as ledger:
        host = Host(ledger)
        print(json.dumps({"value": "ready"}), flush=True)
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            try:
                answer = {"value": getattr(host, name)(*arguments)}
            except Exception:  # noqa: BLE001 - the test is told
                answer = {"error": traceback.format_exc()}
                connections.close_all()
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
