"""A process whose threads do not get the interpreter any more ends. In processes of their own."""

from __future__ import annotations

import subprocess
import sys

START = """
import re, time
from webhooks_app.engine.freeze_watch import FreezeWatch
watch = FreezeWatch({seconds})
watch.start()
time.sleep(0.1)
"""
#: Needs hours, and does not give the interpreter back.
FREEZE = r"re.match(r'(\d+[ -]?)+$', '1' * 60 + 'x')"


def run(seconds: float | None, *lines: str) -> subprocess.CompletedProcess[str]:
    code = "\n".join([START.format(seconds=seconds), *lines])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_it_ends_with_the_stacks_of_its_threads() -> None:
    ended = run(0.5, FREEZE)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert 'File "<string>"' in ended.stderr


def test_it_goes_on_while_its_threads_only_wait() -> None:
    ended = run(0.5, "time.sleep(1.5)", "print('done')")
    assert (ended.returncode, ended.stdout) == (0, "done\n")


def test_it_goes_on_after_the_watch_has_ended() -> None:
    assert run(0.5, "watch.end()", "time.sleep(1.0)").returncode == 0
    assert (
        run(0.5, "other = FreezeWatch(0.5)", "other.start()", "watch.end()", "time.sleep(0.2)", FREEZE).returncode == 1
    )


def test_without_a_time_nothing_is_watched() -> None:
    assert run(None, "time.sleep(0.1)").returncode == 0


def test_without_standard_error_nothing_fails() -> None:
    code = (
        "import sys\nsys.stderr.close()\nsys.stderr = sys.__stderr__ = None" + START.format(seconds=0.5) + "watch.end()"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
