"""`python -m project.run` (or `make run`): run the whole demo as one tree of processes. Ctrl-C stops all of it.

It migrates, sets up the demo, starts the web server, the Celery worker, beat and the demo receiver, and waits. If one of them
ends, it stops all: half a demo would only confuse.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from django.core.exceptions import ImproperlyConfigured

from project import environment
from project.lifeline import die_with_parent

ROOT = Path(__file__).resolve().parent.parent
#: Seconds that a process gets to finish its work before it is killed.
GRACE = 10.0
#: Seconds within which the web server must respond.
START = 60.0


@dataclass
class Child:
    """One process of the tree, in its own process group, so that the terminal's Ctrl-C reaches only the supervisor."""

    name: str
    process: subprocess.Popen[str]

    def signal(self, number: int) -> None:
        """Send the signal to the whole group, so that it also reaches a worker's children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Supervisor:
    """Start children, show their output, and stop them all together."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping.set()

    def start(self, name: str, *command: str) -> None:
        """Start `python -m command`; show its output line by line with its name as a prefix."""
        process = subprocess.Popen(  # noqa: S603 - our own commands
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        self.children.append(Child(name, process))
        threading.Thread(target=_show_output, args=(name, process), daemon=True).start()

    def wait(self) -> int:
        """Wait until a stop is requested (return 0) or a child ends by itself (return 1)."""
        while not self.stopping.wait(0.2):
            for child in self.children:
                if child.process.poll() is not None:
                    code = child.process.returncode
                    print(f"\n{child.name} ended by itself with code {code}; stopping the rest.", flush=True)
                    return 1
        print("\nStopping …", flush=True)
        return 0

    def stop(self) -> None:
        """Ask all children to stop, last started first; wait; kill the remaining ones, including grandchildren."""
        for child in reversed(self.children):
            child.process.terminate()
        deadline = time.monotonic() + GRACE
        for child in self.children:
            try:
                child.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                print(f"{child.name} did not stop within {GRACE:.0f} s; killing it.", flush=True)
        for child in self.children:
            child.signal(signal.SIGKILL)
            child.process.wait()


def _show_output(name: str, process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        print(f"{name:<8} │ {line}", end="", flush=True)


def manage(*arguments: str) -> str:
    """Run a management command and return its output. Exits the program if it fails."""
    done = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "manage.py", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"`manage.py {' '.join(arguments)}` failed; what it said is above.")
    return done.stdout


def check_port(port: int, variable: str) -> None:
    """Exit the program with a helpful message if the port is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            sys.exit(f"Port {port} on 127.0.0.1 is taken. Choose another: {variable}={port % 65535 + 1} make run")


def answers(port: int) -> bool:
    """Return whether a server listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def banner(port: int, receiver: int, login: dict[str, str]) -> str:
    return f"""
    Send messages     http://127.0.0.1:{port}/
    Webhooks          http://127.0.0.1:{port}/webhooks/   (the playground there needs no receiver)
    Admin             http://127.0.0.1:{port}/admin/
    Demo receiver     http://127.0.0.1:{receiver}/   (what arrived, and whether its signature was good)

    Log in as         {login["user"]}
    with password     {login["password"]}

    Ctrl-C stops everything. Data is kept in {os.environ.get("VAR_DIR", ROOT / "var")}; {_how_to_forget()}.
"""


def _how_to_forget() -> str:
    return "remove that folder to forget it" if "VAR_DIR" in os.environ else "`make clean` forgets it"


def processes(port: int, receiver: int) -> list[tuple[str, ...]]:
    """Return name and command of each process of the demo."""
    config = os.path.join(os.environ.get("VAR_DIR", ROOT / "var"), "receiver.json")
    # A separate worker for webhooks: two engines (MAX_CELERY_ENGINES), and a slot for the periodic tasks. A product with its
    # own tasks runs them in another worker.
    worker = "celery --app=project --quiet worker --queues=webhooks --concurrency=3 --loglevel=INFO"
    beat = "celery --app=project --quiet beat --pidfile= --loglevel=INFO"
    return [
        ("receiver", "project.demo.receiver", f"--config={config}", f"--port={receiver}"),
        ("web", "waitress", f"--listen=127.0.0.1:{port}", "--threads=8", "project.wsgi:application"),
        ("worker", *worker.split()),
        ("beat", *beat.split()),
    ]


def chosen_ports() -> tuple[int, int]:
    """Return the ports of the web server and the receiver. Exits the program if they cannot be used."""
    try:
        if not environment.switch("DEBUG", "1"):
            print("This is a development set-up: DEBUG=0 is not heeded here.", flush=True)
        port, receiver = environment.port("PORT", 8000), environment.port("DEMO_RECEIVER_PORT", 8010)
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    if port == receiver:
        sys.exit(f"PORT and DEMO_RECEIVER_PORT are both {port}; choose two.")
    check_port(port, "PORT")
    check_port(receiver, "DEMO_RECEIVER_PORT")
    return port, receiver


def check_surroundings() -> None:
    """Exit the program if the settings, the database or the broker cannot be used; a separate process reports why."""
    command = [sys.executable, "-m", "project.preflight"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603 - our own command
        sys.exit(1)


def main() -> int:
    port, receiver = chosen_ports()
    os.environ["DEMO_RECEIVER_PORT"] = str(receiver)
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.environ["DEBUG"] = "1"  # development: webhooks to loopback are allowed
    # Hide Celery's warnings that DEBUG keeps queries, and about root, which is the only user on many test machines.
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:celery.fixups.django,ignore::UserWarning:celery.platforms"
    check_surroundings()

    print("Preparing the database …", flush=True)
    manage("migrate", "--verbosity", "0")
    manage("webhooks_schedule")
    login = json.loads(manage("demo_setup"))

    supervisor = Supervisor()
    code = 1
    try:
        for name, *command in processes(port, receiver):
            supervisor.start(name, *command)
        deadline = time.monotonic() + START
        while not answers(port) and time.monotonic() < deadline and not supervisor.stopping.wait(0.1):
            if any(child.process.poll() is not None for child in supervisor.children):
                break
        else:
            print(banner(port, receiver, login), flush=True)
        code = supervisor.wait()
    finally:
        supervisor.stop()
        print("Stopped.", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
